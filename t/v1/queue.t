# Which build a runner gets, and that nobody else gets it.

use strict;
use warnings;

use Socket    ();

use CIB::Test;

my @one = (project(), project());

subtest 'a specific runner takes the oldest of its projects' => sub {
    my $runner = runner(project => \@one);
    my @ids = map { scalar build(project => $one[$_]) } 0, 1, 0, 1;
    my @got = map { claim($runner)->{id} } @ids;
    is_deeply \@got, \@ids, 'oldest first, across projects';
    is claim($runner), undef, 'and then nothing';
    finish($runner, $_) for @ids;
};

subtest 'tags' => sub {
    my $project = $one[0];
    my %runner = (
        none  => runner(project => $project),
        ab    => runner(project => $project, tags => 'a,b'),
        upper => runner(project => $project, tags => 'A'),
        tagged => runner(project => $project, tags => 'a,b', args => ['--no-untagged']),
    );
    my $abc = build(project => $project, tags => 'a,b,c');
    my $ab = build(project => $project, tags => 'b,a');
    my $plain = build(project => $project);
    is claim($runner{upper})->{id}, $plain, 'a runner with another tag takes what has none';
    finish($runner{upper}, $plain);
    my $a = build(project => $project, tags => 'a');
    is claim($runner{upper}), undef, 'tags are compared byte by byte';
    cib(qw(build cancel), $a);
    is claim($runner{none}), undef, 'a runner without tags takes no tagged build';
    $plain = build(project => $project);
    is claim($runner{tagged})->{id}, $ab, 'a build that nobody can take is in nobody\'s way';
    is claim($runner{tagged}), undef, 'a runner for tagged builds leaves the untagged';
    is claim($runner{ab})->{id}, $plain, '  which another takes';
    my $show = build_show($abc);
    is $show->{status}, 'pending', 'the build with a tag that no runner has is pending';
    like "@{ $show->{pending_reasons} }", qr/tag/, '  and says why: ' . ($show->{pending_reasons}[0] // '');
    my $c = runner(project => $project, tags => 'c,b,a,z');
    is claim($c)->{id}, $abc, 'until one has it';
    finish($runner{tagged}, $ab);
    finish($runner{ab}, $plain);
    finish($c, $abc);
};

subtest 'shared runners are fair among projects' => sub {
    my @shared = (project(shared => 1), project(shared => 1));
    my $closed = project();
    my $runner = runner(shared => 1);
    build(project => $closed);
    my @first = map { scalar build(project => $shared[0]) } 1 .. 3;
    my $second = build(project => $shared[1]);
    my @got = map { claim($runner)->{id} } 1 .. 4;
    is_deeply \@got, [$first[0], $second, @first[1, 2]], 'the project with fewer running builds goes first, then the older build';
    is claim($runner), undef, 'nothing of projects that want no shared runners';
    finish($runner, $_) for @got;
    my $own = runner(project => $shared[0]);
    my $id = build(project => $shared[0]);
    is claim($own)->{id}, $id, 'a specific runner takes builds of such a project too';
    my @waiting = map { scalar build(project => $_) } @shared;
    @got = map { claim($runner)->{id} } @waiting;
    is_deeply \@got, \@waiting, 'what ended, or runs on a specific runner, counts against no project';
    finish($own, $id);
    finish($runner, $_) for @got;
    cancel_all(@shared, $closed);
};

subtest 'a project whose builds are off' => sub {
    my $project = project(shared => 1);
    my @runners = (runner(project => $project), runner(shared => 1));
    my $id = build(project => $project);
    cib(qw(project set), $project->{id}, '--no-builds');
    is claim($runners[0]), undef, 'nothing of it for a specific runner';
    is claim($runners[1]), undef, '  nor for a shared one';
    like "@{ build_show($id)->{pending_reasons} }", qr/switched off/, '  and the build says why';
    cib(qw(project set), $project->{id}, '--builds');
    is claim($runners[1])->{id}, $id, 'switched on again, it is handed out';
    finish($runners[1], $id);
};

subtest 'a locked runner' => sub {
    my $project = project(shared => 1);
    my $locked = runner(shared => 1, args => ['--locked']);
    my $id = build(project => $project);
    is claim($locked), undef, 'a locked shared runner takes nothing of projects it is not enabled for';
    cancel_all($project);
    my $specific = runner(project => $one[1], args => ['--locked']);
    $id = build(project => $one[1]);
    is claim($specific)->{id}, $id, 'a locked specific runner takes those of its own';
    finish($specific, $id);
};

subtest 'why a build is pending' => sub {
    my $project = project();
    my $id = build(project => $project);
    my $reasons = build_show($id)->{pending_reasons};
    cmp_ok scalar @$reasons, '>=', 1, 'no runner at all: ' . ($reasons->[0] // '');
    my $runner = runner(project => $project);
    poll($runner, headers => []);
    finish($runner, $id);
    is_deeply build_show($id)->{pending_reasons}, [], 'a build that ended has no reasons';
    $id = build(project => $project);
    cib(qw(runner pause), $runner->{id});
    $reasons = build_show($id)->{pending_reasons};
    like "@$reasons", qr/paused/i, 'all paused: ' . ($reasons->[0] // '');
    cancel_all($project);
};

subtest 'many at once' => sub {
    my $project = project();
    my @runners = map { runner(project => $project) } 1 .. 4;
    my @ids = build(project => $project, args => ['--count', 12]);
    is scalar @ids, 12, '--count makes them all';
    my @connections = map {
        my $connection = connect_to();
        $connection->send(request_text(
            POST => "$V1/builds/register.json", json => { token => $runners[$_ % 4]{token} },
            headers => ['User-Agent' => 'gitlab-ci-multi-runner 1.11.5 (x)']
        ));
        $connection;
    } 1 .. 20;
    my (%got, %status);
    for my $connection (@connections) {
        my $r = $connection->response;
        $status{ $r->{status} }++;
        remember($r->{json});
        $got{ $r->{json}{id} }++ if $r->{status} == 201;
    }
    is_deeply \%status, { 201 => 12, 204 => 8 }, 'as many answers as builds, nothing for the others';
    is_deeply [sort { $a <=> $b } keys %got], [sort { $a <=> $b } @ids], 'each build went to one runner';
    is_deeply [grep { $_ != 1 } values %got], [], '  and to no other';
    cancel_all($project);

    @ids = build(project => $project, args => ['--count', 20]);
    @connections = map { connect_to() } @ids;
    for my $n (0 .. $#ids) {
        $connections[$n]->send(request_text(POST => "$V1/builds/register.json", json => { token => $runners[$n % 4]{token} }));
    }
    %status = ();
    for my $connection (@connections) {
        my $r = $connection->response;
        $status{ $r->{status} }++;
        remember($r->{json});
    }
    is_deeply \%status, { 201 => 20 }, 'who loses a race gets the next: nobody goes away empty while there is one';
    cancel_all($project);
};

subtest 'an answer that nobody reads' => sub {
    my $project = project();
    my $runner = runner(project => $project);
    my $id = build(project => $project);
    my $let_go = hold_claims();
    my $connection = connect_to();
    my $text = request_text(POST => "$V1/builds/register.json", headers => [Expect => '100-continue'], json => { token => $runner->{token} });
    my $head = index($text, "\r\n\r\n") + 4;
    $connection->send(substr $text, 0, $head);
    ok $connection->answered(30), 'the server asks for the body';
    $connection->send(substr $text, $head);
    setsockopt $connection->{socket}, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack('ii', 1, 0) or die "SO_LINGER: $!\n";
    $connection->close;
    $let_go->();
    expect_log(qr/CIB0304:/);
    wait_for('the claim to be undone', sub { slurp($CELL->{error_log}) =~ /CIB0403: build $id:/ });
    wait_for('the build to be pending again', sub { build_show($id)->{status} eq 'pending' });
    is claim($runner)->{id}, $id, 'its build is there for the next who asks';
    finish($runner, $id);
};

# On PostgreSQL who claims holds a lock on a row of the queue until it commits; on SQLite there is one writer.
subtest 'what others are just taking' => sub {
    plan skip_all => 'SQLite has one writer at a time' if is_sqlite();
    my $project = project();
    my $runner = runner(project => $project, tags => join(',', 1 .. 20));
    for my $case (['of one kind', sub { build(project => $project, args => ['--count', 20]) }],
        ['each with a tag of its own', sub { map { scalar build(project => $project, tags => $_) } 1 .. 20 }])
    {
        my ($what, $make) = @$case;
        my @ids = $make->();
        my ($held, $let_go) =
            hold_sql("BEGIN;\nSELECT count(*) FROM (SELECT 1 FROM queue WHERE build_id IN (" . join(',', @ids[0 .. 18]) . ') FOR UPDATE) held;');
        is $held, 19, "$what: somebody has all but the last in hand";
        is claim($runner)->{id}, $ids[-1], '  who comes meanwhile gets the last, in the same request';
        $let_go->("ROLLBACK;\n");
        is claim($runner)->{id}, $ids[0], '  what was not taken after all is there again';
        finish($runner, $_) for @ids[0, -1];
        cancel_all($project);
    }
};

done_testing;
