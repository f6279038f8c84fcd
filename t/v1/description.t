# The description of a build, member by member: what is there, in which order and of which type, and that
# there is nothing else.

use strict;
use warnings;

use JSON::PP ();

use CIB::Test;

my $project = project();
my $runner = runner(project => $project, tags => 'b,a', args => ['--description', 'a runner']);

# These names in the order in which each stands first in the text, which begins with the build's own.
sub members {
    my ($body, @expected) = @_;
    my @at = map { $body =~ /"\Q$_\E":/ ? $-[0] : -1 } @expected;
    return [@expected[sort { $at[$a] <=> $at[$b] } grep { $at[$_] >= 0 } 0 .. $#at]];
}

my @build = qw(id ref tag sha status name stage token project_id project_name);
my @rest = qw(commands repo_url before_sha allow_git_fetch options timeout variables depends_on_builds);

subtest 'members' => sub {
    my $id = build(project => $project);
    my $r = poll($runner);
    my @expected = (@build, @rest, 'credentials');
    is_deeply [sort keys %{ $r->{json} }], [sort @expected], 'those there are';
    is_deeply members($r->{body}, @expected), \@expected, '  in order';
    my $up = upload($r->{json}, 'x', suffix => '?expire_in=1+week');
    @expected = (@build, 'artifacts_file', @rest, 'artifacts_expire_at', 'credentials');
    is_deeply [sort keys %{ $up->{json} }], [sort @expected], 'with an artifact that expires';
    is_deeply members($up->{body}, @expected), \@expected, '  in order';
    is_deeply [sort keys %{ $up->{json}{artifacts_file} }], [qw(filename sha256 size)], '  and what is said of it';
    like $up->{body}, qr/"size": ?1[,}]/, '  its size is a JSON integer';
    $up = upload($r->{json}, 'x');
    ok !exists $up->{json}{artifacts_expire_at}, 'one that does not expire does not say so';
    finish($runner, $id);

    my $next = build(project => $project, args => ['--depends-on', $id]);
    my ($need) = @{ claim($runner)->{depends_on_builds} };
    @expected = (@build, 'artifacts_file');
    is_deeply [sort keys %$need], [sort @expected], 'of a build that it depends on';
    is $need->{project_id}, $project->{id}, '  its project';
    is $need->{project_name}, $project->{name}, '  by name';
    is $need->{stage}, 'test', '  its stage';
    is $need->{token}, $r->{json}{token}, '  and its token';
    finish($runner, $next);
};

subtest 'variables' => sub {
    my $id = build(project => $project, args => [qw(--tag --ref v2 --variable B=1 --secret A=2 --variable C=3)]);
    my $build = claim($runner);
    my @expected = qw(
        CI GITLAB_CI CI_BUILD_ID CI_BUILD_TOKEN CI_BUILD_REF CI_BUILD_BEFORE_SHA CI_BUILD_REF_NAME CI_BUILD_REF_SLUG
        CI_BUILD_NAME CI_BUILD_STAGE CI_SERVER_NAME CI_SERVER_VERSION CI_SERVER_REVISION CI_BUILD_TAG
        CI_PROJECT_ID CI_PROJECT_NAME CI_PROJECT_PATH CI_PROJECT_URL CI_PIPELINE_ID
        CI_RUNNER_ID CI_RUNNER_DESCRIPTION CI_RUNNER_TAGS B C A
    );
    is_deeply [map { $_->{key} } @{ $build->{variables} }], \@expected, 'those there are, in order';
    is_deeply [map { $_->{key} } grep { !$_->{public} } @{ $build->{variables} }], [qw(CI_BUILD_TOKEN A)], 'who is not public';
    is_deeply [grep { join(' ', sort keys %$_) ne 'key public value' } @{ $build->{variables} }], [], 'what is said of each';
    my %value = map { $_->{key} => $_->{value} } @{ $build->{variables} };
    like $value{CI_SERVER_VERSION}, qr/^\d+\.\d+\.\d+$/, 'our version';
    like $value{CI_SERVER_REVISION}, qr/\S/, '  and revision';
    is $value{CI_PIPELINE_ID}, $id, 'the pipeline is the build';
    finish($runner, $id);
};

subtest 'repositories' => sub {
    my %cases = (
        'user info of its own' => ['https://me:secret@git.example.com/x.git', 'https://git.example.com/x.git'],
        'another scheme'       => ['ssh://git.example.com/x.git', 'ssh://git.example.com/x.git'],
        'no URL'               => ['git@git.example.com:x.git', 'git@git.example.com:x.git'],
        'a path'               => ['/srv/x.git', '/srv/x.git'],
    );
    for my $what (sort keys %cases) {
        my ($url, $shown) = @{ $cases{$what} };
        my $its = project(repo_url => $url, args => [qw(--repo-auth token)]);
        my $own = runner(project => $its);
        build(project => $its);
        my $build = claim($own);
        is $build->{repo_url}, $url, "$what: as given, the token is not put in";
        my ($told) = grep { $_->{key} eq 'CI_PROJECT_URL' } @{ $build->{variables} };
        is $told->{value}, $shown, '  and CI_PROJECT_URL has no user info';
        finish($own, $build->{id});
    }
};

# What newer runners are told more of, in the words of v1, whose runners decode them strictly.
subtest 'options' => sub {
    my $told = sub {
        my ($options, @args) = @_;
        my $id = build(project => $project, commands => "make\n", args => ['--options', JSON::PP->new->encode($options), @args]);
        my $build = claim($runner);
        finish($runner, $id);
        return $build;
    };
    my %old = (
        image => 'debian:12', services => ['redis', 'postgres'], dependencies => ['a'], after_script => ['b'],
        artifacts => { name => 'n', untracked => JSON::PP::false, paths => ['c'], when => 'always', expire_in => '1 day' },
        cache => { key => 'd', untracked => JSON::PP::true, paths => ['e'] }, other => [{ f => undef }],
    );
    is_deeply $told->(\%old)->{options}, \%old, 'what v1 knows is handed on as it is';
    is_deeply $told->({ map { $_ => undef } keys %old })->{options}, {}, 'a null is nothing';
    my @needs = map { build(project => $project, args => ['--name', $_]) } qw(a b);
    finish($runner, claim($runner)->{id}) for @needs;
    my $build = $told->({
        image        => { name => 'debian:12', entrypoint => ['sh'], pull_policy => 'always' },
        services     => ['redis', { name => 'postgres', alias => 'db', command => ['x'] }],
        artifacts    => [{ reports => { dotenv => 'e' } }, { paths => ['c'], name => 'n', reports => { junit => 'j' } }],
        cache        => [{ key => 'd', policy => 'pull' }, { key => 'e' }],
        dependencies => ['a'], before_script => ['one', "two\n"], after_script => ['three'],
    }, map { ('--depends-on', $_) } @needs);
    is_deeply $build->{options}, {
        image => 'debian:12', services => ['redis', 'postgres'], artifacts => { paths => ['c'], name => 'n' },
        cache => { key => 'd', policy => 'pull' }, dependencies => ['a'], after_script => ['three'],
    }, 'names of images, the archive, the first cache';
    is $build->{commands}, "one\ntwo\n\nmake\n", 'before_script is part of the commands';
    is_deeply [map { $_->{name} } @{ $build->{depends_on_builds} }], ['a', 'b'], 'the runner filters the dependencies';
    is_deeply $told->({ artifacts => { reports => { junit => 'x' } }, cache => [] })->{options}, {}, 'no report, no cache: nothing';
    is_deeply $told->({ services => [], artifacts => [], dependencies => [] })->{options}, { services => [], dependencies => [] },
        'empty lists';
};

subtest 'variables of newer runners' => sub {
    my $id = build(project => $project, args => ['--file-variable', "F=a file\n", '--raw-variable', 'R=$F', '--secret', 'S=12345678']);
    my $r = poll($runner);
    is_deeply [@{ $r->{json}{variables} }[-3 .. -1]], [
        { key => 'R', value => '$F', public => JSON::PP::true }, { key => 'S', value => '12345678', public => JSON::PP::false },
        { key => 'F', value => "a file\n", public => JSON::PP::false, file => JSON::PP::true },
    ], 'file is said where it is true, raw and masked never';
    is scalar(() = $r->{body} =~ /"file"/g), 1, '  once';
    finish($runner, $id);
};

subtest 'the shorter time' => sub {
    my $short = runner(project => $project, args => [qw(--maximum-timeout 600)]);
    for ([599, 599], [600, 600], [601, 600]) {
        my ($given, $told) = @$_;
        my $id = build(project => $project, args => ['--timeout', $given]);
        is claim($short)->{timeout}, $told, "a build's $given seconds and its runner's 600";
        is build_show($id)->{timeout}, $given, '  and the build keeps its own';
        finish($short, $id);
    }
};

done_testing;
