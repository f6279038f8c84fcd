# A client that means harm, or many at once: every refusal is JSON and leaves the connection fit for use
# or closed, races have one winner, memory does not grow, and a killed child leaves nothing behind.

use strict;
use warnings;

use CIB::Test;

my $AGENT = 'gitlab-ci-multi-runner 1.11.5 (x)';
my $project = project();
my $runner = runner(project => $project);

sub running {
    my $id = build(project => $project);
    my $build = claim($runner);
    $build->{id} == $id or die "claimed $build->{id}, not $id\n";
    return $build;
}

# The processes that serve, and a number of kilobytes of each out of /proc.
sub children {
    my $parent = slurp($CELL->{pid_file}) + 0;
    my %children;
    for my $file (glob '/proc/[0-9]*/status') {
        my $status = eval { slurp($file) } // next;
        next unless $status =~ /^PPid:\s+$parent$/m && $status =~ /^Pid:\s+(\d+)/m;
        my $pid = $1;
        $children{$pid} = $status =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
    }
    return \%children;
}

# Send a request on a connection that stays open; then the next one must be served on it, or it has been
# closed properly.
sub stays_usable {
    my ($text) = @_;
    my $connection = connect_to();
    $connection->send($text, until_answer => 1);
    my ($method) = $text =~ /^(\S+)/;
    my $r = $connection->response($method) or return (undef, 'no answer');
    if (lc($r->{headers}{connection} // '') eq 'close') {
        $connection->finish_writing;
        my $more = $connection->rest;
        return ($r, $connection->{reset} ? 'a reset' : length $more ? "more: $more" : undef);
    }
    $connection->send(request_text(GET => "$V1/nothing"));
    my $next = $connection->response('GET');
    return ($r, $next && $next->{status} == 404 && $next->{json} ? undef : 'the next request is not served');
}

subtest 'every refusal is JSON and leaves the connection usable' => sub {
    my $build = running();
    my $id = $build->{id};
    my @token = ('Build-Token' => $build->{token});
    my @routes = (
        [POST => 'builds/register.json'], [PUT => "builds/$id.json"],
        [PATCH => "builds/$id/trace.txt", @token, 'Content-Range' => '0-1'],
        [POST => "builds/$id/artifacts/authorize", @token], [POST => "builds/$id/artifacts", @token],
        [GET => "builds/$id/artifacts", @token], [DELETE => "builds/$id/artifacts", @token],
        [POST => 'runners/register.json'], [DELETE => 'runners/delete']
    );
    my @json = ('{', '{"a":01}', '{"a":1.}', '{"a":tru}', '{"a":1,}', '{"a":[}]}', "{'a':1}", '{"a":"\x41"}', "{\"a\":\"\t\"}",
        '{}{}', '[]', '{"a":' . '9' x 70000 . '}');
    for my $route (@routes) {
        my ($method, $path, @headers) = @$route;
        my @cases = map { [type => 'application/json', body => $_] } $method eq 'PATCH' ? () : @json;
        for my $chunked (0, 1) {
            push @cases, map { [type => $_, body => '{}', chunked => $chunked] } 'text/xml', 'x', 'multipart/mixed; boundary=x';
            push @cases, [type => 'application/json', body => '{}', chunked => $chunked, headers => [@headers, 'Content-Encoding' => 'gzip']];
        }
        push @cases, map { [path => "$path?$_"] } 'token=%', 'token=%00', 'token[]=1', 'token[a]=1', '%ff=1';
        my @bad;
        for my $case (@cases) {
            my %opt = (headers => \@headers, path => $path, @$case);
            my ($r, $trouble) = stays_usable(request_text($method => "$V1/" . delete $opt{path}, %opt, close => 0));
            my $what = substr "@$case", 0, 60;
            push @bad, "$what: $trouble" if $trouble;
            next unless $r;
            push @bad, "$what: $r->{status}" unless $r->{status} >= 400 && $r->{status} < 500;
            push @bad, "$what: $r->{body}" unless $r->{headers}{'content-type'} eq 'application/json' && ($r->{json}{error} // $r->{json}{message});
        }
        is_deeply \@bad, [], "$method $path, " . @cases . ' times';
    }
    is build_show($id)->{status}, 'running', 'nothing changed';
    finish($runner, $id);
};

subtest 'what httpd refuses on its own' => sub {
    expect_log(qr/AH01630/, qr/AH10244/);
    my @cases = (
        [404, "$V1/builds/1%2f2"], [404, "$V1/builds/1%2fartifacts"], [404, "$V1/builds/%00"], [400, "$V1/builds/%"],
        [400, "$V1/builds/%zz/artifacts"], [403, "$V1/builds/closed"]
    );
    for my $method (qw(GET POST)) {
        for my $case (@cases) {
            my ($status, $path) = @$case;
            my ($r, $trouble) = stays_usable(request_text($method => $path, close => 0, length => 0));
            answers $r, $status, qr/^$status \w/, "$method $path: $status in JSON";
            is $r->{headers}{'content-type'}, 'application/json', '  and says so';
            is $trouble, undef, '  and the connection is usable';
        }
    }
    my $head = http(HEAD => "$V1/builds/1%2f2");
    is $head->{status}, 404, 'HEAD';
    is $head->{headers}{'content-type'}, 'application/json', '  has the type, and no body';
    answers http(GET => "$V1/nothing", headers => [Expect => 'miracles']), 417, qr/^417/, 'an expectation that nobody can meet: 417 in JSON';
    answers http(GET => "$V1/nothing", headers => ['X' => 'y' x 9000]), 400, qr/^400/, 'a header over 8 KiB: 400 in JSON';
    my $build = running();
    for my $framing ("Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", "Content-Length: -5\r\n\r\nhello", "Content-Length: 5x\r\n\r\nhello",
        "Content-Length: 99999999999999999999999\r\n\r\nhello", "Transfer-Encoding: gzip\r\n\r\nhello")
    {
        my $connection = connect_to();
        $connection->send("PUT $V1/builds/$build->{id}.json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n$framing");
        my $r = $connection->response;
        my ($what) = $framing =~ /^([^\r]*)/;
        cmp_ok $r->{status}, '>=', 400, "$what: $r->{status}";
        ok $r->{json} && $r->{json}{message}, '  in JSON' or diag $r->{body};
    }
    finish($runner, $build->{id});
    like http(GET => '/nothing%2fthere')->{headers}{'content-type'}, qr/html/, "outside of the API it is httpd's page";
    like http(GET => "$V1/nothing%2fthere", vhost => 'off')->{headers}{'content-type'}, qr/html/, '  and where the module is off';
};

subtest 'a name that comes twice' => sub {
    my $build = running();
    my @json = (type => 'application/json', headers => ['User-Agent' => $AGENT]);
    my ($right, $wrong) = (qq("token":"$runner->{token}"), '"token":"' . 'x' x 40 . '"');
    is http(POST => 'builds/register', @json, body => "{$right,$wrong}")->{status}, 204, 'the first counts';
    is http(POST => 'builds/register', @json, body => "{$wrong,$right}")->{status}, 403, '  right or wrong';
    is http(POST => 'builds/register', @json, body => qq({"token":null,$right}))->{status}, 204, '  and null is as absent';
    is http(PUT => "builds/$build->{id}", @json, body => qq({$right,"trace":"one","trace":"two","state":"running","state":"success"}))->{body},
        'null', 'in a PUT too';
    is trace_of($build->{id}), 'one', '  also of traces';
    is http(PUT => "builds/$build->{id}", query => [trace => 'query'], json => { token => $runner->{token}, trace => 'body' })->{status}, 200,
        'the query goes before the body';
    is trace_of($build->{id}), 'query', '  with a trace as well';
    finish($runner, $build->{id});
};

subtest 'an upload that never comes to the point' => sub {
    my $build = running();
    my $path = "builds/$build->{id}/artifacts";
    my $file = "--b\r\n" . part(name => 'file', filename => 'a.zip', body => 'content') . "\r\n--b--\r\n";
    my $words = 'words ' x 1_000_000;
    for my $case (['before', "$words\r\n$file"], ['after', "$file$words"]) {
        my ($where, $body) = @$case;
        my $r = http(POST => $path, headers => ['Build-Token' => $build->{token}], type => 'multipart/form-data; boundary=b', body => $body,
            chunked => [65536], until_answer => 1);
        answers $r, 413, qr/65536/, "megabytes $where the parts: 413";
        ok !$r->{reset}, '  without a reset';
    }
    is http(GET => $path, headers => ['Build-Token' => $build->{token}])->{status}, 404, 'nothing is stored';
    finish($runner, $build->{id});
};

subtest 'many runners, few builds' => sub {
    # prefork serves twenty at once
    my $clients = $CELL->{mpm} eq 'prefork' ? 16 : 64;
    my @runners = map { runner(project => $project) } 1 .. 4;
    for my $round (1 .. 2) {
        my @ids = build(project => $project, args => ['--count', 10]);
        my @connections = map { connect_to() } 1 .. $clients;
        my $n = 0;
        $_->send(request_text(POST => "$V1/builds/register.json", json => { token => $runners[$n++ % 4]{token} }, headers => ['User-Agent' => $AGENT]))
            for @connections;
        my (%status, %got);
        for my $connection (@connections) {
            my $r = $connection->response;
            $status{ $r->{status} }++;
            remember($r->{json});
            $got{ $r->{json}{id} }++ if $r->{status} == 201;
        }
        is_deeply \%status, { 201 => 10, 204 => $clients - 10 }, "$clients clients: ten builds, ten answers";
        is_deeply \%got, { map { $_ => 1 } @ids }, '  each to one runner';
        cancel_all($project);
    }
};

subtest 'one end' => sub {
    my (%answers, %stands);
    for my $round (1 .. 6) {
        my $build = running();
        my $id = $build->{id};
        my @connections = map { connect_to() } 1 .. 3;
        my @states = qw(success failed success);
        for my $i (0 .. 2) {
            $connections[$i]->send(request_text(PUT => "$V1/builds/$id.json", json => { token => $runner->{token}, state => $states[$i] }));
        }
        my @bodies = map { $_->response->{body} } @connections;
        my @won = grep { $bodies[$_] eq 'true' } 0 .. 2;
        is scalar @won, 1, "three PUTs that would end a build: one does ($states[$won[0] // 0])";
        is scalar(grep {/"404 Not found"/} @bodies), 2, '  the others are told that it does not run' or diag "@bodies";
        is build_show($id)->{status}, $states[ $won[0] // 0 ], '  and so it stands';
    }
    my $build = running();
    my $text = request_text(PUT => "$V1/builds/$build->{id}.json", json => { state => 'success', token => $runner->{token}, trace => 'z' x 100000 });
    my $connection = connect_to();
    $connection->send(substr $text, 0, 60000);
    cib(qw(build cancel), $build->{id});
    $connection->send(substr $text, 60000);
    answers $connection->response, 404, '404 Not found', 'canceled while a PUT arrives: 404';
    is build_show($build->{id})->{status}, 'canceled', '  canceled it stays';
    is trace_of($build->{id}), '', '  without that trace';

    $build = running();
    $text = request_text(POST => "$V1/builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}],
        multipart => [part(name => 'file', filename => 'a.zip', body => 'z' x 100000)]);
    $connection = connect_to();
    $connection->send(substr $text, 0, 60000);
    cib(qw(build cancel), $build->{id});
    $connection->send(substr $text, 60000);
    answers $connection->response, 403, '403 Forbidden  - Build is not running!', 'canceled while an upload arrives: 403';
    is build_show($build->{id})->{artifacts_file}, undef, '  and nothing is stored';
};

subtest 'uploads to one build at once' => sub {
    require Digest::SHA;
    my $build = running();
    my @bodies = map { $_ x (200_000 + 1000 * ord) } 'a' .. 'h';
    my @texts = map {
        request_text(POST => "$V1/builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}], chunked => [50000],
            multipart => [part(name => 'file', filename => 'a.zip', body => $_)])
    } @bodies;
    my @connections = map { connect_to() } @bodies;
    $connections[$_]->send(substr $texts[$_], 0, 150_000) for 0 .. $#bodies;
    is build_show($build->{id})->{artifacts_file}, undef, 'halves are not seen';
    $connections[$_]->send(substr $texts[$_], 150_000) for 0 .. $#bodies;
    is_deeply [map { $_->response->{status} } @connections], [(201) x @bodies], 'all are taken';
    my $got = http(GET => "builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}])->{body};
    ok scalar(grep { $_ eq $got } @bodies), 'one of them, whole, is there';
    is build_show($build->{id})->{artifacts_file}{sha256}, Digest::SHA::sha256_hex($got), '  with its SHA-256';
    is scalar(grep {m{/$build->{id}-}} stored_files('artifacts')), 1, '  and no other is left';
    finish($runner, $build->{id});
};

subtest 'memory' => sub {
    plan skip_all => "the memory of $CELL->{tool}" if $CELL->{tool} ne 'none';
    my $build = running();
    my @token = ('Build-Token' => $build->{token});
    my ($id, $at) = ($build->{id}, 0);
    my %send = (
        'an upload' => sub {
            my ($n) = @_;
            return upload($build, 'z' x $n, chunked => [65536])->{status} == 201;
        },
        'the trace of a PUT' => sub {
            my ($n) = @_;
            my $text = '\u001b[0;mline of a trace\n' x ($n / 24);
            $at = 20 * int($n / 24);
            return http(PUT => "builds/$id.json", type => 'application/json', body => qq({"token":"$runner->{token}","trace":"$text"}), chunked => [65536])
                ->{status} == 200;
        },
        'a PATCH' => sub {
            my ($n) = @_;
            $at = build_show($id)->{trace_size};
            return http(PATCH => "builds/$id/trace.txt", headers => [@token, 'Content-Range' => "$at-"], type => 'text/plain', body => 'y' x $n,
                chunked => [65536])->{status} == 202;
        },
    );
    for my $what (sort keys %send) {
        ok $send{$what}->(300_000), "$what, small";
        my $before = children();
        ok $send{$what}->(48 * 1024 * 1024), '  and one of 48 MiB';
        my $after = children();
        my @grown = grep { $after->{$_} - ($before->{$_} // $after->{$_}) > 4096 } keys %$after;
        is_deeply [map {"$before->{$_} to $after->{$_}"} @grown], [], '  costs no child more than 4 MiB';
    }
    finish($runner, $id);
};

subtest 'children that are killed' => sub {
    # and of the worker MPM, which counts the slots of those that were killed until it has seen that they are gone
    expect_log(qr/AH00051|AH00052|AH1039[23]|AH00286|AH00484|child pid \d+ exit signal/);
    my $build = running();
    my @before = map { stored_files($_) } qw(artifacts traces);
    my @texts = (
        request_text(POST => "$V1/builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}], chunked => [100_000],
            multipart => [part(name => 'file', filename => 'a.zip', body => 'z' x 2_000_000)]),
        request_text(PUT => "$V1/builds/$build->{id}.json", json => { token => $runner->{token}, trace => 'z' x 2_000_000, state => 'success' }),
        request_text(PATCH => "$V1/builds/$build->{id}/trace.txt", type => 'text/plain', body => 'z' x 2_000_000,
            headers => ['Build-Token' => $build->{token}, 'Content-Range' => '0-']),
    );
    my @connections = map { connect_to() } @texts;
    $connections[$_]->send(substr $texts[$_], 0, 1_500_000) for 0 .. $#texts;
    my $victims = children();
    kill KILL => keys %$victims;
    for my $connection (@connections) {
        ok !eval { $connection->response }, 'no answer';
    }
    wait_for('new children', sub { my $r = eval { poll($runner) }; $r && $r->{status} == 204 });
    is build_show($build->{id})->{status}, 'running', 'the build runs on';
    is build_show($build->{id})->{artifacts_file}, undef, 'nothing of the upload is seen';
    is trace_of($build->{id}), '', '  nor of the traces';
    my $check = ci_builds(qw(check));
    is $check->{exit}, 0, 'all is in order' or diag $check->{out}, $check->{err};
    cib(qw(gc));
    my %known = map { $_ => 1 } @before;
    is_deeply [grep { !$known{$_} && -s } map { stored_files($_) } qw(artifacts traces)], [], 'and no byte is left';
    is upload($build, 'after')->{status}, 201, 'it goes on';
    finish($runner, $build->{id});
};

done_testing;
