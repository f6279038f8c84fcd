# cells: *-event
# HTTP/2 by mod_http2: all that a runner does, streams that stop, break off or lie, and many at once. What is not
# whole leaves nothing, the connection serves on, and nobody waits in it for a build.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP ();

use CIB::HTTP qw(multipart part);
use CIB::HTTP2;
use CIB::Place qw(modules_dir);
use CIB::Test;
use CIB::Torture;

my $V4 = '/api/v4';
my @JSON = ('content-type' => 'application/json');
my @MULTIPART = ('content-type' => 'multipart/form-data; boundary=b');
my $json = JSON::PP->new->utf8->canonical;

my $arena = arena(name => 'http2', conf => 'LoadModule http2_module ' . modules_dir() . "/mod_http2.so\n",
    vhost => "Protocols h2c http/1.1\nH2StreamTimeout 30\nCIBuildsAckTimeout 10m\nCIBuildsLongPoll 50s\nCIBuildsMaxArtifactSize 20M");
$arena->start;
my $runner = $arena->cib('runner', 'add', '--project', $arena->{project}{id});
$arena->add_builds(24);    # as many as are taken, before there must be none
my $connection;
local $CIB::HTTP::TIMEOUT = 40;    # less than what nobody shall wait

# The next of the builds that wait.
sub take {
    my $r = $arena->request('v4', 'ask', $runner);
    return { id => $r->{json}{id}, token => $r->{json}{token}, at => 0 };
}

sub show { return $arena->cib(qw(build show), $_[0]{id}) }

# Run a subtest over a connection of its own: mod_http2 ends one that had several broken streams.
sub over_one {
    my ($what, $code) = @_;
    $connection = CIB::HTTP2->connect($arena->{port});
    return subtest $what => $code;
}

# One request over it.
sub say_it {
    my ($method, $path, $headers, $body) = @_;
    my $id = $connection->begin($method, "$V4/$path", headers => $headers, end => !defined $body);
    $connection->data($id, $body, end => 1) if defined $body;
    return $connection->response($id);
}

