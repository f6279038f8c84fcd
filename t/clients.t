# The mistakes that a server makes most easily with real runners, one by one: those of v1, then those of v4.

use strict;
use warnings;

use CIB::Test;
use CIB::V4 qw($V4 ask crc32 get_artifact info job job_of put_artifact update);

my $project = project();
my $runner = runner(project => $project);
my $id = build(project => $project, args => ['--secret', 'PASSWORD=0123456789']);
my $claimed = poll($runner);
my $build = $claimed->{json};
my @token = ('Build-Token' => $build->{token});

sub append {
    my ($range, $bytes) = @_;
    return http(PATCH => "builds/$id/trace.txt", type => 'text/plain', body => $bytes, headers => [@token, 'Content-Range' => $range]);
}

subtest '1. the type of a 201 is exactly application/json' => sub {
    is $claimed->{headers}{'content-type'}, 'application/json', 'a build';
    my $r = http(POST => 'runners/register.json', json => { token => $project->{token} });
    is $r->{headers}{'content-type'}, 'application/json', 'a runner';
};

subtest '2. JSON types are strict' => sub {
    like $claimed->{body}, qr/"(?:id|project_id|timeout)": ?\d+[,}]/, 'integers';
    for my $name (qw(id project_id timeout)) {
        unlike $claimed->{body}, qr/"$name": ?(?:"|\d+\.)/, "$name is no string and no fraction";
    }
    for my $name (qw(ref sha before_sha commands repo_url token name stage)) {
        like $claimed->{body}, qr/"$name": ?"/, "$name is a string";
    }
    like $claimed->{body}, qr/"$_": ?(?:true|false)/, "$_ is a boolean" for qw(tag allow_git_fetch public);
    cmp_ok length $build->{sha}, '>=', 8, 'sha has at least eight characters';
    is ref $build->{options}, 'HASH', 'options is an object';
    is ref $build->{variables}, 'ARRAY', 'variables is a list';
    unlike $claimed->{body}, qr/"token": ?null/, 'no token is null';
};

subtest '3. PATCH: 202, Range, Build-Status; 416 always with Range' => sub {
    my $r = append('0-5', 'hello');
    is $r->{status}, 202, 'status 202';
    is $r->{headers}{range}, '0-5', 'Range';
    is $r->{headers}{'build-status'}, 'running', 'Build-Status';
    for my $start (0, 3, 6, 100) {
        $r = append("$start-200", 'x');
        is "$r->{status} $r->{headers}{range}", '416 0-5', "from $start";
    }
};

subtest '4. only the start of Content-Range counts' => sub {
    is append('5-10', 'abcde')->{headers}{range}, '0-10', 'an exclusive end';
    is append('10-14', 'fghij')->{headers}{range}, '0-15', 'an inclusive end';
};

subtest '5. an empty PATCH keeps alive and brings the status' => sub {
    my $r = append('15-15', '');
    is "$r->{status} $r->{headers}{range} $r->{headers}{'build-status'}", '202 0-15 running', '202 as usual';
};

subtest '6. never more bytes than were sent' => sub {
    my $text = "\xe2\x82\xac\r\n0123456789\xff";
    my $end = 15 + length $text;
    is append("15-$end", $text)->{headers}{range}, "0-$end", 'bytes are counted, not characters; nothing is converted or added';
    is length trace_of($id), $end, '  nor when it is stored';
};

subtest '7. the final PUT replaces the trace' => sub {
    my $again = build(project => $project);
    claim($runner);
    my $r = put($runner, $again, state => 'success', trace => "short builds say nothing before\n");
    is $r->{status}, 200, 'without a PATCH before';
    is trace_of($again), "short builds say nothing before\n", '  all is there';
    put($runner, $id, state => 'running', trace => 'whole');
    is trace_of($id), 'whole', 'after PATCHes it replaces them';
    is append('5-6', '!')->{headers}{range}, '0-6', '  and PATCHes go on from there';
};

subtest '8. which token where' => sub {
    is http(PUT => "builds/$id.json", json => { token => $build->{token}, state => 'running' })->{status}, 403, 'PUT: not the build token';
    is append('6-7', '?')->{status}, 202, 'PATCH: the build token in Build-Token';
    is http(PATCH => "builds/$id/trace.txt", type => 'text/plain', body => '.', headers => ['BUILD-TOKEN' => $build->{token}, 'Content-Range' => '7-8'])
        ->{status}, 202, '  or BUILD-TOKEN';
};

