package Rows::startup;

# What the module costs before anybody asks for anything.

use strict;
use warnings;

use Time::HiRes ();

use CIB::Place qw(httpd_program);

sub run {
    my ($bench) = @_;
    my $bare = $bench->server('sqlite3', name => 'bare', bare => 1);
    for my $driver (qw(sqlite3 pgsql)) {
        my $server = $bench->server($driver, name => "idle-$driver");
        configtest($bench, $server, $bare);
        footprint($bench, $server, $bare);
    }
    return;
}

sub configtest {
    my ($bench, $server, $bare) = @_;
    my @rounds = $bench->compare(what => "configtest, $server->{driver}", unit => 'ms',
        ours => sub { took($server) }, name => 'without the module', theirs => sub { took($bare) });
    my $ms = Bench::median(map { $_->[0] } @rounds);
    $bench->note(what => "  it takes", got => sprintf('%.0f ms', $ms), goal => 'under 200 ms', ok => $ms < 200);
    return;
}

sub took {
    my ($server) = @_;
    my @took;
    for (1 .. 5) {
        my $start = Time::HiRes::time();
        CIB::Place::run(httpd_program(), '-t', '-f', "$server->{dir}/httpd.conf");
        push @took, 1000 * (Time::HiRes::time() - $start);
    }
    return Bench::median(@took);
}

# Memory that is the process's own, of the largest child.
sub footprint {
    my ($bench, $server, $bare) = @_;
    my ($with, $without) = map { largest($_) } $server, $bare;
    $bench->note(what => "own memory of an idle child, $server->{driver}", got => sprintf('%.2f MiB', $with),
        name => 'without the module', theirs => sprintf('%.2f MiB', $without),
        ratio => sprintf('%+.2f MiB', $with - $without), goal => 'at most +2 MiB', ok => $with - $without <= 2);
    return;
}

sub largest {
    my ($server) = @_;
    my ($largest) = sort { $b <=> $a } map { Bench::anonymous($_) } $server->children;
    return $largest / 1024;
}

1;
