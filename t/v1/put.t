# PUT builds/:id: states and whole traces, with the runner's token.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);
my $other = runner(project => $project);

sub running {
    my $id = build(project => $project, @_);
    my $build = claim($runner);
    $build->{id} == $id or die "claimed $build->{id}, not $id\n";
    return $id;
}

subtest 'verify' => sub {
    for my $path ('builds/-1', 'builds/-1.json') {
        answers http(PUT => $path, json => { token => $runner->{token} }), 404, '404 Not found', "$path: a runner that is known";
        answers http(PUT => $path, json => { token => 'x' x 40 }), 403, '403 Forbidden', "$path: one that is not";
    }
    answers http(PUT => 'builds/-1', query => [token => $runner->{token}], length => 0), 404, '404 Not found',
        'as runner 0.5 does, in the query';
    answers http(PUT => 'builds/-1'), 403, '403 Forbidden', 'no token at all';
};

subtest 'whose build' => sub {
    my $id = running();
    answers put($other, $id, state => 'success'), 404, '404 Not found', "another runner's";
    answers put({ token => 'x' x 40 }, $id, state => 'success'), 403, '403 Forbidden', 'an unknown token';
    answers put({ token => $project->{token} }, $id, state => 'success'), 403, '403 Forbidden', "the project's token";
    answers put($runner, $id + 1000000, state => 'success'), 404, '404 Not found', 'a build that is none';
    is build_show($id)->{status}, 'running', 'it runs on';
    finish($runner, $id);
    my $waiting = build(project => $project, tags => 'nobody');
    answers put($runner, $waiting, state => 'success'), 404, '404 Not found', 'a pending build';
    is build_show($waiting)->{status}, 'pending', '  stays pending';
    cancel_all($project);
};

subtest 'states' => sub {
    my $id = running();
    for my $state (undef, 'running', 'canceled', 'pending', 'Success', '') {
        my $r = put($runner, $id, defined $state ? (state => $state) : ());
        is "$r->{status} $r->{body}", '200 null', 'state ' . ($state // 'absent') . ': 200 null';
    }
    is build_show($id)->{status}, 'running', 'nothing moved';
    my $r = put($runner, $id, state => 'success');
    is "$r->{status} $r->{body}", '200 true', 'success: 200 true';
    is $r->{headers}{'content-type'}, 'application/json', '  in JSON';
    my $show = build_show($id);
    is $show->{status}, 'success', 'it is a success';
    ok $show->{finished_at}, '  since now';
    is $show->{failure_reason}, undef, '  without a reason';
    for my $state ('success', 'failed', 'running') {
        answers put($runner, $id, state => $state, trace => 'too late'), 404, '404 Not found', "$state again";
    }
    is build_show($id)->{status}, 'success', 'it stays a success';
    is trace_of($id), '', '  and its trace what it was';

    $id = running();
    $r = put($runner, $id, state => 'failed', trace => "it broke\n");
    is "$r->{status} $r->{body}", '200 true', 'failed: 200 true';
    $show = build_show($id);
    is $show->{status}, 'failed', 'it failed';
    is $show->{failure_reason}, 'script_failure', '  because of its script';
    is trace_of($id), "it broke\n", '  with its trace';
};

subtest 'canceled meanwhile' => sub {
    my $id = running();
    cib(qw(build cancel), $id);
    answers put($runner, $id, state => 'running', trace => 'more'), 404, '404 Not found', 'the runner is told by 404';
    answers put($runner, $id, state => 'success'), 404, '404 Not found', '  also at the end';
    is build_show($id)->{status}, 'canceled', 'it stays canceled';
};

subtest 'traces' => sub {
    my $id = running();
    put($runner, $id, state => 'running', trace => 'first');
    is trace_of($id), 'first', 'a trace';
    put($runner, $id, trace => 'another, longer');
    is trace_of($id), 'another, longer', 'replaces the one before';
    put($runner, $id, trace => 'short');
    is trace_of($id), 'short', '  also a longer one';
    put($runner, $id, state => 'running');
    is trace_of($id), 'short', 'no trace: it is kept';
    put($runner, $id, trace => '');
    is trace_of($id), '', 'an empty one replaces it too';
    my $text = "\x{1}\e[32;1mgr\x{fc}n\e[0m \x{20ac} \x{1f600} <&> \"\\/ \r\n\ttab\x{7f}";
    put($runner, $id, trace => $text);
    utf8::encode(my $bytes = $text);
    is trace_of($id), $bytes, 'any character';
    my $escaped = '{"token":"' . $runner->{token} . '","trace":"\u001b\u20ac\ud83d\ude00\/\b\f\n\r\t\u003c","state":"running"}';
    is http(PUT => "builds/$id.json", body => $escaped, type => 'application/json')->{status}, 200, 'every escape of JSON';
    is trace_of($id), "\e\xe2\x82\xac\xf0\x9f\x98\x80/\b\f\n\r\t<", '  decoded';
    is put($runner, $id, opt => { chunked => [1] }, trace => 'byte by byte')->{status}, 200, 'byte by byte';
    is trace_of($id), 'byte by byte', '  arrives';
    is http(PUT => "builds/$id", form => [token => $runner->{token}, trace => "form\n& all"])->{status}, 200, 'in a form';
    is trace_of($id), "form\n& all", '  arrives';
    is http(PUT => "builds/$id", body => qq({"trace":"before","token":"$runner->{token}"}), type => 'application/json')->{status},
        200, 'before the token';
    is trace_of($id), 'before', '  arrives';
    answers http(PUT => "builds/$id", body => '{"trace":"evil","token":"' . 'x' x 40 . '"}', type => 'application/json'), 403,
        '403 Forbidden', 'before a wrong token';
    is trace_of($id), 'before', '  changes nothing';
    is http(PUT => "builds/$id", body => qq({"token":"$runner->{token}","trace":"cut of), type => 'application/json')->{status},
        400, 'broken JSON';
    is trace_of($id), 'before', '  changes nothing';
    finish($runner, $id);
};

# The token comes last. By the time it does, the runner has been given the build once more.
subtest 'claimed anew while the trace comes' => sub {
    my $id = running();
    my $end = qq(","state":"success","token":"$runner->{token}"});
    my $bytes = 64 * 1024 * 1024;    # more than lies between us and the server
    my $connection = connect_to();
    $connection->send("PUT $V1/builds/$id HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        . ($bytes + 10 + length $end) . qq(\r\n\r\n{"trace":") . 'x' x $bytes);
    sql("UPDATE builds SET claim = claim + 1 WHERE id = $id");
    $connection->send($end);
    answers $connection->response, 404, '404 Not found', 'is not taken for the new one';
    is build_show($id)->{status}, 'running', '  nor is its state';
    is trace_of($id), '', '  nor its trace';
    finish($runner, $id);
};

subtest 'a trace of six megabytes' => sub {
    my $id = running();
    my $line = "\e[0K0123456789abcdef \x{20ac} \"quoted\" <tag>\n";
    my $trace = $line x (6 * 1024 * 1024 / 40);
    my $r = put($runner, $id, state => 'success', trace => $trace, opt => { chunked => [8191, 17, 65536] });
    is "$r->{status} $r->{body}", '200 true', 'is taken';
    utf8::encode($trace);
    ok trace_of($id) eq $trace, 'byte for byte';
    is build_show($id)->{trace_size}, length $trace, 'and counted';
};

done_testing;
