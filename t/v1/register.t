# POST builds/register: who may ask, what is answered when there is nothing, and the description of a
# build.

use strict;
use warnings;

use CIB::Test;

my $project = project(args => ['--timeout', 1234]);
my $runner = runner(project => $project, args => ['--description', 'a "runner"'], tags => 'linux,c');

subtest 'who may ask' => sub {
    answers http(POST => 'builds/register.json', json => {}), 403, '403 Forbidden', 'no token';
    answers http(POST => 'builds/register.json'), 403, '403 Forbidden', 'no body';
    answers http(POST => 'builds/register.json', json => { token => '' }), 403, '403 Forbidden', 'an empty token';
    answers http(POST => 'builds/register.json', json => { token => 'f' x 40 }), 403, '403 Forbidden', 'an unknown token';
    answers http(POST => 'builds/register.json', json => { token => $project->{token} }), 403, '403 Forbidden',
        "a project's token";
    answers http(POST => 'builds/register.json', json => { token => substr $runner->{token}, 0, -1 }), 403, '403 Forbidden',
        'all of a token but its end';
    is http(POST => 'builds/register.json', headers => ['BUILD-TOKEN' => $runner->{token}])->{status}, 403,
        'the header is not for runner tokens';
    my $r = http(GET => 'builds/register.json');
    answers $r, 405, undef, 'GET is not served';
    like $r->{headers}{allow}, qr/\bPOST\b/, '  and Allow says what is';
};

subtest 'nothing to do' => sub {
    my $r = poll($runner);
    answers $r, 204, undef, 'a runner that names its version gets 204';
    is $r->{body}, '', '  without a body';
    ok !defined $r->{headers}{'content-type'}, '  and without a type';
    ok length $r->{headers}{'x-gitlab-last-update'}, '  and the state of the queue';
    for my $agent ('gitlab-runner 9.5.1 (9-5-stable; go1.8.3; linux/amd64)', 'gitlab-ci-multi-runner 1.3.0~beta.2.gabc123 (x)') {
        is poll($runner, headers => ['User-Agent' => $agent])->{status}, 204, "204 for $agent";
    }
    for my $agent ('Go-http-client/1.1', 'curl/7.88.1', 'gitlab-runner', 'gitlab-runner development version (HEAD; linux)', 'x gitlab') {
        $r = poll($runner, headers => ['User-Agent' => $agent]);
        answers $r, 404, '404 Not Found', "404 for $agent";
        is $r->{headers}{'content-type'}, 'application/json', '  in JSON';
        ok length $r->{headers}{'x-gitlab-last-update'}, '  with the state of the queue';
    }
    answers poll($runner, headers => []), 404, '404 Not Found', '404 without User-Agent';
};

subtest 'where the token may be' => sub {
    my @agent = ('User-Agent' => 'gitlab-ci-multi-runner 1.11.5 (x)');
    my $token = $runner->{token};
    is http(POST => 'builds/register', headers => \@agent, query => [token => $token])->{status}, 204, 'in the query';
    is http(POST => 'builds/register', headers => \@agent, form => [token => $token])->{status}, 204, 'in a form';
    is http(POST => 'builds/register', headers => \@agent, multipart => [part(name => 'token', body => $token)])->{status},
        204, 'in a multipart field';
    is http(POST => 'builds/register', headers => \@agent, json => { token => $token }, chunked => [1, 5, 3])->{status}, 204,
        'in JSON, in chunks';
    is http(POST => 'builds/register', headers => \@agent, query => [token => $token], json => { token => 'x' x 20 })->{status},
        204, 'the query goes before the body';
    is http(POST => 'builds/register', headers => \@agent, query => [token => 'x' x 20], json => { token => $token })->{status},
        403, '  right or wrong';
    is http(POST => 'builds/register', headers => \@agent, form => [token => $token, 'info[version]' => '1.2.3'])->{status},
        204, 'info of a form';
    is http(POST => 'builds/register', headers => [@agent, 'Expect' => '100-continue'], json => { token => $token })->{status},
        204, 'after 100 Continue';
};

