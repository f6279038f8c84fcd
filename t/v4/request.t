# POST jobs/request: who may ask, what is answered when there is nothing, to a paused runner, and to one that
# waits. What a job says of a build is in description.t.

use strict;
use warnings;

use CIB::Test;
use CIB::V4;

my $project = project();
my $runner = runner(project => $project, args => ['--description', 'before']);

sub value { return $_[0]{headers}{'x-gitlab-last-update'} }

# 204 as every runner since 9.0 knows it.
sub is_nothing {
    my ($r, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $held = is $r->{status}, 204, $what;
    diag $r->{body} unless $held;
    is $r->{body}, '', '  without a body';
    ok !defined $r->{headers}{'content-type'}, '  and without a type';
    ok length(value($r) // ''), '  and with the state of the queue';
    return;
}

subtest 'who may ask' => sub {
    my @none = (['no token', json => {}], ['no body'], ['a token that is null', json => { token => undef }],
        ['one in a header', json => {}, headers => ['JOB-TOKEN' => $runner->{token}, 'RUNNER-TOKEN' => $runner->{token}]]);
    for my $case (@none) {
        my ($what, @opt) = @$case;
        my $r = http(POST => "$V4/jobs/request", @opt);
        is "$r->{status} $r->{body}", '400 {"error":"token is missing"}', $what;
        is $r->{headers}{'content-type'}, 'application/json', '  in JSON';
    }
    my %wrong = (
        'an empty one' => '', 'an unknown one' => 'f' x 40, "a project's" => $project->{token},
        'all of one but its end' => substr($runner->{token}, 0, -1), "the instance's" => registration_token(),
    );
    for my $what (sort keys %wrong) {
        answers ask({ token => $wrong{$what} }), 403, '403 Forbidden', $what;
    }
    for my $token (5, [], {}) {
        my $r = http(POST => "$V4/jobs/request", json => { token => $token });
        is "$r->{status} $r->{body}", '400 {"error":"token is invalid"}', 'a token that is no text';
    }
    my $r = http(GET => "$V4/jobs/request");
    answers $r, 405, undef, 'GET is not served';
    like $r->{headers}{allow}, qr/\bPOST\b/, '  and Allow says what is';
};

subtest 'nothing to do' => sub {
    is_nothing ask($runner), 'a runner with nothing to do';
    for my $agent ('gitlab-ci-multi-runner 9.5.1 (9-5-stable; go1.8.3; linux/amd64)', 'Go-http-client/1.1', 'curl/7.88.1') {
        is_nothing ask($runner, headers => ['User-Agent' => $agent]), "as $agent";
    }
    is_nothing ask($runner, headers => []), 'without a name';
    is_nothing http(POST => "$V4/jobs/request", form => [token => $runner->{token}, 'info[version]' => '9.0.0']), 'in a form';
    is_nothing ask($runner, json => $_), 'with ' . join ' and ', sort keys %$_ for (
        { session => { url => 'https://127.0.0.1:8093', certificate => 'x', authorization => 'y' } },
        { job_age => 3600, labels => { any => 'thing' }, something => [{ new => undef }] },
        { info => { %{ info('19.3.0') }, labels => { rack => '7' }, features => { cancel_gracefully => JSON::PP::true(), new => [1] } } },
        { info => undef, last_update => undef },
    );
    my $r = ask($runner, json => { info => { version => 7 } });
    is "$r->{status} $r->{body}", '400 {"error":"info[version] is invalid"}', 'but what it says of itself is text';
    $r = ask($runner, json => { last_update => [] });
    is "$r->{status} $r->{body}", '400 {"error":"last_update is invalid"}', '  and so is the value it was given';
};

subtest 'the value' => sub {
    my $r = ask($runner);
    my $value = value($r);
    $r = ask($runner, json => { last_update => $value });
    is_nothing $r, 'comes back';
    is value($r), $value, '  and stays as it is';
    my $id = build(project => $project);
    $r = ask($runner, json => { last_update => $value });
    is $r->{status}, 201, 'a new build is handed out although the old value comes';
    ok !defined value($r), '  without a value';
    ok !defined value(update($r->{json}, state => 'success')), 'nor is there one in the answer to a PUT';
    isnt value(ask($runner)), $value, 'then it is another';
};

subtest 'a job' => sub {
    my $id = build(project => $project);
    my $r = ask($runner);
    is $r->{status}, 201, 'status 201';
    is $r->{headers}{'content-type'}, 'application/json', 'the type is exactly application/json';
    like $r->{headers}{'content-length'}, qr/^\d+$/, 'with a length';
    like $r->{body}, qr/"id":$id,/, 'the id is a JSON integer';
    is length $r->{json}{token}, 40, 'it has a token';
    my $show = build_show($id);
    is $show->{status}, 'running', 'the build runs';
    is $show->{runner_id}, $runner->{id}, '  on this runner';
    is_nothing ask($runner), 'and is not handed out again';
    is update($r->{json}, state => 'success')->{status}, 200, 'its token ends it';
};

subtest 'what the runner says about itself' => sub {
    my $new = runner(project => $project);
    ask($new, json => { info => info('16.11.4') });
    my $show = cib(qw(runner show), $new->{id});
    is $show->{version}, '16.11.4', 'its version is kept';
    is $show->{name}, 'gitlab-runner', '  and its name';
    is $show->{status}, 'online', '  and it is online';
};

subtest 'a paused runner' => sub {
    my $paused = runner(project => $project);
    cib(qw(runner pause), $paused->{id});
    my $id = build(project => $project);
    my $r = ask($paused, json => { info => info('15.0.0') });
    is_nothing $r, 'is told as any other that there is nothing';
    my $show = cib(qw(runner show), $paused->{id});
    ok $show->{contacted_at}, '  and heard';
    is $show->{version}, '15.0.0', '  with what it says about itself';
    $r = ask($paused, json => { last_update => value($r) });
    is_nothing $r, 'also with the value that it was given';
    my $value = value($r);
    cib(qw(runner resume), $paused->{id});
    $r = ask($paused, json => { last_update => $value });
    is $r->{status}, 201, 'resumed, it is given the build although it brings that value' or return;
    is $r->{json}{id}, $id, '  that very one';
    update($r->{json}, state => 'success');
};

# Have the row of a runner changed while it asks: after it was looked up, before the queue is.
sub ask_while_changed {
    my ($who, $change) = @_;
    my ($backend, $let_go) = hold_sql("BEGIN;\nUPDATE runners SET $change WHERE id = $who->{id} RETURNING pg_backend_pid();");
    my $connection = connect_to();
    $connection->send(request_text(POST => "$V4/jobs/request", json => { token => $who->{token} }));
    wait_for('the request to want the row', sub { sql("SELECT count(*) FROM pg_locks WHERE $backend = ANY (pg_blocking_pids(pid))") > 0 });
    $let_go->("COMMIT;\n");
    return $connection->response;
}

subtest 'resumed while it asks' => sub {
    plan skip_all => 'on SQLite nobody can get in between' if is_sqlite();
    my $paused = runner(project => $project);
    cib(qw(runner pause), $paused->{id});
    my $id = build(project => $project);
    my $r = ask_while_changed($paused, 'active = 1');
    is $r->{status}, 201, 'it is given what there is' or return;
    is $r->{json}{id}, $id, '  and told no value that would hide it';
    remember($r->{json});
    update($r->{json}, state => 'success');
};

subtest 'changed while it asks' => sub {
    plan skip_all => 'on SQLite nobody can get in between' if is_sqlite();
    my $changed = runner(project => $project);
    my $r = ask_while_changed($changed, q{description = 'new'});
    is $r->{status}, 204, 'there is nothing for who it was';
    is value($r), undef, '  and no value, which would hide what there is for who it is now';
    ok defined value(ask($changed)), '  but the next time';
};

subtest 'many at once' => sub {
    my @ids = map { scalar build(project => $project) } 1 .. 4;
    my @connections = map {
        my $connection = connect_to();
        $connection->send(request_text(POST => "$V4/jobs/request", json => { token => $runner->{token} }));
        $connection;
    } 1 .. 8;
    my (%status, @jobs);
    for my $r (map { $_->response } @connections) {
        $status{ $r->{status} }++;
        push @jobs, remember($r->{json}) if $r->{status} == 201;
    }
    is_deeply \%status, { 201 => 4, 204 => 4 }, 'each build goes to one, nobody gets 409';
    is_deeply [sort { $a <=> $b } map { $_->{id} } @jobs], \@ids, '  and all of them go';
    update($_, state => 'success') for @jobs;
};

subtest 'a build that cannot be described' => sub {
    my $broken = build(project => $project, args => ['--secret', 'PASSWORD=not to be opened']);
    my $next = build(project => $project);
    sql("UPDATE build_variables SET value = 'broken' WHERE build_id = $broken");
    expect_log(qr/CIB0401: build $broken:/, qr/CIB0303: build $broken /);
    my $job = job($runner);
    is $job && $job->{id}, $next, 'the next one is handed out in the same request';
    my $show = build_show($broken);
    is "$show->{status} $show->{failure_reason}", 'failed data_integrity_failure', '  and it failed, lest it stops the queue';
    update($job, state => 'success');
};

# Whatever a database may say: here it has lost a table.
subtest 'a database that does not say what there is to do' => sub {
    my @ids = build(project => $project, args => ['--count', 3]);
    sql('ALTER TABLE build_specs RENAME TO build_specs_elsewhere');
    expect_log(qr/CIB0401: build \d+: it was claimed and cannot be described: database: /, qr/CIB0101: .*database: /);
    is_deeply [map { ask($runner)->{status} } 1 .. 6], [(503) x 6], 'is no answer';
    sql('ALTER TABLE build_specs_elsewhere RENAME TO build_specs');
    my @jobs = map { job($runner) } @ids;
    is_deeply [map { $_ && $_->{id} } @jobs], \@ids, '  and none of the builds is any the worse for it';
    update($_, state => 'success') for grep {defined} @jobs;
};

subtest 'an answer that nobody reads' => sub {
    require Socket;
    my $id = build(project => $project);
    my $let_go = hold_claims();
    my $connection = connect_to();
    my $text = request_text(POST => "$V4/jobs/request", headers => [Expect => '100-continue'], json => { token => $runner->{token} });
    my $head = index($text, "\r\n\r\n") + 4;
    $connection->send(substr $text, 0, $head);
    ok $connection->answered(30), 'the server asks for the body';
    $connection->send(substr $text, $head);
    setsockopt $connection->{socket}, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack('ii', 1, 0) or die "SO_LINGER: $!\n";
    $connection->close;
    $let_go->();
    expect_log(qr/CIB0304: build $id:/);
    wait_for('the claim to be undone', sub { slurp($CELL->{error_log}) =~ /CIB0403: build $id:/ });
    wait_for('the build to be pending again', sub { build_show($id)->{status} eq 'pending' });
    my $job = job($runner);
    is $job && $job->{id}, $id, 'its build is there for the next who asks';
    update($job, state => 'success');
};

# ---- waiting

# Requests parked at the main instance, as mod_status counts them.
sub parked {
    my $status = http(GET => '/server-status?auto')->{body};
    my ($number) = $status =~ /^CIBuilds(\d*)Storage: \Q$CELL->{instances}{main}{storage}\E$/m or die $status;
    my ($parked) = $status =~ /^CIBuilds${number}Parked: (\d+)$/m or die $status;
    return $parked;
}

# Ask with a value on a connection of its own; the answer may take its time.
sub wait_with {
    my ($value) = @_;
    my $connection = connect_to('parking');
    $connection->send(request_text(POST => "$V4/jobs/request", json => { token => $runner->{token}, last_update => $value }));
    return $connection;
}

subtest 'a runner that waits' => sub {
    plan skip_all => 'where nothing can be parked' unless is_event();
    my $park = sub {
        my $connection = wait_with(value(ask($runner)));
        wait_for('a parked request', sub {
            return 1 if parked() == 1;
            # the listener, on a busy machine, may not be trusted for a moment: it was answered at once
            $connection = wait_with(value($connection->response)) if !is_sqlite() && $connection->answered(0);
            return 0;
        });
        return $connection;
    };
    my $connection = $park->();
    my $id = build(project => $project);
    my $r = $connection->response;
    is $r->{status}, 201, 'is given the build that comes' or return;
    is $r->{json}{id}, $id, '  that very one';
    update(remember($r->{json}), state => 'success');

    $connection = $park->();
    my $value = value(ask($runner));
    cib(qw(runner pause), $runner->{id});
    $r = $connection->response;
    is_nothing $r, 'is told of a pause';
    isnt value($r), $value, '  by another value';
    $value = value(ask($runner));
    is value($r), $value, '  the current one' if is_sqlite();    # elsewhere it may be raised twice
    $connection = wait_with($value);
    is_nothing $connection->response, 'paused, it does not wait';
    cib(qw(runner resume), $runner->{id});

    $connection = $park->();
    cib(qw(runner rotate-token), $runner->{id});
    answers $connection->response, 403, '403 Forbidden', 'is told that its token is good no more';
};

done_testing;
