# PATCH jobs/:id/trace: the trace as it grows, with the job's token.

use strict;
use warnings;

use CIB::Test;
use CIB::V4;

my $project = project();
my $runner = runner(project => $project);

sub running { return job_of($runner, project => $project, @_) }

sub interval { return $_[0]{headers}{'x-gitlab-trace-update-interval'} }

# 416 as every runner understands it: without a Range, 9.0 to 11.10 die of it.
sub is_416 {
    my ($r, $length, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is "$r->{status} $r->{body}", '416 {"error":"416 Range Not Satisfiable"}', $what;
    is $r->{headers}{'content-type'}, 'application/json', '  in JSON';
    is $r->{headers}{range}, "0-$length", '  with the length';
    return;
}

subtest 'it grows' => sub {
    my $job = running();
    my $r = append($job, 0, "one\n");
    is $r->{status}, 202, 'status 202';
    is $r->{headers}{range}, '0-4', 'Range says how much is there';
    is $r->{headers}{'job-status'}, 'running', 'Job-Status says running';
    is interval($r), 3, 'and more is wanted soon';
    is $r->{body}, '0-4', 'the body says the range too';
    is trace_of($job->{id}), "one\n", 'it can be read';
    is append($job, 4, "two\xff\0\n")->{headers}{range}, '0-10', 'the next bytes, whatever they are';
    is append($job, 10, 'three', range => '10-15')->{headers}{range}, '0-15', 'an exclusive end, as 9.0 to 11.2 say it';
    is append($job, 15, 'four', range => '15-18')->{headers}{range}, '0-19', 'an inclusive one, as 11.3 and later do';
    is append($job, 19, '!', range => '19-99999/100000')->{headers}{range}, '0-20', 'a wrong one';
    $r = append($job, 20, '', range => '20-20');
    is "$r->{status} $r->{headers}{range} $r->{headers}{'job-status'}", '202 0-20 running', 'no bytes at all, as 9.0 to 11.2 ask how it stands';
    is append($job, 20, 'chunked', chunked => [2])->{headers}{range}, '0-27', 'a chunked body';
    is append($job, 27, "\x{e2}\x{82}\x{ac}")->{headers}{range}, '0-30', 'bytes are counted, not characters';
    is trace_of($job->{id}), "one\ntwo\xff\0\nthreefour!chunked\xe2\x82\xac", 'all is there, and nothing else';
    is build_show($job->{id})->{trace_size}, 30, '  and counted';
    update($job, state => 'success');
};

subtest 'offsets' => sub {
    my $job = running();
    is_416 append($job, 5, 'xyz'), 0, 'a hole at the beginning';
    append($job, 0, '0123456789');
    is_416 append($job, 5, 'xyz'), 10, 'inside';
    is_416 append($job, 0, '0123456789'), 10, 'a repeated one';
    is_416 append($job, 11, 'xyz'), 10, 'beyond';
    is_416 append($job, 0, 'xyz', range => '9' x 30 . '-0'), 10, 'far beyond';
    is_416 append($job, 5, ''), 10, 'no bytes at the wrong place';
    is_416 append($job, 0, 'xyz', range => 'bytes 10-12'), 10, 'a start that is no number counts as 0';
    is append($job, 10, 'x', range => '10')->{status}, 202, 'no end';
    is trace_of($job->{id}), '0123456789x', 'nothing was stored but that';
    my $r = http(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'x', headers => ['Job-Token' => $job->{token}]);
    is "$r->{status} $r->{body}", '400 {"error":"400 Missing header Content-Range"}', 'no Content-Range';
    is $r->{headers}{'content-type'}, 'application/json', '  in JSON';
    update($job, state => 'success');
};

subtest 'types' => sub {
    my $job = running();
    my $at = 0;
    for my $type ('text/plain', 'text/plain; charset=utf-8', 'application/json', 'application/x-www-form-urlencoded', undef) {
        my $r = http(PATCH => "$V4/jobs/$job->{id}/trace", type => $type, body => '{', headers => ['Job-Token' => $job->{token}, 'Content-Range' => "$at-$at"]);
        is $r->{status}, 202, 'the type ' . ($type // '(none)') . ' says nothing of the bytes';
        $at++;
    }
    my $r = http(PATCH => "$V4/jobs/$job->{id}/trace", type => 'image/png', body => '{', headers => ['Job-Token' => $job->{token}, 'Content-Range' => "$at-$at"]);
    answers $r, 406, "The requested content-type 'image/png' is not supported.", 'any other is refused';
    is trace_of($job->{id}), '{' x $at, 'byte for byte';
    update($job, state => 'success');
};

subtest 'who may' => sub {
    my ($job, $other) = (running(), running());
    my $waiting = build(project => $project, tags => 'nobody');
    my %wrong = ('a wrong one' => 'x' x 40, "another job's" => $other->{token}, "the runner's" => $runner->{token},
        "the project's" => $project->{token}, 'an empty one' => '');
    answers append($job, 0, 'x', token => $wrong{$_}), 403, '403 Forbidden', $_ for sort keys %wrong;
    my $r = http(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'x', headers => ['Content-Range' => '0-0']);
    answers $r, 403, '403 Forbidden', 'none';
    $r = http(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'x',
        headers => ['Build-Token' => $job->{token}, 'Content-Range' => '0-0']);
    answers $r, 403, '403 Forbidden', "one in v1's header";
    for my $id (999999999, -1, 0, 'x', '9' x 30) {
        $r = append({ %$job, id => $id }, 0, 'x');
        answers $r, 403, '403 Forbidden', "job $id, which is none";
        ok !defined $r->{headers}{'job-status'}, '  and has no status';
    }
    $r = append({ id => $waiting, token => 'x' x 40 }, 0, 'x');
    answers $r, 403, '403 Forbidden', 'a job that waits';
    ok !defined $r->{headers}{'job-status'}, '  strangers are told no status';
    is trace_of($job->{id}), '', 'nothing arrived';
    $r = http(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'x', query => [token => $job->{token}],
        headers => ['Content-Range' => '0-0']);
    is $r->{status}, 202, 'in the query';
    $r = http(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'y', query => [token => 'x' x 40],
        headers => ['Content-Range' => '1-1', 'Job-Token' => $job->{token}]);
    answers $r, 403, '403 Forbidden', 'a parameter beats the header';
    is trace_of($job->{id}), 'x', 'only that arrived';
    $r = http(GET => "$V4/jobs/$job->{id}/trace", headers => ['Job-Token' => $job->{token}]);
    answers $r, 405, undef, 'GET is not served';
    is $r->{headers}{allow}, 'PATCH', '  and Allow says what is';
    update($_, state => 'success') for $job, $other;
    cancel_all($project);
};

subtest 'a job that does not run' => sub {
    my $not_running = '403 Forbidden  - Job is not running';
    my %end = (
        success => sub { update($_[0], state => 'success') },
        failed => sub { update($_[0], state => 'failed') },
        canceled => sub { cib(qw(build cancel), $_[0]{id}) },
    );
    for my $status (sort keys %end) {
        my $job = running();
        append($job, 0, 'before');
        $end{$status}->($job);
        for my $bytes ('late', '') {
            my $r = append($job, 6, $bytes, range => '6-10');
            answers $r, 403, $not_running, "$status: 403 for " . ($bytes || 'nothing');
            is $r->{headers}{'job-status'}, $status, '  with the status';
        }
        is trace_of($job->{id}), 'before', '  and nothing is added';
        is cib(qw(build erase), $job->{id})->{id}, $job->{id}, 'erased';
        answers append($job, 6, 'late'), 403, '403 Forbidden  - Job has been erased!', '  it says so';
    }
    my $job = running();
    sql("UPDATE projects SET removing = 1 WHERE id = $project->{id}");
    answers append($job, 0, 'x'), 403, '403 Forbidden  - Project has been deleted!', 'a job whose project is going';
    sql("UPDATE projects SET removing = 0 WHERE id = $project->{id}");
    update($job, state => 'success');
};

subtest 'ended while the bytes come' => sub {
    my $job = running();
    my $connection = connect_to();
    my $text = request_text(PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => 'x' x 1000,
        headers => ['Job-Token' => $job->{token}, 'Content-Range' => '0-999', Expect => '100-continue']);
    my $head = index($text, "\r\n\r\n") + 4;
    $connection->send(substr $text, 0, $head);
    ok $connection->answered(30), 'the server asks for the body';
    cib(qw(build cancel), $job->{id});
    # what is known of a build is good for a second
    my $since = time;
    wait_for('it to be over', sub { time > $since + 1 });
    $connection->send(substr $text, $head);
    my $r = $connection->response;
    answers $r, 403, '403 Forbidden  - Job is not running', 'is told afterwards';
    is $r->{headers}{'job-status'}, 'canceled', '  with the status';
    is trace_of($job->{id}), '', '  and nothing is kept';
};

subtest 'how often' => sub {
    my $job = running();
    is interval(append($job, 0, 'a')), 3, 'soon in the first minute';
    sql("UPDATE builds SET started_at = started_at - 61000000 WHERE id = $job->{id}");
    is interval(append($job, 1, 'b')), 15, 'after it now and then';
    is interval(update($job, state => 'running')), 15, '  as a PUT says, too';
    my $pid = open my $follow, '-|', $CELL->{ci_builds}, '-s', $CELL->{instances}{main}{storage}, qw(build trace), $job->{id}, '--follow' or die $!;
    wait_for('the trace to be followed', sub { sql("SELECT count(*) FROM builds WHERE id = $job->{id} AND followed_until IS NOT NULL") > 0 });
    is interval(append($job, 2, 'c')), 3, 'while somebody watches soon again';
    is interval(update($job, state => 'running')), 3, '  as a PUT says, too';
    my $said = sql("SELECT followed_until FROM builds WHERE id = $job->{id}");
    sql("UPDATE builds SET followed_until = followed_until - 31000000 WHERE id = $job->{id}");
    is interval(append($job, 3, 'd')), 15, 'and not when nobody has said so for half a minute';
    if (is_event() && is_sqlite()) {    # it takes ten seconds
        wait_for('it to be said again', sub { sql("SELECT followed_until FROM builds WHERE id = $job->{id}") > $said });
        is interval(append($job, 4, 'e')), 3, '  but who watches does';
    }
    update($job, state => 'success');
    like do { local $/ = undef; <$follow> }, qr/^abcde?$/, 'and has seen it all';
    waitpid $pid, 0;
};

subtest 'masking' => sub {
    my $job = running(args => ['--secret', 'PASSWORD=s3cr3t-pass']);
    my $text = "job: $job->{token}, password: s3cr3t-pass, split: s3cr3t";
    is append($job, 0, $text)->{headers}{range}, '0-' . length $text, 'secrets are counted as they are long';
    append($job, length $text, '-pass.');
    is trace_of($job->{id}), 'job: ' . 'x' x 40 . ', password: ' . 'x' x 11 . ', split: ' . 'x' x 11 . '.', 'and masked';
    my $whole = "$text-pass.";
    is update($job, state => 'success', output => { checksum => crc32($whole), bytesize => length $whole })->{status}, 200, 'what was sent';
    is build_show($job->{id})->{trace_checksum}, undef, '  is what is summed up';
};

subtest 'the limit' => sub {
    my $job = running();
    is append($job, 0, 'a' x 60000, vhost => 'small')->{headers}{range}, '0-60000', 'below it';
    my $r = append($job, 60000, 'b' x 10000, vhost => 'small');
    is $r->{status}, 202, 'across it: no refusal';
    is $r->{headers}{range}, '0-70000', '  and Range speaks of what came';
    # so far beyond it that not even the end of a secret is looked for
    $r = append($job, 70000, 'c' x 200000, vhost => 'small');
    is "$r->{status} $r->{headers}{range}", '202 0-270000', 'beyond it: the same';
    is_416 append($job, 65536, 'd', vhost => 'small'), 270000, 'offsets are those of what came';
    ok trace_of($job->{id}) eq 'a' x 60000 . 'b' x 5536, 'the limit is kept to the byte';
    my $whole = 'a' x 60000 . 'b' x 10000 . 'c' x 200000;
    $r = update($job, state => 'success', output => { checksum => crc32($whole), bytesize => length $whole }, opt => { vhost => 'small' });
    is "$r->{status} $r->{body}", '200 "200"', 'the last word is taken: nothing is missing';
    is build_show($job->{id})->{trace_checksum}, undef, '  and the checksum is right';
};

subtest 'two at once' => sub {
    my $job = running();
    my @connections = map {
        my $connection = connect_to();
        $connection->send(request_text(
            PATCH => "$V4/jobs/$job->{id}/trace", type => 'text/plain', body => $_ x 5000, chunked => [1000],
            headers => ['Job-Token' => $job->{token}, 'Content-Range' => '0-4999']
        ));
        $connection;
    } 'a' .. 'f';
    my %status;
    $status{"$_->{status} $_->{headers}{range}"}++ for map { $_->response } @connections;
    is_deeply \%status, { '202 0-5000' => 1, '416 0-5000' => 5 }, 'one wins, the others are told where to go on';
    like trace_of($job->{id}), qr/^(\w)\1{4999}$/, 'and nothing is mixed';
    update($job, state => 'success');
};

done_testing;
