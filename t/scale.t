# cells: pgsql-event
# Two httpd over one database and one storage directory, on one host and on two: neither is special, and each knows at
# once what the other did.

use strict;
use warnings;

use CIB::Place qw(am_root modules_dir run);
use CIB::Test;
use CIB::Torture;
use CIB::V4;

my $slower = 1 + int(CIB::Tool::patience() / 4);
my $PATIENT = 'CIBuildsLongPoll 50s';
my $HASTY = "$PATIENT\nCIBuildsAckTimeout " . 2 * $slower . "s\nCIBuildsStuckTimeout " . 4 * $slower . 's';
my %at = (instance => 'scale');
my ($one, $two, $project, $runner);

# What to put before a command, to have it believe that it is on a host of that name.
sub on_host { return ('unshare', '--uts', 'sh', '-c', "hostname $_[0] && exec \"\$@\"", 'sh') }

# Two servers of a new instance; `host` is the name of the second one's. The functions of CIB::Test reach them as the
# virtual hosts `one` and `two`.
sub set_up {
    my ($name, $host) = @_;
    my $conf = join "\n", 'LoadModule status_module ' . modules_dir() . '/mod_status.so', 'DBDMin 1', 'DBDKeep 2', 'DBDMax 4',
        'AsyncRequestWorkerFactor 50', '<Location /server-status>', 'SetHandler server-status', '</Location>';
    $one = arena(name => $name, conf => $conf, vhost => $HASTY);
    $one->expect(qr/AH00484|AH10159|CIB033[12]:/, qr/CIB0224:/);
    # what each host has for itself need not lie where the others see it
    if ($host) { rename $_, "$one->{dir}/hosts" and symlink "$one->{dir}/hosts", $_ or die "$_: $!\n" for "$one->{storage}/hosts" }
    $two = $one->beside(on => $host ? [on_host($host)] : undef);
    start($_) for $one, $two;
    @{ $CELL->{ports} }{qw(one two)} = map { $_->{port} } $one, $two;
    $CELL->{instances}{scale} = { map { $_ => $one->{$_} } qw(storage params) };
    $project = project(%at);
    $runner = runner(%at, project => $project);
    return;
}

