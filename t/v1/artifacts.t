# Artifacts: upload, download, delete.

use strict;
use warnings;

use Digest::SHA ();
use MIME::Base64 ();

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);

sub running {
    my $id = build(project => $project, @_);
    my $build = claim($runner);
    $build->{id} == $id or die "claimed $build->{id}, not $id\n";
    return $build;
}

sub download {
    my ($build, %opt) = @_;
    return http(GET => "builds/$build->{id}/artifacts", headers => ['Build-Token' => $opt{token} // $build->{token}, @{ $opt{headers} // [] }]);
}

subtest 'upload' => sub {
    my $build = running();
    my $bytes = join '', map {chr} 0 .. 255;
    my $r = upload($build, $bytes, chunked => [1, 2, 3, 50, 7]);
    is $r->{status}, 201, 'chunked, as runners do: 201';
    is $r->{headers}{'content-type'}, 'application/json', 'exactly application/json';
    is $r->{json}{id}, $build->{id}, 'with the description of the build';
    is $r->{json}{artifacts_file}{filename}, 'artifacts.zip', '  its file';
    is $r->{json}{artifacts_file}{size}, 256, '  its size';
    is $r->{json}{artifacts_file}{sha256}, Digest::SHA::sha256_hex($bytes), '  its SHA-256';
    is download($build)->{body}, $bytes, 'byte for byte';
    my $show = build_show($build->{id});
    is $show->{artifacts_file}{sha256}, Digest::SHA::sha256_hex($bytes), 'ci-builds knows it';
    is $show->{artifacts_expire_at}, undef, '  and that it does not expire';
    my $file = ci_builds({ json => 0 }, qw(build artifacts), $build->{id}, '-o', '-');
    is $file->{out}, $bytes, '  and gives it';
    for my $case (
        ['with a length', chunked => 0], ['with nothing in the query', suffix => '?'], ['with .json', suffix => '.json'],
        ['one byte a chunk', chunked => [1]]
    ) {
        my ($what, %opt) = @$case;
        is upload($build, "again $what", %opt)->{status}, 201, $what;
        is download($build)->{body}, "again $what", '  replaces it';
    }
    is upload($build, '')->{status}, 201, 'an empty file';
    is download($build)->{body}, '', '  is a file';
    my $big = join '', map { pack 'N', $_ * 2654435761 % 4294967296 } 1 .. 500_000;
    is upload($build, $big, chunked => [65536])->{status}, 201, 'two megabytes';
    ok download($build)->{body} eq $big, '  byte for byte';
    my @files = grep {m{/$build->{id}-[^/]*$}} stored_files('artifacts');
    is scalar @files, 1, 'what was replaced is gone';
    finish($runner, $build->{id});
    is download($build)->{status}, 200, 'after the end it is there';
};

subtest 'where the token may be' => sub {
    my $build = running();
    my $file = sub { part(name => 'file', filename => 'a.zip', body => $_[0]) };
    my $token = part(name => 'token', body => $build->{token});
    my $wrong = part(name => 'token', body => 'x' x 40);
    my $path = "builds/$build->{id}/artifacts";
    is http(POST => $path, query => [token => $build->{token}], multipart => [$file->('query')])->{status}, 201, 'in the query';
    is http(POST => $path, multipart => [$token, $file->('field')])->{status}, 201, 'in a field before the file';
    is download($build)->{body}, 'field', '  it arrived';
    answers http(POST => $path, multipart => [$file->('after'), $token]), 403, '403 Forbidden', 'not in one after it';
    answers http(POST => $path, multipart => [$file->('none')]), 403, '403 Forbidden', 'nowhere';
    answers http(POST => $path, multipart => [$wrong, $file->('x')]), 403, '403 Forbidden', 'a wrong one in a field';
    answers upload($build, 'x', token => 'x' x 40), 403, '403 Forbidden', 'a wrong one in the header';
    for my $first ($wrong, part(name => 'note', body => 'none')) {
        my $connection = connect_to();
        my $text = request_text(POST => "$V1/$path", boundary => 'b', multipart => [$first, $file->('y' x 1000), $token]);
        $connection->send(substr $text, 0, index($text, 'yyy') + 100);
        answers $connection->response, 403, '403 Forbidden', 'without a valid one it is answered when the file begins';
    }
    answers upload($build, 'x', token => $runner->{token}), 403, '403 Forbidden', "the runner's";
    answers http(
        POST => $path, query => [token => 'x' x 40], headers => ['BUILD-TOKEN' => $build->{token}], multipart => [$file->('x')]
    ), 403, '403 Forbidden', 'a parameter beats the header';
    is upload($build, 'project', token => $project->{token})->{status}, 201, "the project's is as good as the build's";
    answers upload({ %$build, id => 999999999 }, 'x'), 404, '404 Not Found', 'a build that is none';
    is download($build)->{body}, 'project', 'what was refused changed nothing';
    finish($runner, $build->{id});
    answers upload($build, 'x'), 403, '403 Forbidden  - Build is not running!', 'a build that ended';
    is download($build)->{body}, 'project', '  keeps what it has';
};

subtest 'the parts' => sub {
    my $build = running();
    my $path = "builds/$build->{id}/artifacts";
    my @token = ('Build-Token' => $build->{token});
    my $r = http(
        POST => $path, headers => \@token,
        multipart => [
            part(name => 'metadata', filename => 'metadata.gz', body => 'about it'),
            part(name => 'file', filename => 'a.zip', body => 'both'), part(name => 'expire_in', body => '1 week')
        ]
    );
    is $r->{status}, 201, 'file and metadata';
    ok $r->{json}{artifacts_expire_at}, '  and expires';
    my ($metadata) = grep {m{/$build->{id}-metadata-}} stored_files('artifacts');
    is defined $metadata ? slurp($metadata) : undef, 'about it', '  which is kept';
    is download($build)->{body}, 'both', '  the file is the file';
    is http(POST => $path, headers => \@token, query => [artifact_type => 'junit', artifact_format => 'tar'],
        multipart => [part(name => 'file', filename => 'a.zip', body => 'both')])->{status}, 201, 'v1 knows no types';
    is_deeply [map {"$_->{type} $_->{format}"} @{ build_show($build->{id})->{artifacts} }], ['archive zip'],
        '  and the metadata goes with the archive that it came with';
    for my $case (
        ['no file', part(name => 'other', body => 'x')],
        ['metadata alone', part(name => 'metadata', filename => 'm', body => 'x')],
        ['a file without a name', part(name => 'file', body => 'x')],
        ['a file with an empty name', part(name => 'file', filename => '', body => 'x')],
        ["a file by Workhorse's fields", part(name => 'file.path', body => '/etc/passwd'), part(name => 'file.name', body => 'a.zip')],
    ) {
        my ($what, @parts) = @$case;
        $r = http(POST => $path, headers => \@token, multipart => \@parts);
        is $r->{status}, 400, "$what: 400";
        like $r->{json}{message} // '', qr/^400 \(Bad request\)/, '  and a message: ' . ($r->{json}{message} // '');
    }
    $r = http(POST => $path, headers => \@token);
    answers $r, 400, '400 (Bad request) "Missing artifacts file!" not given', 'no body';
    answers http(POST => $path, headers => \@token, json => { file => 'x' }), 400, undef, 'a file in JSON';
    my $real = part(name => 'file', filename => 'a.zip', body => 'real');
    for my $name (qw(file.path metadata.path)) {
        my $field = part(name => $name, body => '/etc/passwd');
        for my $parts ([$field, $real], [$real, $field]) {
            $r = http(POST => $path, headers => \@token, multipart => $parts);
            answers $r, 400, qr/^400 \(Bad request\) "\w+ is not a file" not given$/,
                "$name " . ($parts->[0] eq $field ? 'before' : 'after') . ' a file';
        }
        answers http(POST => $path, headers => \@token, query => [$name => '/etc/passwd'], multipart => [$real]), 400, undef, '  in the query';
    }
    is download($build)->{body}, 'both', 'nothing of that changed it';
    my $strange = 'm' x 50 . " & \x{fc} 'quoted' ;.zip";
    utf8::encode($strange);
    is upload($build, 'x', filename => $strange)->{status}, 201, 'a strange name';
    my $disposition = download($build)->{headers}{'content-disposition'};
    like $disposition, qr/^attachment; filename=/, '  is given back';
    like $disposition, qr/filename\*=UTF-8''[!-~]+$/, '  encoded';
    ok !grep({ !/^\d+-[\w-]+$/ } map { m{([^/]+)$} } grep {m{/$build->{id}-}} stored_files('artifacts')), '  and is in no path';
    finish($runner, $build->{id});
};

subtest 'expire_in' => sub {
    my $build = running();
    my %seconds = ('1 week' => 7 * 86400, '3 mins 4 sec' => 184, '2h20min' => 8400, '7d' => 7 * 86400, '90' => 90);
    for my $text (sort keys %seconds) {
        my $now = time;
        my $r = upload($build, 'x', suffix => '?expire_in=' . uri_escape($text) =~ s/%20/+/gr);
        is $r->{status}, 201, "expire_in $text";
        my $at = $r->{json}{artifacts_expire_at} // '';
        like $at, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/, "  until $at";
        my ($y, $mon, $d, $h, $min, $s) = $at =~ /(\d+)/g;
        require Time::Local;
        my $expires = Time::Local::timegm($s, $min, $h, $d, $mon - 1, $y);
        cmp_ok abs($expires - $now - $seconds{$text}), '<', 30, '  as long as it says';
    }
    for my $text ('never', '') {
        my $r = upload($build, "for ever $text", suffix => "?expire_in=$text");
        is $r->{status}, 201, "'$text'";
        is $r->{json}{artifacts_expire_at}, undef, '  does not expire';
    }
    for my $text ('soon', '1 fortnight of', '-1 day', '99999999999999999999 years') {
        is upload($build, 'nonsense', suffix => '?expire_in=' . uri_escape($text))->{status}, 400, "$text: 400";
    }
    is http(
        POST => "builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}],
        multipart => [part(name => 'file', filename => 'a.zip', body => 'x'), part(name => 'expire_in', body => 'soon')]
    )->{status}, 400, 'nonsense after the file: 400';
    is download($build)->{body}, 'for ever ', 'nonsense stores nothing';
    my $r = upload($build, 'x', vhost => 'small');
    ok $r->{json}{artifacts_expire_at}, 'CIBuildsArtifactExpire is for those that say nothing';
    finish($runner, $build->{id});

    $build = running();
    is upload($build, 'short', suffix => '?expire_in=1s')->{status}, 201, 'a second';
    finish($runner, $build->{id});
    wait_for('the artifact to expire', sub { download($build)->{status} == 404 });
    answers download($build), 404, '404 Not Found', '  and it is gone';
    wait_for('the file to go', sub { !grep {m{/$build->{id}-}} stored_files('artifacts') });
    is build_show($build->{id})->{artifacts_file}, undef, '  also from the build';
};

subtest 'limits' => sub {
    my $build = running();
    my $limit = 1024 * 1024;
    my %small = (vhost => 'small');
    is upload($build, 'e' x $limit, %small)->{status}, 201, 'exactly the limit is accepted';
    is upload($build, 'e' x $limit, %small, chunked => 0)->{status}, 201, '  with a length too';
    for my $case (['chunked', 1, $limit + 1], ['with a length', 0, $limit + 1], ['far beyond, chunked', 1, 8 * $limit],
        ['far beyond, with a length', 0, 8 * $limit])
    {
        my ($what, $chunked, $size) = @$case;
        my $r = upload($build, 'f' x $size, %small, chunked => $chunked);
        answers $r, 413, qr/^413 Request Entity Too Large/, "$what: 413";
        like $r->{json}{message} // '', qr/1048576|1 ?M/i, '  names the limit';
        ok !$r->{reset}, '  without a reset';
    }
    my $text = request_text(
        POST => "$V1/builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}, Expect => '100-continue'],
        type => 'multipart/form-data; boundary=x', length => 2 * $limit
    );
    my $connection = connect_to('small');
    $connection->send($text);
    is $connection->response->{status}, 413, 'known before a byte is sent';
    my $query = "$V1/builds/$build->{id}/artifacts?token=";
    for my $case (['main', 'x' x 40, 403, 'a wrong token in the query'], ['small', $build->{token}, 413, 'a length with a right one']) {
        my ($vhost, $token, $status, $what) = @$case;
        $connection = connect_to($vhost);
        $connection->send(request_text(
            POST => $query . $token, headers => [Expect => '100-continue'], type => 'multipart/form-data; boundary=x', length => 2 * $limit
        ));
        is $connection->response->{status}, $status, "  so is $what";
    }
    my $note = part(name => 'note', body => 'n' x 50000);
    is http(POST => "builds/$build->{id}/artifacts", vhost => 'small', headers => ['Build-Token' => $build->{token}],
        multipart => [$note, part(name => 'file', filename => 'a.zip', body => 'e' x $limit)])->{status}, 201,
        'exactly the limit, and much framing around it';
    ok download($build)->{body} eq 'e' x $limit, 'what was there is there';
    answers upload($build, 'x', vhost => 'noart'), 405, '405 Method Not Allowed', 'artifacts switched off: 405';
    is http(GET => "builds/$build->{id}/artifacts", vhost => 'noart', headers => ['Build-Token' => $build->{token}])->{status}, 200,
        '  but downloads go on';
    expect_log(qr/free|space|CIBuildsMinFree/i);
    my $r = upload($build, 'x', vhost => 'full');
    answers $r, 507, qr/^507 Insufficient Storage/, 'too little free space: 507';
    like $r->{headers}{'retry-after'}, qr/^\d+$/, '  with Retry-After';
    like $r->{json}{message}, qr/CIBuildsMinFree/, '  and who said so';
    $r = http(PATCH => "builds/$build->{id}/trace.txt", vhost => 'full', type => 'text/plain', body => 'patched',
        headers => ['Build-Token' => $build->{token}, 'Content-Range' => '0-7']);
    is $r->{status}, 202, '  but traces go on';
    is put($runner, $build->{id}, state => 'running', trace => 'put', opt => { vhost => 'full' })->{status}, 200, '  whole ones too';
    is trace_of($build->{id}), 'put', '  and are kept';
    my $next = build(project => $project);
    is claim($runner, vhost => 'full')->{id}, $next, '  builds are handed out';
    is put($runner, $next, state => 'success', opt => { vhost => 'full' })->{body}, 'true', '  and end';
    finish($runner, $build->{id});
};

subtest 'digests' => sub {
    my $build = running();
    my $digest = sub { MIME::Base64::encode_base64(Digest::SHA::sha256($_[0]), '') };
    for my $name ('Repr-Digest', 'Content-Digest') {
        my $body = "with $name";
        is upload($build, $body, headers => [$name => 'sha-256=:' . $digest->($body) . ':'])->{status}, 201, "$name that is right";
        is upload($build, 'other', headers => [$name => 'sha-256=:' . $digest->($body) . ':'])->{status}, 400, "$name that is wrong";
        is upload($build, 'other', headers => [$name => 'sha-256=:bm9uc2Vuc2U=:'])->{status}, 400, '  or none';
        is upload($build, $body, headers => [$name => 'md5=:bm9uc2Vuc2U=:'])->{status}, 201, '  but another algorithm is nothing to us';
        is download($build)->{body}, $body, '  stores nothing';
    }
    is download($build)->{headers}{'repr-digest'}, 'sha-256=:' . $digest->('with Content-Digest') . ':', 'a download has its own';
    finish($runner, $build->{id});
};

subtest 'download' => sub {
    my $build = running();
    answers download($build), 404, '404 Not Found', 'nothing there';
    my $bytes = join '', map { sprintf "%07d\n", $_ } 0 .. 49999;
    upload($build, $bytes, filename => 'out.zip');
    my $r = download($build);
    is $r->{status}, 200, 'status 200';
    my %expected = (
        'content-disposition' => 'attachment; filename=out.zip', 'content-transfer-encoding' => 'binary',
        'content-type' => 'application/octet-stream', 'x-content-type-options' => 'nosniff', 'accept-ranges' => 'bytes',
        'content-length' => length $bytes, 'content-security-policy' => q{sandbox; default-src 'none'},
    );
    for my $name (sort keys %expected) {
        my $got = $r->{headers}{$name} // '';
        $got =~ s/"//g if $name eq 'content-disposition';
        is $got, $expected{$name}, "$name";
    }
    my $etag = $r->{headers}{etag};
    like $etag, qr/^"[^"]+"$/, 'a strong ETag';
    ok $r->{headers}{'last-modified'}, 'a date';
    my $head = http(HEAD => "builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}]);
    is $head->{status}, 200, 'HEAD';
    is $head->{headers}{'content-length'}, length $bytes, '  with the length';
    $r = download($build, headers => [Range => 'bytes=100-199']);
    is $r->{status}, 206, 'a range';
    is $r->{body}, substr($bytes, 100, 100), '  is that range';
    is $r->{headers}{'content-range'}, 'bytes 100-199/' . length $bytes, '  and says so';
    is download($build, headers => [Range => 'bytes=-8'])->{body}, "0049999\n", 'the last bytes';
    $r = download($build, headers => [Range => 'bytes=0-7,399992-']);
    is $r->{status}, 206, 'two ranges';
    like $r->{headers}{'content-type'}, qr{^multipart/byteranges}, '  in parts';
    is download($build, headers => [Range => 'bytes=400000-'])->{status}, 416, 'beyond the end';
    is download($build, headers => ['If-None-Match' => $etag])->{status}, 304, 'not changed';
    is download($build, headers => ['If-None-Match' => '"other"'])->{status}, 200, 'changed';
    is download($build, headers => ['If-Match' => '"other"'])->{status}, 412, 'another one wanted';
    is download($build, headers => ['If-Range' => '"other"', Range => 'bytes=0-1'])->{status}, 200, 'a range of another one';
    is download($build, headers => ['If-Range' => $etag, Range => 'bytes=0-1'])->{status}, 206, '  and of this one';
    answers download($build, token => 'x' x 40), 403, '403 Forbidden', 'a wrong token';
    answers http(GET => "builds/$build->{id}/artifacts"), 403, '403 Forbidden', 'no token';
    is http(GET => "builds/$build->{id}/artifacts", query => [token => $build->{token}])->{status}, 200, 'in the query';
    is download($build, token => $project->{token})->{status}, 200, "the project's token";
    answers http(GET => 'builds/999999999/artifacts', headers => ['Build-Token' => $build->{token}]), 404, '404 Not Found', 'no such build';
    $r = http(PUT => "builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}], length => 0);
    answers $r, 405, undef, 'PUT is not served';
    is join(',', sort split /,\s*/, $r->{headers}{allow} // ''), 'DELETE,GET,HEAD,POST', '  and Allow says what is'
        or diag $r->{headers}{allow};
    finish($runner, $build->{id});
};

subtest 'delete and erase' => sub {
    my $build = running();
    my $delete = sub {
        return http(DELETE => "builds/$build->{id}/artifacts", headers => ['Build-Token' => $_[0] // $build->{token}]);
    };
    is $delete->()->{status}, 200, 'where there is nothing: 200';
    upload($build, 'x');
    answers $delete->('x' x 40), 403, '403 Forbidden', 'a wrong token';
    is download($build)->{status}, 200, '  deletes nothing';
    is $delete->()->{status}, 200, 'where there is: 200';
    answers download($build), 404, '404 Not Found', '  and it is gone';
    is build_show($build->{id})->{artifacts_file}, undef, '  from the build';
    is scalar(grep {m{/$build->{id}-}} stored_files('artifacts')), 0, '  and from the disk';
    upload($build, 'y');
    finish($runner, $build->{id});
    is download($build)->{body}, 'y', 'a new one';
    cib(qw(build erase), $build->{id});
    my $erased = '403 Forbidden  - Build has been erased!';
    answers download($build), 403, $erased, 'erased: no download';
    answers upload($build, 'z'), 403, undef, '  no upload';
    answers $delete->(), 403, $erased, '  no delete';
    is scalar(grep {m{/$build->{id}-}} stored_files('artifacts')), 0, '  nothing on the disk';
    ok build_show($build->{id})->{erased_at}, '  and it says when';
};

subtest 'broken uploads' => sub {
    my $build = running();
    upload($build, 'whole');
    my $before = stored_files('artifacts');
    my $text = request_text(
        POST => "$V1/builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}], boundary => 'xyz',
        multipart => [part(name => 'file', filename => 'a.zip', body => 'b' x 1000)], chunked => [200]
    );
    my $head = index($text, "\r\n\r\n") + 4;
    for my $at ($head, $head + 1, $head + 100, $head + 500, length($text) - 40, length($text) - 7, length($text) - 1) {
        my $connection = connect_to();
        $connection->send(substr $text, 0, $at);
        $connection->finish_writing;
        my $r = eval { $connection->response };
        isnt $r ? $r->{status} : 0, 201, "cut off at byte $at: not accepted";
    }
    is download($build)->{body}, 'whole', 'what was there is there';
    wait_for('the remains to go', sub { 1 == grep {m{/$build->{id}-}} stored_files('artifacts') });
    is ci_builds(qw(check))->{exit}, 0, 'ci-builds check finds no fault';
    finish($runner, $build->{id});
};

done_testing;