subtest 'what the runner says about itself' => sub {
    poll($runner, json => { info => { CIB::Test::info('1.9.4')->%*, platform => "lin\x{fc}x" } });
    my $show = cib(qw(runner show), $runner->{id});
    is $show->{version}, '1.9.4', 'its version is kept';
    is $show->{platform}, "lin\x{fc}x", '  and its platform';
    is $show->{name}, 'gitlab-ci-multi-runner', '  and its name';
    is $show->{status}, 'online', '  and it is online';
    like $show->{contacted_at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/, '  since then';
};

subtest 'a paused runner' => sub {
    my $paused = runner(project => $project);
    cib(qw(runner pause), $paused->{id});
    answers poll($paused), 404, '404 Not Found', 'never 204 but 404';
    my $show = cib(qw(runner show), $paused->{id});
    is $show->{contacted_at}, undef, 'its contact time is untouched';
    is $show->{version}, undef, '  and its info';
    is $show->{active} ? 1 : 0, 0, 'it is not active';
    cib(qw(runner resume), $paused->{id});
    is poll($paused)->{status}, 204, 'resumed, it is served again';
};

subtest 'the description of a build' => sub {
    my $id = build(
        project => $project, commands => "make\n\"\\\x{e2}\x{82}\xac/\n", sha => 'deadbeef' x 5,
        args => [
            qw(--ref v1.0 --tag --name compile --stage build --timeout 77 --before-sha), '0123' x 10,
            '--options', '{"image":"debian:12","artifacts":{"paths":["out/"]}}',
            qw(--variable), 'GREETING=hello there', '--secret', 'PASSWORD=correct horse battery',
        ],
        tags => 'c',
    );
    my $r = poll($runner);
    is $r->{status}, 201, 'status 201';
    is $r->{headers}{'content-type'}, 'application/json', 'the type is exactly application/json';
    ok !defined $r->{headers}{'x-gitlab-last-update'}, 'no X-GitLab-Last-Update';
    like $r->{headers}{'content-length'}, qr/^\d+$/, 'with a length';
    my $got = $r->{json};
    is $got->{id}, $id, 'id';
    is $got->{ref}, 'v1.0', 'ref';
    is $got->{sha}, 'deadbeef' x 5, 'sha';
    is $got->{before_sha}, '0123' x 10, 'before_sha';
    is $got->{status}, 'running', 'status';
    is $got->{name}, 'compile', 'name';
    is $got->{stage}, 'build', 'stage';
    is $got->{project_id}, $project->{id}, 'project_id';
    is $got->{project_name}, $project->{name}, 'project_name';
    is $got->{commands}, "make\n\"\\\x{20ac}/\n", 'commands, byte for byte';
    is $got->{repo_url}, 'http://git.example.com/demo.git', 'repo_url as given';
    is $got->{timeout}, 77, 'timeout';
    is_deeply $got->{options}, { image => 'debian:12', artifacts => { paths => ['out/'] } }, 'options';
    is_deeply $got->{depends_on_builds}, [], 'depends_on_builds';
    is_deeply $got->{credentials}, [], 'credentials';
    ok !exists $got->{artifacts_file}, 'no artifacts_file where there is none';
    cmp_ok length $got->{token}, '>=', 20, 'a token';
    for my $name (qw(id project_id timeout)) {
        like $r->{body}, qr/"$name": ?\d+[,}]/, "$name is a JSON integer";
    }
    for my $name (qw(tag allow_git_fetch)) {
        like $r->{body}, qr/"$name": ?true[,}]/, "$name is a JSON boolean";
    }
    unlike $r->{body}, qr{\\/}, 'slashes are not escaped';
    my @variables = @{ $got->{variables} };
    my %variable = map { $_->{key} => $_ } @variables;
    my %expected = (
        CI => 'true', GITLAB_CI => 'true', CI_BUILD_ID => "$id", CI_BUILD_TOKEN => $got->{token},
        CI_BUILD_REF => $got->{sha}, CI_BUILD_BEFORE_SHA => $got->{before_sha}, CI_BUILD_REF_NAME => 'v1.0',
        CI_BUILD_REF_SLUG => 'v1-0', CI_BUILD_NAME => 'compile', CI_BUILD_STAGE => 'build', CI_BUILD_TAG => 'v1.0',
        CI_SERVER_NAME => 'mod_ci_builds', CI_PROJECT_ID => "$project->{id}", CI_PROJECT_NAME => $project->{name},
        CI_PROJECT_PATH => $project->{name}, CI_PROJECT_URL => 'http://git.example.com/demo.git', CI_PIPELINE_ID => "$id",
        CI_RUNNER_ID => "$runner->{id}", CI_RUNNER_DESCRIPTION => 'a "runner"', GREETING => 'hello there',
        PASSWORD => 'correct horse battery',
    );
    is $variable{$_}{value}, $expected{$_}, "variable $_" for sort keys %expected;
    like $variable{CI_RUNNER_TAGS}{value}, qr/^(?:c, linux|linux, c)$/, 'variable CI_RUNNER_TAGS';
    is $variable{CI_BUILD_TOKEN}{public} ? 1 : 0, 0, 'the token is not public';
    is $variable{PASSWORD}{public} ? 1 : 0, 0, 'nor is a secret';
    is $variable{GREETING}{public} ? 1 : 0, 1, 'a variable is';
    like $r->{body}, qr/"public": ?(?:true|false)/, 'as JSON booleans';
    my @names = map { $_->{key} } @variables;
    is_deeply [@names[-2, -1]], [qw(GREETING PASSWORD)], 'the public ones after the predefined, the secret ones last';
    is_deeply [@names[0, 1, 2, 3]], [qw(CI GITLAB_CI CI_BUILD_ID CI_BUILD_TOKEN)], "the predefined ones in GitLab's order";
    is_deeply [grep { ref $_->{value} || !defined $_->{value} } @variables], [], 'all values are strings';
    my $show = build_show($id);
    is $show->{status}, 'running', 'the build runs';
    is $show->{runner_id}, $runner->{id}, '  on this runner';
    ok $show->{started_at}, '  since now';
    is poll($runner)->{status}, 204, 'and is not handed out again';
    finish($runner, $id);
};

