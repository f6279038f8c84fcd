# cells: *-event *-prefork
# Clients that are slow, or stop: headers and bodies that trickle, and many uploads that stand still. They hold a
# thread each, as long as httpd lets them, and nothing else: no connection to the database, no lock, no memory to
# speak of; and what they sent is gone with them.

use strict;
use warnings;

use CIB::HTTP qw(part request_text);
use CIB::Test;
use CIB::Torture;

my $STALLED = is_event() ? 200 : 20;
my $arena = arena(name => 'slow', vhost => "CIBuildsAckTimeout 10m\nCIBuildsMinFree 0", conf => <<'CONF');
Timeout 200
RequestReadTimeout header=0 body=0
DBDMin 1
DBDMax 2
<IfModule mpm_event_module>
    StartServers 2
    ServerLimit 2
    ThreadLimit 112
    ThreadsPerChild 112
    MaxRequestWorkers 224
    MinSpareThreads 1
    MaxSpareThreads 224
    AsyncRequestWorkerFactor 4
</IfModule>
<IfModule mpm_prefork_module>
    StartServers 24
    MaxRequestWorkers 24
</IfModule>
CONF
$arena->start;
my $runner = $arena->cib('runner', 'add', '--project', $arena->{project}{id});

sub take {
    my $r = $arena->request('v4', 'ask', $runner);
    $r && $r->{status} == 201 or die 'no build but ', $r ? "$r->{status} $r->{body}" : 'nothing', "\n";
    return { id => $r->{json}{id}, token => $r->{json}{token}, at => 0 };
}

# Connections to PostgreSQL, or open handles of the SQLite database, and how many of them do something.
sub busy {
    return 0 if is_sqlite();
    my $sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND (state <> 'idle' OR xact_start IS NOT NULL)";
    return 0 + CIB::Test::sql($sql, $arena->{params});
}

# Unnamed files that httpd's processes hold open below these directories of the storage.
sub unnamed {
    my ($areas) = @_;
    return scalar grep {m{\Q$arena->{storage}\E/(?:$areas)/.*\(deleted\)$}} map { readlink // () } map { glob "/proc/$_/fd/*" } $arena->children;
}

# Kilobytes of all of them.
sub memory {
    my $sum = 0;
    $sum += slurp("/proc/$_/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : 0 for $arena->children;
    return $sum;
}

# All that another runner does.
sub is_served {
    my ($what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $job = take();
    my $bytes = "an artifact of $job->{id}";
    my @said = map { $_ ? $_->{status} : 'nothing' } (
        $arena->request('v4', 'append', $job, 0, 'a trace'), $arena->request('v4', 'upload', $job, $bytes), $arena->request('v4', 'fetch', $job->{id}, $job->{token}),
        $arena->request('v4', 'update', { %$job, at => 7 }, $runner, 'success'),
    );
    return is "@said", '202 201 200 200', $what;
}

# The beginnings of requests to these jobs in turn, that are not going to be whole.
sub halves {
    my ($n, @jobs) = @_;
    my @all;
    for my $i (1 .. $n) {
        my $job = $jobs[$i % @jobs];
        my @token = ('Job-Token' => $job->{token});
        my $path = "/api/v4/jobs/$job->{id}";
        my $bytes = 'z' x 400_000;
        my $text = $i % 4 == 0 ? request_text(PUT => $path, json => { state => 'success', token => $job->{token}, trace => $bytes })
            : $i % 4 == 1 ? request_text(PATCH => "$path/trace", type => 'text/plain', body => $bytes, headers => [@token, 'Content-Range' => '0-'])
            : request_text(POST => "$path/artifacts", headers => [@token], multipart => [part(name => 'file', filename => 'a.zip', body => $bytes)],
                $i % 4 == 2 ? (chunked => [30000]) : ());
        my $connection = CIB::HTTP->connect($arena->{port});
        $connection->send(substr $text, 0, 350_000);
        push @all, { connection => $connection, rest => substr $text, 350_000 };
    }
    return @all;
}

$arena->add_builds(30);
is_served('a runner is served');

subtest "$STALLED that stand still" => sub {
    my @idle = map { CIB::HTTP->connect($arena->{port}) } 1 .. (is_event() ? 100 : 0);    # which cost no thread
    my $before = memory();
    my @jobs = map { take() } 1 .. 8;
    my @halves = halves($STALLED, @jobs);
    # half of them are uploads, the others traces
    ok wait_for('all to arrive', sub { unnamed('artifacts') == $STALLED / 2 && unnamed('traces') >= $STALLED / 2 }), 'each has its file';
    ok wait_for('the database to be idle', sub { !busy() }), '  and no connection to the database' unless is_sqlite();
    my $grown = memory() - $before;
    cmp_ok $grown, '<', $STALLED * 1024, "  and less than 1 MiB of memory each (all: $grown KiB)" if $CELL->{tool} eq 'none';
    is_served("another is served ($_)") for 1 .. 3;
    is $arena->request('v4', 'ask', $runner)->{status}, 201, "  and asks for more ($_)" for 1 .. 3;
    my @goes_on = splice @halves, 0, 4;
    $_->{connection}->send($_->{rest}) for @goes_on;
    is_deeply [map { $_->{connection}->response->{status} } @goes_on], [202, 201, 201, 200], 'those that go on come to their ends';
    $_->{connection}->close for @halves;
    ok wait_for('their files to be gone', sub { !unnamed('artifacts|traces') }), 'who hangs up leaves nothing';
    my %now = map { $_->{id} => $_ } $arena->builds;
    my @changed = grep { $now{$_}{status} ne 'running' || $now{$_}{artifacts_file} || $now{$_}{trace_size} } map { $_->{id} } @jobs[0, 5 .. 7];
    is_deeply \@changed, [], '  and no build has anything of it';
    is_served('another is served');
};

subtest 'too slow' => sub {
    $arena->{conf} =~ s/RequestReadTimeout [^\n]*/RequestReadTimeout header=1-2,MinRate=500 body=1-2,MinRate=500/;
    $arena->stop;
    $arena->start;
    my @halves = halves(4, map { take() } 1 .. 4);
    my $headers = CIB::HTTP->connect($arena->{port});
    $headers->send("POST /api/v4/jobs/request HTTP/1.1\r\nHost: x\r\nX: ");
    for my $half (@halves) {
        my $r = $half->{connection}->response;
        is $r->{status}, 408, 'a body that stops: 408';
        like $r->{json}{message}, qr/^408 /, '  in JSON';
        is $half->{connection}->rest, '', '  and the connection ends';
    }
    my $r = $headers->response;
    ok !$r || $r->{status} == 408, 'headers that stop: ' . ($r ? $r->{status} : 'the end');
    ok wait_for('their files to be gone', sub { !unnamed('artifacts|traces') }), 'nothing is left';
    my ($trickle) = halves(1, take());
    # a byte now and then keeps nobody for good
    while (length $trickle->{rest} && !$trickle->{connection}->answered(0.05)) {
        $trickle->{connection}->send(substr $trickle->{rest}, 0, 1, '');
    }
    is $trickle->{connection}->response->{status}, 408, 'a body that trickles: 408';
    is_served('another is served');
};

$arena->holds('nothing is left over');
is scalar($arena->stop), 0, 'nothing runs on';
$arena->log_is_clean;
done_testing;
