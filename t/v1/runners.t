# Runners come and go.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $registration = registration_token();

sub register {
    my (%json) = @_;
    return http(POST => 'runners/register.json', json => \%json);
}

subtest 'register' => sub {
    my $r = register(token => $project->{token}, description => "a runner \x{fc}", tag_list => 'ruby, linux,,ruby', info => CIB::Test::info());
    is $r->{status}, 201, "with a project's token: 201";
    is $r->{headers}{'content-type'}, 'application/json', '  exactly application/json';
    is_deeply [sort keys %{ $r->{json} }], [qw(id token)], '  with id and token, nothing more';
    cmp_ok length $r->{json}{token}, '>=', 30, '  a long token';
    my $show = cib(qw(runner show), $r->{json}{id});
    is $show->{is_shared} ? 1 : 0, 0, 'it is specific';
    is_deeply $show->{projects}, [$project->{id}], '  for that project';
    is $show->{description}, "a runner \x{fc}", '  has its description';
    is_deeply [sort @{ $show->{tag_list} }], [qw(linux ruby)], '  its tags';
    is $show->{version}, '1.11.5', '  its info';
    is $show->{active} ? 1 : 0, 1, '  is active';
    is $show->{run_untagged} ? 1 : 0, 1, '  takes untagged builds';
    is $show->{locked} ? 1 : 0, 0, '  is not locked';
    is $show->{contacted_at}, undef, '  and was not heard of';
    is $show->{status}, 'not_connected', '  which is its status';
    ok !exists $show->{token}, '  its token is not shown again';

    my $again = register(token => $project->{token});
    isnt $again->{json}{id}, $r->{json}{id}, 'each call adds a runner';
    isnt $again->{json}{token}, $r->{json}{token}, '  with a token of its own';

    my $shared = register(token => $registration, tag_list => ['a', 'b c'], run_untagged => JSON::PP::false, locked => JSON::PP::true);
    is $shared->{status}, 201, "with the instance's token: 201";
    $show = cib(qw(runner show), $shared->{json}{id});
    is $show->{is_shared} ? 1 : 0, 1, 'it is shared';
    is_deeply $show->{tag_list}, ['a', 'b c'], '  tags may be a list';
    is $show->{run_untagged} ? 1 : 0, 0, '  run_untagged is kept';
    is $show->{locked} ? 1 : 0, 1, '  and locked';
    cib(qw(runner remove), $shared->{json}{id});
};

subtest 'ways to say it' => sub {
    for my $path ('runners/register', 'runners/register.json') {
        is http(POST => $path, form => [token => $project->{token}, description => 'form', 'info[name]' => 'x'])->{status}, 201, "$path: a form";
        is http(POST => $path, query => [token => $project->{token}])->{status}, 201, "$path: the query";
        is http(POST => $path, multipart => [part(name => 'token', body => $project->{token})])->{status}, 201, "$path: multipart";
    }
};

subtest 'refused' => sub {
    my $before = @{ cib(qw(runner list)) };
    answers register(), 400, '400 (Bad request) "token" not given', 'no token';
    answers register(token => ''), 400, '400 (Bad request) "token" not given', 'an empty one';
    answers http(POST => 'runners/register.json'), 400, '400 (Bad request) "token" not given', 'no body';
    answers register(token => 'x' x 40), 403, '403 Forbidden', 'a wrong one';
    answers register(token => $project->{token}, run_untagged => JSON::PP::false), 404, '404 Not Found', 'no tags and no untagged builds';
    is register(token => $project->{token}, tag_list => { a => 1 })->{status}, 400, 'tags that are an object';
    is register(token => $project->{token}, description => ['x'])->{status}, 400, 'a description that is a list';
    is register(token => $project->{token}, run_untagged => 'perhaps')->{status}, 400, 'a flag that is none';
    is scalar(@{ cib(qw(runner list)) }), $before, 'no runner was made';
    answers http(GET => 'runners/register.json'), 405, undef, 'GET is not served';
    answers http(GET => 'runners'), 404, undef, 'nor is the list of runners';
};

subtest 'delete' => sub {
    my $remove = sub { return http(DELETE => 'runners/delete', @_) };
    my $new = sub { return register(token => $project->{token})->{json} };
    my $runner = $new->();
    build(project => $project);
    my $build = claim($runner);
    answers $remove->(), 400, '400 (Bad request) "token" not given', 'no token';
    answers $remove->(json => { token => '' }), 400, '400 (Bad request) "token" not given', 'an empty one';
    answers $remove->(json => { token => 'x' x 40 }), 403, '403 Forbidden', 'a wrong one';
    answers $remove->(headers => ['BUILD-TOKEN' => $runner->{token}]), 400, undef, 'the header does not count';
    is $remove->(json => { token => $runner->{token} })->{status}, 200, 'its own: 200';
    answers $remove->(json => { token => $runner->{token} }), 403, '403 Forbidden', '  once';
    answers poll($runner), 403, '403 Forbidden', 'it gets no more builds';
    answers http(PUT => 'builds/-1', json => { token => $runner->{token} }), 403, '403 Forbidden', 'verify says so';
    cib_fails(1, qr/\S/, qw(runner show), $runner->{id});
    my $show = build_show($build->{id});
    is $show->{status}, 'failed', 'its running build failed';
    is $show->{failure_reason}, 'runner_lost', '  because it is gone';
    is $show->{runner_id}, $runner->{id}, '  and still says whose it was';
    for my $how (['query' => [token => $new->()->{token}]], ['form' => [token => $new->()->{token}]]) {
        is $remove->(@$how)->{status}, 200, "in the $how->[0]";
    }
    is http(DELETE => 'runners/delete.json', json => { token => $new->()->{token} })->{status}, 200, 'with .json';
};

subtest 'tokens that change' => sub {
    my $runner = runner(project => $project);
    my $new = cib(qw(runner rotate-token), $runner->{id});
    answers poll($runner), 403, '403 Forbidden', 'the old runner token is refused';
    is poll($new)->{status}, 204, '  the new one works';
    my $other = cib(qw(project rotate-token), $project->{id});
    answers register(token => $project->{token}), 403, '403 Forbidden', "the project's old one is refused";
    is register(token => $other->{token})->{status}, 201, '  the new one works';
    is cib(qw(project show), $project->{id}, '--show-token')->{token}, $other->{token}, '  and can be looked up';
    my $rotated = cib(qw(registration-token rotate));
    answers register(token => $registration), 403, '403 Forbidden', "the instance's old one is refused";
    is registration_token(), $rotated->{token}, '  the new one can be looked up';
    my $r = register(token => $rotated->{token});
    is $r->{status}, 201, '  and works';
    cib(qw(runner remove), $r->{json}{id});
    my $import = uniq('imported-token-of-old');
    remember($import);
    my $imported = runner(project => $project, args => ['--token', $import]);
    is poll({ token => $import })->{status}, 204, 'a token from elsewhere works';
    cib_fails('1|2', qr/\S/, qw(runner add --shared --token), 'short');
};

done_testing;