sub value { return $_[0]{headers}{'x-gitlab-last-update'} // die "no value\n" }

sub parked {
    my ($vhost) = @_;
    my ($parked) = http(GET => '/server-status?auto', vhost => $vhost)->{body} =~ /^CIBuilds\d*Parked: (\d+)$/m or die "no status\n";
    return $parked;
}

# Ask with the current value, and be parked. Where the notices of other hosts were not heard for a moment the answer
# comes at once, and one asks again.
sub park {
    my ($who, $vhost) = @_;
    my $before = parked($vhost);
    my $connection = connect_to($vhost);
    my $ask = sub {
        $connection = connect_to($vhost);
        $connection->send(request_text(POST => "$V1/builds/register.json", json => { token => $who->{token}, last_update => value(poll($who, vhost => $vhost)) }));
    };
    $ask->();
    wait_for('a parked request', sub {
        return 1 if parked($vhost) > $before;
        $ask->() if $connection->answered(0);
        return 0;
    });
    return $connection;
}

# Which build the connection is answered with. Ends it.
sub gets {
    my ($connection, $who, $vhost, $id, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = $connection->response or die "no answer\n";
    is "$r->{status} " . ($r->{json} ? $r->{json}{id} : ''), "201 $id", $what;
    finish($who, $id, 'success', vhost => $vhost) if $r->{status} == 201;
    return;
}

sub is_trace {
    my ($r, $status, $length, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is "$r->{status} $r->{headers}{range}", "$status 0-$length", $what;
}

sub status_of { return build_show($_[0], 'scale')->{status} }

# PostgreSQL's processes that serve a listener.
sub listeners {
    return grep {length} split /\n/, sql(q{SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_listening_channels%' AND pid <> pg_backend_pid()}, $one->{params});
}

# The server whose process has the lease of upkeep, and the name of its host.
sub upkeeper {
    my ($host, $pid) = sql(q{SELECT holder FROM leases WHERE name = 'upkeep'}, $one->{params}) =~ m{^(.*)/(\d+)$} or return;
    my ($server) = grep { my $each = $_; $each->{pid} && grep { $_ == $pid } $each->children } $one, $two;
    return ($server, $host);
}

# A build is added by nobody's httpd.
sub add_elsewhere {
    my $out = run(on_host('elsewhere'), $CELL->{ci_builds}, '-s', $one->{storage}, qw(--json build add --project), $project->{id}, '--sha', 'c' x 40);
    my ($id) = $out =~ /"id": ?(\d+)/ or die "no build: $out\n";
    return $id;
}

# Start it, or have it read its configuration anew, and wait until it says that it is at work: a signal that comes
# before may be lost.
sub begin {
    my ($server, $how) = @_;
    my $times = sub { return -e $server->{error_log} ? scalar(() = slurp($server->{error_log}) =~ /AH00489:/g) : 0 };
    my $before = $times->();
    $server->$how;
    wait_for('httpd to be at work', sub { $times->() > $before });
    return;
}

sub graceful { return begin($_[0], 'graceful') }
sub start    { return begin($_[0], 'start') }

# ---- what must hold, whatever the second host is called

sub knowing {
    my $r = http(POST => "$V4/runners", vhost => 'one', json => { token => $project->{token}, description => 'new' });
    is $r->{status}, 201, 'a runner registers at one';
    my $new = { id => $r->{json}{id}, token => $r->{json}{token} };
    is http(POST => "$V4/runners/verify", vhost => 'two', json => { token => $new->{token} })->{status}, 200, '  and is known at the other';
    my $value = value(poll($new, vhost => 'two'));
    my $asks = sub { poll($new, vhost => 'two', json => { last_update => $value })->{status} };
    wait_for('an answer in the same words', sub { $asks->() == 204 });
    is http(DELETE => "$V4/runners", vhost => 'one', json => { token => $new->{token} })->{status}, 204, 'it goes at one';
    wait_for('the other to know', sub { $asks->() == 403 });
    pass '  and the other refuses it, although it had nothing to say to its words';
    $value = value(poll($runner, vhost => 'two'));
    my $id = build(%at, project => $project);
    is claim($runner, vhost => 'two', json => { last_update => value(poll(runner(%at, project => project(%at)), vhost => 'one')) })->{id}, $id,
        'the value of another runner, told by one, keeps no build from who brings it to the other';
    finish($runner, $id, 'success', vhost => 'one');
    return;
}

sub handing_out {
    my $wanted = 60;
    my %waits = map { $_ => 1 } build(%at, project => $project, args => ['--count', $wanted]);
    my @answers = $one->http_at_once(60, map { request_of('v4', 'ask', $runner) } 1 .. $wanted + 20);
    my @got = map { $_->{json}{id} } grep { $_->{status} == 201 } @answers;
    my %got = map { $_ => 1 } @got;
    is_deeply [scalar @got, sort keys %got], [$wanted, sort keys %waits], "$wanted builds, asked for at both at once: each is handed out once";
    is scalar(grep { $_->{status} == 204 } @answers), 20, '  and there is nothing for the others';
    cancel_rest();
    return;
}

# Nothing is left to be handed out, or to fall silent.
sub cancel_rest {
    for my $status (qw(pending running)) {
        cib({%at}, qw(build cancel), $_->{id}) for @{ cib({%at}, qw(build list --project), $project->{id}, '--status', $status) };
    }
    return;
}

sub one_trace {
    my $job = job_of($runner, %at, project => $project, vhost => 'one');
    is_trace append($job, 0, 'from one, ', vhost => 'one'), 202, 10, 'a trace begins at one';
    is_trace append($job, 10, 'then two, ', vhost => 'two'), 202, 20, '  goes on at the other';
    is_trace append($job, 10, 'then two, ', vhost => 'one'), 416, 20, '  which the first knows';
    is_trace append($job, 20, 'and one.', vhost => 'one'), 202, 28, '  and goes on at the first';
    is_trace append($job, 40, 'x', vhost => 'two'), 416, 28, '  and neither leaves a gap';
    is trace_of($job->{id}, 'scale'), 'from one, then two, and one.', 'it is one trace';
    my $crc = crc32('from one, then two, and one.');
    is update($job, state => 'success', output => { bytesize => 28, checksum => $crc }, opt => { vhost => 'two' })->{status}, 200, '  whose length is known where the build ends';
    is build_show($job->{id}, 'scale')->{trace_checksum}, undef, '  and its checksum is right';
    return;
}

sub artifacts {
    my $id = build(%at, project => $project);
    my $build = claim($runner, vhost => 'one');
    my @bytes = map { join '', map { chr int rand 256 } 1 .. 300_000 } 1, 2;
    my $job = { id => $id, token => $build->{token} };
    is upload($build, $bytes[0], vhost => 'one')->{status}, 201, 'an artifact is uploaded at one';
    ok get_artifact($job, vhost => 'two')->{body} eq $bytes[0], '  and downloaded at the other, byte by byte';
    is upload($build, $bytes[1], vhost => 'two')->{status}, 201, '  where another takes its place';
    ok get_artifact($job, vhost => 'one')->{body} eq $bytes[1], '  which is there at the first';
    is scalar(grep {/\/$id-archive/} stored_files('artifacts', 'scale')), 1, '  and nowhere the former';
    finish($runner, $id, 'success', vhost => 'two');
    cib({%at}, qw(build erase), $id);
    answers get_artifact($job, vhost => $_), 403, qr/has been erased/, "  and when it is erased $_ has it no more" for qw(one two);
    return;
}

sub ending {
    my $job = job_of($runner, %at, project => $project, vhost => 'one');
    is update($job, state => 'running', opt => { vhost => 'one' })->{status}, 200, 'a job runs at one';
    is update($job, state => 'success', opt => { vhost => 'two' })->{status}, 200, '  and ends at the other';
    my $r = update($job, state => 'running', opt => { vhost => 'one' });
    is "$r->{status} $r->{headers}{'job-status'}", '403 success', '  where its token is good for no further word';
    is put_artifact($job, 'x', vhost => 'one', until_answer => 1)->{status}, 403, '  nor an upload';
    return;
}

sub waking {
    for my $case (['one', 'two'], ['two', 'one']) {
        my ($here, $there) = @$case;
        my $first = build(%at, project => $project);
        my $second = build(%at, project => $project, args => ['--depends-on', $first]);
        claim($runner, vhost => $there);
        my $connection = park($runner, $here);
        finish($runner, $first, 'success', vhost => $there);
        gets($connection, $runner, $here, $second, "who is parked at $here is given what a build waited for that ends at $there");
    }
    my $connection = park($runner, 'two');
    my $id = build(%at, project => $project);
    gets($connection, $runner, 'two', $id, 'and what ci-builds adds, on this host');
    return;
}

# As in t/upkeep.t: others fall silent beside what is watched, so that it would be given up with them.
sub speaking {
    my @ids = map { scalar build(%at, project => $project) } 1 .. 3;
    my ($spoken, $silent, $stuck) = map { job($runner, vhost => 'one') } @ids;
    my $length = 0;
    my $speak = sub { append($spoken, $length++, 'x', vhost => 'two')->{status} == 202 or die "the other is not heard\n" };
    append($stuck, 0, 'x', vhost => 'two');
    wait_for('the silent build to be pending again', sub { $speak->(); return status_of($silent->{id}) eq 'pending' }, 60);
    my $again = job($runner, vhost => 'two');
    is $again->{id}, $silent->{id}, 'a claim at one without a word goes back, to the other';
    is append($silent, 0, 'x', vhost => 'one')->{status}, 403, '  and the token it was given first is good nowhere';
    wait_for('the stuck build to fail', sub {
        $speak->();
        return status_of($stuck->{id}) eq 'failed';
    }, 60);
    is status_of($spoken->{id}), 'running', 'who speaks at the other is heard';
    cancel_rest();
    return;
}

# The lease outlasts its holder for ten seconds.
sub taking_over {
    my ($host) = @_;
    my ($server, $name) = wait_for('an upkeeper', sub { my @both = upkeeper(); return @both && $both[0] && \@both })->@*;
    my $other = $server == $one ? $two : $one;
    my %vhost = ($one => 'one', $two => 'two');
    ok $server, 'one of both does the upkeep';
    is $name eq $host, $server == $two, "  in its host's name" if defined $host;
    is scalar($server->stop), 0, '  and is stopped';
    build(%at, project => $project);
    my $silent = job($runner, vhost => $vhost{$other});
    wait_for('the build to be pending again', sub { status_of($silent->{id}) eq 'pending' }, 60);
    is((upkeeper())[0], $other, 'the other takes over');
    cancel_rest();
    wait_for('its listener', sub { listeners() == 1 });
    pass '  and listens for its host';
    hearing($vhost{$other});
    start($server);
    is scalar($other->stop), 0, 'it is stopped, too';
    wait_for('a listener', sub { listeners() == 1 });
    hearing($vhost{$server});
    start($other);
    return;
}

sub hearing {
    my ($vhost) = @_;
    return unless am_root();
    my $connection = park($runner, $vhost);
    gets($connection, $runner, $vhost, add_elsewhere(), "who is parked at $vhost is given what another host adds");
    return;
}

sub under_load {
    $one->add_builds(30);
    $one->begin_load(4);
    for (1 .. 2) {
        moment(0.2, 0.5);
        graceful($_) for $one, $two;
    }
    ok $one->end_load, 'clients go by lot to one and the other, and each is restarted gracefully, alone';
    is $one->count(qr/ 0$/), 0, '  and no request is without an answer';
    $one->holds('  what must hold');
    return;
}

sub layout {
    my ($name, $host) = @_;
    alarm(600 * CIB::Tool::patience());
    set_up($name, $host);
    $one->spread($one, $two);
    my $hosts = $host ? 2 : 1;
    subtest 'who listens' => sub {
        wait_for('the listeners', sub { listeners() == $hosts });
        is scalar(listeners()), $hosts, 'for each host one of all processes';
        my @files = map { s{.*/}{}r } stored_files('hosts', 'scale');
        is scalar(grep { !/\+ear$/ } @files), $hosts, '  and each has a file of its own';
        ok !$host || grep({ $_ eq $host } @files), '  by its name';
    };
    subtest 'a word counts'     => \&speaking;
    subtest 'one is stopped'    => sub { taking_over($host) };
    subtest 'each is restarted' => \&under_load;
    $_->{vhost} = $PATIENT for $one, $two;
    graceful($_) for $one, $two;
    subtest 'a runner is known'        => \&knowing;
    subtest 'each build is given once' => \&handing_out;
    subtest 'a trace is one'           => \&one_trace;
    subtest 'artifacts'                => \&artifacts;
    subtest 'an end is an end'         => \&ending;
    subtest 'who is parked'            => \&waking;
    $_->ended for $two, $one;
    return;
}

subtest 'on one host' => sub { layout('near', undef) };
subtest 'on two' => sub {
    plan skip_all => 'only root can give a process another host name' unless am_root();
    layout('far', 'elsewhere-2');
};
done_testing;
