package Rows::claims;

# A claim and its finish: two requests, each a durable commit of its own for one who does them one by one.

use strict;
use warnings;

use CIB::Place qw(as_user);

# More than anybody gets done in a second.
use constant MOST => 20_000;

my %LIMIT = (
    sqlite3 => { 1 => 0.8,  64 => 2, name => 'raw sqlite3, one thread' },
    pgsql   => { 1 => 0.75, 64 => 2, name => 'pgbench' },
);

sub run {
    my ($bench) = @_;
    for my $clients (1, 64) {
        many($bench, $_, $clients) for qw(sqlite3 pgsql);
    }
    return;
}

sub many {
    my ($bench, $driver, $clients) = @_;
    my $server = $bench->server($driver);
    my $limit = $LIMIT{$driver};
    my @against = ({ name => $limit->{name}, goal => $limit->{$clients}, theirs => theirs($bench, $server, $clients) });
    push @against, { name => 'a handler that answers 204', goal => $driver eq 'sqlite3' ? 0.5 : undef,
        theirs => sub { $bench->wrk($server, 'cycle.lua', env => { TRIVIAL => 1 }) } }
        if $clients > 1;
    my @rounds = $bench->compare(what => "claim+finish, $driver, $clients at once", unit => 'cycles/s',
        prepare => sub { $server->fill(2 * MOST * $bench->{seconds}) },
        ours => sub { cycles($bench, $server, $clients) }, against => \@against);
    return if $clients == 1;
    my $p99 = Bench::median(map { $_->[2] } @rounds);
    $bench->note(what => "  99 % of requests within, $driver", got => sprintf('%.1f ms', $p99), goal => 'under 30 ms', ok => $p99 < 30);
    $bench->note(what => "  handed out once, $driver", got => 'each of ' . sum(map { $_->[3] } @rounds), goal => 'every one', ok => 1);
    return;
}

sub theirs {
    my ($bench, $server, $clients) = @_;
    return sub { raw_sqlite($bench, $server) } if $server->{driver} eq 'sqlite3';
    return { map { my $n = $_; ("-c $n" => sub { pgbench($bench, $server, $n) }) } $clients == 1 ? 1 : (1, 8, 16, 64) };
}

# httpd finds its database locked meanwhile, and for a second after it has noticed nobody of ours tries.
sub raw_sqlite {
    my ($bench, $server) = @_;
    my $found = $bench->run_program('raw_sqlite', $server->{params}, $server->{runner}, $bench->{seconds});
    select undef, undef, undef, 2;
    return $found;
}

# As wrk() gives them; dies where a build was handed out twice. A claim that nobody heard of is taken
# back by upkeep, and then it is right to hand it out again. Of what was under way at the end only the
# database knows: it may have one claim more for each client, and never one less.
sub cycles {
    my ($bench, $server, $clients) = @_;
    my @before = committed($server);
    my @found = $bench->wrk($server, 'cycle.lua', clients => $clients);
    my @after = committed($server);
    my ($claims, $kept) = map { $after[$_] - $before[$_] } 0, 1;
    die "$found[3] builds were handed out, but $claims claims are in the database\n" if $claims < $found[3];
    die "$kept builds were claimed, but $found[3] handed out\n" if $kept > $found[3] + $clients;
    die "a build was claimed $after[2] times\n" if $after[2] > 1;
    return @found;
}

# Claims, those that were not taken back, and the most of one build that were not.
sub committed {
    my ($server) = @_;
    return split /[|]/, $server->sql('SELECT sum(claim), sum(claim - requeues), max(claim - requeues) FROM builds');
}

sub sum { my $sum = 0; $sum += $_ for @_; return $sum }

# With the settings that our connections have. A claim that lost its race is no cycle: what was
# finished counts.
sub pgbench {
    my ($bench, $server, $clients) = @_;
    my $script = "$bench->{root}/claim.pgbench";
    Bench::write_file($script, CIB::Place::run($bench->program('pgbench_script')));
    my ($host, $database) = $server->{params} =~ /host=(\S+) dbname=(\S+)/ or die "params: $server->{params}\n";
    my $finished = sub { $server->sql('SELECT count(*) FROM builds WHERE finished_at = 2') };
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
