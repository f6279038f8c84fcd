# What is malformed, of the wrong type, of the wrong state, cut off or aimed at something else, at every path of
# v4: answered as GitLab answers it, with nothing changed in the database or on disk, and the server goes on.

use strict;
use warnings;

use Digest::SHA ();

use CIB::Test;
use CIB::V4;

my $project = project();
my $runner = runner(project => $project);
my $job = job_of($runner, project => $project);
CIB::V4::append($job, 0, 'what was there');
put_artifact($job, 'what was kept', filename => 'kept.zip');
my $waiting = build(project => $project, tags => 'nobody');
my $ended = job_of($runner, project => $project);
update($ended, state => 'failed', failure_reason => 'script_failure');
my $canceled = job_of($runner, project => $project);
cib(qw(build cancel), $canceled->{id});
my $erased = job_of($runner, project => $project);
update($erased, state => 'success');
cib(qw(build erase), $erased->{id});

my @JSON = (type => 'application/json');
my @FORM = (type => 'application/x-www-form-urlencoded');
my @header = ('Job-Token' => $job->{token});

# ---- what must stay as it is

my @ROWS = (
    "SELECT id, status, runner_id, claim, requeues, started_at, finished_at, erased_at, failure_reason, exit_code, trace_checksum, "
        . "short_traces FROM builds WHERE project_id = $project->{id} ORDER BY id",
    'SELECT count(*) FROM builds',
    'SELECT id, description, active, locked, run_untagged, tags, token_sha256, maximum_timeout, name, version FROM runners ORDER BY id',
    'SELECT runner_id, system_id, name, version FROM runner_machines ORDER BY runner_id, system_id',
    "SELECT * FROM artifacts WHERE build_id IN (SELECT id FROM builds WHERE project_id = $project->{id}) ORDER BY build_id, type",
);

# The rows, and the files with what is in them. What upkeep takes away meanwhile is another test's.
sub state_of_things {
    my %files;
    for my $file (map { stored_files($_) } qw(artifacts traces)) {
        open my $in, '<:raw', $file or next;
        $files{$file} = Digest::SHA->new(256)->addfile($in)->hexdigest;
    }
    return (join("\n--\n", map { sql($_) } @ROWS), \%files);
}

my ($rows, $files) = state_of_things();