# What httpd's processes hold open below a directory of the storage, that has no name.
sub unnamed {
    my ($area) = @_;
    return grep {m{\Q$arena->{storage}/$area\E/.*\(deleted\)$}} map { readlink // () } map { glob "/proc/$_/fd/*" } $arena->children;
}

sub none_is_left {
    my ($area, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok wait_for('the file to be gone', sub { !unnamed($area) }), $what;
    return;
}

# curl, as others speak HTTP/2: { status, headers, body, exit }
sub curl {
    my ($path, @args) = @_;
    my $out = "$arena->{dir}/curl";
    my @command = ('curl', '-sS', '-D', "$out.head", '-o', "$out.body", @args, "http://127.0.0.1:$arena->{port}$V4/$path");
    unlink "$out.head", "$out.body";
    my $exit = system(@command) >> 8;
    my $head = -e "$out.head" ? slurp("$out.head") : '';
    my ($last) = $head =~ m{(HTTP/\S+ [2-5]\d\d\b(?:(?!HTTP/).)*)\z}s;
    my %headers = map { /^([^:]+): *(.*?)\r?$/ ? (lc $1 => $2) : () } split /\n/, $last // '';
    my ($version, $status) = ($last // '') =~ m{^HTTP/(\S+) (\d+)};
    return { version => $version, status => $status // "exit $exit", headers => \%headers, exit => $exit, body => -e "$out.body" ? slurp("$out.body") : '' };
}

sub some_bytes {
    my ($size) = @_;
    my $block = join '', map { chr int rand 256 } 1 .. 1009;
    return substr $block x (1 + $size / 1009), 0, $size;
}

sub file_of {
    my ($bytes) = @_;
    open my $out, '>:raw', "$arena->{dir}/bytes" or die "bytes: $!\n";
    print {$out} $bytes;
    close $out;
    return "$arena->{dir}/bytes";
}

subtest 'what a runner does, by curl' => sub {
    my @h2 = ('--http2-prior-knowledge');
    my $job = take();
    my @token = ('-H', "Job-Token: $job->{token}");
    my $bytes = some_bytes(1_000_003);
    my $r = curl("jobs/$job->{id}/artifacts?artifact_format=zip&artifact_type=archive", @h2, @token, '-F', 'file=@' . file_of($bytes) . ';filename=a.zip');
    is "$r->{version} $r->{status} $r->{exit}", '2 201 0', 'an upload';
    is show($job)->{artifacts_file}{sha256}, sha256_hex($bytes), '  is stored byte for byte';
    $r = curl("jobs/$job->{id}/artifacts", @h2, @token);
    ok $r->{status} == 200 && $r->{body} eq $bytes, 'a download is the same bytes';
    $r = curl("jobs/$job->{id}/artifacts", @h2, @token, '-r', '1000-1999');
    ok $r->{status} == 206 && $r->{body} eq substr($bytes, 1000, 1000), '  and a part of it';
    $r = curl("jobs/$job->{id}/artifacts", @h2, @token, '-H', 'If-None-Match: "' . sha256_hex($bytes) . '"');
    is $r->{status}, 304, '  and nothing where it is known';
    $r = curl("jobs/$job->{id}/artifacts", '--http2', @token, '-r', '1000-1999');
    is "$r->{version} $r->{status}", '2 206', '  and of what began as HTTP/1.1';
    my @append = ('-X', 'PATCH', @token, '-H', 'Content-Type: text/plain');
    $r = curl("jobs/$job->{id}/trace", @h2, @append, '-H', 'Content-Range: 0-4', '-d', 'hello');
    is "$r->{status} $r->{headers}{range} $r->{headers}{'job-status'}", '202 0-5 running', 'the trace begins';
    $r = curl("jobs/$job->{id}/trace", @h2, @append, '-H', 'Content-Range: 9-12', '-d', 'more');
    is $r->{headers}{range}, '0-5', '  and goes on nowhere else';
    my @seen = map { curl("jobs/$job->{id}/trace", @h2, @append, '-H', 'Content-Range: 9-12', '-d', 'more')->{status} } 1 .. 20;
    is_deeply \@seen, [(416) x 20], '  and each time that is seen';
    my $trace = join '', map {"line $_\n"} 1 .. 200_000;
    $r = curl("jobs/$job->{id}", @h2, '-X', 'PUT', '-H', 'Content-Type: application/json', '--data-binary',
        '@' . file_of($json->encode({ token => $job->{token}, trace => $trace, state => 'success' })));
    is $r->{status}, 200, 'a PUT ends the job';
    is ci_builds({ storage => $arena->{storage}, json => 0 }, qw(build trace), $job->{id})->{out}, $trace, '  with megabytes of trace';
};

over_one 'refusals' => sub {
    my $job = take();
    my $megabytes = file_of('x' x 21_000_000);
    my @h2 = ('--http2-prior-knowledge', '-H', 'Expect:');
    for my $case (['Job-Token: ' . 'x' x 40, 403], ["Job-Token: $job->{token}", 413]) {
        my ($token, $status) = @$case;
        for my $framing ([], ['-H', 'Content-Length:']) {
            my $r = curl("jobs/$job->{id}/artifacts", @h2, @$framing, '-H', $token, '-F', "file=\@$megabytes;filename=a.zip");
            is "$r->{status} $r->{exit}", "$status 0", "$status is seen by one who sends on" . (@$framing ? ' and on' : '');
            like $r->{body}, qr/^\{"message":"$status /, '  in JSON';
        }
    }
    my $id = $connection->begin(POST => "$V4/jobs/$job->{id}/artifacts", headers => [@MULTIPART, 'job-token' => 'x' x 40, expect => '100-continue']);
    my $r = $connection->response($id);
    is $r->{status}, 403, 'who asks whether to send is told at once';
    is $r->{interim}, undef, '  and not to';
    ok !$r->{twice}, '  once';
    none_is_left('artifacts', 'nothing is stored');
    is say_it(GET => 'nothing')->{status}, 404, 'the connection serves on';
};

over_one 'bodies in other shapes' => sub {
    my $job = take();
    my @token = ('job-token' => $job->{token});
    my $path = "jobs/$job->{id}/artifacts";
    my $body = multipart('b', part(name => 'file', filename => 'a.zip', body => 'z' x 300_000));
    for my $lie (10, 400_000) {
        # some mod_http2 crash where this is seen before a thread has taken the request up
        my $id = $connection->begin(POST => "$V4/$path", headers => [@MULTIPART, @token, 'content-length' => $lie, expect => '100-continue']);
        $connection->wanted($id);
        $connection->data($id, $body, end => 1);
        isnt $connection->response($id)->{status} // 'none', 201, "a length that is not true ($lie)";
        none_is_left('artifacts', '  leaves nothing');
    }
    is show($job)->{artifacts_file}, undef, 'nothing is stored';
    my $id = $connection->begin(POST => "$V4/$path", headers => [@MULTIPART, @token, expect => '100-continue']);
    is $connection->wanted($id), 1, 'a client that waits is told to send';
    $connection->data($id, $body);
    $connection->trailers($id, 'job-token' => 'x' x 40, 'x-checksum' => 'none');
    is $connection->response($id)->{status}, 201, 'what follows a body changes nothing';
    my $r = say_it(PUT => "jobs/$job->{id}", [@JSON], '');
    is $r->{status}, 400, 'an empty body: 400' or diag $r->{body};
    $r = say_it(PUT => "jobs/$job->{id}", [@JSON, 'content-encoding' => 'gzip'], '{}');
    is $r->{status}, 406, 'a packed one: 406';
    $r = say_it(PATCH => "jobs/$job->{id}/trace", ['content-type' => 'text/plain', @token, 'content-range' => '0-2'], 'abc');
    is $r->{status}, 202, 'the connection serves on';
};

over_one 'many at once' => sub {
    my @jobs = map { take() } 1 .. 20;
    my %bodies;
    for my $job (@jobs) {
        my $id = $connection->begin(POST => "$V4/jobs/$job->{id}/artifacts", headers => [@MULTIPART, 'job-token' => $job->{token}]);
        $job->{bytes} = some_bytes(250_000 + 100 * $id);
        $bodies{$id} = multipart('b', part(name => 'file', filename => 'a.zip', body => $job->{bytes}));
    }
    $connection->bodies(\%bodies, end => 1);
    is_deeply [map { $connection->response($_)->{status} } sort keys %bodies], [(201) x 20], 'twenty uploads over one connection';
    is_deeply [map { show($_)->{artifacts_file}{sha256} } @jobs], [map { sha256_hex($_->{bytes}) } @jobs], '  each stored as it is';
    my @ids = map { $connection->begin(GET => "$V4/jobs/$_->{id}/artifacts", headers => ['job-token' => $_->{token}], end => 1) } @jobs;
    is_deeply [map { sha256_hex($connection->response($_)->{body}) } @ids], [map { sha256_hex($_->{bytes}) } @jobs], '  and fetched';
};

over_one 'broken off' => sub {
    my $job = take();
    my @token = ('job-token' => $job->{token});
    my $trace = 'z' x 600_000;
    my %half = (
        'an upload' => [artifacts => POST => "jobs/$job->{id}/artifacts", [@MULTIPART, @token],
            substr multipart('b', part(name => 'file', filename => 'a.zip', body => $trace)), 0, -10],
        # without a length only the stream's end is one, and mod_http2 may show it for a moment when a stream is reset
        'a trace' => [traces => PATCH => "jobs/$job->{id}/trace", ['content-type' => 'text/plain', @token, 'content-range' => '0-',
            'content-length' => 600_001], $trace],
        'the trace of a PUT' => [traces => PUT => "jobs/$job->{id}", [@JSON], qq({"token":"$job->{token}","state":"success","trace":"$trace)],
    );
    for my $how (qw(reset closed)) {
        for my $what (sort keys %half) {
            my ($area, $method, $path, $headers, $bytes) = @{ $half{$what} };
            my $mine = $how eq 'reset' ? $connection : CIB::HTTP2->connect($arena->{port});
            my $id = $mine->begin($method, "$V4/$path", headers => $headers);
            $mine->data($id, $bytes);
            ok wait_for('it to arrive', sub { unnamed($area) }), "$what arrives";
            $how eq 'reset' ? $mine->reset($id) : $mine->close;
            none_is_left($area, "  and is $how: nothing is left");
        }
    }
    my $shown = show($job);
    is "$shown->{status} $shown->{trace_size}", 'running 0', 'nothing of it counts';
    is $shown->{artifacts_file}, undef, '  and nothing is there';
    is say_it(POST => "jobs/$job->{id}/artifacts", [@MULTIPART, @token], multipart('b', part(name => 'file', filename => 'a.zip', body => 'z' x 8_000_000)))->{status},
        201, 'the connection serves on';
    for my $how (qw(reset closed)) {
        my $mine = $how eq 'reset' ? $connection : CIB::HTTP2->connect($arena->{port});
        $mine->frame(CIB::HTTP2::SETTINGS(), 0, 0, pack 'nN', 4, 1000);
        my $id = $mine->begin(GET => "$V4/jobs/$job->{id}/artifacts", headers => [@token], end => 1);
        is $mine->response($id, head => 1)->{status}, 200, 'a download begins';
        my $open = sub { return grep {m{/artifacts/.*/$job->{id}-}} map { readlink // () } map { glob "/proc/$_/fd/*" } $arena->children };
        ok $open->(), '  its file is open';
        $how eq 'reset' ? $mine->reset($id) : $mine->close;
        ok wait_for('the file to be closed', sub { !$open->() }), "  until it is $how";
        $mine->frame(CIB::HTTP2::SETTINGS(), 0, 0, pack 'nN', 4, 0x7fffffff) if $how eq 'reset';
    }
};

over_one 'each claim that is handed out stands' => sub {
    my $n = 200;
    $arena->add_builds($n);
    my %got;
    for (1 .. $n / 20) {
        my @ids = map { $connection->begin(POST => "$V4/jobs/request", headers => [@JSON]) } 1 .. 20;
        $connection->bodies({ map { $_ => $json->encode({ token => $runner->{token} }) } @ids }, end => 1);
        $got{ $connection->response($_)->{json}{id} // 'none' }++ for @ids;
    }
    is_deeply [grep { $_ ne 1 } values %got], [], 'each to one';
    is scalar(grep { $got{ $_->{id} } && $_->{status} eq 'running' } $arena->builds), $n, "  and $n of $n run";
};

over_one 'a claim that cannot be handed out' => sub {
    my $lock = sub {
        require Fcntl;
        open my $file, '+<', "$arena->{storage}/lock" or die "lock: $!\n";
        flock $file, Fcntl::LOCK_EX() or die "flock: $!\n";
        return sub { close $file };
    };
    plan skip_all => 'claims are held back by a lock of SQLite' unless is_sqlite();
    $arena->expect(qr/CIB0304:/);
    $arena->add_builds(1);
    my ($build) = grep { $_->{status} eq 'pending' } $arena->builds;
    # whether the request was read before it was reset is only seen in the log
    for my $try (1 .. 20) {
        my $let_go = $lock->();
        my $id = $connection->begin(POST => "$V4/jobs/request", headers => [@JSON, expect => '100-continue']);
        $connection->wanted($id);
        $connection->data($id, $json->encode({ token => $runner->{token} }), end => 1);
        say_it(GET => 'nothing');
        $connection->reset($id);
        $connection->settle;
        $let_go->();
        wait_for('the build to be pending', sub { show($build)->{status} eq 'pending' });
        last if slurp($arena->{error_log}) =~ /CIB0403: build $build->{id}:/;
    }
    like slurp($arena->{error_log}), qr/CIB0403: build $build->{id}:/, 'the stream is gone: the claim is undone';
    my $r = say_it(POST => 'jobs/request', [@JSON], $json->encode({ token => $runner->{token} }));
    is $r->{json}{id}, $build->{id}, '  and the build is given to the next who asks';
};

over_one 'nobody waits' => sub {
    my $value = $arena->request('v4', 'ask', $runner)->{headers}{'x-gitlab-last-update'};
    my $asked = $json->encode({ token => $runner->{token}, last_update => $value });
    is say_it(POST => 'jobs/request', [@JSON], $asked)->{status}, 204, 'a runner that knows that there is nothing is told at once';
    my @ids = map { $connection->begin(POST => "$V4/jobs/request", headers => [@JSON]) } 1 .. 30;
    $connection->bodies({ map { $_ => $asked } @ids }, end => 1);
    is_deeply [map { $connection->response($_)->{status} } @ids], [(204) x 30], '  and thirty';
    $arena->add_builds(1);
    my $r = say_it(POST => 'jobs/request', [@JSON], $asked);
    is $r->{status}, 201, '  and of a build, when there is one';
};

subtest 'a body that does not come' => sub {
    $arena->{vhost} =~ s/H2StreamTimeout \d+/H2StreamTimeout 1/;
    $arena->stop;
    $arena->start;
    $arena->add_builds(1);
    my $mine = CIB::HTTP2->connect($arena->{port});
    my $job = take();
    my $id = $mine->begin(POST => "$V4/jobs/$job->{id}/artifacts", headers => [@MULTIPART, 'job-token' => $job->{token}]);
    $mine->data($id, "--b\r\n" . part(name => 'file', filename => 'a.zip', body => 'z' x 30_000));
    my $r = $mine->response($id);
    is $r->{status}, 408, 'H2StreamTimeout ends it';
    like $r->{json}{message}, qr/^408 /, '  in JSON';
    none_is_left('artifacts', '  with nothing left');
    is show($job)->{artifacts_file}, undef, '  and nothing stored';
};

$arena->holds('nothing is left over');
is scalar($arena->stop), 0, 'nothing runs on';
$arena->log_is_clean;
done_testing;
