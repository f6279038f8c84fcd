# One queue, and runners of both dialects beside each other: what one of them makes the other can use, and
# neither speaks for the other.

use strict;
use warnings;

use CIB::Test;
use CIB::V4 qw($V4 ask get_artifact job job_of put_artifact update);

my $project = project();
my ($old, $new) = map { runner(project => $project, args => ['--description', $_]) } 'speaks v1', 'speaks v4';

sub value { return $_[0]{headers}{'x-gitlab-last-update'} }

# The trace of a job of v4, and of a build of v1, from where it ends.
sub patch_v4 { return CIB::V4::append(@_) }

sub patch_v1 {
    my ($build, $start, $bytes, %opt) = @_;
    my $end = $start + length $bytes;
    return http(PATCH => "builds/$build->{id}/trace.txt", type => 'text/plain', body => $bytes,
        headers => ['Build-Token' => $opt{token} // $build->{token}, 'Content-Range' => "$start-$end"]);
}

sub download_v1 {
    my ($id, $token) = @_;
    return http(GET => "builds/$id/artifacts", headers => ['Build-Token' => $token]);
}

subtest 'one queue' => sub {
    my @ids = build(project => $project, commands => "make\nmake test\n", args => ['--count', 6]);
    for my $n (0 .. $#ids) {
        if ($n % 2) {
            my $job = job($new);
            is $job->{id}, $ids[$n], 'v4 is given the next';
            is_deeply $job->{steps}[0]{script}, ['make', 'make test'], '  as steps';
            is $job->{job_info}{project_id}, $project->{id}, '  of the project';
            is update($job, state => 'success')->{status}, 200, '  and ends it';
        } else {
            my $build = claim($old);
            is $build->{id}, $ids[$n], 'v1 is given the next';
            is $build->{commands}, "make\nmake test\n", '  as commands';
            is $build->{project_id}, $project->{id}, '  of the project';
            finish($old, $build->{id});
        }
        is build_show($ids[$n])->{runner_id}, $n % 2 ? $new->{id} : $old->{id}, '  and who did is known';
    }
    is ask($new)->{status}, 204, 'then there is nothing for v4';
    is poll($old)->{status}, 204, '  nor for v1';
};

subtest 'all at once' => sub {
    my @ids = build(project => $project, args => ['--count', 6]);
    my @asked = map {
        my $n = $_;
        my $connection = connect_to();
        $connection->send($n % 2 ? request_text(POST => "$V4/jobs/request", json => { token => $new->{token} })
            : request_text(POST => "$V1/builds/register.json", json => { token => $old->{token} },
                headers => ['User-Agent' => 'gitlab-ci-multi-runner 1.11.5 (x)']));
        $connection;
    } 1 .. 10;
    my (%status, @given);
    for my $n (1 .. @asked) {
        my $r = $asked[$n - 1]->response;
        $status{ $r->{status} }++;
        next if $r->{status} != 201;
        remember($r->{json});
        push @given, $r->{json}{id};
        if ($n % 2) { is update($r->{json}, state => 'success')->{status}, 200, 'v4 ends what it was given' }
        else { finish($old, $r->{json}{id}) }
    }
    is_deeply \%status, { 201 => 6, 204 => 4 }, 'each build goes to one';
    is_deeply [sort { $a <=> $b } @given], \@ids, '  and all of them go';
};

subtest 'what v1 has made, v4 needs' => sub {
    my $first = build(project => $project, args => ['--name', 'compile']);
    my $next = build(project => $project, args => ['--depends-on', $first]);
    my $build = claim($old);
    is $build->{id}, $first, 'v1 takes the first';
    is ask($new)->{status}, 204, '  and v4 has to wait for it';
    upload($build, 'made by v1', filename => 'out.zip');
    finish($old, $first);
    my $job = job($new);
    is $job->{id}, $next, 'then it is given the second';
    my ($needed) = @{ $job->{dependencies} };
    is_deeply { %$needed, token => undef }, { id => $first, name => 'compile', token => undef, artifacts_file => { filename => 'out.zip', size => 10 } },
        '  which names the first, and what it left';
    is $needed->{token}, $build->{token}, '  and its token';
    is get_artifact($needed)->{body}, 'made by v1', '  with which it is fetched';
    is get_artifact($needed, token => $job->{token})->{body}, 'made by v1', '  or with its own';
    update($job, state => 'success');
};

subtest 'what v4 has made, v1 needs' => sub {
    my $first = build(project => $project, args => ['--name', 'compile']);
    my $next = build(project => $project, args => ['--depends-on', $first]);
    my $job = job($new);
    is $job->{id}, $first, 'v4 takes the first';
    is poll($old)->{status}, 204, '  and v1 has to wait for it';
    put_artifact($job, 'a report', query => { artifact_type => 'junit', artifact_format => 'gzip' }, filename => 'junit.xml.gz');
    put_artifact($job, 'made by v4', filename => 'out.zip');
    update($job, state => 'success');
    my $build = claim($old);
    is $build->{id}, $next, 'then it is given the second';
    my ($needed) = @{ $build->{depends_on_builds} };
    is "$needed->{id} $needed->{name}", "$first compile", '  which names the first';
    is "$needed->{artifacts_file}{filename} $needed->{artifacts_file}{size}", 'out.zip 10', '  and what it left, without the reports';
    is $needed->{token}, $job->{token}, '  and its token';
    is download_v1($first, $needed->{token})->{body}, 'made by v4', '  with which it is fetched';
    finish($old, $next);
};

subtest 'neither speaks for the other' => sub {
    build(project => $project, args => ['--count', 2]);
    my ($build, $job) = (claim($old), job($new));
    patch_v1($build, 0, 'v1');
    patch_v4($job, 0, 'v4');
    upload($build, 'by v1');
    put_artifact($job, 'by v4');
    my $as_v4 = { id => $build->{id} };
    for my $token ($job->{token}, $new->{token}, $old->{token}, $project->{token}) {
        answers update({ %$as_v4, token => $token }, state => 'failed', trace => 'evil'), 403, '403 Forbidden', "v4 does not end v1's build";
        answers patch_v4({ %$as_v4, token => $token }, 2, 'evil'), 403, '403 Forbidden', '  nor write its trace';
        answers put_artifact({ %$as_v4, token => $token }, 'evil'), 403, '403 Forbidden', '  nor bring an artifact';
        answers get_artifact({ %$as_v4, token => $token }), 403, '403 Forbidden', '  nor fetch it';
    }
    answers put($new, $build->{id}, state => 'failed', trace => 'evil'), 404, '404 Not found', "its runner's token does not end it in v1's way";
    answers put($old, $job->{id}, state => 'failed', trace => 'evil'), 404, '404 Not found', "v1 does not end v4's job";
    answers put({ token => $job->{token} }, $job->{id}, state => 'failed'), 403, '403 Forbidden', "  nor does a job's token, over v1";
    for my $token ($build->{token}, $old->{token}, $new->{token}) {
        is patch_v1($job, 2, 'evil', token => $token)->{status}, 403, '  nor write its trace';
        is upload($job, 'evil', token => $token)->{status}, 403, '  nor bring an artifact';
        is download_v1($job->{id}, $token)->{status}, 403, '  nor fetch it';
    }
    for my $case ([$build->{id}, 'v1'], [$job->{id}, 'v4']) {
        my ($id, $who) = @$case;
        is build_show($id)->{status}, 'running', "${who}'s runs on";
        is trace_of($id), $who, '  with its own trace';
        is ci_builds({ json => 0 }, qw(build artifacts), $id)->{out}, "by $who", '  and its own artifact';
    }
    put($old, $build->{id}, state => 'failed');
    update($job, state => 'failed', failure_reason => 'runner_system_failure', exit_code => 7);
    my ($one, $other) = map { build_show($_->{id}) } $build, $job;
    is $one->{failure_reason}, 'script_failure', 'v1 knows one way to fail';
    is "$other->{failure_reason} $other->{exit_code}", 'runner_system_failure 7', 'v4 says which';
};

# An installation is upgraded, or put back: the token stays.
subtest 'one runner, both dialects' => sub {
    my $registered = http(POST => 'runners/register.json', json => { token => $project->{token} })->{json};
    my ($first, $second) = build(project => $project, args => ['--count', 2]);
    my $job = job($registered);
    is $job->{id}, $first, 'registered over v1, it asks over v4';
    is http(POST => "$V4/runners/verify", json => { token => $registered->{token} })->{status}, 200, '  and is verified';
    is update($job, state => 'success')->{status}, 200, '  and ends its job';
    my $added = http(POST => "$V4/runners", json => { token => $project->{token} })->{json};
    my $build = claim($added);
    is $build->{id}, $second, 'registered over v4, it asks over v1';
    finish($added, $second);
    is http(PUT => 'builds/-1', json => { token => $added->{token} })->{status}, 404, '  and is verified';
    ($first, $second) = build(project => $project, args => ['--count', 2]);
    is claim($new)->{id}, $first, 'one whose token is made by ci-builds asks over v1';
    is job($new)->{id}, $second, '  and over v4';
    finish($new, $_) for $first, $second;
    is http(DELETE => "$V4/runners", json => { token => $registered->{token} })->{status}, 204, 'the first goes over v4';
    is http(DELETE => 'runners/delete', json => { token => $added->{token} })->{status}, 200, 'the second over v1';
};

subtest 'the value' => sub {
    my %value = (v1 => value(poll($old)), v4 => value(ask($new)));
    ok length($value{$_} // ''), "$_ is given one" for sort keys %value;
    is value(ask($old)), $value{v1}, 'it is the same to a runner in both dialects';
    is value(poll($old, json => { last_update => $value{v1} })), $value{v1}, 'v1: it comes back';
    is value(ask($new, json => { last_update => $value{v4} })), $value{v4}, 'v4: it comes back';
    my ($first, $second) = build(project => $project, args => ['--count', 2]);
    my $r = ask($new, json => { last_update => $value{v4} });
    is "$r->{status} $r->{json}{id}", "201 $first", 'new builds: v4 is given the first though it brings the old value';
    update($r->{json}, state => 'success');
    $r = poll($old, json => { last_update => $value{v1} });
    is "$r->{status} $r->{json}{id}", "201 $second", '  and v1 the second';
    finish($old, $second);
    isnt value(poll($old)), $value{v1}, 'the value is another for v1';
    isnt value(ask($new)), $value{v4}, '  and for v4';
};

# A runner that is not heard of loses its claim, whichever dialect the next one speaks.
subtest 'a build that comes back' => sub {
    my %hasty = (instance => 'hasty');
    my $back = project(%hasty);
    my ($lost, $next) = map { runner(%hasty, project => $back) } 1 .. 2;
    expect_log(qr/CIB0331:/);
    my $id = build(%hasty, project => $back);
    my $build = claim($lost, vhost => 'hasty');
    wait_for('the build to be pending again', sub { build_show($id, 'hasty')->{status} eq 'pending' });
    my $job = job($next, vhost => 'hasty');
    is $job->{id}, $id, 'v1 took it and was not heard of: v4 is given it';
    is patch_v4($job, 0, 'now', vhost => 'hasty')->{status}, 202, '  and speaks';
    answers put($lost, $id, state => 'failed', trace => 'evil', opt => { vhost => 'hasty' }), 404, '404 Not found', 'the former is refused';
    answers patch_v4({ id => $id, token => $build->{token} }, 3, 'evil', vhost => 'hasty'), 403, '403 Forbidden', '  and its token, over v4';
    is update($job, state => 'success', opt => { vhost => 'hasty' })->{status}, 200, 'the latter ends it';
    is trace_of($id, 'hasty'), 'now', '  with its own trace';

    $id = build(%hasty, project => $back);
    $job = job($lost, vhost => 'hasty');
    wait_for('the build to be pending again', sub { build_show($id, 'hasty')->{status} eq 'pending' });
    $build = claim($next, vhost => 'hasty');
    is $build->{id}, $id, 'v4 took it and was not heard of: v1 is given it';
    answers update($job, state => 'success', trace => 'evil', opt => { vhost => 'hasty' }), 403, '403 Forbidden', 'the former is refused';
    is put($next, $id, state => 'success', trace => 'now', opt => { vhost => 'hasty' })->{status}, 200, 'the latter ends it';
    is trace_of($id, 'hasty'), 'now', '  with its own trace';
};

# ---- waiting

# Requests parked at the main instance, as mod_status counts them.
sub parked {
    my $status = http(GET => '/server-status?auto')->{body};
    my ($number) = $status =~ /^CIBuilds(\d*)Storage: \Q$CELL->{instances}{main}{storage}\E$/m or die $status;
    my ($parked) = $status =~ /^CIBuilds${number}Parked: (\d+)$/m or die $status;
    return $parked;
}

# Ask, and have it parked: the connection.
sub park {
    my ($dialect, $runner) = @_;
    my $before = parked();
    my $connection = connect_to('parking');
    my $value = value(ask($runner));
    $connection->send($dialect eq 'v4' ? request_text(POST => "$V4/jobs/request", json => { token => $runner->{token}, last_update => $value })
        : request_text(POST => "$V1/builds/register.json", json => { token => $runner->{token}, last_update => $value },
            headers => ['User-Agent' => 'gitlab-ci-multi-runner 1.11.5 (x)']));
    wait_for('one more parked request', sub { parked() == $before + 1 });
    return $connection;
}

# It is handed this build, in its own words; and ends it.
sub given {
    my ($dialect, $runner, $connection, $id) = @_;
    my $r = $connection->response;
    is $r->{status}, 201, "$dialect: the one that waited is given it" or return;
    my $it = remember($r->{json});
    is $it->{id}, $id, '  that very one';
    ok exists $it->{ $dialect eq 'v4' ? 'steps' : 'commands' }, '  in its own words';
    is $dialect eq 'v4' ? update($it, state => 'success')->{status} : put($runner, $id, state => 'success')->{status}, 200, '  and ends it';
    return;
}

subtest 'runners that wait' => sub {
    plan skip_all => 'where nothing can be parked' unless is_event() && is_sqlite();
    my %who = (v1 => runner(project => $project, tags => 'one', args => ['--no-untagged']), v4 => runner(project => $project, tags => 'four', args => ['--no-untagged']));
    my %tag = (v1 => 'one', v4 => 'four');
    for my $first (qw(v1 v4)) {
        my $second = $first eq 'v1' ? 'v4' : 'v1';
        my %on = map { $_ => park($_, $who{$_}) } qw(v1 v4);
        given($first, $who{$first}, $on{$first}, scalar build(project => $project, tags => $tag{$first}));
        is parked(), 1, "  and $second waits on";
        given($second, $who{$second}, $on{$second}, scalar build(project => $project, tags => $tag{$second}));
    }
    # both could take it: one does, the other waits on and takes the next
    my %on = (v1 => park(v1 => $old), v4 => park(v4 => $new));
    my $id = build(project => $project);
    wait_for('one of them to be answered', sub { grep { $_->answered(0.05) } values %on });
    my ($first) = grep { $on{$_}->answered(0) } sort keys %on;
    my %runner = (v1 => $old, v4 => $new);
    given($first, $runner{$first}, delete $on{$first}, $id);
    my ($second) = keys %on;
    given($second, $runner{$second}, $on{$second}, scalar build(project => $project));
    is parked(), 0, 'then nobody waits';
};

is cib('check')->{found}, 0, 'check finds no fault';

done_testing;
