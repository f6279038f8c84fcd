# PUT jobs/:id: states, how a job ended, what is missing of its trace, and whole traces; with the job's token.

use strict;
use warnings;

use CIB::Test;
use CIB::V4;

my $project = project();
my $runner = runner(project => $project);
my $NOT_RUNNING = '403 Forbidden  - Job is not running';

sub running { return job_of($runner, project => $project, @_) }

# The answer as GitLab gives it: the status is the body, too.
sub is_answer {
    my ($r, $status, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is "$r->{status} $r->{body}", qq($status "$status"), $what;
    is $r->{headers}{'content-type'}, 'application/json', '  in JSON';
    is $r->{headers}{'job-status'}, 'running', '  to a job that runs';
    is $r->{headers}{'x-gitlab-trace-update-interval'}, 3, '  and more is wanted soon';
    return;
}

# Refused because the job does not run but is in this state.
sub is_over {
    my ($r, $status, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    answers $r, 403, $NOT_RUNNING, $what;
    is $r->{headers}{'job-status'}, $status, '  and how it stands';
    return;
}

subtest 'whose job' => sub {
    my ($job, $other) = (running(), running());
    my $waiting = build(project => $project, tags => 'nobody');
    for my $case (['no token', json => { state => 'success' }], ['no body'], ['null', json => { token => undef, state => 'success' }],
        ['one in the header only', json => { state => 'success' }, headers => ['Job-Token' => $job->{token}]])
    {
        my ($what, @opt) = @$case;
        my $r = http(PUT => "$V4/jobs/$job->{id}", @opt);
        is "$r->{status} $r->{body}", '400 {"error":"token is missing"}', $what;
    }
    my $r = http(PUT => "$V4/jobs/$job->{id}", json => { token => 7, state => 'success' });
    is "$r->{status} $r->{body}", '400 {"error":"token is invalid"}', 'a number';
    my %wrong = ('an unknown one' => 'x' x 40, "another job's" => $other->{token}, "the runner's" => $runner->{token},
        "the project's" => $project->{token}, 'an empty one' => '');
    for my $what (sort keys %wrong) {
        $r = update({ id => $job->{id}, token => $wrong{$what} }, state => 'success', trace => 'evil');
        answers $r, 403, '403 Forbidden', $what;
        ok !defined $r->{headers}{'job-status'}, '  is told nothing';
    }
    for my $id (999999999, -1, 0, 'x', '9' x 30) {
        answers update({ %$job, id => $id }, state => 'success', trace => 'evil'), 403, '403 Forbidden', "job $id, which is none";
    }
    answers update({ id => $waiting, token => $job->{token} }, state => 'success'), 403, '403 Forbidden', 'a job that waits';
    $r = http(PUT => "$V4/jobs/$job->{id}", headers => ['Job-Token' => $other->{token}], json => { token => $job->{token}, state => 'running' });
    is_answer $r, 200, 'the parameter is what counts';
    is build_show($_->{id})->{status}, 'running', 'all of them run on' for $job, $other;
    is trace_of($job->{id}), '', '  and nothing was written';
    update($_, state => 'success') for $job, $other;
    cancel_all($project);
};

subtest 'states' => sub {
    my $job = running();
    is_answer update($job, state => 'running'), 200, 'running';
    isnt sql("SELECT heard_at FROM builds WHERE id = $job->{id}"), "\n", '  and that is heard';
    is_answer update($job, state => 'running', output => {}, checksum => undef, environment_key => 'x', something => [1]), 200,
        '  with what newer runners say';
    for my $state (undef, 'canceled', 'pending', 'Success', '', 'finished') {
        is_answer update($job, state => $state, trace => 'evil', exit_code => 1), 400, 'state ' . ($state // 'absent');
    }
    my $r = update($job, state => 1);
    is "$r->{status} $r->{body}", '400 {"error":"state is invalid"}', 'a state that is no text';
    my $show = build_show($job->{id});
    is $show->{status}, 'running', 'nothing moved';
    is $show->{exit_code}, undef, '  and nothing was kept';
    is trace_of($job->{id}), '', '  and no trace taken';
    is_answer update($job, state => 'success'), 200, 'success';
    $show = build_show($job->{id});
    is $show->{status}, 'success', 'it is a success';
    ok $show->{finished_at}, '  since now';
    is $show->{failure_reason}, undef, '  without a reason';
    for my $state ('success', 'failed', 'running', 'nonsense') {
        is_over update($job, state => $state, trace => 'too late', exit_code => 1), 'success', "$state after the end";
    }
    $show = build_show($job->{id});
    is $show->{status}, 'success', 'it stays a success';
    is $show->{exit_code}, undef, '  without an exit code';
    is trace_of($job->{id}), '', '  and its trace what it was';
};

subtest 'how it failed' => sub {
    my %reason = (
        '' => 'unknown_failure', script_failure => 'script_failure', runner_system_failure => 'runner_system_failure',
        job_execution_timeout => 'job_execution_timeout', unknown_failure => 'unknown_failure',
        image_pull_failure => 'image_pull_failure', runner_interrupted => 'runner_interrupted', 'made up' => 'unknown_failure',
        Script_Failure => 'unknown_failure', runner_lost => 'unknown_failure',
    );
    for my $said (sort keys %reason) {
        my $job = running();
        is_answer update($job, state => 'failed', failure_reason => $said), 200, "failed because of '$said'";
        my $show = build_show($job->{id});
        is "$show->{status} $show->{failure_reason}", "failed $reason{$said}", "  is $reason{$said}";
    }
    my $job = running();
    is_answer update($job, state => 'failed'), 200, 'failed, and nothing else said';
    is build_show($job->{id})->{failure_reason}, 'unknown_failure', '  is unknown_failure';
    is build_show($job->{id})->{exit_code}, undef, '  without an exit code';
    is_over update($job, state => 'failed'), 'failed', 'said again';
    $job = running();
    is_answer update($job, state => 'success', failure_reason => 'script_failure'), 200, 'a reason without a failure';
    is build_show($job->{id})->{failure_reason}, undef, '  counts for nothing';
};

subtest 'exit codes' => sub {
    my $job = running();
    for my $code ('x', '1.5', 1.5, [1], {}, JSON::PP::true(), '9' x 30, 3000000000) {
        my $r = update($job, state => 'failed', exit_code => $code);
        is "$r->{status} $r->{body}", '400 {"error":"exit_code is invalid"}', 'one that is none: ' . JSON::PP->new->allow_nonref->encode($code);
    }
    is build_show($job->{id})->{status}, 'running', 'nothing moved';
    for my $code (1, 137, -1, '3', 0) {
        is_answer update($job, state => 'failed', failure_reason => 'script_failure', exit_code => $code), 200, "exit code $code";
        my $show = build_show($job->{id});
        is $show->{exit_code}, $code, '  is kept';
        is $show->{failure_reason}, 'script_failure', '  beside the reason';
        $job = running();
    }
    is_answer update($job, state => 'success', exit_code => undef), 200, 'null is none';
    is build_show($job->{id})->{exit_code}, undef, '  and none is kept';
};

subtest 'what is missing of the trace' => sub {
    my $job = running();
    my $text = "the whole trace\n";
    my %last = (state => 'success', checksum => 'crc32:00000000', output => { checksum => crc32($text), bytesize => length $text });
    append($job, 0, substr $text, 0, 9);
    is_answer update($job, %last), 412, 'bytes are missing';
    is build_show($job->{id})->{status}, 'running', '  it runs on';
    my $r = append($job, 0, $text);
    is "$r->{status} $r->{headers}{range}", '416 0-9', 'the runner begins anew and is told where to go on';
    $r = append($job, 9, substr $text, 9);
    is "$r->{status} $r->{headers}{range}", '202 0-16', 'sends what is missing';
    is_answer update($job, %last), 200, '  and says it again';
    my $show = build_show($job->{id});
    is $show->{status}, 'success', 'it is over';
    is $show->{trace_checksum}, undef, '  with nothing wrong';
    is trace_of($job->{id}), $text, '  and all of its trace';
};

subtest 'what stays missing' => sub {
    my $job = running();
    my %last = (state => 'failed', exit_code => 2, output => { checksum => 'crc32:01234567', bytesize => 100 });
    append($job, 0, 'short');
    sql("UPDATE builds SET started_at = started_at - 61000000 WHERE id = $job->{id}");
    is_answer update($job, %last), 412, 'the first time';
    is update($job, state => 'running', output => { bytesize => 100 })->{status}, 200, 'while it runs nobody asks';
    is_answer update($job, %last), 412, 'the second time';
    is build_show($job->{id})->{status}, 'running', '  it runs on';
    expect_log(qr/CIB0305: build $job->{id}:/);
    is update($job, %last)->{status}, 200, 'the third time it is taken';
    my $show = build_show($job->{id});
    is "$show->{status} $show->{exit_code}", 'failed 2', '  as it is said';
    is $show->{trace_checksum}, 'crc32:01234567', '  and what the trace should be is recorded';
    is trace_of($job->{id}), 'short', '  beside what there is';

    $job = running();
    is_answer update($job, %last), 412, 'another build is counted anew';
    is_answer update($job, %last, output => { bytesize => 100 }), 412, '  without a checksum, too';
    is_answer update($job, %last, output => { bytesize => 0 }), 200, '  and nothing missing is fine any time';
};

subtest 'what is wrong with the trace' => sub {
    my $text = 'received';
    my %case = (
        'another checksum' => [{ output => { checksum => 'crc32:89abcdef', bytesize => 8 } }, 'crc32:89abcdef'],
        'in the older parameter' => [{ checksum => 'crc32:89abcdef' }, 'crc32:89abcdef'],
        'the newer beats the older' => [{ checksum => 'crc32:89abcdef', output => { checksum => crc32($text) } }, undef],
        'the right one' => [{ checksum => crc32($text) }, undef],
        'in capitals' => [{ checksum => 'crc32:' . uc substr crc32($text), 6 }, undef],
        'more than was announced' => [{ output => { checksum => crc32('receiv'), bytesize => 6 } }, crc32('receiv')],
        'another kind' => [{ checksum => 'sha256:' . 'ab' x 32 }, undef],
        'cut short' => [{ checksum => 'crc32:89abcde' }, undef],
        'no hex' => [{ checksum => 'crc32:89abcdeg' }, undef],
        'a negative size' => [{ output => { bytesize => -5 } }, undef],
        'a size as text' => [{ output => { bytesize => '8' } }, undef],
        'null' => [{ checksum => undef, output => undef }, undef],
    );
    for my $what (sort keys %case) {
        my ($said, $recorded) = @{ $case{$what} };
        my $job = running();
        append($job, 0, $text);
        expect_log(qr/CIB0305: build $job->{id}:/) if $recorded;
        is_answer update($job, state => 'success', %$said), 200, $what;
        is build_show($job->{id})->{trace_checksum}, $recorded, '  ' . ($recorded ? 'is recorded' : 'records nothing');
    }
    my $job = running();
    my %invalid = (
        'output is invalid' => { output => 'x' }, 'output[bytesize] is invalid' => { output => { bytesize => 'x' } },
        'output[checksum] is invalid' => { output => { checksum => 5 } }, 'checksum is invalid' => { checksum => [] },
        'failure_reason is invalid' => { failure_reason => 5 }, 'info is invalid' => { info => 'x' },
    );
    for my $message (sort keys %invalid) {
        my $r = update($job, state => 'failed', %{ $invalid{$message} });
        is "$r->{status} $r->{body}", qq(400 {"error":"$message"}), $message;
    }
    my $r = update($job, state => 'failed', output => { bytesize => 1.5 });
    is "$r->{status} $r->{body}", '400 {"error":"output[bytesize] is invalid"}', 'half a byte';
    is build_show($job->{id})->{status}, 'running', 'nothing moved';
    $r = http(PUT => "$V4/jobs/$job->{id}", form => [token => $job->{token}, state => 'success', 'output[bytesize]' => 5]);
    is $r->{status}, 412, 'in a form';
    update($job, state => 'success');
};

# What is cut and what is masked is not what was sent; sums are of what was sent.
subtest 'sums of what is not kept' => sub {
    my $text = 'password: s3cr3t-pass ' . 'long ' x 100000;
    for my $way (qw(PATCH PUT)) {
        my $job = running(args => ['--secret', 'PASSWORD=s3cr3t-pass']);
        my %sums = (output => { checksum => crc32($text), bytesize => length $text });
        if ($way eq 'PATCH') {
            my ($at, $all) = (0, length $text);
            for my $end (15, 70000, 300000, $all) {    # in a secret, across the limit, far beyond it
                append($job, $at, substr($text, $at, $end - $at), vhost => 'small');
                $at = $end;
            }
        } else {
            $sums{trace} = $text;
        }
        is_answer update($job, state => 'success', %sums, opt => { vhost => 'small' }), 200, "$way: nothing is missing";
        my $show = build_show($job->{id});
        is $show->{trace_checksum}, undef, '  and nothing wrong';
        is $show->{trace_size}, 65536, '  of what is cut';
        like trace_of($job->{id}), qr/^password: x{11} long /, '  and masked';
    }
};

subtest 'whole traces' => sub {
    my $job = running();
    append($job, 0, 'appended and longer');
    is_answer update($job, state => 'running', trace => 'first'), 200, 'a trace';
    is trace_of($job->{id}), 'first', '  replaces the one before';
    is append($job, 0, 'x')->{headers}{range}, '0-5', '  from where the next goes on';
    is_answer update($job, state => 'running'), 200, 'none';
    is trace_of($job->{id}), 'first', '  keeps it';
    my $escaped = '{"token":"' . $job->{token} . '","trace":"\u001b\u20ac\ud83d\ude00\/\b\f\n\r\t\u003c","state":"running"}';
    is http(PUT => "$V4/jobs/$job->{id}", body => $escaped, type => 'application/json')->{status}, 200, 'every escape of JSON';
    is trace_of($job->{id}), "\e\xe2\x82\xac\xf0\x9f\x98\x80/\b\f\n\r\t<", '  decoded';
    is update($job, state => 'running', trace => 'byte by byte', opt => { chunked => [1] })->{status}, 200, 'byte by byte';
    my $before = qq({"state":"running","trace":"before","token":"$job->{token}"});
    is http(PUT => "$V4/jobs/$job->{id}", body => $before, type => 'application/json')->{status}, 200, 'before the token';
    is trace_of($job->{id}), 'before', '  arrives';
    for my $case (['a wrong token', ',"token":"' . 'x' x 40 . '"', 403, '403 Forbidden'], ["the runner's", qq(,"token":"$runner->{token}"), 403, '403 Forbidden'],
        ['none', '', 400, 'token is missing'])
    {
        my ($what, $token, $status, $message) = @$case;
        my $body = qq({"state":"success","trace":"evil"$token});
        answers http(PUT => "$V4/jobs/$job->{id}", body => $body, type => 'application/json'), $status, $message, "before $what";
        answers http(PUT => "$V4/jobs/999999999", body => $body, type => 'application/json'), $status, $message, '  of no job';
    }
    is http(PUT => "$V4/jobs/$job->{id}", body => qq({"token":"$job->{token}","trace":"cut of), type => 'application/json')->{status},
        400, 'broken JSON';
    my $r = update($job, state => 'success', trace => 5);
    is "$r->{status} $r->{body}", '400 {"error":"trace is invalid"}', 'one that is no text';
    $r = update($job, state => 'nonsense', trace => 'evil');
    is $r->{status}, 400, 'with a state that is none';
    is trace_of($job->{id}), 'before', 'none of these changes anything';
    my $line = "\e[0K0123456789abcdef \x{20ac} \"quoted\" <tag>\n";
    my $trace = $line x (6 * 1024 * 1024 / 40);
    utf8::encode(my $bytes = $trace);
    $r = update($job, state => 'failed', failure_reason => 'script_failure', trace => $trace,
        output => { checksum => crc32($bytes), bytesize => length $bytes }, opt => { chunked => [8191, 17, 65536] });
    is_answer $r, 200, 'six megabytes with the last word';
    ok trace_of($job->{id}) eq $bytes, '  byte for byte';
    my $show = build_show($job->{id});
    is "$show->{status} $show->{failure_reason}", 'failed script_failure', '  and the state is taken';
    is $show->{trace_checksum}, undef, '  with the checksum of what was decoded';
    is_over update($job, state => 'failed', trace => 'evil'), 'failed', 'a trace after the end';
    ok trace_of($job->{id}) eq $bytes, '  is not taken';
};

subtest 'what the runner says about itself' => sub {
    my $job = running();
    sql("UPDATE runners SET contacted_at = contacted_at - 3600000000 WHERE id = $runner->{id}");
    is cib(qw(runner show), $runner->{id})->{status}, 'offline', 'a runner that was not heard of for an hour';
    update($job, state => 'running');
    is cib(qw(runner show), $runner->{id})->{status}, 'offline', "a job's word is not the runner's";
    update($job, state => 'running', info => info('14.8.0'));
    my $show = cib(qw(runner show), $runner->{id});
    is $show->{status}, 'online', 'but what it says about itself is';
    is $show->{version}, '14.8.0', '  and kept';
    my $r = update($job, state => 'success', info => { version => 7 });
    is "$r->{status} $r->{body}", '400 {"error":"info[version] is invalid"}', 'as text';
    is build_show($job->{id})->{status}, 'running', '  or nothing moves';
    update($job, state => 'success');
};

subtest 'ended by somebody else' => sub {
    my $job = running();
    cib(qw(build cancel), $job->{id});
    is_over update($job, state => $_, trace => 'late'), 'canceled', "$_ of a canceled job" for qw(running success failed);
    my $show = build_show($job->{id});
    is $show->{status}, 'canceled', 'it stays canceled';
    is trace_of($job->{id}), '', '  and no trace is taken';
    cib(qw(build erase), $job->{id});
    my $r = update($job, state => 'success', trace => 'evil');
    answers $r, 403, '403 Forbidden  - Job has been erased!', 'an erased one';
    answers update({ %$job, token => 'x' x 40 }, state => 'success'), 403, '403 Forbidden', '  which strangers are not told';
    my $gone = running();
    sql("UPDATE projects SET removing = 1 WHERE id = $project->{id}");
    answers update($gone, state => 'success', trace => 'evil'), 403, '403 Forbidden  - Project has been deleted!', 'a project that is going';
    sql("UPDATE projects SET removing = 0 WHERE id = $project->{id}");
    is build_show($gone->{id})->{status}, 'running', '  nothing moved';
    update($gone, state => 'success');
};

# The row is held when the word is taken; who holds it cancels the build.
subtest 'canceled while it ends' => sub {
    plan skip_all => 'on SQLite nobody can get in between' if is_sqlite();
    require IPC::Open2;
    my $job = running();
    my $pid = IPC::Open2::open2(my $out, my $in, 'psql', $CELL->{instances}{main}{params}, '-XqAt', '-v', 'ON_ERROR_STOP=1');
    print {$in} "BEGIN;\nSELECT id, pg_backend_pid() FROM builds WHERE id = $job->{id} FOR UPDATE;\n";
    my ($backend) = <$out> =~ /^\d+\|(\d+)$/ or die "the row is not to be held\n";
    my $connection = connect_to();
    $connection->send(request_text(PUT => "$V4/jobs/$job->{id}", json => { token => $job->{token}, state => 'success' }));
    wait_for('the request to want the row', sub { sql("SELECT count(*) FROM pg_locks WHERE $backend = ANY (pg_blocking_pids(pid))") > 0 });
    print {$in} "UPDATE builds SET status = 'canceled', finished_at = 1 WHERE id = $job->{id};\nCOMMIT;\n";
    close $in;
    waitpid $pid, 0;
    is_over $connection->response, 'canceled', 'the runner is told';
    is build_show($job->{id})->{status}, 'canceled', '  and it stays canceled';
};

# Its runner is removed in the moment that it speaks: the row is gone, the job has not ended yet.
subtest 'a runner that goes' => sub {
    my $leaving = runner(project => $project);
    my $job = job_of($leaving, project => $project);
    sql("DELETE FROM runners WHERE id = $leaving->{id}");
    is_answer update($job, state => 'running', info => info('15.0.0')), 200, 'what it says of itself goes nowhere';
    is_answer update($job, state => 'success', info => info('15.0.0')), 200, 'and its job ends as any other';
    is build_show($job->{id})->{status}, 'success', '  as it said';
};

# Anybody can send a trace whose token is yet to come: that may not take the room kept for those that have one.
subtest 'a full disk' => sub {
    my $job = running();
    my $put = sub {
        my ($body, $vhost) = @_;
        return http(PUT => "$V4/jobs/$job->{id}", body => $body, type => 'application/json', vhost => $vhost);
    };
    my $token = qq("token":"$job->{token}");
    my $long = '"state":"running","trace":"' . 'x' x (512 * 1024) . '"';
    is $put->("{$token,$long}", 'full')->{status}, 200, 'a long trace behind its token is taken';
    is $put->("{$long,$token}", 'main')->{status}, 200, 'one before it where there is room';
    is $put->(qq({"state":"running","trace":"short",$token}), 'full')->{status}, 200, 'a short one anywhere';
    expect_log(qr/CIBuildsMinFree/);
    answers $put->("{$long,$token}", 'full'), 507, qr/CIBuildsMinFree/, 'a long one before its token is not';
    answers $put->("{$long}", 'full'), 507, qr/CIBuildsMinFree/, '  nor one without any';
    ok trace_of($job->{id}) eq 'short', 'the trace is what was taken last';
    is update($job, state => 'success')->{status}, 200, '  and its job can end';
};

# What one claim was sent back for says nothing of the next.
subtest 'the next claim' => sub {
    my $job = running();
    my %last = (state => 'success', output => { bytesize => 10 });
    append($job, 0, '12345');
    is update($job, %last)->{status}, 412, 'the first claim: the first time';
    is update($job, %last)->{status}, 412, '  the second time';
    sql("UPDATE builds SET status = 'pending', runner_id = NULL, started_at = NULL, heard_at = NULL, short_traces = 0 WHERE id = $job->{id}");
    is_over update($job, %last), 'pending', 'what waits again takes nothing';
    cib(qw(build cancel), $job->{id});
};

done_testing;