sub nothing_changed {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($now, $there) = state_of_things();
    is $now, $rows, 'nothing changes in the database';
    my @changed = grep { ($files->{$_} // '') ne $there->{$_} } sort keys %$there;
    is_deeply \@changed, [], '  nor on disk';
    is ci_builds({ json => 0 }, qw(build artifacts), $job->{id})->{out}, 'what was kept', '  the artifact is there';
    is trace_of($job->{id}), 'what was there', '  and the trace';
    return;
}

# Status and body, byte for byte.
sub says {
    my ($r, $status, $body, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is "$r->{status} $r->{body}", "$status $body", $what;
    is $r->{headers}{'content-type'}, 'application/json', '  in JSON';
    return;
}

sub error   { return qq({"error":"$_[0]"}) }
sub message { return qq({"message":"$_[0]"}) }

# It is refused with one of these statuses, in JSON that says why and names no token.
sub is_refused {
    my ($r, $status, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    like $r->{status}, qr/^(?:$status)$/, "$what: $r->{status}";
    ok length($r->{json}{error} // $r->{json}{message} // ''), '  and why' or diag $r->{body};
    unlike $r->{body}, qr/$runner->{token}|$job->{token}/, '  without the token';
    return;
}

# Every path that takes JSON, and what the right body would be.
my @TAKES_JSON = (
    [POST => 'runners', token => $project->{token}], [DELETE => 'runners', token => $runner->{token}],
    [POST => 'runners/verify', token => $runner->{token}], [DELETE => 'runners/managers', token => $runner->{token}, system_id => 's_1'],
    [POST => 'runners/reset_authentication_token', token => $runner->{token}], [POST => 'jobs/request', token => $runner->{token}],
    [PUT => "jobs/$job->{id}", token => $job->{token}, state => 'success', trace => 'evil'],
    [POST => "jobs/$job->{id}/artifacts/authorize", token => $job->{token}],
);

sub nest { my ($depth) = @_; return '{"a":' . '[' x ($depth - 1) . ']' x ($depth - 1) . '}' }

subtest 'JSON' => sub {
    for my $case (@TAKES_JSON) {
        my ($method, $path, %right) = @$case;
        my $inside = join ',', map {qq("$_":"$right{$_}")} sort keys %right;
        my %bad = (
            'broken'              => qq({$inside),
            'cut off in a string' => qq({$inside,"x":"),
            'trailing words'      => qq({$inside} extra),
            'two objects'         => qq({$inside}{}),
            'an array'            => qq(["$right{token}"]),
            'a string'            => '"token"',
            'a number'            => '12',
            'a bare word'         => 'token',
            'single quotes'       => "{$inside,'x':'y'}",
            'no number'           => qq({$inside,"x":NaN}),
            'broken UTF-8'        => qq({$inside,"x":"\xff"}),
            'a surrogate in bytes' => qq({$inside,"x":"\xed\xa0\x80"}),
            'a NUL'               => qq({$inside,"x":"a\0b"}),
            'an escaped NUL'      => qq({$inside,"x":"a\\u0000b"}),
            'a broken escape'     => qq({$inside,"x":"\\u12g4"}),
            'a newline in a string' => qq({$inside,"x":"a\nb"}),
            'over 32 levels'      => nest(33),
            'over 64 KiB'         => qq({$inside,"x":") . 'x' x 65536 . '"}',
            'many members'        => "{$inside," . join(',', map {qq("k$_":1)} 1 .. 10000) . '}',
        );
        for my $what (sort keys %bad) {
            my $status = $what =~ /64 KiB|many/ ? '400|413' : 400;
            is_refused http($method => "$V4/$path", @JSON, body => $bad{$what}), $status, "$method $path, $what";
        }
        my $r = http($method => "$V4/$path", type => 'text/xml', body => "{$inside}");
        says $r, 406, error("The requested content-type 'text/xml' is not supported."), "$method $path, another type";
    }
    nothing_changed();
};

subtest 'tokens' => sub {
    for my $case (grep { $_->[1] !~ /authorize/ } @TAKES_JSON) {
        my ($method, $path, %right) = @$case;
        my $say = sub { return http($method => "$V4/$path", json => { %right, @_ }) };
        says $say->(token => undef), 400, error('token is missing'), "$method $path, none";
        says $say->(token => $_), 400, error('token is invalid'), '  one that is no text' for 12, [1], { a => 1 }, JSON::PP::true();
        my %known = (project => $project->{token}, runner => $runner->{token}, job => $job->{token}, ended => $ended->{token});
        delete @known{ grep { $known{$_} eq $right{token} } keys %known };
        says $say->(token => $_), 403, message('403 Forbidden'), '  a wrong one' for '', 'x', 'x' x 40, substr($right{token}, 1),
            "$right{token} ", "$right{token}\n", 'glrt-' . 'x' x 20, "\x{20ac}", sort values %known;
    }
    my $query = http(POST => "$V4/jobs/$job->{id}/artifacts/authorize", json => { token => 5 });
    says $query, 400, error('token is invalid'), 'authorize: one that is no text';
    for my $token ('', 'x' x 40, $runner->{token}, $project->{token}, $ended->{token}) {
        my $other = { %$job, token => $token };
        says CIB::V4::append($other, 14, 'evil'), 403, message('403 Forbidden'), 'PATCH: a wrong one';
        says put_artifact($other, 'evil', query => { artifact_type => 'junit' }), 403, message('403 Forbidden'), '  an upload';
        says get_artifact($other), 403, message('403 Forbidden'), '  a download';
        says http(POST => "$V4/jobs/$job->{id}/artifacts/authorize", headers => ['Job-Token' => $token]), 403, message('403 Forbidden'), '  authorize';
    }
    nothing_changed();
};

subtest 'members of the wrong type' => sub {
    my %cases = (
        'POST runners' => [
            [{ description => 5 }, 'description is invalid'], [{ tag_list => {} }, 'tag_list is invalid'], [{ tag_list => [5] }, 'tag_list is invalid'],
            [{ run_untagged => 'maybe' }, 'run_untagged is invalid'], [{ locked => [] }, 'locked is invalid'], [{ active => 'x' }, 'active is invalid'],
            [{ paused => 7 }, 'paused is invalid'], [{ maximum_timeout => 'long' }, 'maximum_timeout is invalid'],
            [{ maximum_timeout => 99999999999 }, 'maximum_timeout is invalid'],
            [{ access_level => 'all' }, 'access_level does not have a valid value'], [{ access_level => 5 }, 'access_level is invalid'],
            [{ info => 'text' }, 'info is invalid'], [{ info => [1] }, 'info is invalid'], [{ info => { name => 5 } }, 'info[name] is invalid'],
        ],
        'POST runners/verify' => [[{ info => 'text' }, 'info is invalid'], [{ system_id => {} }, 'system_id is invalid']],
        'DELETE runners/managers' => [[{ system_id => 5 }, 'system_id is invalid'], [{ system_id => undef }, 'system_id is missing']],
        'POST jobs/request' => [
            [{ info => 'text' }, 'info is invalid'], [{ info => { version => 7 } }, 'info[version] is invalid'],
            [{ last_update => [] }, 'last_update is invalid'], [{ system_id => 5 }, 'system_id is invalid'],
        ],
        "PUT jobs/$job->{id}" => [
            [{ state => 5 }, 'state is invalid'], [{ state => ['success'] }, 'state is invalid'], [{ failure_reason => {} }, 'failure_reason is invalid'],
            [{ exit_code => 'one' }, 'exit_code is invalid'], [{ exit_code => 1.5 }, 'exit_code is invalid'],
            [{ exit_code => 99999999999 }, 'exit_code is invalid'], [{ checksum => 5 }, 'checksum is invalid'], [{ output => 'x' }, 'output is invalid'],
            [{ output => [] }, 'output is invalid'], [{ output => { bytesize => 'x' } }, 'output[bytesize] is invalid'],
            [{ output => { bytesize => 1.5 } }, 'output[bytesize] is invalid'], [{ output => { checksum => 5 } }, 'output[checksum] is invalid'],
            [{ trace => 5 }, 'trace is invalid'], [{ trace => ['x'] }, 'trace is invalid'], [{ info => 'text' }, 'info is invalid'],
            [{ info => { platform => [] } }, 'info[platform] is invalid'],
        ],
    );
    for my $case (@TAKES_JSON) {
        my ($method, $path, %right) = @$case;
        for my $wrong (@{ $cases{"$method $path"} // [] }) {
            my ($members, $error) = @$wrong;
            says http($method => "$V4/$path", json => { %right, %$members }), 400, error($error), "$method $path: $error";
        }
    }
    nothing_changed();
};

subtest 'values' => sub {
    for my $state (undef, '', 'done', 'canceled', 'pending', 'SUCCESS', 'success ', "\x{20ac}") {
        says update($job, state => $state, trace => 'evil'), 400, '"400"', 'PUT: the state ' . ($state // '(none)');
    }
    my $register = sub { return http(POST => "$V4/runners", json => { token => $project->{token}, @_ }) };
    says $register->(run_untagged => JSON::PP::false()), 400, '{"message":{"tags_list":["can not be empty when runner is not allowed to pick untagged jobs"]}}',
        'a runner for nothing';
    says $register->(maximum_timeout => $_), 400, '{"message":{"maximum_timeout":["needs to be at least 10 minutes"]}}', "for $_ seconds" for -1, 0, 599;
    says $register->(active => JSON::PP::true(), paused => JSON::PP::true()), 400, error('active, paused are mutually exclusive'), 'both at once';
    my $with = sub { return put_artifact($job, 'evil', query => { artifact_type => 'junit', @_ }) };
    says $with->(artifact_type => $_), 400, error('artifact_type does not have a valid value'), "artifact_type '$_'" for '', 'x', 'JUNIT', '../../x', 'metadata';
    says $with->(artifact_format => $_), 400, error('artifact_format does not have a valid value'), "artifact_format '$_'" for '', 'tar', 'zip/x';
    for my $expire ('soon', '1 fortnight', '-1 day', 'day', '9' x 30 . ' days') {
        like $with->(expire_in => $expire)->{body}, qr/^\{"message":"400 Bad request - expire_in/, "expire_in '$expire'";
    }
    says $with->(artifact_type => 'archive'), 400, message('another artifact of the same type already exists'), 'a second archive that is another';
    says http(POST => "$V4/jobs/$job->{id}/artifacts/authorize", headers => \@header, query => [filesize => $_]), 400, error('filesize is invalid'),
        "authorize: filesize '$_'" for -1, 'x', '1.5', '9' x 30;
    nothing_changed();
};

subtest 'ranges' => sub {
    my $patch = sub { return http(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'evil', headers => [@header, @_]) };
    says $patch->(), 400, error('400 Missing header Content-Range'), 'none';
    for my $range ('', '-', 'x', '0-3', '13-16', '15-18', '-1-3', '+14-17', ' ', 'bytes 14-17/18', 'bytes=14-', '9' x 19 . '-', '9' x 40, "\xff") {
        my $r = $patch->('Content-Range' => $range);
        says $r, 416, error('416 Range Not Satisfiable'), "'$range'";
        is $r->{headers}{range}, '0-14', '  with the range that there is';
    }
    my $r = http(PATCH => "$V4/jobs/$job->{id}/trace", type => 'image/png', body => 'evil', headers => [@header, 'Content-Range' => '14-17']);
    says $r, 406, error("The requested content-type 'image/png' is not supported."), 'another type';
    nothing_changed();
};

subtest 'ids' => sub {
    my @bad = (qw(-1 -5 0 abc 1x 0x10 1.5 99999999999999999999999999 9223372036854775808 9223372036854775807 +1 ~), '%31%20', '1%00',
        "\xe2\x82\xac", '%2e%2e', "$job->{id}%20", "0$job->{id}.5");
    for my $bad (@bad) {
        my $other = { %$job, id => $bad };
        my %r = (
            'PUT' => update($other, state => 'success', trace => 'evil'), PATCH => CIB::V4::append($other, 14, 'evil'),
            'POST artifacts' => put_artifact($other, 'evil', query => { artifact_type => 'junit' }), 'GET artifacts' => get_artifact($other),
            'POST authorize' => http(POST => "$V4/jobs/$bad/artifacts/authorize", headers => \@header),
        );
        is_refused $r{$_}, '40[034]', "$_ of job $bad" for sort keys %r;
    }
    nothing_changed();
};

subtest 'states' => sub {
    my %jobs = (failed => $ended, canceled => $canceled);
    for my $state (sort keys %jobs) {
        my $over = $jobs{$state};
        my %r = (
            PUT => update($over, state => 'success', trace => 'evil'), 'PUT running' => update($over, state => 'running', trace => 'evil'),
            PATCH => CIB::V4::append($over, 0, 'evil'), 'POST artifacts' => put_artifact($over, 'evil'),
            'POST authorize' => http(POST => "$V4/jobs/$over->{id}/artifacts/authorize", headers => ['Job-Token' => $over->{token}]),
        );
        for my $what (sort keys %r) {
            my $words = '403 Forbidden  - Job is not running' . ($what eq 'POST artifacts' ? '!' : '');
            my $body = $what =~ /^PUT/ ? qr/^\{"message":"403 Forbidden.*"\}$/ : qr/^\Q{"message":"$words"}\E$/;
            is $r{$what}{status}, 403, "$what when it is $state";
            like $r{$what}{body}, $body, '  in words';
            is $r{$what}{headers}{'job-status'}, $state, '  and in a header';
        }
    }
    my $stranger = { id => $waiting, token => $job->{token} };
    for my $r (update($stranger, state => 'success'), CIB::V4::append($stranger, 0, 'evil'), put_artifact($stranger, 'evil'), get_artifact($stranger)) {
        says $r, 403, message('403 Forbidden'), 'a job that waits';
        is $r->{headers}{'job-status'}, undef, '  is not told of';
    }
    my $words = message('403 Forbidden  - Job has been erased!');
    for my $r (update($erased, state => 'success', trace => 'evil'), CIB::V4::append($erased, 0, 'evil'), put_artifact($erased, 'evil'), get_artifact($erased)) {
        says $r, 403, $words, 'one that was erased';
    }
    nothing_changed();
};

subtest 'methods and paths' => sub {
    my %serves = (
        'runners' => [qw(DELETE POST)], 'runners/verify' => ['POST'], 'runners/managers' => ['DELETE'],
        'runners/reset_authentication_token' => ['POST'], 'jobs/request' => ['POST'], "jobs/$job->{id}" => ['PUT'],
        "jobs/$job->{id}/trace" => ['PATCH'], "jobs/$job->{id}/artifacts" => [qw(GET HEAD POST)], "jobs/$job->{id}/artifacts/authorize" => ['POST'],
    );
    for my $path (sort keys %serves) {
        for my $method (qw(GET HEAD POST PUT PATCH DELETE OPTIONS TRACE)) {
            next if grep { $_ eq $method } @{ $serves{$path} };
            # a job may be called "request" as far as paths go
            next if $path eq 'jobs/request' && $method eq 'PUT';
            my $r = http($method => "$V4/$path", headers => \@header, $method =~ /^P/ ? (json => { token => $job->{token}, state => 'success' }) : ());
            is $r->{status}, 405, "$method $path: 405";
            next if $method eq 'TRACE';
            my $allow = join ',', grep { $_ ne 'HEAD' || $path =~ /artifacts$/ } sort split /,\s*/, $r->{headers}{allow} // '';
            my $expected = join ',', sort @{ $serves{$path} }, $path eq 'jobs/request' ? 'PUT' : ();
            is $allow, $expected, '  and Allow says what is';
        }
    }
    for my $path ('', '/', '/jobs', '/jobs/', "/jobs/$job->{id}/", "/jobs/$job->{id}/trace/", "/jobs/$job->{id}/trace.txt", "/jobs/$job->{id}/artifacts/",
        "/jobs/$job->{id}/artifacts/x", "/jobs/$job->{id}/artifacts/authorize/", '/jobs/request/', '/runners/',
        "/runners/$runner->{id}", '/runners/all', '/runners/verify/', '/projects', '/version', '/job', "/builds/$job->{id}", '/../v4/nothing')
    {
        for my $method (qw(GET POST PUT)) {
            my $r = http($method => "$V4$path", $method eq 'GET' ? () : (json => { token => $runner->{token}, state => 'success' }));
            is_refused $r, '40[345]', "$method $V4$path";
        }
    }
    for my $path ('/api/v5/jobs/request', '/api/v4x/jobs/request', '/api/jobs/request', '/API/v4/jobs/request') {
        my $r = http(POST => $path, json => { token => $runner->{token} });
        is $r->{status}, 404, "POST $path: 404";
        like $r->{headers}{'content-type'}, qr/html/, "  which is httpd's own";
    }
    is http(POST => '/api/%76%34/jobs/request', json => { token => $runner->{token} })->{status}, 204, 'an escaped path is the same path';
    nothing_changed();
};

subtest 'forms and queries' => sub {
    for my $bad ('x=%', 'x=%4', 'x=%zz', 'x=%ff%fe', 'last_update=%00', '%00=x', '%ff=x', '%4') {
        my $body = "token=$runner->{token}&$bad";
        is_refused http(POST => "$V4/jobs/request", body => $body, @FORM), 400, "form $bad";
        is_refused http(POST => "$V4/jobs/request", body => $body, @FORM, chunked => [1]), 400, '  in chunks';
        is_refused http(POST => "$V4/jobs/request?$body"), 400, "query $bad";
        is_refused http(PUT => "$V4/jobs/$job->{id}", body => "token=$job->{token}&state=success&$bad", @FORM), 400, '  of a PUT';
        is_refused http(PATCH => "$V4/jobs/$job->{id}/trace?$bad", type => 'text/plain', body => 'evil', headers => [@header, 'Content-Range' => '14-17']),
            400, '  of a PATCH';
        is_refused put_artifact($job, 'evil', suffix => "?$bad"), 400, '  of an upload';
        is_refused get_artifact($job, suffix => "?$bad"), 400, '  of a download';
    }
    is_refused http(POST => "$V4/runners", body => 'x=' . 'y' x 70000, @FORM), '400|413', 'a form over 64 KiB';
    nothing_changed();
};

subtest 'multipart' => sub {
    my $path = "$V4/jobs/$job->{id}/artifacts?artifact_type=junit&artifact_format=gzip";
    my $part = part(name => 'file', filename => 'a.gz', body => 'evil');
    my %bad = (
        'no boundary'         => [$part, type => 'multipart/form-data'],
        'an empty boundary'   => ["--\r\n$part\r\n----\r\n", type => 'multipart/form-data; boundary='],
        'a boundary of 71'    => ['--' . 'b' x 71 . "\r\n$part\r\n--" . 'b' x 71 . "--\r\n", type => 'multipart/form-data; boundary=' . 'b' x 71],
        'another boundary'    => ["--c\r\n$part\r\n--c--\r\n"],
        'no end'              => ["--b\r\n$part\r\n"],
        'no closing dashes'   => ["--b\r\n$part\r\n--b\r\n"],
        'nothing'             => [''],
        'only an end'         => ["--b--\r\n"],
        'headers that do not end' => ["--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n"],
        'headers over 8 KiB'  => ["--b\r\nX: " . 'x' x 9000 . "\r\n$part\r\n--b--\r\n"],
        'over 64 parts'       => [join('', map { "--b\r\n" . part(name => "p$_", body => 'x') . "\r\n" } 1 .. 70) . "--b\r\n$part\r\n--b--\r\n"],
        'a part without a name' => ["--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b\r\n$part\r\n--b--\r\n"],
        'line feeds alone'    => ["--b\n" . ($part =~ s/\r//gr) . "\n--b--\n"],
        'a field over 64 KiB' => ["--b\r\n" . part(name => 'note', body => 'x' x 70000) . "\r\n--b\r\n$part\r\n--b--\r\n"],
        'a NUL in a name'     => ["--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\0b\"\r\n\r\nx\r\n--b--\r\n"],
        'no file'             => ["--b\r\n" . part(name => 'other', body => 'x') . "\r\n--b--\r\n"],
        'a file by its path'  => ["--b\r\n" . part(name => 'file.path', body => '/etc/passwd') . "\r\n--b\r\n" . part(name => 'file.name', body => 'x') . "\r\n--b--\r\n"],
        'JSON'                => ['{"file":"evil"}', type => 'application/json'],
        'a form'              => ['file=evil', type => 'application/x-www-form-urlencoded'],
        'text'                => ['evil', type => 'text/plain'],
    );
    for my $what (sort keys %bad) {
        my ($body, %opt) = @{ $bad{$what} };
        for my $framing ([], [chunked => [7]], [chunked => 1]) {
            is_refused http(POST => $path, headers => \@header, type => 'multipart/form-data; boundary=b', body => $body, %opt, @$framing), '400|406|413', $what;
        }
    }
    says http(POST => $path, headers => \@header, type => 'multipart/form-data; boundary=b', body => "--b--\r\n"), 400,
        message('400 Bad request - Missing artifacts file!'), 'nothing at all, in words';
    nothing_changed();
};

subtest 'CR and LF in values' => sub {
    my $r = http(POST => "$V4/runners", json => { token => $project->{token}, description => "a\r\nX-Evil: 1" });
    is $r->{status}, 201, 'in a description';
    like cib(qw(runner show), $r->{json}{id})->{description}, qr/^a\s+X-Evil: 1$/, '  they are data';
    http(DELETE => "$V4/runners", json => { token => $r->{json}{token} });
    $r = ask($runner, json => { last_update => "x\r\nX-Evil: 1" });
    is $r->{headers}{'x-evil'}, undef, 'in last_update: not in a header';
    $r = http(POST => "$V4/runners/verify", json => { token => $runner->{token}, system_id => "s_1\r\n[ci_builds:error] forged",
        info => { name => "\r\n[ci_builds:error] forged", version => "1\n2" } });
    like $r->{status}, qr/^(?:200|400)$/, "in info: $r->{status}";
    unlike slurp($CELL->{error_log}), qr/^\[ci_builds:error\] forged/m, '  and forge no line of the log';
    is_refused put_artifact($job, 'evil', filename => 'a%0d%0aX-Evil: 1', query => { artifact_type => 'junit' }), 400, 'in the name of a file';
    my $named = job_of($runner, project => $project);
    is put_artifact($named, 'x', filename => "a\r\n X-Evil: 1")->{status}, 201, 'in a folded header';
    $r = get_artifact($named);
    is $r->{headers}{'x-evil'}, undef, '  it never becomes one';
    like $r->{headers}{'content-disposition'}, qr/^attachment; filename[ -~]*$/, '  and is told safely';
    update($named, state => 'success');
    cib(qw(build erase), $named->{id});
    # what was right changed what the runner says of itself
    ($rows, $files) = state_of_things();
};

subtest 'cut off' => sub {
    my %requests = (
        'POST runners' => request_text(POST => "$V4/runners", json => { token => $project->{token}, description => 'evil' }),
        'DELETE runners' => request_text(DELETE => "$V4/runners", json => { token => $runner->{token} }),
        'POST reset' => request_text(POST => "$V4/runners/reset_authentication_token", json => { token => $runner->{token} }),
        'POST jobs/request' => request_text(POST => "$V4/jobs/request", json => { token => $runner->{token}, info => info() }),
        'PUT' => request_text(PUT => "$V4/jobs/$job->{id}", json => { state => 'success', token => $job->{token}, trace => 'evil' }, chunked => [20]),
        'PATCH' => request_text(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'evil', headers => [@header, 'Content-Range' => '14-17']),
        'PATCH in chunks' => request_text(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'evil', chunked => [2],
            headers => [@header, 'Content-Range' => '14-17']),
        'POST artifacts' => request_text(POST => "$V4/jobs/$job->{id}/artifacts?artifact_type=junit", headers => \@header, boundary => 'b', chunked => [40],
            multipart => [part(name => 'file', filename => 'cut.zip', body => 'evil')]),
    );
    for my $what (sort keys %requests) {
        my $text = $requests{$what};
        my $fine = 1;
        my $head = index($text, "\r\n\r\n") + 4;
        for my $at (1, int($head / 2), $head - 1, $head .. length($text) - 1) {
            my $connection = connect_to();
            $connection->send(substr $text, 0, $at);
            $connection->finish_writing;
            my $r = eval { $connection->response };
            $fine = 0, diag "cut at $at: $r->{status} $r->{body}" if $r && ($r->{status} < 400 || $r->{status} == 500);
            $connection->close;
        }
        ok $fine, "$what: nowhere is half of it taken for the whole";
    }
    nothing_changed();
};

subtest 'framing' => sub {
    my $head = "PATCH $V4/jobs/$job->{id}/trace HTTP/1.1\r\nHost: x\r\nJob-Token: $job->{token}\r\nContent-Range: 14-17\r\nConnection: close\r\n";
    for my $case (["Transfer-Encoding: chunked\r\n\r\nzz\r\nevil\r\n0\r\n\r\n", 'a chunk size that is none'],
        ["Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nevil\r\n0\r\n\r\n", 'one beyond all'],
        ["Content-Length: -4\r\n\r\nevil", 'a negative length'], ["Content-Length: 4x\r\n\r\nevil", 'a length that is none'],
        ["Content-Length: 99999999999999999999999\r\n\r\nevil", 'a length beyond all'], ["Content-Length: 4\r\nContent-Length: 3\r\n\r\nevil", 'two of them'],
        ["Transfer-Encoding: gzip\r\n\r\nevil", 'an unknown coding'])
    {
        my ($rest, $what) = @$case;
        my $connection = connect_to();
        $connection->send($head . $rest);
        $connection->finish_writing;
        my $r = $connection->response;
        ok $r && $r->{status} >= 400, "$what: " . ($r ? $r->{status} : 'nothing');
    }
    nothing_changed();
};

is ask($runner)->{status}, 204, 'the server goes on';
is update($job, state => 'success')->{status}, 200, '  and the job, too';
cib(qw(build cancel), $waiting);

done_testing;
