package Rows::claims;

# A claim and its finish: two requests, and two durable commits of a program that does nothing else.

use strict;
use warnings;

use CIB::Place qw(as_user);

sub run_sqlite3 { my ($bench, $server) = @_; return $bench->run_program('raw_sqlite', $server->{params}, $server->{runner}, $bench->{seconds}) }

sub run {
    my ($bench) = @_;
    for my $clients (1, 64) {
        for my $driver (qw(sqlite3 pgsql)) {
            my $server = $bench->server($driver);
            my ($name, $theirs) = $driver eq 'sqlite3'
                ? ('raw sqlite3, one by one', sub { run_sqlite3($bench, $server) })
                : ("pgbench -c $clients", sub { pgbench($bench, $server, $clients) });
            $bench->compare(what => "claim+finish, $driver, $clients at once", unit => 'cycles/s',
                prepare => sub { $server->add_builds(15_000 * $bench->{seconds}) },
                ours => sub { $bench->wrk($server, 'cycle.lua', clients => $clients) },
                name => $name, theirs => $theirs);
        }
    }
    return;
}

# With the settings that our connections have. A claim that lost its race is no cycle: what was
# finished counts.
sub pgbench {
    my ($bench, $server, $clients) = @_;
    my $script = "$bench->{root}/claim.pgbench";
    Bench::write_file($script, CIB::Place::run($bench->program('pgbench_script')));
    my ($host, $database) = $server->{params} =~ /host=(\S+) dbname=(\S+)/ or die "params: $server->{params}\n";
    my $finished = sub { $bench->postgres->sql('SELECT count(*) FROM builds WHERE finished_at = 2', $database) };
    my $before = $finished->();
    local $ENV{PGOPTIONS} = CIB::Place::run($bench->program('pgbench_script'), 'options');
    my $out = CIB::Place::run(as_user($bench->postgres->{user}, 'pgbench', '-h', $host, '-U', 'ci_builds', '-n', '-M', 'prepared',
        '-c', $clients, '-j', 1, '-T', $bench->{seconds}, '-D', "runner=$server->{runner}", '-f', $script, $database));
    my ($rate) = $out =~ /^tps = (\S+)/m or die "pgbench said:\n$out";
    my ($tries) = $out =~ /^number of transactions actually processed: (\d+)/m or die "pgbench said:\n$out";
    delete local $ENV{PGOPTIONS};
    return $rate * ($finished->() - $before) / $tries;
}

1;