subtest '9. exact codes' => sub {
    is http(POST => 'runners/register.json', json => { token => $project->{token} })->{status}, 201, 'register 201';
    is $claimed->{status}, 201, 'a build 201';
    is poll($runner)->{status}, 204, 'no build 204';
    is put($runner, $id, state => 'running')->{status}, 200, 'PUT 200';
    is upload($build, 'x')->{status}, 201, 'upload 201';
    is http(GET => "builds/$id/artifacts", headers => \@token)->{status}, 200, 'download 200';
    is http(DELETE => "builds/$id/artifacts", headers => \@token)->{status}, 200, 'delete 200';
    is http(PUT => 'builds/-1', json => { token => $runner->{token} })->{status}, 404, 'verify 404';
    my $gone = runner(project => $project);
    is http(DELETE => 'runners/delete', json => { token => $gone->{token} })->{status}, 200, 'unregister 200';
    is http(PUT => 'builds/-1', json => { token => $gone->{token} })->{status}, 403, 'verify 403';
};

subtest '10. uploads are chunked, and the URL may end in "?"' => sub {
    is upload($build, 'y' x 100000, suffix => '?', chunked => [176, 670, 68])->{status}, 201, 'status 201';
    is http(GET => "builds/$id/artifacts", headers => \@token)->{body}, 'y' x 100000, '  and whole';
};

finish($runner, $id);

# ---- v4

sub running { return job_of($runner, project => $project, @_) }

sub patch { return CIB::V4::append(@_) }

