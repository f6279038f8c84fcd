package Rows::scale;

# Several httpd over one PostgreSQL and one storage directory. On one machine they can only share its
# cores: what is shown is that the sum stays what it is, and that each build is handed out once.

use strict;
use warnings;

use POSIX ();

use constant CLIENTS => 64;

sub run {
    my ($bench) = @_;
    require "$bench->{top}/bench/rows/claims.pm";
    my $first = $bench->server('pgsql', name => 'scale-1', processes => 2);
    my @all = ($first, map { $bench->server('pgsql', name => "scale-$_", processes => 2, beside => $first) } 2 .. 4);
    for my $n (2, 4) {
        my @best = $n == 2 ? { name => 'pgbench', theirs => Rows::claims::theirs($bench, $first, CLIENTS) } : ();
        my @rounds = $bench->compare(what => "claim+finish, pgsql, @{[CLIENTS]} at once, $n httpd", unit => 'cycles/s',
            prepare => sub { $first->fill(2 * Rows::claims::MOST() * $bench->{seconds}) },
            ours => sub { cycles($bench, @all[0 .. $n - 1]) },
            against => [{ name => 'one httpd', theirs => sub { (cycles($bench, $first))[0] }, goal => 0.8 }, @best]);
        $bench->note(what => "  handed out once, $n httpd", got => 'each of ' . Rows::claims::sum(map { $_->[1] } @rounds), goal => 'every one', ok => 1);
    }
    return;
}

# The sum of the rates, and how many builds were handed out; as in the row `claims` it dies where one was
# handed out twice.
sub cycles {
    my ($bench, @servers) = @_;
    my @before = Rows::claims::committed($servers[0]);
    my ($rate, $claims) = spread($bench, @servers);
    my @after = Rows::claims::committed($servers[0]);
    my ($made, $kept) = map { $after[$_] - $before[$_] } 0, 1;
    die "$claims builds were handed out, but $made claims are in the database\n" if $made < $claims;
    die "$kept builds were claimed, but $claims handed out\n" if $kept > $claims + CLIENTS;
    die "a build was claimed $after[2] times\n" if $after[2] > 1;
    return ($rate, $claims);
}

# The clients in equal parts over these servers, all at once: sums of rates and claims.
sub spread {
    my ($bench, @servers) = @_;
    my @pipes = map { measure($bench, $_, CLIENTS / @servers) } @servers;
    my ($rates, $claims) = (0, 0);
    for my $pipe (@pipes) {
        my ($rate, $count) = split ' ', <$pipe> // die "a server was not measured\n";
        $rates += $rate;
        $claims += $count;
        close $pipe;
    }
    return ($rates, $claims);
}

sub measure {
    my ($bench, $server, $clients) = @_;
    my $pid = open my $pipe, '-|';
    defined $pid or die "cannot fork: $!\n";
    return $pipe if $pid;
    my @found = eval { $bench->wrk($server, 'cycle.lua', clients => $clients) };
    print STDERR $@ if $@;
    syswrite STDOUT, "@found[0, 3]\n" if @found;
    POSIX::_exit(@found ? 0 : 1);
}

1;
