# What is malformed, too large, cut off or aimed at something else: answered, with nothing stored, and the
# server goes on.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);
my $id = build(project => $project);
my $build = claim($runner);
my @json = (type => 'application/json');
my @build_token = ('Build-Token' => $build->{token});

sub nest { my ($depth) = @_; return '{"a":' . '[' x ($depth - 1) . ']' x ($depth - 1) . '}' }

subtest 'JSON' => sub {
    my $token = qq("token":"$runner->{token}");
    my %bad = (
        'broken'              => qq({$token),
        'cut off in a string' => qq({$token,"x":"),
        'trailing words'      => qq({$token} extra),
        'two objects'         => qq({$token}{}),
        'an array'            => qq(["$runner->{token}"]),
        'a string'            => '"token"',
        'a number'            => '12',
        'a bare word'         => 'token',
        'single quotes'       => qq({'token':'$runner->{token}'}),
        'single quotes inside' => qq({$token,"x":['a']}),
        'no number'           => qq({$token,"x":NaN}),
        'broken UTF-8'        => qq({$token,"x":"\xff"}),
        'an overlong NUL'     => qq({$token,"x":"\xc0\x80"}),
        'a lone surrogate in bytes' => qq({$token,"x":"\xed\xa0\x80"}),
        'a NUL'               => qq({$token,"x":"a\0b"}),
        'an escaped NUL'      => qq({$token,"x":"a\\u0000b"}),
        'a broken escape'     => qq({$token,"x":"\\u12g4"}),
        'a newline in a string' => qq({$token,"x":"a\nb"}),
        'over 32 levels'      => nest(33),
        'far over 32 levels'  => nest(20000),
        'over 64 KiB'         => qq({$token,"x":") . 'x' x 65536 . '"}',
        'many members'        => '{' . join(',', map {qq("k$_":1)} 1 .. 10000) . '}',
    );
    for my $what (sort keys %bad) {
        for my $path ('builds/register.json', 'runners/register.json', "builds/$id.json") {
            my $method = $path =~ /^builds\/\d/ ? 'PUT' : 'POST';
            my $r = http($method => $path, @json, body => $bad{$what});
            my $expected = $what =~ /64 KiB|many/ ? qr/^(?:400|413)$/ : qr/^400$/;
            like $r->{status}, $expected, "$what: $r->{status} at $path";
            ok length($r->{json}{error} // $r->{json}{message} // ''), '  and a message in JSON' or diag $r->{body};
            unlike $r->{body}, qr/\Q$runner->{token}\E/, '  without the token';
        }
    }
    is http(POST => 'builds/register.json', @json, body => qq({$token,"info":) . nest(30) . '}')->{status}, 404, 'up to 32 levels are fine';
    is http(POST => 'builds/register.json', @json, body => qq( \r\n\t{ $token } \n))->{status}, 404, 'blanks around are fine';
    for my $case ([token => 12345678901234567890], [token => [1]], [token => { a => 1 }], [token => JSON::PP::true], [info => 'text'], [info => [1]]) {
        my $r = http(POST => 'builds/register.json', json => { token => $runner->{token}, $case->[0] => $case->[1] });
        is $r->{status}, 400, "a $case->[0] of another type: 400";
    }
    is http(POST => 'builds/register.json', json => { token => $runner->{token}, info => undef, last_update => undef })->{status}, 404, 'null is as absent';
};

subtest 'types of bodies' => sub {
    for my $type ('text/xml', 'application/octet-stream', 'application/jsonx', 'x', 'multipart/mixed; boundary=a', 'a/b/c') {
        my $r = http(POST => 'builds/register.json', type => $type, body => 'x');
        is $r->{status}, 406, "$type: 406";
        like $r->{json}{error} // '', qr/^The requested content-type '\Q@{[$type =~ s{;.*}{}r]}\E.*' is not supported\.$/, '  naming the type';
    }
    my $r = http(POST => 'builds/register.json', type => "text/\x80\"'\\<script>", body => 'x');
    is $r->{status}, 406, 'a type of strange characters: 406';
    ok $r->{json}, '  in valid JSON';
    is http(POST => 'builds/register.json', type => 'application/json; charset=utf-8', body => qq({"token":"$runner->{token}"}))->{status},
        404, 'parameters of the type are fine';
    is http(POST => 'builds/register.json', type => 'APPLICATION/JSON', body => qq({"token":"$runner->{token}"}))->{status}, 404, 'so are capitals';
};

subtest 'forms and queries' => sub {
    my %form = (type => 'application/x-www-form-urlencoded');
    for my $bad ('x=%', 'x=%4', 'x=%zz', 'x=%4z', 'x=%ff%fe', 'last_update=%00', '%00=x', '%ff=x', '%4') {
        my $body = "token=$runner->{token}&$bad";
        is http(POST => 'builds/register.json', body => $body, %form)->{status}, 400, "form $bad";
        is http(POST => 'builds/register.json', body => $body, %form, chunked => [1])->{status}, 400, '  in chunks';
        is http(POST => "builds/register.json?$body")->{status}, 400, "query $bad";
    }
    for my $bad ('token=%', 'token=%zz', 'token=%00') {
        is http(POST => 'builds/register.json', body => $bad, %form)->{status}, 400, "form $bad";
    }
    is http(POST => 'runners/register.json', body => 'x=' . 'y' x 70000, type => 'application/x-www-form-urlencoded')->{status} =~ /^4(?:00|13)$/,
        1, 'a form over 64 KiB';
    is http(POST => 'builds/register.json', body => "&&=&a&a=b&token=$runner->{token}&=", type => 'application/x-www-form-urlencoded')->{status},
        404, 'empty pairs are fine';
};

subtest 'ids' => sub {
    for my $bad (qw(-1 -5 0 abc 1x 0x10 1.5 99999999999999999999999999 9223372036854775808 9223372036854775807 +1 ~), '%31%20', '1%00', "\xe2\x82\xac",
        '%2e%2e', "$id%20", "0$id.5")
    {
        my $r = http(PUT => "builds/$bad.json", json => { token => $runner->{token}, state => 'success' });
        like $r->{status}, qr/^40[04]$/, "PUT builds/$bad: $r->{status}";
        $r = http(GET => "builds/$bad/artifacts", headers => \@build_token);
        like $r->{status}, qr/^40[04]$/, "GET builds/$bad/artifacts: $r->{status}";
        $r = http(PATCH => "builds/$bad/trace.txt", headers => [@build_token, 'Content-Range' => '0-1'], type => 'text/plain', body => 'x');
        like $r->{status}, qr/^40[04]$/, "PATCH builds/$bad/trace.txt: $r->{status}";
    }
    is build_show($id)->{status}, 'running', 'the build runs on';
};

subtest 'paths' => sub {
    for my $path (
        "$V1", "$V1/", "$V1/builds", "$V1/builds/", "$V1/builds/$id/", "$V1/builds/$id/artifacts/", "$V1/builds/$id/artifacts/x",
        "$V1/builds/$id/artifacts.json.json", "$V1/builds/$id/trace", "$V1/builds/register/x", "$V1//builds/register", "$V1/nothing",
        "$V1/projects/1/refs/master/trigger", "$V1/commits", "$V1/forks", "$V1/projects", "$V1/runners", 
        "$V1/../v1/nothing", "$V1/builds/..%2f..%2fetc/artifacts"
    ) {
        my $r = http(POST => $path, json => { token => $runner->{token} });
        like $r->{status}, qr/^40[34]$/, "POST $path: $r->{status}";
        unlike $r->{headers}{'content-type'} // '', qr/html/, '  and not an HTML page' unless $path =~ /%2f/;
    }
    is http(POST => '/ci/api/%76%31/builds/register.json', json => { token => $runner->{token} })->{status}, 404, 'an escaped path is the same path';
    answers http(POST => '/ci/api/v2/builds/register.json', json => {}), 404, undef, 'another version';
    my $longer = http(POST => '/ci/api/v1x/builds/register.json', json => {});
    answers $longer, 404, undef, 'a longer name';
    like $longer->{headers}{'content-type'}, qr/html/, '  which is not ours';
    expect_log(qr/AH01630/);
    my $closed = http(GET => 'builds/closed');
    is $closed->{status}, 403, '<Location> and its Require apply';
};

subtest 'methods' => sub {
    # builds/register is the path of a build named "register" too, which none has
    for my $case (["builds/$id", 'PUT'], ["builds/$id/trace.txt", 'PATCH'], ['runners/register', 'POST'],
        ['runners/delete', 'DELETE'], ["builds/$id/artifacts/authorize", 'POST'])
    {
        my ($path, $right) = @$case;
        for my $method (grep { $_ ne $right } qw(GET POST PUT PATCH DELETE OPTIONS HEAD)) {
            my $r = http($method => $path, $method =~ /^P/ ? (json => {}) : ());
            is $r->{status}, 405, "$method $path: 405";
            is $r->{headers}{allow}, $right, '  and Allow' or diag $r->{head};
        }
    }
    like http(BREW => 'builds/register')->{status}, qr/^(?:405|501)$/, 'an unknown method';
    like http(TRACE => 'builds/register')->{status}, qr/^405$/, 'TRACE';
};

subtest 'multipart' => sub {
    my $path = "builds/$id/artifacts";
    my $ok = part(name => 'file', filename => 'a.zip', body => 'content');
    my $send = sub {
        my ($body, %opt) = @_;
        return http(POST => $path, headers => \@build_token, type => $opt{type} // 'multipart/form-data; boundary=b', body => $body, %opt);
    };
    is $send->("--b\r\n$ok\r\n--b--\r\n")->{status}, 201, 'as it should be';
    my %bad = (
        'no boundary'         => [$ok, type => 'multipart/form-data'],
        'an empty boundary'   => ["--\r\n$ok\r\n----\r\n", type => 'multipart/form-data; boundary='],
        'a boundary of 71'    => ['--' . 'b' x 71 . "\r\n$ok\r\n--" . 'b' x 71 . "--\r\n", type => 'multipart/form-data; boundary=' . 'b' x 71],
        'a strange boundary'  => ["--a\@b\r\n$ok\r\n--a\@b--\r\n", type => 'multipart/form-data; boundary="a@b"'],
        'another boundary'    => ["--c\r\n$ok\r\n--c--\r\n"],
        'no end'              => ["--b\r\n$ok\r\n"],
        'no closing dashes'   => ["--b\r\n$ok\r\n--b\r\n"],
        'nothing'             => [''],
        'only an end'         => ["--b--\r\n"],
        'headers that do not end' => ["--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n"],
        'headers over 8 KiB'  => ["--b\r\nX: " . 'x' x 9000 . "\r\n$ok\r\n--b--\r\n"],
        'many headers'        => ["--b\r\n" . "X: y\r\n" x 3000 . "$ok\r\n--b--\r\n"],
        'a header without end' => ["--b\r\n" . 'X' x 100000],
        'over 64 parts'       => [join('', map { "--b\r\n" . part(name => "p$_", body => 'x') . "\r\n" } 1 .. 70) . "--b\r\n$ok\r\n--b--\r\n"],
        'a part without a name' => ["--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b\r\n$ok\r\n--b--\r\n"],
        'a part without a disposition' => ["--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b\r\n$ok\r\n--b--\r\n"],
        'line feeds alone'    => ["--b\n" . ($ok =~ s/\r//gr) . "\n--b--\n"],
        'line feeds in the headers' => ["--b\r\n" . ($ok =~ s/\r\n/\n/r) . "\r\n--b--\r\n"],
        'a field over 64 KiB' => ["--b\r\n" . part(name => 'note', body => 'x' x 70000) . "\r\n--b\r\n$ok\r\n--b--\r\n"],
        'a NUL in another header' => ["--b\r\n" . ($ok =~ s/\r\n/\r\nX: a\0b\r\n/r) . "\r\n--b--\r\n"],
        'a NUL in a header'   => ["--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\0b\"\r\n\r\nx\r\n--b--\r\n"],
    );
    for my $what (sort keys %bad) {
        my ($body, %opt) = @{ $bad{$what} };
        for my $framing ([], [chunked => [7]], [chunked => 1]) {
            my $r = $send->($body, %opt, @$framing);
            like $r->{status}, qr/^4(?:00|06|13)$/, "$what: $r->{status}";
            ok length($r->{json}{error} // $r->{json}{message} // ''), '  and a message in JSON' or diag $r->{body};
        }
    }
    my $tricky = "--b\r\r\n--\r\n-\r\n--B\r\n\r\n--bb is no end, nor is\n--b\n\r\n--";
    for my $cuts ([1], [2], [3, 1], [4096]) {
        my $r = $send->("preamble\r\n--b\r\n" . part(name => 'file', filename => 'a.zip', body => $tricky) . "\r\n--b--\r\nepilogue",
            chunked => $cuts, type => 'multipart/form-data; charset=x; boundary="b"');
        # "\r\n--b" followed by anything but a line end or dashes does not end a part
        like $r->{status}, qr/^(?:201|400)$/, "nearly the boundary in the data, chunks of @$cuts: $r->{status}";
        next if $r->{status} != 201;
        is http(GET => $path, headers => \@build_token)->{body}, $tricky, '  byte for byte';
    }
    my %names = (
        'a path'         => ['../../../etc/passwd', qr/^passwd$|^[^\/]+$/],
        'a Windows path' => ['C:\\\\temp\\\\a.zip', qr/a\.zip/],
        'quotes'         => ['a\"b.zip', qr/a/],
        '4 KiB'          => ['n' x 4096, qr/^n{1,4096}$/],
        'dots'           => ['..', qr/./],
        'percent'        => ['a%00%0d%0ab.zip', qr/a/],
        'UTF-8'          => ["\xc3\xa4\xe2\x82\xac.zip", qr/zip/],
        'bytes'          => ["\xff\xfe.zip", qr/zip/],
    );
    for my $what (sort keys %names) {
        my ($name, $expected) = @{ $names{$what} };
        my $r = $send->("--b\r\n" . part(name => 'file', filename => $name, body => "named by $what") . "\r\n--b--\r\n");
        like $r->{status}, qr/^(?:201|400)$/, "a file name with $what: $r->{status}";
        next if $r->{status} != 201;
        like $r->{json}{artifacts_file}{filename}, $expected, '  is data';
        my $down = http(GET => $path, headers => \@build_token);
        is $down->{body}, "named by $what", '  stored';
        like $down->{headers}{'content-disposition'}, qr/^attachment; filename=[ -~]*$/, '  and told safely';
    }
    ok !(grep { !m{/\d+-\w+-[0-9a-zA-Z]+$} } stored_files('artifacts')), 'no client names a file of ours' or diag join "\n", stored_files('artifacts');
    my $r = $send->("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\r\n\tX-Evil: 1\r\n b\"\r\n\r\nx\r\n--b--\r\n");
    like $r->{status}, qr/^(?:201|400)$/, "CR and LF in a file name: $r->{status}";
    ok !defined http(GET => $path, headers => \@build_token)->{headers}{'x-evil'}, '  never become a header';
};

subtest 'CR and LF in values' => sub {
    my $r = http(POST => 'runners/register.json', json => { token => $project->{token}, description => "a\r\nX-Evil: 1" });
    like $r->{status}, qr/^(?:201|400)$/, "in a description: $r->{status}";
    if ($r->{status} == 201) {
        like cib(qw(runner show), $r->{json}{id})->{description}, qr/^a\s+X-Evil: 1$/, '  they are data';
    }
    $r = poll($runner, json => { last_update => "x\r\nX-Evil: 1" });
    ok !defined $r->{headers}{'x-evil'}, 'in last_update: not in a header';
    $r = poll($runner, json => { info => { name => "\r\n[ci_builds:error] forged", version => "1\n2" } });
    is $r->{status}, 204, 'in info: fine';
    unlike slurp($CELL->{error_log}), qr/^\[ci_builds:error\] forged/m, '  and forge no line of the log';
};

subtest 'cut off' => sub {
    my @requests = (
        request_text(POST => "$V1/builds/register.json", json => { token => $runner->{token}, info => CIB::Test::info() }),
        request_text(PUT => "$V1/builds/$id.json", json => { token => $runner->{token}, state => 'success', trace => 'cut' }, chunked => [20]),
        request_text(PATCH => "$V1/builds/$id/trace.txt", type => 'text/plain', body => 'cut off', headers => [@build_token, 'Content-Range' => '0-7']),
        request_text(POST => "$V1/builds/$id/artifacts", headers => \@build_token, boundary => 'b', chunked => [40],
            multipart => [part(name => 'file', filename => 'cut.zip', body => 'cut off')]),
    );
    my $before = http(GET => "builds/$id/artifacts", headers => \@build_token)->{body};
    for my $text (@requests) {
        my ($what) = $text =~ /^(\S+ \S+)/;
        my $fine = 1;
        my $head = index($text, "\r\n\r\n") + 4;
        for my $at (1, int($head / 2), $head - 1, grep { $_ < length $text } map { $head + $_ } 0 .. length($text) - $head) {
            my $connection = connect_to();
            $connection->send(substr $text, 0, $at);
            $connection->finish_writing;
            my $r = eval { $connection->response };
            $fine = 0, diag "cut at $at: $r->{status} $r->{body}" if $r && ($r->{status} < 400 || $r->{status} == 500);
            $connection->close;
        }
        ok $fine, "$what: nowhere is half of it taken for the whole";
    }
    is build_show($id)->{status}, 'running', 'no state was taken';
    unlike trace_of($id), qr/cut$/, 'no trace of a PUT';
    is http(GET => "builds/$id/artifacts", headers => \@build_token)->{body}, $before, 'no artifact';
};

subtest 'framing' => sub {
    my $head = "PATCH $V1/builds/$id/trace.txt HTTP/1.1\r\nHost: x\r\nBuild-Token: $build->{token}\r\nContent-Range: 0-5\r\nConnection: close\r\n";
    my $length = build_show($id)->{trace_size};
    for my $case (["Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", 'a chunk size that is none'],
        ["Content-Length: -5\r\n\r\nhello", 'a negative length'], ["Content-Length: 5x\r\n\r\nhello", 'a length that is none'],
        ["Content-Length: 99999999999999999999999\r\n\r\nhello", 'a length beyond all'],
        ["Transfer-Encoding: gzip\r\n\r\nhello", 'an unknown coding'])
    {
        my ($rest, $what) = @$case;
        my $connection = connect_to();
        $connection->send($head . $rest);
        $connection->finish_writing;
        my $r = $connection->response;
        ok $r && $r->{status} >= 400, "$what: " . ($r ? $r->{status} : 'nothing');
    }
    is build_show($id)->{trace_size}, $length, 'nothing of it was stored';
};

subtest 'refused uploads get their answer' => sub {
    my $big = 'x' x (30 * 1024 * 1024);
    my @cases = (['a wrong token', 403, 'main', 'x' x 40, $id], ['no such build', 404, 'main', $build->{token}, 999999999],
        ['too large', 413, 'small', $build->{token}, $id], ['switched off', 405, 'noart', $build->{token}, $id]);
    for my $case (@cases) {
        my ($what, $status, $vhost, $token, $to) = @$case;
        for my $framing (0, [32768]) {
            my $r = http(POST => "builds/$to/artifacts", vhost => $vhost, headers => ['Build-Token' => $token], until_answer => 1,
                multipart => [part(name => 'file', filename => 'big.zip', body => $big)], chunked => $framing);
            is $r->{status}, $status, "$what, thirty megabytes" . ($framing ? ' in chunks' : '') . ": $status";
            ok !$r->{reset}, '  without a reset';
        }
    }
};

is poll($runner)->{status}, 204, 'the server goes on';
finish($runner, $id);

done_testing;
