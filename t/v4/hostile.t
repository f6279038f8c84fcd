# Clients that mean harm: gigabytes of nothing, archives that would burst, requests in the bodies of others, what
# follows an error on the same connection, and connections of which one half is closed.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);

use CIB::Test;
use CIB::V4;

my $project = project();
my $runner = runner(project => $project);
my $job = job_of($runner, project => $project);
update($job, state => 'running');
my @token = ('Job-Token' => $job->{token});
my $path = "$V4/jobs/$job->{id}/artifacts";

# Kilobytes of memory of the processes that serve.
sub children {
    my $parent = slurp($CELL->{pid_file}) + 0;
    my %children;
    for my $file (glob '/proc/[0-9]*/status') {
        my $status = eval { slurp($file) } // next;
        $children{$1} = $2 if $status =~ /^Pid:\s+(\d+)\nPPid:\s+${parent}\n.*^RssAnon:\s+(\d+)/ms;
    }
    return \%children;
}

sub memory_stays {
    my ($before, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return if $CELL->{tool} ne 'none';    # whose allocator holds back what is freed
    my $after = children();
    ok scalar(grep { defined $before->{$_} } keys %$after), 'the processes are the same';
    my @grown = grep { $after->{$_} - $before->{$_} > 8192 } grep { defined $before->{$_} } keys %$after;
    is_deeply [map {"$before->{$_} to $after->{$_}"} @grown], [], $what;
    return;
}

subtest 'a gigabyte of nothing' => sub {
    my $head = "--b\r\nContent-Disposition: form-data; ";
    my $unknown = qq{${head}name="other"; filename="x"\r\n\r\n};
    # what follows `begin` never ends; the limit for files is 1 MiB at this virtual host
    my %junk = (
        'before the first part' => [multipart => 'preamble '],
        'in a header of a part' => [multipart => "--b\r\nX: ", 'y'],
        'of headers of a part'  => [multipart => "--b\r\n", "X: y\r\n"],
        'in a field'            => [multipart => qq{${head}name="note"\r\n\r\n}],
        'of parts'              => [multipart => '', qq{${head}name="n"\r\n\r\nx\r\n}],
        'in a file that nobody wants' => [multipart => $unknown],
        'in a file'             => [multipart => $unknown =~ s/other/file/r],
        'nearly the delimiter'  => [multipart => 'x', "\r\n--"],
        'of JSON'               => [json => '{"token":"'],
        'of blanks in JSON'     => [json => '{', ' '],
        'of nested JSON'        => [json => '{"a":', '['],
        'of a form'             => [form => 'token='],
        'of pairs of a form'    => [form => '', 'a=b&'],
    );
    my %type = (multipart => 'multipart/form-data; boundary=b', json => 'application/json', form => 'application/x-www-form-urlencoded');
    my $before = children();
    for my $what (sort keys %junk) {
        my ($kind, $begin, $more) = @{ $junk{$what} };
        $more = ($more // 'x') x (65536 / length($more // 'x'));
        my $connection = connect_to('small');
        $connection->send(request_text($kind eq 'multipart' ? (POST => $path) : (PUT => "$V4/jobs/$job->{id}"), headers => [@token],
            type => $type{$kind}, length => 1 << 30) =~ s/Content-Length: \d+/Transfer-Encoding: chunked/r);
        my $chunk = sub { return sprintf "%x\r\n%s\r\n", length $_[0], $_[0] };
        $connection->send($chunk->($begin)) if length $begin;
        my $blocks = 0;
        while ($blocks < 16384 && !$connection->answered(0)) {
            $connection->send($chunk->($more), until_answer => 1) or last;
            $blocks++;
        }
        my $r = $connection->response;
        like $r->{status}, qr/^4(?:00|13)$/, "$what: $r->{status}";
        ok $r->{json}{message} // $r->{json}{error}, '  in JSON';
        cmp_ok $blocks, '<', 1024, '  long before its end';
    }
    for my $length (1 << 30, 1 << 62) {
        my $r = http(POST => $path, headers => [@token], type => $type{multipart}, length => $length, vhost => 'small');
        is $r->{status}, 413, "one that says that it has $length: 413, without a byte of it";
    }
    memory_stays($before, 'no child has grown by more than 8 MiB');
    is get_artifact($job)->{status}, 404, 'nothing is stored';
    is job($runner), undef, 'the server goes on';
};

# A gzip member that says a little and becomes very much.
sub gzip_bomb {
    require IO::Compress::Gzip;
    my $out = '';
    my $gzip = IO::Compress::Gzip->new(\$out, -Level => 9);
    my $zeros = "\0" x 1_048_576;
    $gzip->print($zeros) for 1 .. 48;
    $gzip->close;
    return $out;
}

# An archive of `entries` that it does not have, each of `size` bytes that it does not have.
sub zip_of {
    my ($name, $entries, $size, $deflated) = @_;
    my $entry = pack 'vvvvvVVVvv', 45, 0, 8, 0, 0, 0, length $deflated, $size, length $name, 0;
    my $local = "PK\3\4$entry$name$deflated";
    my $central = 'PK' . pack('CCv', 1, 2, 0x031e) . $entry . pack('vvvVV', 0, 0, 0, 0xa1ff0000, 0) . $name;
    my $zip64 = 'PK' . pack('CCQ<vvVVQ<Q<Q<Q<', 6, 6, 44, 45, 45, 0, 0, $entries, $entries, length $central, length $local);
    my $locator = 'PK' . pack 'CCVQ<V', 6, 7, 0, length($local . $central), 1;
    return $local . $central . $zip64 . $locator . 'PK' . pack 'CCvvvvVVv', 5, 6, 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0;
}

subtest 'archives are bytes' => sub {
    my $bomb = gzip_bomb();
    my $raw = substr $bomb, 10, -8;
    my %archives = (
        'one that would burst'     => zip_of('zeros', 1, 48 * 1_048_576, $raw),
        'one of 2^32 entries'      => zip_of('entry', 1 << 32, 0, ''),
        'one of 2^64-1 bytes'      => zip_of('large', ~0, 0xffffffff, $raw),
        'one that would climb out' => zip_of('../../../../../../tmp/was-opened', 1, 3, 'abc'),
        'none at all'              => "PK\5\6" . "\0" x 17,
    );
    my @before = map { stored_files($_) } qw(artifacts traces);
    my $memory = children();
    for my $what (sort keys %archives) {
        my $mine = job_of($runner, project => $project);
        my $r = http(POST => "$V4/jobs/$mine->{id}/artifacts", headers => ['Job-Token' => $mine->{token}], chunked => 1,
            multipart => [part(name => 'file', filename => 'a.zip', body => $archives{$what}), part(name => 'metadata', filename => 'metadata.gz', body => $bomb)]);
        is $r->{status}, 201, "$what, with a metadata that would burst";
        is put_artifact($mine, $bomb, query => { artifact_type => 'junit', artifact_format => 'gzip' })->{status}, 201, '  and a report';
        ok get_artifact($mine)->{body} eq $archives{$what}, '  comes back byte for byte';
        is build_show($mine->{id})->{artifacts_file}{sha256}, sha256_hex($archives{$what}), '  as it is known';
        my ($metadata) = grep {m{/$mine->{id}-metadata-}} stored_files('artifacts');
        ok slurp($metadata) eq $bomb, '  and so does the metadata';
        is scalar(grep {m{/$mine->{id}-}} stored_files('artifacts')), 3, '  three files, and no other';
        update($mine, state => 'success');
        cib(qw(build erase), $mine->{id});
    }
    memory_stays($memory, 'no child has grown by more than 8 MiB');
    ok !-e '/tmp/was-opened', 'nothing was written elsewhere';
};

# ---- requests in bodies

# What would end the job, if anybody took it for a request.
my $evil = request_text(PUT => "$V4/jobs/$job->{id}", json => { token => $job->{token}, state => 'failed' }, close => 0);

# All answers on a connection on which this was sent and no more.
sub answers_to {
    my ($text) = @_;
    my $connection = connect_to();
    $connection->send($text);
    $connection->finish_writing;
    my @all;
    while (my $r = eval { $connection->response($text =~ /^(\S+)/) }) { push @all, $r }
    return @all;
}

sub still_runs {
    my ($what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $show = build_show($job->{id});
    is "$show->{status} $show->{trace_size}", 'running ' . ($job->{at} // 0), $what;
    return;
}

subtest 'what nobody reads of a body is no request' => sub {
    my %to = (
        'a download' => [GET => $path, @token], 'its head' => [HEAD => $path, @token], 'nothing' => [POST => "$V4/nothing"], 'a method' => [DELETE => $path, @token],
        'a stranger' => [POST => $path, 'Job-Token' => 'x' x 40], 'a trace' => [PATCH => "$V4/jobs/$job->{id}/trace", @token, 'Content-Range' => '7-'],
        'a word' => [PUT => "$V4/jobs/$job->{id}"], 'a poll' => [POST => "$V4/jobs/request"], 'a packed body' => [POST => "$V4/jobs/request", 'Content-Encoding' => 'gzip'],
        'authorize' => [POST => "$path/authorize", @token], 'a closed path' => [GET => "$V1/builds/closed"], 'a broken path' => [GET => "$V4/jobs/%zz"],
        'another site' => [GET => '/'], 'an expectation' => [POST => $path, 'Job-Token' => 'x' x 40, Expect => '100-continue'],
    );
    expect_log(qr/AH01630/, qr/AH10244/);
    my @more;
    for my $what (sort keys %to) {
        my ($method, $uri, @headers) = @{ $to{$what} };
        for my $body ($evil, "\r\n$evil", $evil x 600) {
            for my $type (undef, 'text/xml', 'text/plain') {
                for my $framing ([], [chunked => [length $body]], [chunked => [100]]) {
                    my @all = answers_to(request_text($method, $uri, headers => \@headers, type => $type, body => $body, close => 0, @$framing));
                    push @more, "$what: " . join ' ', map { $_->{status} } @all if @all != 1;
                }
            }
        }
    }
    is_deeply \@more, [], 'each request has one answer';
    still_runs('and nothing happened');
};

subtest 'where a body ends' => sub {
    my $head = "PATCH $V4/jobs/$job->{id}/trace HTTP/1.1\r\nHost: x\r\nJob-Token: $job->{token}\r\nContent-Range: 0-\r\nContent-Type: text/plain\r\n";
    my $length = length $evil;
    my $all = sprintf "%x\r\n%s\r\n0\r\n\r\n", $length, $evil;
    my $chunked = "Transfer-Encoding: chunked\r\n";
    # nothing of it is right, so that it has one answer, and no byte is taken
    my %refused = (
        'two lengths'            => "Content-Length: 0\r\nContent-Length: $length\r\n\r\n$evil",
        'two lengths, in a list' => "Content-Length: 0, $length\r\n\r\n$evil",
        'a length with a sign'   => "Content-Length: +0\r\n\r\n$evil",
        'a length in hex'        => "Content-Length: 0x0\r\n\r\n$evil",
        'a blank in a name'      => "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n$all",
        'an unknown coding'      => "Transfer-Encoding: xchunked\r\n\r\n$all",
        'chunked, and then not'  => "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n$evil",
        'a control character'    => "Transfer-Encoding: \x0bchunked\r\nContent-Length: 0\r\n\r\n$all",
        'a NUL in a name'        => "Transfer-\0Encoding: chunked\r\nContent-Length: 0\r\n\r\n$all",
        'a bare CR'              => "X: y\rContent-Length: 0\r\nContent-Length: $length\r\n\r\n$evil",
        'chunk sizes with a sign' => "$chunked\r\n+0\r\n\r\n$evil",
        'chunk sizes as in C'    => "$chunked\r\n0x0\r\n\r\n$evil",
        'negative chunks'        => "$chunked\r\n-1\r\n$evil",
        'chunks without an end'  => "$chunked\r\n3\r\nabcdef\r\n0\r\n\r\n$evil",
        'a chunk of 2^64'        => "$chunked\r\n10000000000000000\r\n$evil",
        'endless extensions'     => "$chunked\r\n3;" . 'x' x 70000 . "\r\nabc\r\n0\r\n\r\n",
        'lines of line feeds'    => "Content-Length: 0\n\n$evil",
    );
    for my $what (sort keys %refused) {
        my @all = answers_to($head . $refused{$what});
        ok @all == 1 && $all[0]{status} >= 400, "$what: " . join ' ', map { $_->{status} } @all;
    }
    still_runs('nothing of it counts');
    my %taken = (
        'a length and chunks'     => "Content-Length: 3\r\n$chunked\r\n",
        'chunks and a length'     => "${chunked}Content-Length: 3\r\n\r\n",
        'capitals'                => "TRANSFER-ENCODING: CHUNKED\r\n\r\n",
        'a folded line'           => "Transfer-Encoding:\r\n chunked\r\n\r\n",
    );
    for my $what (sort keys %taken) {
        my @all = answers_to($head =~ s/0-/($job->{at} \/\/ 0) . '-'/er . $taken{$what} . $all);
        is join(' ', map { $_->{status} } @all), $all[0]{status} == 202 ? '202' : '400', "$what: one answer";
        $job->{at} += $length if $all[0]{status} == 202;
        still_runs('  and a body is a body');
    }
    my %odd = ('extensions' => ["3;a=b;c=\"d\"\r\nabc\r\n0;last\r\n", '', 3], 'zeros in front' => ["0000000000003\r\nabc\r\n000\r\n", '', 3],
        'trailers' => ["3\r\nabc\r\n0\r\n", "Content-Length: 0\r\nJob-Token: xxxxxxxxxxxx\r\nContent-Range: 0-\r\nConnection: close\r\n", 3]);
    for my $what (sort keys %odd) {
        my ($body, $trailers, $n) = @{ $odd{$what} };
        my $next = request_text(GET => "$V4/nothing", close => 0);
        my @all = answers_to($head =~ s/0-/$job->{at} . '-'/er . "$chunked\r\n$body$trailers\r\n$next");
        is join(' ', map { $_->{status} } @all), '202 404', "$what: two requests, two answers";
        $job->{at} += $n;
        still_runs('  and no more than the body is taken');
    }
};

subtest 'behind an error' => sub {
    my $append = sub {
        return request_text(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'x', close => 0,
            headers => [@token, 'Content-Range' => $job->{at} . '-' . $job->{at}]);
    };
    my @errors = (
        [GET => "$V4/nothing"], [PUT => "$V4/jobs/$job->{id}", json => {}], [PUT => "$V4/jobs/$job->{id}", type => 'application/json', body => '{'],
        [PUT => "$V4/jobs/$job->{id}", type => 'application/json', body => '{}' x 40000], [DELETE => $path, body => 'x' x 70000], [POST => "$V4/jobs/request", json => { token => 'y' x 20 }],
        [POST => $path, headers => ['Job-Token' => 'x' x 40], multipart => [part(name => 'file', filename => 'a', body => 'z' x 200_000)]],
        [POST => $path, headers => [@token], type => 'multipart/form-data; boundary=b', body => "--b\r\nbroken"], [GET => "$V4/jobs/%zz"],
        [PATCH => "$V4/jobs/$job->{id}/trace", headers => [@token, 'Content-Range' => '999-'], type => 'text/plain', body => 'abc'],
    );
    for my $error (@errors) {
        my ($method, $uri, @rest) = @$error;
        for my $framing ([], [chunked => 1]) {
            next if @$framing && !@rest;
            my @all = answers_to(request_text($method, $uri, @rest, @$framing, close => 0) . $append->());
            my ($first, @next) = map { $_->{status} } @all;
            ok $first >= 400 && (!@next || "@next" eq '202'), "$method $uri: $first, and then " . ("@next" || 'the end');
            $job->{at} += @next;
        }
    }
    still_runs('what was answered was done, and nothing else');
};

subtest 'half of a connection' => sub {
    my $archive = 'z' x 6_000_000;
    my @whole = (
        [POST => $path, 201, headers => [@token], multipart => [part(name => 'file', filename => 'a.zip', body => $archive)]],
        [GET => $path, 200, headers => [@token]], [PUT => "$V4/jobs/$job->{id}", 200, json => { token => $job->{token}, state => 'running' }],
        [POST => "$V4/jobs/request", 204, json => { token => $runner->{token} }], [HEAD => $path, 200, headers => [@token]],
    );
    for my $request (@whole) {
        my ($method, $uri, $status, @rest) = @$request;
        my $connection = connect_to();
        $connection->send(request_text($method, $uri, @rest, close => 0));
        $connection->finish_writing;
        my $r = $connection->response($method);
        is $r->{status}, $status, "$method $uri, and no more will come: answered";
        is length $r->{body}, length $archive, '  to the end' if $method eq 'GET';
        is $connection->rest, '', '  and then it is over';
    }
    my @half = grep { $_->[0] ne 'GET' && $_->[0] ne 'HEAD' } @whole;
    for my $request (@half) {
        my ($method, $uri, undef, @rest) = @$request;
        my $connection = connect_to();
        my $text = request_text($method, $uri, @rest, close => 0);
        $connection->send(substr $text, 0, -5);
        $connection->finish_writing;
        my $r = $connection->response($method);
        is $r && $r->{status}, 400, "$method $uri, and the last bytes will not come: 400";
        is $connection->rest, '', '  and then it is over';
    }
    still_runs('nothing of it counts');
};

is update($job, state => 'success')->{status}, 200, 'the job goes on';

done_testing;