# The status, and what a PATCH says of the trace and the job.
sub said {
    my ($r) = @_;
    return join ' ', $r->{status}, map { $r->{headers}{$_} // '-' } qw(range job-status);
}

subtest 'v4: a 201 is application/json, a 204 is empty, and only that knows the state of the queue' => sub {
    my $r = http(POST => "$V4/runners", json => { token => $project->{token}, description => 'x', info => info() });
    is "$r->{status} $r->{headers}{'content-type'}", '201 application/json', 'a runner';
    my $build_id = build(project => $project);
    $r = ask($runner);
    is "$r->{status} $r->{headers}{'content-type'}", '201 application/json', 'a job';
    is $r->{headers}{'x-gitlab-last-update'}, undef, '  without X-GitLab-Last-Update';
    $r = update($r->{json}, state => 'success');
    is $r->{headers}{'x-gitlab-last-update'}, undef, 'nor on a PUT';
    $r = ask($runner);
    is "$r->{status} '$r->{body}'", "204 ''", 'no job';
    ok length($r->{headers}{'x-gitlab-last-update'} // ''), '  with it';
};

subtest 'v4: JSON types are strict' => sub {
    my $options = '{"image": "alpine", "services": ["redis"], "after_script": ["true"], "cache": {"paths": ["c"]},
        "artifacts": {"paths": ["out"], "reports": {"junit": "j.xml"}}}';
    my $needed = running();
    put_artifact($needed, 'x');
    my $id = build(project => $project, args => ['--depends-on', $needed->{id}, '--options', $options, '--secret', 'PASSWORD=0123456789']);
    update($needed, state => 'success');
    my $r = ask($runner);
    my $job = $r->{json};
    for my $name (qw(id project_id timeout depth size)) {
        like $r->{body}, qr/"$name":-?\d+[,}]/, "$name is an integer";
        unlike $r->{body}, qr/"$name":(?!-?\d+[,}])/, '  everywhere';
    }
    for my $name (qw(token name stage project_name repo_url ref sha before_sha ref_type key value when artifact_type artifact_format filename)) {
        like $r->{body}, qr/"$name":"/, "$name is a string";
        unlike $r->{body}, qr/"$name":(?:\d|true|false|\[|\{)/, '  everywhere';
    }
    for my $name (qw(allow_git_fetch public masked file raw allow_failure untracked trace_sections)) {
        like $r->{body}, qr/"$name":(?:true|false)\b/, "$name is a boolean";
        unlike $r->{body}, qr/"$name":(?!true|false)/, '  everywhere';
    }
    is ref $job->{$_}, 'HASH', "$_ is an object" for qw(job_info git_info runner_info image features);
    is ref $job->{$_}, 'ARRAY', "$_ is a list" for qw(variables steps services artifacts cache credentials dependencies);
    cmp_ok length $job->{git_info}{sha}, '>=', 8, 'sha has at least eight characters';
    unlike $r->{body}, qr/"token":null/, 'no token is null';
    update($job, state => 'success');
};

subtest 'v4: PATCH: 202, Range, Job-Status; 416 always with Range' => sub {
    my $job = running();
    is said(patch($job, 0, 'hello')), '202 0-5 running', 'the first';
    is said(patch($job, $_, 'x')), '416 0-5 -', "from $_" for 0, 3, 6, 100, 4294967296;
    is said(patch($job, 0, '')), '416 0-5 -', 'with nothing in it';
    is said(patch($job, 0, 'x', range => $_)), '416 0-5 -', "Content-Range: $_" for 'x', '-', '0-4/5', 'bytes 5-9/10';
    my $r = patch($job, 5, '!');
    like $r->{headers}{'x-gitlab-trace-update-interval'}, qr/^[1-9]\d{0,2}$/, 'X-GitLab-Trace-Update-Interval is seconds';
    is trace_of($job->{id}), 'hello!', 'only that was kept';
    update($job, state => 'success');
};

subtest 'v4: the end of Content-Range is exclusive up to 11.2, inclusive since 11.3' => sub {
    my $job = running();
    is said(patch($job, 0, 'abcde', range => '0-5')), '202 0-5 running', 'an exclusive end';
    is said(patch($job, 5, 'fghij', range => '5-9')), '202 0-10 running', 'an inclusive end';
    is said(patch($job, 10, '', range => '10-10')), '202 0-10 running', 'an empty one, exclusive, keeps alive';
    is trace_of($job->{id}), 'abcdefghij', 'all of it, once';
    update($job, state => 'success');
};

subtest 'v4: never more bytes than were sent' => sub {
    my $job = running(args => ['--secret', 'PASSWORD=0123456789']);
    my $text = "\xe2\x82\xac\r\n0123456789\xff";
    my $end = length $text;
    is said(patch($job, 0, $text)), "202 0-$end running", 'bytes are counted; nothing is converted, masked at another length or added';
    is said(patch($job, $end, 'y' x 100000, vhost => 'small')), '202 0-' . ($end + 100000) . ' running', 'nor is what is not kept';
    is said(patch($job, 0, 'x', vhost => 'small')), '416 0-' . ($end + 100000) . ' -', '  and 416 says so';
    update($job, state => 'running', trace => 'whole');
    is said(patch($job, 9, 'x')), '416 0-5 -', 'a shorter trace in a PUT, as up to 11.10, sets it back';
    cib(qw(build cancel), $job->{id});
    is trace_of($job->{id}), 'whole', 'a cancel writes nothing';
};

subtest 'v4: which token where' => sub {
    my $job = running();
    for my $case (["the runner's" => $runner->{token}], ["the project's" => $project->{token}]) {
        my ($what, $token) = @$case;
        is update({ %$job, token => $token }, state => 'success')->{status}, 403, "PUT: not $what";
        is patch($job, 0, 'x', token => $token)->{status}, 403, '  nor for PATCH';
        is put_artifact($job, 'x', token => $token)->{status}, 403, '  nor for an upload';
        is ask({ token => $job->{token} })->{status}, 403, "the job's asks for no job";
    }
    my @pieces = (type => 'text/plain', body => 'x', headers => ['JOB-TOKEN' => $job->{token}, 'Content-Range' => '0-0']);
    is http(PATCH => "$V4/jobs/$job->{id}/trace", @pieces)->{status}, 202, "the job's, in Job-Token or JOB-TOKEN";
    is update($job, state => 'success')->{status}, 200, '  and in the body of a PUT';
};

subtest 'v4: exact codes' => sub {
    my $r = http(POST => "$V4/runners", json => { token => $project->{token}, description => 'x', tag_list => 'a,b', run_untagged => JSON::PP::true(),
        locked => JSON::PP::true(), active => JSON::PP::true(), access_level => 'not_protected', maximum_timeout => 3600,
        maintenance_note => 'x', info => info() });
    is $r->{status}, 201, 'register 201';
    my %token = (json => { token => $r->{json}{token}, system_id => 's_0123456789ab' });
    is http(POST => "$V4/runners/verify", %token)->{status}, 200, 'verify 200';
    $r = http(DELETE => "$V4/runners", %token);
    is "$r->{status} '$r->{body}'", "204 ''", 'unregister 204';
    is http(POST => "$V4/runners/verify", %token)->{status}, 403, 'verify 403';
    is http(DELETE => "$V4/runners", %token)->{status}, 403, 'unregister 403';
    is http(POST => "$V4/runners", json => { token => 'x' x 20 })->{status}, 403, 'register 403';
    is ask({ token => $token{json}{token} })->{status}, 403, 'request 403';
    my $job = running();
    is ask($runner)->{status}, 204, 'no job 204';
    is patch($job, 0, 'x')->{status}, 202, 'PATCH 202';
    is update($job, state => 'running')->{status}, 200, 'PUT 200';
    is put_artifact($job, 'x')->{status}, 201, 'upload 201';
    is get_artifact($job, suffix => $_)->{status}, 200, "download$_ 200" for '?direct_download=true', '?', '';
    is update($job, state => 'success', output => { checksum => crc32('x'), bytesize => 1 })->{status}, 200, 'the last PUT 200';
    is patch($job, 1, 'x')->{status}, 403, 'PATCH after the end 403';
};

subtest 'v4: uploads are chunked; up to 11.1 they say nothing of types, and the URL may end in "?"' => sub {
    my $job = running();
    is put_artifact($job, 'y' x 100000, suffix => '?', chunked => [176, 670, 68])->{status}, 201, 'status 201';
    is get_artifact($job)->{body}, 'y' x 100000, '  and whole';
    is build_show($job->{id})->{artifacts_file}{filename}, 'artifacts.zip', '  an archive';
    is put_artifact($job, 'y' x 100000, suffix => '?', chunked => [176, 670, 68])->{status}, 201, 'and once more, as 9.5 does';
    update($job, state => 'success');
};

subtest 'v4: a cancel is seen wherever the runner looks' => sub {
    my $job = running();
    is said(patch($job, 0, 'begun')), '202 0-5 running', 'it runs';
    cib(qw(build cancel), $job->{id});
    is said(patch($job, 5, "tick\n")), '403 - canceled', 'PATCH';
    is said(update($job, state => 'running')), '403 - canceled', 'PUT, since 11.3 what is said after 30 silent seconds';
    my $r = put_artifact($job, 'x');
    is said($r), '403 - canceled', 'an upload';
    is said(patch($job, 5, "tick\nERROR: Job failed: canceled\n")), '403 - canceled', 'what is left of the trace, once more';
    is said(update($job, state => 'failed', failure_reason => 'unknown_failure', output => { checksum => crc32('x'), bytesize => 36 })),
        '403 - canceled', 'the last word';
    is build_show($job->{id})->{status}, 'canceled', 'it stays canceled';
    is trace_of($job->{id}), 'begun', '  with what came before';
};

# Who reads of a job that failed or was canceled takes it for somebody else's doing, whatever the status.
subtest 'v4: no answer to a word that is taken calls the job over' => sub {
    for my $state (qw(running failed success)) {
        my $job = running();
        my $r = update($job, state => $state, $state eq 'failed' ? (failure_reason => 'script_failure', exit_code => 1) : ());
        is said($r), '200 - running', $state;
        update($job, state => 'success') if $state eq 'running';
    }
};

subtest 'v4: 412, and what follows' => sub {
    for my $held ('', 'first half') {
        my $job = running();
        my $text = 'first half and the rest';
        my %last = (state => 'success', checksum => crc32($text), output => { checksum => crc32($text), bytesize => length $text });
        patch($job, 0, $held) if length $held;
        my $r = update($job, %last);
        is said($r), '412 - running', length($held) . ' bytes are there: 412';
        is $r->{headers}{'x-gitlab-trace-update-interval'}, 3, '  and the rest is wanted soon';
        my $at = length $held;
        is said(patch($job, 0, $text)), "416 0-$at -", '  from the first byte on: 416 says where' if $at;
        is said(patch($job, $at, substr $text, $at)), '202 0-' . length($text) . ' running', '  the rest: 202';
        is said(update($job, %last)), '200 - running', '  the same word again: 200';
        is trace_of($job->{id}), $text, '  with the whole trace';
    }
    my $job = running();
    my %last = (state => 'success', output => { checksum => 'crc32:01234567', bytesize => 100 });
    expect_log(qr/CIB0305: build $job->{id}:/);
    is join(' ', map { update($job, %last)->{status} } 1 .. 3), '412 412 200', 'who has no more to send is not held for ever';
    is build_show($job->{id})->{trace_checksum}, 'crc32:01234567', '  but what is wrong is recorded';
};

subtest 'v4: a PUT whose answer was lost' => sub {
    for my $state (qw(success failed)) {
        my $job = running();
        patch($job, 0, 'all');
        my %last = (state => $state, output => { checksum => crc32('all'), bytesize => 3 });
        is update($job, %last)->{status}, 200, "$state: taken";
        is said(update($job, %last)), "403 - $state", '  said again: over, and nothing to repeat' for 1 .. 3;
        is build_show($job->{id})->{status}, $state, '  as it was said first';
        is said(update($job, state => $state eq 'success' ? 'failed' : 'success')), "403 - $state", '  another word: the same';
        is build_show($job->{id})->{status}, $state, '  and no other state';
    }
};

subtest 'v4: any reason to fail is taken' => sub {
    for my $reason (qw(script_failure runner_system_failure job_execution_timeout unknown_failure), 'nobody_knows_that_one') {
        my $job = running();
        is update($job, state => 'failed', failure_reason => $reason)->{status}, 200, $reason;
        is build_show($job->{id})->{failure_reason}, $reason =~ /^nobody/ ? 'unknown_failure' : $reason, '  is shown';
    }
};

# Runners of old closed what they found closed, and lost what they were about to say.
subtest 'v4: a whole job over one connection' => sub {
    build(project => $project);
    my $connection = connect_to();
    my $say = sub {
        my ($method, $path, %opt) = @_;
        $connection->send(request_text($method, "$V4/$path", %opt, close => 0));
        my $r = $connection->response or return { status => 'closed', headers => {} };
        ok lc($r->{headers}{connection} // '') ne 'close' && !$connection->{eof}, "$method $r->{status} leaves it open";
        return $r;
    };
    my $request = { token => $runner->{token}, info => info() };
    my $job = remember($say->(POST => 'jobs/request', json => $request)->{json});
    my @trace = (PATCH => "jobs/$job->{id}/trace", type => 'text/plain', body => 'abc');
    my @put = (PUT => "jobs/$job->{id}", json => { token => $job->{token}, state => 'success', output => { checksum => crc32('abcabc'), bytesize => 6 } });
    is $say->(@trace, headers => ['Job-Token' => $job->{token}, 'Content-Range' => '0-2'])->{status}, 202, 'PATCH';
    is $say->(@trace, headers => ['Job-Token' => $job->{token}, 'Content-Range' => '0-2'])->{status}, 416, 'again';
    is $say->(@put)->{status}, 412, 'PUT';
    is $say->(@trace, headers => ['Job-Token' => $job->{token}, 'Content-Range' => '3-5'])->{status}, 202, 'PATCH';
    is $say->(@put)->{status}, 200, 'PUT';
    is $say->(@put)->{status}, 403, 'again';
    is $say->(POST => 'jobs/request', json => $request)->{status}, 204, 'and the next request';
};

# The refusal comes while the client sends: the connection must last until it has read it.
subtest 'v4: an upload that is refused' => sub {
    my $job = running();
    my $canceled = running();
    cib(qw(build cancel), $canceled->{id});
    my $big = 'x' x (30 * 1024 * 1024);
    my @cases = (['a wrong token', 403, 'main', { %$job, token => 'x' x 40 }], ['no such job', 403, 'main', { %$job, id => 999999999 }],
        ['a job that was canceled', 403, 'main', $canceled], ['too large', 413, 'small', $job], ['switched off', 405, 'noart', $job]);
    for my $case (@cases) {
        my ($what, $status, $vhost, $to) = @$case;
        for my $framing (0, [32768]) {
            my $r = put_artifact($to, $big, vhost => $vhost, until_answer => 1, chunked => $framing);
            is $r->{status}, $status, "$what, thirty megabytes" . ($framing ? ' in chunks' : '') . ": $status";
            ok !$r->{reset}, '  without a reset';
            is $r->{headers}{'job-status'}, $to == $canceled ? 'canceled' : undef, '  and whether the job is over';
        }
    }
    is_deeply build_show($job->{id})->{artifacts}, [], 'nothing of it is kept';
    update($job, state => 'success');
};

done_testing;
