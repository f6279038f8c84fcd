package Rows::traces;

# Traces as runners send them: in pieces (PATCH), or whole with each update (PUT).

use strict;
use warnings;

use JSON::PP ();

use constant { WRITERS => 64, WHOLE => 4 };    # builds at once; MiB

sub run {
    my ($bench) = @_;
    pieces($bench);
    whole($bench);
    return;
}

# Each round has builds of its own, so that no trace grows to its limit.
sub pieces {
    my ($bench) = @_;
    my $server = $bench->server('sqlite3');
    my $file = "$bench->{root}/builds";
    my $append = sub { $bench->wrk($server, 'append.lua', threads => WRITERS, clients => WRITERS, env => { BUILDS => $file, @_ }) };
    $bench->compare(what => 'append of 1 KiB to a trace, ' . WRITERS . ' at once', unit => 'requests/s', goal => 0.75,
        prepare => sub {
            $server->fill(WRITERS);
            Bench::write_file($file, join '', map {"$_->{id} $_->{token}\n"} map { $server->claim } 1 .. WRITERS);
        },
        ours => sub { $append->() }, name => 'a handler that reads and answers 204', theirs => sub { $append->(TRIVIAL => 1) });
    return;
}

sub whole {
    my ($bench) = @_;
    my $server = $bench->server('sqlite3');
    my $build = $server->claim;
    my $file = "$bench->{root}/whole.json";
    my $line = qq(\e[0;32m\$ make check\e[0m\nt/unit/queue.t ... ok "42" <done> in C:\\build\n);
    my $trace = substr $line x (WHOLE * 2**20 / length($line) + 1), 0, WHOLE * 2**20 - 100;
    Bench::write_file($file, JSON::PP->new->canonical->encode({ token => $server->{token}, state => 'running', trace => $trace }));
    my $put = sub { WHOLE * $bench->wrk($server, 'send.lua', clients => 1, path => $_[0], env => { METHOD => 'PUT', BODY => $file }) };
    $bench->compare(what => 'PUT with a trace of ' . WHOLE . ' MiB, durable', unit => 'MiB/s', goal => 0.75,
        ours => sub { $put->("/ci/api/v1/builds/$build->{id}.json") },
        name => 'json-c, one write, fdatasync', theirs => sub { $put->('/trace') });
    return;
}

1;