subtest 'what is not given' => sub {
    my $id = build(project => $project, commands => '');
    my $got = claim($runner);
    is $got->{ref}, 'master', 'ref';
    is $got->{name}, 'build', 'name';
    is $got->{stage}, 'test', 'stage';
    is $got->{before_sha}, '0' x 40, 'before_sha';
    is $got->{timeout}, 1234, "timeout is the project's";
    is $got->{commands}, '', 'commands may be empty';
    is_deeply $got->{options}, {}, 'options are an object';
    is $got->{tag} ? 1 : 0, 0, 'ref is no tag';
    ok !grep({ $_->{key} eq 'CI_BUILD_TAG' } @{ $got->{variables} }), '  and no variable says so';
    finish($runner, $id);
};

subtest 'a repository that wants the token' => sub {
    my $closed = project(repo_url => 'https://git.example.com/closed.git', args => [qw(--repo-auth token --no-git-fetch)]);
    my $its = runner(project => $closed);
    my $id = build(project => $closed);
    my $got = claim($its);
    is $got->{repo_url}, "https://gitlab-ci-token:$got->{token}\@git.example.com/closed.git", 'gets it as user info';
    is $got->{allow_git_fetch} ? 1 : 0, 0, 'allow_git_fetch is what the project says';
    my ($url) = grep { $_->{key} eq 'CI_PROJECT_URL' } @{ $got->{variables} };
    is $url->{value}, 'https://git.example.com/closed.git', 'but not in CI_PROJECT_URL';
    finish($its, $id);
};

subtest 'dependencies' => sub {
    my $first = build(project => $project, args => [qw(--name one --stage build)]);
    my $second = build(project => $project, args => ['--name', 'two', '--depends-on', $first]);
    is build_show($second)->{status}, 'created', 'a build that depends on another is created';
    my $one = claim($runner);
    is $one->{id}, $first, 'the other comes first';
    is poll($runner)->{status}, 204, 'and it waits';
    is upload($one, 'PK something', filename => 'one.zip')->{status}, 201, 'the other has artifacts';
    finish($runner, $first);
    my $two = claim($runner);
    is $two->{id}, $second, 'once that is a success, it is handed out';
    my ($need) = @{ $two->{depends_on_builds} };
    is $need->{id}, $first, 'it names what it depends on';
    is $need->{name}, 'one', '  by name too';
    is $need->{status}, 'success', '  and status';
    is_deeply { %{ $need->{artifacts_file} }{qw(filename size)} }, { filename => 'one.zip', size => 12 }, '  and file';
    my $file = http(GET => "builds/$first/artifacts", headers => ['Build-Token' => $need->{token}]);
    is $file->{body}, 'PK something', '  which its token fetches';
    finish($runner, $second);
    my $failing = build(project => $project);
    my $never = build(project => $project, args => ['--depends-on', $failing]);
    claim($runner);
    finish($runner, $failing, 'failed');
    is build_show($never)->{status}, 'skipped', 'what depends on a failed build is skipped';
};

done_testing;
