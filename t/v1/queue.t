# Which build a runner gets, and that nobody else gets it.

use strict;
use warnings;

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
    is claim($runner{upper})->{id}, $plain, 'tags are compared byte by byte';
    finish($runner{upper}, $plain);
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
    finish($own, $id);
    cancel_all(@shared, $closed);
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
};

done_testing;
