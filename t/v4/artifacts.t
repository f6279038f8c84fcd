# Artifacts as runners of v4 send and fetch them: one of each type.

use strict;
use warnings;

use Digest::SHA ();
use MIME::Base64 ();

use CIB::Test;
use CIB::V4;

my $project = project();
my $runner = runner(project => $project);

sub running { return job_of($runner, project => $project, @_) }

sub end { return update($_[0], state => $_[1] // 'success') }

sub path { return "$V4/jobs/$_[0]{id}/artifacts" }

sub file { return part(name => 'file', filename => $_[1] // 'a.zip', body => $_[0]) }

# POST jobs/:id/artifacts as the uploader does: chunked, the token in a header, the rest in the query.
sub send_file {
    my ($job, $bytes, %opt) = @_;
    my %query = (artifact_format => 'zip', artifact_type => 'archive', %{ $opt{query} // {} });
    return http(
        POST => path($job), query => [map { $_ => $query{$_} } grep { defined $query{$_} } sort keys %query],
        headers   => ['Job-Token' => $opt{token} // $job->{token}, @{ $opt{headers} // [] }],
        multipart => $opt{parts} // [file($bytes, $opt{filename})],
        chunked   => $opt{chunked} // [176, 10, 9, 1, 9, 1, 25, 8],
        map { $_ => $opt{$_} } grep { exists $opt{$_} } qw(vhost until_answer)
    );
}

sub fetch {
    my ($job, %opt) = @_;
    return http(
        GET => path($job), query => $opt{query} // [direct_download => 'true'],
        headers => ['Job-Token' => $opt{token} // $job->{token}, @{ $opt{headers} // [] }]
    );
}

sub types_of { return join ' ', map { $_->{type} } @{ build_show($_[0]{id})->{artifacts} } }

sub files_of {
    my ($job) = @_;
    return grep {m{/$job->{id}-}} stored_files('artifacts');
}

sub heard { return sql("SELECT coalesce(heard_at, 0) FROM builds WHERE id = $_[0]{id}") > 0 }

sub sha { return Digest::SHA::sha256_hex($_[0]) }

subtest 'one of each type' => sub {
    my $job = running();
    my %bytes = (
        archive => join('', map {chr} 0 .. 255), junit => "\x1f\x8b a report", dotenv => "\x1f\x8b A=1", codequality => '[]',
        lsif => 'PK', cluster_image_scanning => '{}'
    );
    my %format = (archive => 'zip', junit => 'gzip', dotenv => 'gzip', codequality => 'raw', lsif => 'zip', cluster_image_scanning => 'raw');
    my $r = send_file($job, $bytes{archive}, query => { expire_in => '1 week' }, filename => 'demo-out.zip');
    is $r->{status}, 201, 'an archive: 201';
    is $r->{body}, '"201"', '  in JSON';
    is $r->{headers}{'content-type'}, 'application/json', '  exactly application/json';
    ok $r->{headers}{'content-length'}, '  with a length';
    for my $type (grep { $_ ne 'archive' } sort keys %bytes) {
        is send_file($job, $bytes{$type}, filename => "$type.out", query => { artifact_type => $type, artifact_format => $format{$type} })
            ->{status}, 201, "$type beside it";
    }
    my $show = build_show($job->{id});
    is $show->{artifacts_file}{filename}, 'demo-out.zip', 'build show: the archive';
    my @expected = map {
        {
            type => $_, format => $format{$_}, filename => $_ eq 'archive' ? 'demo-out.zip' : "$_.out", size => length $bytes{$_},
            sha256 => sha($bytes{$_}), expire_at => $_ eq 'archive' ? $show->{artifacts_expire_at} : undef,
        }
    } sort keys %bytes;
    is_deeply $show->{artifacts}, \@expected, '  and all of them';
    like $show->{artifacts_expire_at}, qr/^\d{4}-/, '  when they expire';
    my $text = ci_builds({ json => 0 }, qw(build show), $job->{id})->{out};
    like $text, qr/^artifacts +type archive, format zip, filename demo-out\.zip, size 256, sha256 [0-9a-f]{64}, expire_at \d/m, '  for people too';
    like $text, qr/^ {4,}type junit, format gzip, filename junit\.out, size 11, sha256 [0-9a-f]{64}, expire_at -$/m, '  a line each';
    for my $type (sort keys %bytes) {
        my $out = ci_builds({ json => 0 }, qw(build artifacts), $job->{id}, '--type', $type, '-o', '-');
        is $out->{out}, $bytes{$type}, "build artifacts --type $type";
        is fetch($job, query => [artifact_type => $type])->{body}, $bytes{$type}, '  and over HTTP';
    }
    is ci_builds({ json => 0 }, qw(build artifacts), $job->{id}, '-o', '-')->{out}, $bytes{archive}, 'without a type it is the archive';
    for my $type ('sast', 'nonsense', '') {
        my $r = ci_builds({ json => 0 }, qw(build artifacts), $job->{id}, '--type', $type, '-o', '-');
        is "$r->{exit} $r->{out}", '1 ', "--type '$type': exit 1";
        like $r->{err}, qr/archive, cluster_image_scanning, codequality, dotenv, junit, lsif/, '  and says which there are';
    }
    end($job);
    is fetch($job)->{body}, $bytes{archive}, 'the end changes nothing';
    is types_of($job), join(' ', sort keys %bytes), '  of them';
};

subtest 'as runners before 11.2' => sub {
    my $job = running();
    for my $suffix ('?', '?expire_in=1+week', '') {
        my $r = http(POST => path($job) . $suffix, headers => ['Job-Token' => $job->{token}], multipart => [file('same')], chunked => 1);
        is "$r->{status} $r->{body}", '201 "201"', "'$suffix'";
    }
    my ($artifact) = @{ build_show($job->{id})->{artifacts} };
    is "$artifact->{type} $artifact->{format}", 'archive zip', 'is an archive';
    is $artifact->{expire_at}, undef, 'the first of the same counts';
    is http(GET => path($job) . '?', headers => ['Job-Token' => $job->{token}])->{body}, 'same', 'and is fetched so';
    end($job);
};

subtest 'the same type again' => sub {
    my $job = running();
    my $with = sub { return [part(name => 'metadata', filename => 'm.gz', body => $_[1]), file($_[0], $_[1])] };
    is send_file($job, undef, parts => $with->('one', 'first'))->{status}, 201, 'an archive and its metadata';
    my @files = files_of($job);
    is send_file($job, undef, parts => $with->('one', 'second'))->{status}, 201, 'the same bytes: 201';
    is_deeply [files_of($job)], \@files, '  changes nothing';
    is build_show($job->{id})->{artifacts_file}{filename}, 'first', '  not even its name';
    my $r = send_file($job, undef, parts => $with->('two', 'third'));
    is "$r->{status} $r->{body}", '400 {"message":"another artifact of the same type already exists"}', 'other bytes: 400';
    is_deeply [files_of($job)], \@files, '  changes nothing';
    is fetch($job)->{body}, 'one', '  of what is there';
    is send_file($job, 'two', query => { artifact_type => 'sast', artifact_format => 'raw' })->{status}, 201, 'the same bytes as another type';
    sql("UPDATE artifacts SET created_at = 1 WHERE build_id = $job->{id}");
    is send_file($job, 'two')->{status}, 201, "what was there before this claim is another's, and replaced";
    is fetch($job)->{body}, 'two', '  by this';
    is types_of($job), 'archive sast', '  its metadata goes with it';
    is scalar(files_of($job)), 2, '  and their files';
    is upload($job, 'three')->{status}, 201, 'v1 replaces';
    is fetch($job)->{body}, 'three', '  what v4 has brought';
    is send_file($job, 'four')->{status}, 400, '  but not the other way round';
    end($job);
};

subtest 'two at a time' => sub {
    my $job = running();
    my %answers;
    for my $round (1 .. 5) {
        my @connections = map { connect_to() } 1 .. 6;
        for my $n (0 .. $#connections) {
            $connections[$n]->send(request_text(POST => path($job), headers => ['Job-Token' => $job->{token}], chunked => 1,
                query => [artifact_type => 'junit'], multipart => [file($n % 2)]));
        }
        $answers{ $_->response->{status} }++ for @connections;
    }
    is_deeply \%answers, { 201 => 15, 400 => 15 }, 'the first is the one that all agree on';
    is scalar(files_of($job)), 1, 'and the only one';
    is cib('check')->{found}, 0, 'check finds no fault';
    end($job);
};

subtest 'who may' => sub {
    my $job = running();
    my $plain = '403 Forbidden';
    my ($token, $wrong) = map { part(name => 'token', body => $_) } $job->{token}, 'x' x 40;
    my $post = sub { return http(POST => path($job), multipart => [@_]) };
    answers send_file($job, 'x', token => 'x' x 40), 403, $plain, 'a wrong token';
    answers $post->(file('x')), 403, $plain, 'none';
    answers send_file($job, 'x', token => $project->{token}), 403, $plain, "the project's";
    answers send_file($job, 'x', token => $runner->{token}), 403, $plain, "the runner's";
    answers send_file({ %$job, id => 999999999 }, 'x'), 403, $plain, 'a job that is none is not told of';
    answers send_file({ %$job, id => 'x' }, 'x'), 403, $plain, '  nor one without a number';
    answers $post->(file('x'), $token), 403, $plain, 'a field after the file';
    answers $post->($wrong, file('x')), 403, $plain, 'a wrong one before it';
    is scalar(files_of($job)), 0, 'nothing of that is stored';
    is $post->($token, file('field'))->{status}, 201, 'a field before the file';
    is http(POST => path($job), query => [token => $job->{token}], multipart => [file('field')])->{status}, 201, 'in the query';
    end($job, 'failed');
    my $r = send_file($job, 'x');
    answers $r, 403, '403 Forbidden  - Job is not running!', 'a job that ended';
    is $r->{headers}{'job-status'}, 'failed', '  is told how';
    $job = running();
    cib(qw(build cancel), $job->{id});
    my $connection = connect_to();
    $connection->send(request_text(POST => path($job), headers => ['Job-Token' => $job->{token}, Expect => '100-continue'],
        type => 'multipart/form-data; boundary=b', length => 10_000_000));
    $r = $connection->response;
    answers $r, 403, '403 Forbidden  - Job is not running!', 'one that was canceled, before a byte is sent';
    is $r->{headers}{'job-status'}, 'canceled', '  is told so';
};

subtest 'a job that ends meanwhile' => sub {
    my $job = running();
    my $text = request_text(POST => path($job), headers => ['Job-Token' => $job->{token}], multipart => [file('x' x 100_000)], chunked => [1000]);
    my $connection = connect_to();
    $connection->send(substr $text, 0, 50_000);
    wait_for('the upload to have begun', sub { heard($job) });
    is end($job, 'failed')->{status}, 200, 'it ends while its artifact comes';
    $connection->send(substr $text, 50_000);
    my $r = $connection->response;
    answers $r, 403, '403 Forbidden  - Job is not running!', 'which is refused';
    is $r->{headers}{'job-status'}, 'failed', '  and told why';
    is scalar(files_of($job)), 0, '  and gone';
};

subtest 'types and formats' => sub {
    my $job = running();
    my ($no_type, $no_format) = map {"artifact_$_ does not have a valid value"} qw(type format);
    my @cases = map { [artifact_type => $_, $no_type] } 'nonsense', '', 'Archive', 'metadata', '../x', "junit\0";
    push @cases, map { [artifact_format => $_, $no_format] } 'tar', '', 'ZIP';
    for my $case (@cases) {
        my ($name, $value, $error) = @$case;
        my $shown = $value =~ s/\0/\\0/r;
        my $r = send_file($job, 'x', query => { $name => $value });
        is $r->{status}, 400, "$name '$shown': 400";
        next if $value =~ /\0/;
        is $r->{body}, qq({"error":"$error"}), '  as GitLab says it';
        $r = http(POST => path($job), headers => ['Job-Token' => $job->{token}], multipart => [part(name => $name, body => $value), file('x')]);
        is "$r->{status} $r->{body}", qq(400 {"error":"$error"}), '  as a field before the file';
        my $connection = connect_to();
        $connection->send(request_text(POST => path($job), query => [$name => $value], headers => ['Job-Token' => $job->{token},
            Expect => '100-continue'], type => 'multipart/form-data; boundary=b', length => 10_000_000));
        is $connection->response->{body}, qq({"error":"$error"}), '  and before a byte is sent';
    }
    for my $field (part(name => 'artifact_type', body => 'junit'), part(name => 'artifact_format', body => 'raw')) {
        my $r = http(POST => path($job), headers => ['Job-Token' => $job->{token}], multipart => [file('x'), $field]);
        answers $r, 400, qr/must come before the file/, 'a field after the file: 400';
    }
    is scalar(files_of($job)), 0, 'nothing of that is stored';
    is http(POST => path($job), headers => ['Job-Token' => $job->{token}], multipart => [part(name => 'artifact_type', body => 'junit'),
        part(name => 'artifact_format', body => 'gzip'), file('x')])->{status}, 201, 'both as fields';
    is http(POST => path($job), headers => ['Job-Token' => $job->{token}], query => [artifact_type => 'dotenv'],
        multipart => [part(name => 'artifact_type', body => 'sast'), file('x')])->{status}, 201, 'the query goes before a field';
    is_deeply [map {"$_->{type} $_->{format}"} @{ build_show($job->{id})->{artifacts} }], ['dotenv zip', 'junit gzip'], '  so they are kept';
    end($job);
};

subtest 'the parts' => sub {
    my $job = running();
    my $post = sub { return http(POST => path($job), headers => ['Job-Token' => $job->{token}], multipart => [@_]) };
    my $missing = '400 Bad request - Missing artifacts file!';
    my $metadata = part(name => 'metadata', filename => 'm.gz', body => 'about it');
    answers $post->(part(name => 'other', body => 'x')), 400, $missing, 'no file';
    answers $post->($metadata), 400, $missing, 'metadata alone';
    answers $post->(part(name => 'file', filename => '', body => 'x')), 400, $missing, 'none was chosen';
    answers http(POST => path($job), headers => ['Job-Token' => $job->{token}]), 400, $missing, 'no body';
    answers $post->(part(name => 'file.path', body => '/etc/passwd')), 400, '400 Bad request - file is not a file', "Workhorse's fields";
    answers $post->(part(name => 'expire_in', body => 'soon'), file('x')), 400, qr/^400 Bad request - expire_in/, 'an expire_in that is none';
    answers $post->(file('x'), part(name => 'expire_in', body => 'soon')), 400, qr/^400 Bad request - expire_in/, '  after the file too';
    answers send_file($job, 'x', query => { expire_in => 'soon' }), 400, qr/^400 Bad request - expire_in/, '  and in the query';
    is scalar(files_of($job)), 0, 'nothing of that is stored';
    is $post->(part(name => 'artifact_type', body => 'junit'), $metadata, file('x'))->{status}, 201, 'metadata beside a report';
    is types_of($job), 'junit', '  is not kept';
    is scalar(files_of($job)), 1, '  nor its file';
    is $post->($metadata, file('x'))->{status}, 201, 'beside an archive';
    is types_of($job), 'archive junit metadata', '  it is';
    is fetch($job, query => [artifact_type => 'metadata'])->{body}, 'about it', '  and can be fetched';
    end($job);
};

subtest 'digests' => sub {
    my $job = running();
    my $digest = 'sha-256=:' . MIME::Base64::encode_base64(Digest::SHA::sha256('right'), '') . ':';
    for my $name ('Repr-Digest', 'Content-Digest') {
        answers send_file($job, 'wrong', headers => [$name => $digest]), 400, qr/^400 Bad request - the file's SHA-256/, "$name of something else";
    }
    is send_file($job, 'right', headers => ['Repr-Digest' => $digest])->{status}, 201, 'the right one';
    is fetch($job)->{headers}{'repr-digest'}, $digest, '  is given back';
    end($job);
};

subtest 'limits' => sub {
    my $job = running();
    my $limit = 1024 * 1024;
    my %small = (vhost => 'small', chunked => [65536], until_answer => 1);
    my $r = send_file($job, 'x', vhost => 'noart');
    answers $r, 405, '405 Method Not Allowed', 'switched off';
    is $r->{headers}{allow}, 'GET, HEAD', '  and Allow says what is left';
    expect_log(qr/free|space|CIBuildsMinFree/i);
    answers send_file($job, 'x', vhost => 'full'), 507, qr/CIBuildsMinFree/, 'a full disk';
    my $large = qr/^413 Request Entity Too Large .*at most 1 MiB/;
    answers send_file($job, 'f' x ($limit + 1), %small, query => { artifact_type => 'junit' }), 413, $large, 'a report over the limit';
    for my $case (['a part nobody wants', 'other'], ['a second file', 'file'], ['a second one of metadata', 'metadata']) {
        my ($what, $name) = @$case;
        my $waste = sub { return part(name => $name, filename => 'w', body => 'w' x $_[0]) };
        my @first = (part(name => 'metadata', filename => 'm', body => 'about'), file('first'));
        answers send_file($job, undef, %small, parts => [@first, $waste->(8 * $limit)]), 413, $large, "$what, over the limit";
        my $half = $limit / 2 + 1;
        answers send_file($job, undef, %small, parts => [@first, ($waste->($half)) x 2]), 413, $large, '  also in two pieces';
        is scalar(files_of($job)), 0, '  leaves nothing';
        is send_file($job, undef, %small, parts => [@first, $waste->($limit)])->{status}, 201, '  of exactly the limit does no harm';
        is fetch($job)->{body}, 'first', '  nor good';
        sql("UPDATE artifacts SET created_at = 1, expire_at = 1 WHERE build_id = $job->{id}");
        wait_for('upkeep to remove it', sub { !files_of($job) });
    }
    my $beside = part(name => 'metadata', filename => 'm', body => 'w' x (2 * $limit));
    answers send_file($job, undef, %small, query => { artifact_type => 'junit' }, parts => [file('x'), $beside]), 413, $large,
        'so is metadata beside a report';
    is send_file($job, 'f' x $limit, %small)->{status}, 201, 'a file of exactly the limit';
    end($job);
};

subtest 'authorize' => sub {
    my $job = running();
    my $ask = sub {
        my (%opt) = @_;
        return http(
            POST => '/api/v4/jobs/' . ($opt{id} // $job->{id}) . '/artifacts/authorize',
            headers => ['Job-Token' => $opt{token} // $job->{token}], map { $_ => $opt{$_} } grep { exists $opt{$_} } qw(vhost query json)
        );
    };
    my $r = $ask->();
    is "$r->{status} $r->{body}", '200 {}', 'who may: 200 {}';
    is $r->{headers}{'content-type'}, 'application/vnd.gitlab-workhorse+json', '  of the type that Workhorse wants';
    is $ask->(query => [filesize => 10, artifact_type => 'junit'])->{status}, 200, 'a size that fits';
    is $ask->(json => { filesize => 10 })->{status}, 200, '  in JSON';
    is $ask->(vhost => 'small', query => [filesize => 1024 * 1024])->{status}, 200, '  exactly';
    answers $ask->(vhost => 'small', query => [filesize => 1024 * 1024 + 1]), 413, qr/^413 Request Entity Too Large/, 'one that does not';
    answers $ask->(query => [filesize => $_]), 400, 'filesize is invalid', "a size of $_" for -1, 'large', '99999999999999999999';
    answers $ask->(query => [artifact_type => 'nonsense']), 400, 'artifact_type does not have a valid value', 'a type that is none';
    answers $ask->(vhost => 'noart'), 405, '405 Method Not Allowed', 'switched off';
    answers $ask->(token => 'x' x 40), 403, '403 Forbidden', 'a wrong token';
    answers $ask->(id => 999999999), 403, '403 Forbidden', 'a job that is none';
    expect_log(qr/free|space|CIBuildsMinFree/i);
    answers $ask->(vhost => 'full'), 507, qr/^507 Insufficient Storage/, 'too little free space';
    answers http(GET => path($job) . '/authorize', headers => ['Job-Token' => $job->{token}]), 405, undef, 'GET is not served';
    end($job);
    $r = $ask->();
    answers $r, 403, '403 Forbidden  - Job is not running', 'a job that ended';
    is $r->{headers}{'job-status'}, 'success', '  is told how';
};

subtest 'download' => sub {
    my $job = running();
    answers fetch($job), 404, '404 Not Found', 'nothing there';
    my $bytes = join '', map { sprintf "%07d\n", $_ } 0 .. 49999;
    send_file($job, $bytes, filename => 'out.zip', chunked => [65536]);
    for my $query ([direct_download => 'true'], []) {
        my $r = fetch($job, query => $query);
        is $r->{status}, 200, @$query ? 'with direct_download' : 'with nothing in the query';
        is $r->{body}, $bytes, '  byte for byte';
        is $r->{headers}{'content-disposition'}, 'attachment; filename=out.zip', '  as an attachment';
        is $r->{headers}{'content-type'}, 'application/octet-stream', '  of no type';
        is $r->{headers}{'x-content-type-options'}, 'nosniff', '  for nobody to guess';
    }
    my $etag = fetch($job)->{headers}{etag};
    is $etag, '"' . sha($bytes) . '"', 'the digest is the strong ETag';
    is fetch($job, headers => ['If-None-Match' => $etag])->{status}, 304, '  not changed';
    is fetch($job, headers => ['If-Match' => '"other"'])->{status}, 412, '  another one wanted';
    my $r = fetch($job, headers => [Range => 'bytes=100-199']);
    is "$r->{status} $r->{body}", '206 ' . substr($bytes, 100, 100), 'a range';
    my $head = http(HEAD => path($job), headers => ['Job-Token' => $job->{token}]);
    is "$head->{status} $head->{headers}{'content-length'}", '200 ' . length $bytes, 'HEAD';
    answers fetch($job, query => [artifact_type => 'junit']), 404, '404 Not Found', 'a type that is not there';
    answers fetch($job, query => [artifact_type => 'nonsense']), 400, 'artifact_type does not have a valid value', 'one that is none';
    answers fetch($job, token => 'x' x 40), 403, '403 Forbidden', 'a wrong token';
    answers http(GET => path($job)), 403, '403 Forbidden', 'none';
    answers fetch($job, token => $project->{token}), 403, '403 Forbidden', "the project's";
    answers fetch({ %$job, id => 999999999 }), 403, '403 Forbidden', 'a job that is none';
    for my $method (qw(PUT DELETE)) {
        $r = http($method => path($job), headers => ['Job-Token' => $job->{token}], length => 0);
        answers $r, 405, undef, "$method is not served";
        is join(',', sort split /,\s*/, $r->{headers}{allow} // ''), 'GET,HEAD,POST', '  and Allow says what is';
    }
    end($job, 'failed');
    is fetch($job)->{status}, 200, 'after the end it is there';
    is http(GET => "builds/$job->{id}/artifacts", headers => ['Build-Token' => $job->{token}])->{body}, $bytes, '  also by v1';
};

subtest 'a job that depends on it' => sub {
    my $first = running();
    send_file($first, 'for others');
    send_file($first, 'a report', query => { artifact_type => 'junit', artifact_format => 'gzip' });
    my $stranger = running();
    my $id = build(project => $project, args => ['--depends-on', $first->{id}]);
    answers fetch($first, token => $stranger->{token}), 403, '403 Forbidden', 'a running job of the same project that does not';
    end($first);
    my $next = job($runner);
    is $next->{id}, $id, 'one that does';
    is fetch($first, token => $next->{token})->{body}, 'for others', '  fetches with its own token';
    is fetch($first, token => $next->{token}, query => [artifact_type => 'junit'])->{body}, 'a report', '  what it likes';
    is fetch($first)->{body}, 'for others', "  or with that one's";
    answers send_file($first, 'x', token => $next->{token}), 403, '403 Forbidden', '  but brings nothing';
    answers http(GET => "builds/$first->{id}/artifacts", headers => ['Build-Token' => $next->{token}]), 403, '403 Forbidden', '  and v1 knows no such thing';
    answers fetch($stranger, token => $next->{token}), 403, '403 Forbidden', '  nor does it open any other';
    answers fetch($next, token => $first->{token}), 403, '403 Forbidden', '  or is opened in turn';
    answers fetch($first, token => $stranger->{token}), 403, '403 Forbidden', 'the other still does not';
    answers fetch($first, token => ''), 403, '403 Forbidden', 'nor does an empty token';
    end($next);
    answers fetch($first, token => $next->{token}), 403, '403 Forbidden', 'when it has ended it does not, either';
    is fetch($first)->{status}, 200, "  but the job's own token does";
    end($stranger);
    cib(qw(build erase), $first->{id});
    answers fetch($first), 403, '403 Forbidden  - Job has been erased!', 'erased';
};

subtest 'each expires by itself' => sub {
    my $job = running();
    send_file($job, 'short', query => { expire_in => '1s' });
    send_file($job, 'long', query => { expire_in => '1 week', artifact_type => 'junit' });
    send_file($job, 'ever', query => { expire_in => 'never', artifact_type => 'dotenv' });
    wait_for('the archive to expire', sub { fetch($job)->{status} == 404 });
    is types_of($job), 'dotenv junit', 'the others are there';
    is build_show($job->{id})->{artifacts_file}, undef, '  without it';
    wait_for('its file to go', sub { 2 == files_of($job) });
    is fetch($job, query => [artifact_type => 'junit'])->{body}, 'long', '  and theirs stay';
    is send_file($job, 'another')->{status}, 201, 'another may come in its place';
    is send_file($job, 'other', query => { artifact_type => 'junit' })->{status}, 400, '  but in no other';
    end($job);
};

# A job that has ended, with three artifacts.
sub ended_with_three {
    my ($in, $by) = @_;
    my $job = job_of($by // $runner, project => $in // $project);
    send_file($job, $_, query => { artifact_type => $_ }) for qw(archive junit sast);
    end($job);
    return $job;
}

subtest 'all of them go together' => sub {
    my $erased = ended_with_three();
    is scalar(files_of($erased)), 3, 'three files';
    cib(qw(build erase), $erased->{id});
    is types_of($erased) . files_of($erased), '0', 'erased: none';
    my $deleted = running();
    send_file($deleted, $_, query => { artifact_type => $_ }) for qw(archive junit sast);
    is http(DELETE => "builds/$deleted->{id}/artifacts", headers => ['Build-Token' => $deleted->{token}])->{status}, 200, "v1's DELETE";
    is types_of($deleted) . files_of($deleted), '0', '  removes all';
    end($deleted);
    my $other = project();
    my $its = runner(project => $other);
    my $removed = ended_with_three($other, $its);
    cib(qw(project remove), $other->{id});
    is scalar(files_of($removed)), 0, 'a removed project leaves none';
    my $old = ended_with_three();
    sql("UPDATE builds SET finished_at = 1 WHERE id = $old->{id}");
    cib(qw(gc --history 3650d));
    cib_fails(1, qr/no build/, qw(build show), $old->{id});
    is scalar(files_of($old)), 0, 'nor does history';
};

subtest 'check' => sub {
    my $job = ended_with_three();
    my ($report) = grep {/-junit-/} files_of($job);
    my $orphan = $report =~ s/[^-]+$/'0' x 32/er;
    # upkeep, in httpd, may be faster to take it away
    wait_for('a file that no row names to be seen', sub {
        open my $out, '>', $orphan or die "$orphan: $!\n";
        close $out;
        return ci_builds('check')->{out} =~ /0{32} belongs to no build/;
    });
    pass 'a file that no row names, beside those that rows name';
    cib('gc');
    is scalar(files_of($job)), 3, '  goes, and they stay';
    is cib('check')->{found}, 0, 'no fault';
    unlink $report or die "$report: $!\n";
    my $r = ci_builds('check');
    is $r->{exit}, 1, 'one file of three is gone';
    like $r->{out}, qr/build $job->{id}: the junit file/, '  which is said';
    expect_log(qr/build $job->{id}: .*gone or damaged/);
    is fetch($job, query => [artifact_type => 'junit'])->{status}, 500, '  and answered';
    is ci_builds(qw(check --repair))->{exit}, 0, 'repaired';
    is types_of($job), 'archive sast', '  the others stay';
    is ci_builds('check')->{exit}, 0, '  without a fault';
};

done_testing;
