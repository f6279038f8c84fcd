# Runners of /api/v4 come, say who they are, and go; and the machines that share a runner's token.

use strict;
use warnings;

use CIB::Test;
use CIB::V4;

my ($true, $false) = (JSON::PP::true(), JSON::PP::false());
my $project = project();
my $registration = registration_token();

my $HEX = qr/[0-9a-f]{40}/;

sub register { my (%json) = @_; return http(POST => "$V4/runners", json => \%json) }
sub verify   { my (%json) = @_; return http(POST => "$V4/runners/verify", json => \%json) }
sub reset_token { my (%json) = @_; return http(POST => "$V4/runners/reset_authentication_token", json => \%json) }
sub forget   { my (%json) = @_; return http(DELETE => "$V4/runners/managers", json => \%json) }
sub new_runner { return register(token => $project->{token}, @_)->{json} }
sub show { return scalar cib(qw(runner show), $_[0]{id}) }

# Status and body, byte for byte.
sub says {
    my ($r, $status, $body, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is "$r->{status} $r->{body}", "$status $body", $what;
    is $r->{headers}{'content-type'}, 'application/json', '  in JSON' if length $body;
    return;
}

sub is_empty {
    my ($r, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    says($r, 204, '', $what);
    is $r->{headers}{'content-type'}, undef, '  without a type';
    return;
}

my $NO_TOKEN = '{"error":"token is missing"}';
my $FORBIDDEN = '{"message":"403 Forbidden"}';

# What every request that wants a token says of those that are none.
sub wants_token {
    my ($method, $path, %also) = @_;
    my $say = sub { return http($method => "$V4/$path", @_) };
    says $say->(), 400, $NO_TOKEN, 'no body';
    says $say->(json => {%also}), 400, $NO_TOKEN, 'no token';
    says $say->(json => { %also, token => undef }), 400, $NO_TOKEN, 'a token that is null';
    says $say->(json => {%also}, headers => ['RUNNER-TOKEN' => $registration, 'JOB-TOKEN' => $registration]), 400, $NO_TOKEN,
        'one in a header';
    says $say->(json => { %also, token => $_ }), 400, '{"error":"token is invalid"}', 'one that is no text' for 5, [], {}, $true;
    says $say->(json => { %also, token => '' }), 403, $FORBIDDEN, 'an empty one';
    says $say->(json => { %also, token => 'x' x 40 }), 403, $FORBIDDEN, 'an unknown one';
    says $say->(form => [%also, token => 'x' x 40]), 403, $FORBIDDEN, 'an unknown one in a form';
    is $say->(body => '{"token":', type => 'application/json')->{status}, 400, 'half a body';
    is $say->(body => '[]', type => 'application/json')->{status}, 400, 'one that is no object';
    is $say->(body => 'x', type => 'text/plain')->{status}, 406, 'one of another type';
    return;
}

subtest 'register' => sub {
    my $r = register(token => $project->{token}, description => "a runner \x{fc}", tag_list => 'ruby, linux,,ruby', info => info());
    is $r->{status}, 201, "with a project's token: 201";
    is $r->{headers}{'content-type'}, 'application/json', '  exactly application/json';
    like $r->{body}, qr/^\{"id":\d+,"token":"$HEX","token_expires_at":null\}$/, '  id, token and when it expires: never';
    my $show = show($r->{json});
    is $show->{is_shared} ? 1 : 0, 0, 'it is specific';
    is_deeply $show->{projects}, [$project->{id}], '  for that project';
    is $show->{description}, "a runner \x{fc}", '  has its description';
    is_deeply $show->{tag_list}, [qw(linux ruby)], '  its tags';
    is_deeply [@$show{qw(name version revision platform architecture)}], [qw(gitlab-runner 14.7.1 local linux amd64)], '  its info';
    is_deeply [map { $show->{$_} ? 1 : 0 } qw(active run_untagged locked)], [1, 1, 0], '  is active, takes untagged builds, is not locked';
    is $show->{maximum_timeout}, undef, '  has no limit of time';
    is_deeply [@$show{qw(contacted_at status machines)}], [undef, 'not_connected', []], '  and was not heard of';

    my $again = register(token => $project->{token});
    isnt $again->{json}{id}, $r->{json}{id}, 'each call adds a runner';
    isnt $again->{json}{token}, $r->{json}{token}, '  with a token of its own';

    my $shared = register(
        token => $registration, tag_list => ['b c', 'a'], run_untagged => $false, locked => $true, active => $false, maximum_timeout => 600,
        access_level => 'ref_protected', maintenance_note => 'x', maintainer_note => 'y', system_id => 's_0123456789ab', unheard_of => [{}]
    );
    is $shared->{status}, 201, "with the instance's token: 201";
    $show = show($shared->{json});
    is $show->{is_shared} ? 1 : 0, 1, 'it is shared';
    is_deeply $show->{tag_list}, ['a', 'b c'], '  tags may be a list';
    is_deeply [map { $show->{$_} ? 1 : 0 } qw(active run_untagged locked)], [0, 0, 0], '  flags are kept, but it is locked to no project';
    is $show->{maximum_timeout}, 600, '  and the limit of time';
    is_deeply $show->{machines}, [], '  no machine spoke yet';
    cib(qw(runner remove), $shared->{json}{id});

    # runners 10 and later say locked unless told otherwise
    my $open = project(shared => 1);
    my $tag = uniq('locked');
    my $id = build(project => $open, tags => $tag);
    my $locked = register(token => $registration, tag_list => $tag, run_untagged => $false, locked => $true)->{json};
    my $job = http(POST => "$V4/jobs/request", json => { token => $locked->{token} });
    is $job->{status} == 201 && $job->{json}{id}, $id, 'a shared runner that says locked gets builds';
    cancel_all($open);
    cib(qw(runner remove), $locked->{id});

    for my $case ([paused => $true, 0], [paused => $false, 1], [active => $true, 1], [active => 'false', 0], [paused => '1', 0]) {
        my ($name, $value, $active) = @$case;
        is show(new_runner($name => $value))->{active} ? 1 : 0, $active, "$name $value";
    }
    is register(token => $project->{token}, $_->[0] => $_->[1])->{status}, 201, "$_->[0]: " . ($_->[1] // 'null')
        for [access_level => 'not_protected'], map { [$_ => undef] }
        qw(access_level active paused maximum_timeout tag_list description info locked run_untagged system_id);
    is show(new_runner(maximum_timeout => '601'))->{maximum_timeout}, 601, 'a number may be a text';
};

subtest 'ways to say it' => sub {
    is http(POST => "$V4/runners", form => [token => $project->{token}, tag_list => 'f', 'info[name]' => 'x', locked => 'true'])->{status},
        201, 'in a form';
    is http(POST => "$V4/runners", query => [token => $project->{token}])->{status}, 201, 'in the query';
    is http(POST => "$V4/runners", multipart => [part(name => 'token', body => $project->{token})])->{status}, 201, 'in parts';
    # as 14.7.1 says it: wire/v14.7.1/register
    my $said = http(
        POST => "$V4/runners", type => 'application/json',
        headers => ['User-Agent' => 'gitlab-runner 14.7.1 (local; go1.19.8; linux/amd64)', Accept => 'application/json', 'Accept-Encoding' => 'gzip'],
        body => '{"description":"stub-runner","tag_list":"ruby,linux","run_untagged":true,"locked":true,"active":true,"info":{"name":"gitlab-runner",'
            . '"version":"14.7.1","revision":"local","platform":"linux","architecture":"amd64","features":{"variables":false,"trace_reset":true},'
            . '"config":{"gpus":""}},"token":"' . $project->{token} . '"}'
    );
    is $said->{status}, 201, 'as 14.7.1';
    is show($said->{json})->{locked} ? 1 : 0, 1, '  with what it says';
};

subtest 'refused' => sub {
    my $runners = sub { return [map { $_->{id} } @{ cib(qw(runner list)) }] };
    my $before = $runners->();
    wants_token POST => 'runners';
    my @invalid = (
        [{ description => ['x'] }, 'description is invalid'], [{ description => 5 }, 'description is invalid'],
        [{ tag_list => { a => 1 } }, 'tag_list is invalid'], [{ tag_list => [1] }, 'tag_list is invalid'],
        [{ run_untagged => 'perhaps' }, 'run_untagged is invalid'], [{ locked => [] }, 'locked is invalid'],
        [{ active => 2 }, 'active is invalid'], [{ paused => {} }, 'paused is invalid'],
        [{ active => $true, paused => $false }, 'active, paused are mutually exclusive'],
        [{ info => 'x' }, 'info is invalid'], [{ info => { version => 14 } }, 'info[version] is invalid'],
        [{ system_id => 7 }, 'system_id is invalid'], [{ system_id => ['s_1'] }, 'system_id is invalid'],
        [{ access_level => 'all' }, 'access_level does not have a valid value'],
        [{ access_level => '' }, 'access_level does not have a valid value'], [{ access_level => 1 }, 'access_level is invalid'],
        [{ maximum_timeout => '1h' }, 'maximum_timeout is invalid'], [{ maximum_timeout => 600.5 }, 'maximum_timeout is invalid'],
        [{ maximum_timeout => 2**31 }, 'maximum_timeout is invalid'], [{ maximum_timeout => [600] }, 'maximum_timeout is invalid'],
    );
    for my $case (@invalid) {
        my ($json, $error) = @$case;
        says register(token => $project->{token}, %$json), 400, qq({"error":"$error"}), $error;
    }
    says register(token => 'x' x 40, access_level => 'all'), 400, '{"error":"access_level does not have a valid value"}',
        'what is malformed comes before a wrong token';
    my $no_tags = '"tags_list":["can not be empty when runner is not allowed to pick untagged jobs"]';
    my $short = '"maximum_timeout":["needs to be at least 10 minutes"]';
    my $malformed = '"tags_list":["is invalid"]';
    my @refused = (
        [{ run_untagged => $false }, $no_tags], [{ run_untagged => 'false', tag_list => ' , ' }, $no_tags], [{ run_untagged => 0, tag_list => [] }, $no_tags],
        (map { [{ maximum_timeout => $_ }, $short] } 599, 1, 0, -1, -600, '599'),
        [{ run_untagged => $false, maximum_timeout => 5 }, "$no_tags,$short"],
        [{ tag_list => ['x' x 256] }, $malformed], [{ tag_list => "a\tb" }, $malformed],
        [{ tag_list => [map {"t$_"} 1 .. 101], run_untagged => $false }, $malformed],
    );
    for my $case (@refused) {
        my ($json, $message) = @$case;
        says register(token => $project->{token}, %$json), 400, "{\"message\":{$message}}", $message;
        says register(token => 'x' x 40, %$json), 403, $FORBIDDEN, '  with a wrong token that comes first';
    }
    is_deeply $runners->(), $before, 'no runner was made';
    my $r = http(GET => "$V4/runners");
    answers $r, 405, undef, 'the list of runners is not served';
    is join(' ', sort split /[, ]+/, $r->{headers}{allow}), 'DELETE POST', '  and Allow says what is';
    answers http(GET => "$V4/runners/$_"), 404, undef, "nor is $_" for 1, 'router/discovery';
    answers http(POST => "$V4/runners/1/reset_authentication_token", body => 'null', type => 'application/json'), 404, undef, 'nor a reset by number';
    my $gone = project();
    cib(qw(project remove), $gone->{id});
    says register(token => $gone->{token}), 403, $FORBIDDEN, 'the token of a project that was removed';
    my $was = registration_token();
    $registration = cib(qw(registration-token rotate))->{token};
    says register(token => $was), 403, $FORBIDDEN, "the instance's one from before";
};

subtest 'verify' => sub {
    wants_token POST => 'runners/verify';
    my $runner = new_runner();
    my $r = verify(token => $runner->{token});
    says $r, 200, qq({"id":$runner->{id},"token":"$runner->{token}","token_expires_at":null}), 'its own token';
    my $show = show($runner);
    is $show->{status}, 'online', 'it was heard of';
    is_deeply $show->{machines}, [], '  by no machine of a name';
    is verify(token => $runner->{token}, system_id => 's_0123456789ab', info => info('16.1.0'))->{status}, 200, 'a machine says its name';
    $show = show($runner);
    is $show->{version}, '16.1.0', '  and what it is';
    my ($machine) = @{ $show->{machines} };
    is_deeply [@$machine{qw(system_id status name version revision platform architecture)}],
        [qw(s_0123456789ab online gitlab-runner 16.1.0 local linux amd64)], '  which is kept of it';
    like $machine->{contacted_at}, qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, '  with the time';
    is scalar keys %$machine, 8, '  and nothing more';
    for my $case ([{ info => [] }, 'info is invalid'], [{ info => { name => 1 } }, 'info[name] is invalid'], [{ system_id => {} }, 'system_id is invalid']) {
        my ($json, $error) = @$case;
        says verify(token => $runner->{token}, %$json), 400, qq({"error":"$error"}), $error;
    }
    is_deeply show($runner), $show, 'what is malformed changes nothing';
    is http(POST => "$V4/runners/verify", form => [token => $runner->{token}, system_id => 'r_form'])->{status}, 200, 'in a form';
    is http(POST => "$V4/runners/verify", query => [token => $runner->{token}, system_id => 'r_query'])->{status}, 200, 'in the query';
    is_deeply [sort map { $_->{system_id} } @{ show($runner)->{machines} }], [qw(r_form r_query s_0123456789ab)], '  with the name';
    cib(qw(runner pause), $runner->{id});
    is verify(token => $runner->{token})->{status}, 200, 'a paused one is one, too';
    my $created = runner(project => $project);
    like $created->{token}, qr/^glrt-$HEX$/, 'a runner that was made by hand';
    says verify(token => $created->{token}, system_id => ''), 200,
        qq({"id":$created->{id},"token":"$created->{token}","token_expires_at":null}), '  verifies itself as gitlab-runner register does';
    my $import = uniq('imported-token-of-old');
    remember($import);
    my $imported = runner(project => $project, args => ['--token', $import]);
    is verify(token => $import)->{json}{token}, $import, 'so does an imported one, with its token as it is';
    answers http(GET => "$V4/runners/verify"), 405, undef, 'GET is not served';
    cib(qw(runner remove), $runner->{id});
    says verify(token => $runner->{token}), 403, $FORBIDDEN, 'removed';
};

subtest 'delete' => sub {
    my $remove = sub { return http(DELETE => "$V4/runners", @_) };
    wants_token DELETE => 'runners';
    my $runner = new_runner();
    my $job = job_of($runner, project => $project);
    is_empty $remove->(json => { token => $runner->{token} }), 'its own: 204';
    says $remove->(json => { token => $runner->{token} }), 403, $FORBIDDEN, '  once';
    answers ask($runner), 403, '403 Forbidden', 'it gets no more jobs';
    my $build = build_show($job->{id});
    is "$build->{status} $build->{failure_reason} $build->{runner_id}", "failed runner_lost $runner->{id}", 'the one it had failed, and says whose it was';
    cib_fails(1, qr/no runner/, qw(runner show), $runner->{id});
    is_empty $remove->(query => [token => new_runner()->{token}]), 'in the query';
    is_empty $remove->(form => [token => new_runner()->{token}]), 'in a form';
    is_empty $remove->(json => { token => runner(project => $project)->{token} }), 'one that was made by hand';
    is_empty http(DELETE => "$V4/runners.json", json => { token => new_runner()->{token} }), 'with .json';

    my @days = qw(Sun Mon Tue Wed Thu Fri Sat);
    my $date = sub {
        my ($s, $m, $h, $day, $month, $year, $weekday) = gmtime $_[0];
        return sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', $days[$weekday], $day,
            (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[$month], $year + 1900, $h, $m, $s;
    };
    my $since = sub { my ($runner, $text) = @_; return $remove->(json => { token => $runner->{token} }, headers => ['If-Unmodified-Since' => $text]) };
    my $changed = '{"message":"412 Precondition Failed"}';
    my $new = new_runner();
    says $since->($new, $date->(time - 3600)), 412, $changed, 'made since then: 412';
    is show($new)->{id}, $new->{id}, '  and it stays';
    my $then = time - 7200;
    sql("UPDATE runners SET created_at = ${then}700000 WHERE id = $new->{id}");
    says $since->($new, $date->($then - 1)), 412, $changed, 'a second before it was made';
    verify(token => $new->{token});
    says $since->($new, $date->($then)), 412, $changed, 'heard of since then';
    sql("UPDATE runners SET contacted_at = ${then}700000 WHERE id = $new->{id}");
    is_empty $since->($new, $date->($then)), 'heard of in that second, and not since';
    is_empty $since->(new_runner(), $date->(time + 3600)), 'nothing is later than the future';
    is_empty $since->(new_runner(), 'yesterday'), 'what is no date does not count';
};

subtest 'forget a machine' => sub {
    wants_token DELETE => 'runners/managers', system_id => 's_1';
    my $runner = runner(project => $project);
    my $other = runner(project => $project);
    verify(token => $_->{token}, system_id => 's_1') for $runner, $other;
    verify(token => $runner->{token}, system_id => 's_2');
    my $before = show($runner);
    says forget(token => $runner->{token}), 400, '{"error":"system_id is missing"}', 'no system_id';
    says forget(token => 'x' x 40), 400, '{"error":"system_id is missing"}', '  which comes before a wrong token';
    says forget(token => $runner->{token}, system_id => undef), 400, '{"error":"system_id is missing"}', 'null';
    says forget(token => $runner->{token}, system_id => 1), 400, '{"error":"system_id is invalid"}', 'a number';
    says forget(token => $runner->{token}, system_id => $_), 404, '{"message":"404 Not found"}', "unknown: '$_'" for 's_3', '', 'S_1', 's_1 ';
    is_deeply show($runner), $before, 'nothing changed';
    is_empty forget(token => $runner->{token}, system_id => 's_1'), 'one that is known: 204';
    is_deeply [map { $_->{system_id} } @{ show($runner)->{machines} }], ['s_2'], '  it is gone, the other not';
    is scalar @{ show($other)->{machines} }, 1, "  nor another runner's of that name";
    says forget(token => $runner->{token}, system_id => 's_1'), 404, '{"message":"404 Not found"}', '  once';
    is verify(token => $runner->{token}, system_id => 's_1')->{status}, 200, 'the runner stays';
    is scalar @{ show($runner)->{machines} }, 2, '  and may have the machine again';
    is_empty http(DELETE => "$V4/runners/managers", query => [token => $runner->{token}, system_id => 's_1']), 'in the query';
    is_empty http(DELETE => "$V4/runners/managers", form => [token => $runner->{token}, system_id => 's_2']), 'in a form';
    answers http(GET => "$V4/runners/managers"), 405, undef, 'the list is not served';
};

subtest 'reset the token' => sub {
    wants_token POST => 'runners/reset_authentication_token';
    my $import = uniq('imported-token-of-old');
    remember($import);
    my @kinds = (
        ['registered', new_runner(), qr/^$HEX$/], ['made by hand', runner(project => $project), qr/^glrt-$HEX$/],
        ['imported', runner(project => $project, args => ['--token', $import]), qr/^$HEX$/],
    );
    for my $kind (@kinds) {
        my ($what, $runner, $shape) = @$kind;
        my $before = show($runner);
        my $job = job_of($runner, project => $project);
        my $r = reset_token(token => $runner->{token});
        is $r->{status}, 201, "one that was $what: 201";
        is $r->{headers}{'content-type'}, 'application/json', '  exactly application/json';
        like $r->{body}, qr/^\{"token":"[^"]+","token_expires_at":null\}$/, '  with the token and when it expires: never';
        like $r->{json}{token}, $shape, '  of the same kind';
        isnt $r->{json}{token}, $runner->{token}, '  and another';
        says $_->(token => $runner->{token}), 403, $FORBIDDEN, 'the old one is dead at once' for \&verify, \&reset_token;
        answers ask($runner), 403, '403 Forbidden', '  for jobs too';
        is verify(token => $r->{json}{token})->{json}{id}, $runner->{id}, 'the new one is the same runner';
        is update($job, state => 'success')->{status}, 200, 'a job of before goes on';
    }
    is http(POST => "$V4/runners/reset_authentication_token", form => [token => new_runner()->{token}])->{status}, 201, 'in a form';
    is http(POST => "$V4/runners/reset_authentication_token", query => [token => new_runner()->{token}])->{status}, 201, 'in the query';
};

# ---- machines

sub say {
    my ($runner, $system_id, $version) = @_;
    my $r = ask($runner, json => { system_id => $system_id, info => info($version) });
    die "asked in vain: $r->{status} $r->{body}\n" if $r->{status} != 204;
    return;
}

# The runner and its machines were last heard of so long ago.
sub silent {
    my ($runner, $seconds) = @_;
    my $then = time - $seconds;
    sql("UPDATE $_ = $runner->{id}")
        for "runners SET contacted_at = ${then}000000 WHERE id", "runner_machines SET contacted_at = ${then}000000 WHERE runner_id";
    return;
}

sub machines { return { map { $_->{system_id} => $_ } @{ show($_[0])->{machines} } } }

subtest 'machines' => sub {
    my $runner = runner(project => $project);
    say($runner, 's_a', '16.0.0');
    say($runner, 's_b', '17.0.0');
    my $known = machines($runner);
    is_deeply [map {"$_ $known->{$_}{version}"} sort keys %$known], ['s_a 16.0.0', 's_b 17.0.0'], 'each that asks for a job is kept';
    is_deeply [map { $_->{system_id} } @{ show($runner)->{machines} }], [qw(s_b s_a)], '  the last heard of first';
    silent($runner, 30);
    my $then = show($runner);
    say($runner, $_->[0], $_->[1]) for map { ([s_a => '16.0.0'], [s_b => '17.0.0']) } 1 .. 6;
    my $now = show($runner);
    is_deeply $now->{machines}, $then->{machines}, 'who asks twice in a minute is not written twice';
    silent($runner, 30);
    $then = show($runner);
    say($runner, $_->[0], $_->[1]) for map { ([s_a => '16.0.0'], [s_b => '17.0.0']) } 1 .. 6;
    is_deeply show($runner), $then, '  nor is the runner, though they differ';
    silent($runner, 61);
    $then = machines($runner);
    say($runner, 's_a', '16.0.0');
    $now = machines($runner);
    cmp_ok $now->{s_a}{contacted_at}, 'gt', $then->{s_a}{contacted_at}, 'after a minute it is';
    is $now->{s_b}{contacted_at}, $then->{s_b}{contacted_at}, '  but not the other';
    silent($runner, 400);
    is machines($runner)->{s_a}{status}, 'offline', 'silent for long: offline';
    say($runner, 's_a', '16.0.0');
    is_deeply [map { machines($runner)->{$_}{status} } qw(s_a s_b)], [qw(online offline)], 'online again, the other not';

    my $fresh = runner(project => $project);
    say($fresh, 's_a', '16.0.0');
    say($fresh, 's_a', '16.1.0');
    is machines($fresh)->{s_a}{version}, '16.1.0', 'what a machine says of itself is kept at once';
    say($fresh, 's_a', "16.2.$_") for 1 .. 9;
    like machines($fresh)->{s_a}{version}, qr/^16\.2\.[1-8]$/, '  but not for ever anew';
    silent($fresh, 61);
    say($fresh, 's_a', '16.3.0');
    is machines($fresh)->{s_a}{version}, '16.3.0', '  and then with the time';

    my $odd = runner(project => $project);
    for my $name ('', "x" x 70, "two words", "tab\tbed", "\x{fc}ber") {
        is ask($odd, json => { system_id => $name })->{status}, 204, 'a name of another shape is no fault';
    }
    is_deeply [sort keys %{ machines($odd) }], [sort "x" x 64, 'two words', 'tab bed', "\x{fc}ber"], '  and kept as far as it is fit';
    is_empty forget(token => $odd->{token}, system_id => $_), '  and forgotten by the name that was said' for 'x' x 70, "tab\tbed";
    my $r = ask($odd, json => { system_id => 5 });
    says $r, 400, '{"error":"system_id is invalid"}', 'one that is no text is';

    my $job = job_of($odd, project => $project);
    is update($job, state => 'success', system_id => 's_put', info => info())->{status}, 200, 'a name in the last word of a job';
    ok machines($odd)->{s_put}, '  is kept, too';
    is http(POST => 'builds/register.json', json => { token => $odd->{token}, system_id => 's_v1', info => info() })->{status}, 404, 'or over v1';
    ok machines($odd)->{s_v1}, '  likewise';
    cib(qw(runner remove), $odd->{id});
    is sql("SELECT count(*) FROM runner_machines WHERE runner_id = $odd->{id}") + 0, 0, 'with the runner they go';
};

subtest 'many machines' => sub {
    my $runner = runner(project => $project);
    verify(token => $runner->{token}, system_id => "r_$_") for 1 .. 100;
    is scalar keys %{ machines($runner) }, 100, 'a hundred are known';
    my $then = machines($runner);
    verify(token => $runner->{token}, system_id => "r_$_") for 101 .. 110;
    is_deeply machines($runner), $then, 'more are not, as long as those speak';
    my $minute_passes = sub {
        sql("UPDATE runners SET contacted_at = contacted_at - 61000000 WHERE id = $runner->{id}");
    };
    $minute_passes->();
    verify(token => $runner->{token}, system_id => "r_$_") for 101 .. 110;
    my $now = machines($runner);
    is scalar keys %$now, 100, '  but for one a minute';
    ok $now->{r_101} && !$now->{r_1}, '  in the place of the one silent for longest';
    sql("UPDATE runner_machines SET contacted_at = contacted_at - 691200000000 WHERE runner_id = $runner->{id} AND system_id <> 'r_7'");
    $minute_passes->();
    verify(token => $runner->{token}, system_id => 'r_new');
    is_deeply [sort keys %{ machines($runner) }], [qw(r_7 r_new)], 'after a week of silence they are forgotten';
};

subtest 'the limit of time' => sub {
    my $patient = new_runner();
    my $hasty = new_runner(maximum_timeout => 700);
    for my $case ([$patient, 3000, 3000], [$hasty, 3000, 700], [$hasty, 650, 650]) {
        my ($runner, $wanted, $given) = @$case;
        my $job = job_of($runner, project => $project, args => ['--timeout', $wanted]);
        is $job->{runner_info}{timeout}, $given, "a job of $wanted seconds has $given";
        update($job, state => 'success');
    }
};

done_testing;
