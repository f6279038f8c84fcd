# Runners that wait: a request with the current value is parked until there is something for it, its time
# is over, its client is gone or the server stops.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);

sub value { return $_[0]{headers}{'x-gitlab-last-update'} }

# The value that a runner with nothing to do is given.
sub current_value { return value(poll($_[0])) // die "no value\n" }

# Ask on a connection that stays open; the answer may take its time.
sub ask {
    my ($who, $value, %opt) = @_;
    my $connection = $opt{on} // connect_to($opt{vhost} // 'parking');
    $connection->send(request_text(
        POST => "$V1/builds/register.json", json => { token => $who->{token}, last_update => $value },
        headers => ['User-Agent' => 'gitlab-ci-multi-runner 1.11.5 (x)'], close => 0,
    ));
    return $connection;
}

# Requests parked at the main instance, as mod_status counts them.
sub parked {
    my $status = http(GET => '/server-status?auto')->{body};
    my ($number) = $status =~ /^CIBuilds(\d*)Storage: \Q$CELL->{instances}{main}{storage}\E$/m or die $status;
    my ($parked) = $status =~ /^CIBuilds${number}Parked: (\d+)$/m or die $status;
    return $parked;
}

sub wait_for_parked {
    my ($wanted) = @_;
    return wait_for("$wanted parked requests", sub { parked() == $wanted });
}

# Ask, and have it parked. What other hosts do to PostgreSQL may stay unheard for a moment, on a machine
# that has other things to do; then the answer comes at once, and one asks again.
sub park {
    my ($who, $value, %opt) = @_;
    my $before = parked();
    my $connection = ask($who, $value, %opt);
    wait_for('a parked request', sub {
        return 1 if parked() == $before + 1;
        $connection = ask($who, value(answer($connection)), %opt) if !is_sqlite() && $connection->answered(0);
        return 0;
    });
    return $connection;
}

sub answer {
    my ($connection) = @_;
    my $r = $connection->response or die "the connection ended without an answer\n";
    remember($r->{json}) if ref $r->{json};
    return $r;
}

# The connection's answer is a build: this one. Ends it.
sub gets {
    my ($connection, $who, $id, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = answer($connection);
    is $r->{status}, 201, $what;
    is $r->{json} && $r->{json}{id}, $id, '  it is that build' if defined $id;
    finish($who, $r->{json}{id}) if $r->{status} == 201;
    return $r->{json} && $r->{json}{id};
}

if (!is_event()) {
    my $value = current_value($runner);
    my $r = answer(ask($runner, $value));
    is $r->{status}, 204, 'where nothing can be parked the answer comes at once';
    is value($r), $value, '  with the value';
    is parked(), 0, '  and nothing is parked';
    done_testing();
    exit;
}

subtest 'who is parked' => sub {
    is poll($runner, vhost => 'parking')->{status}, 204, 'not who brings no value';
    is answer(ask($runner, 'something else'))->{status}, 204, 'nor who brings another one';
    is answer(ask($runner, current_value($runner), vhost => 'main'))->{status}, 204, 'nor where it is not wanted';
    is parked(), 0, 'nobody so far';
    my $connection = park($runner, current_value($runner));
    ok !$connection->answered(0), 'but who brings the current one';
    my $id = build(project => $project);
    gets($connection, $runner, $id, 'it has an answer when there is a build');
    is parked(), 0, 'and is not counted any more';
    my $value = current_value($runner);
    my $before = parked();
    ask($runner, $value, on => $connection);
    wait_for_parked($before + 1);
    $id = build(project => $project);
    gets($connection, $runner, $id, 'on the same connection it can be parked again');
    $connection->send(request_text(GET => '/nothing'));
    is $connection->response->{status}, 404, 'which serves anything else as well';
};

subtest 'what wakes' => sub {
    my $id = build(project => $project);
    claim($runner);
    finish($runner, $id, 'failed');
    my $connection = park($runner, current_value($runner));
    my $again = cib(qw(build retry), $id)->{id};
    gets($connection, $runner, $again, 'a retried build');

    my $first = build(project => $project);
    my $second = build(project => $project, args => ['--depends-on', $first]);
    claim($runner);
    $connection = park($runner, current_value($runner));
    finish($runner, $first);
    gets($connection, $runner, $second, 'a build whose dependency is done');

    my $tagged = build(project => $project, tags => 'special');
    $connection = park($runner, current_value($runner));
    cib(qw(runner set), $runner->{id}, '--tags', 'special');
    gets($connection, $runner, $tagged, 'tags that make a build suit');
    cib(qw(runner set), $runner->{id}, '--tags', '');

    $connection = park($runner, my $value = current_value($runner));
    cib(qw(runner set), $runner->{id}, '--description', uniq('new'));
    my $r = answer($connection);
    is $r->{status}, 204, 'other settings of its own, with nothing to do';
    isnt value($r), $value, '  and a new value';
    is value($r), current_value($runner), '  the current one' if is_sqlite();    # elsewhere it may be raised twice

    $connection = park($runner, current_value($runner));
    cib(qw(runner pause), $runner->{id});
    answers answer($connection), 404, '404 Not Found', 'a pause';
    cib(qw(runner resume), $runner->{id});

    my $other = runner(project => $project);
    $connection = park($other, current_value($other));
    cib(qw(runner remove), $other->{id});
    answers answer($connection), 403, '403 Forbidden', 'its removal';
};

subtest 'what does not' => sub {
    my $connection = park($runner, current_value($runner));
    my $unsuitable = build(project => $project, tags => 'unknown');
    my $elsewhere = build(project => project());
    is parked(), 1, 'builds that do not suit: it is still parked';
    ok !$connection->answered(0), '  and unanswered';
    my $id = build(project => $project);
    gets($connection, $runner, $id, 'until one does');
    cib(qw(build cancel), $_) for $unsuitable, $elsewhere;
};

# How often a parked request of the main instance was woken to look.
sub looks {
    my $status = http(GET => '/server-status?auto')->{body};
    my ($number) = $status =~ /^CIBuilds(\d*)Storage: \Q$CELL->{instances}{main}{storage}\E$/m or die $status;
    my ($looks) = $status =~ /^CIBuilds${number}Looks: (\d+)$/m or die $status;
    return $looks;
}

subtest 'who is not woken' => sub {
    my @runners = map { runner(project => $project, args => ['--tags', "only$_", '--no-untagged']) } 1 .. 20;
    my @waiting = map { park($_, current_value($_)) } @runners;
    my $before = looks();
    my $id = build(project => $project, tags => 'only7');
    gets($waiting[6], $runners[6], $id, 'a build reaches the one runner that it suits');
    is looks() - $before, 1, '  and no other has looked';
    $_->close for @waiting;
    wait_for_parked(0);
};

# Four pages are touched of the blocks that make a connection and its request; a fifth would be what is
# parsed, looked at or read once.
subtest 'memory' => sub {
    plan skip_all => "$CELL->{tool} has memory of its own" if $CELL->{tool} ne 'none';
    # of each process
    my $own = sub {
        chomp(my $parent = slurp($CELL->{pid_file}));
        return { map { $_ => (eval { slurp("/proc/$_/status") } // '') =~ /^RssAnon:\s+(\d+)/m ? $1 : 0 }
                grep {length} split /\s+/, slurp("/proc/$parent/task/$parent/children") };
    };
    my @waiting;
    # what is not heard for a moment is answered at once, as in park()
    my $wait = sub {
        my ($wanted) = @_;
        my $value = current_value($runner);
        wait_for("$wanted parked requests", sub {
            @waiting = grep { !$_->answered(0) } @waiting if !is_sqlite();
            push @waiting, ask($runner, $value) while @waiting < $wanted;
            return parked() == $wanted;
        });
    };
    my $leave = sub { $_->close for splice @waiting; wait_for_parked(0) };
    # what a thread takes once is not theirs
    do { $wait->(50); $leave->() } for 1 .. 6;
    # nor is a process that httpd begins or ends meanwhile, having other things to do
    my $each;
    wait_for('a measure in which no process came or went', sub {
        $wait->(50);
        my $before = $own->();
        $wait->(250);
        my $after = $own->();
        $leave->();
        $each = 0;
        $each += ($after->{$_} - $before->{$_}) / 200 for grep { $before->{$_} } keys %$after;
        return "@{[sort keys %$before]}" eq "@{[sort keys %$after]}";
    });
    cmp_ok $each, '<', 20, sprintf '%.1f KiB for each request that waits', $each;
};

subtest 'whose client went away' => sub {
    my $value = current_value($runner);
    my @waiting = map { park($runner, $value) } 1 .. 3;
    $_->close for @waiting[0, 1];
    wait_for_parked(1);
    my $id = build(project => $project);
    gets($waiting[2], $runner, $id, 'nothing is claimed for who is gone');
    wait_for_parked(0);

    my $connection = park($runner, current_value($runner));
    $connection->close;
    wait_for_parked(0);
    $id = build(project => $project);
    is build_show($id)->{status}, 'pending', 'nor when nobody else waits';
    is claim($runner)->{id}, $id, '  and the next one who asks has it';
    finish($runner, $id);
};

# Wait until one of these connections is answered; which.
sub who_is_answered {
    my (@waiting) = @_;
    return wait_for('an answer', sub { (map { $_ + 1 } grep { $waiting[$_]->answered(0) } 0 .. $#waiting)[0] }) - 1;
}

# Which of several is woken is not said: each process has a line of its own.
subtest 'several of one runner' => sub {
    my $value = current_value($runner);
    my @waiting = map { park($runner, $value) } 1 .. 4;
    my $id = build(project => $project);
    my $first = splice @waiting, who_is_answered(@waiting), 1;
    gets($first, $runner, $id, 'a build wakes one of them');
    wait_for_parked(3);
    is scalar(grep { $_->answered(0) } @waiting), 0, 'the others are parked still';
    my @ids = build(project => $project, args => ['--count', 3]);
    my @got = map { gets($_, $runner, undef, 'each has a build') } @waiting;
    is_deeply [sort { $a <=> $b } @got], [sort { $a <=> $b } @ids], 'a build each, and each its own';
    is parked(), 0, 'nobody is left';
};

subtest 'who comes too late' => sub {
    my @runners = map { runner(project => $project) } 1 .. 3;
    my @waiting = map { park($_, current_value($_)) } @runners;
    for my $left (2, 1, 0) {
        my $id = build(project => $project);
        my $at = who_is_answered(@waiting);
        my ($connection, $who) = map { splice @$_, $at, 1 } \@waiting, \@runners;
        gets($connection, $who, $id, 'one of those who wait has it');
        wait_for_parked($left);
        is scalar(grep { $_->answered(0) } @waiting), 0, "  $left are parked again";
    }
};

subtest 'time' => sub {
    my $value = current_value($runner);
    my $connection = ask($runner, $value, vhost => 'moment');
    my $r = answer($connection);
    is $r->{status}, 204, 'when it is over there is nothing to do';
    is value($r), $value, '  and the value is as it was';
    is parked(), 0, '  and nobody parked';
    ask($runner, $value, on => $connection);
    is answer($connection)->{status}, 204, 'and so the next time';
    my ($patient) = park($runner, $value);
    is answer(ask($runner, $value, vhost => 'moment'))->{status}, 204, 'who has less of it does not wait for who has more';
    my $id = build(project => $project);
    gets($patient, $runner, $id, '  who is there still');
};

subtest 'a graceful restart' => sub {
    my $value = current_value($runner);
    my @waiting = map { park($runner, $value) } 1 .. 5;
    chomp(my $pid = slurp($CELL->{pid_file}));
    kill USR1 => $pid or die "cannot signal httpd: $!\n";
    my @answers = map { answer($_) } @waiting;
    is_deeply [map { $_->{status} } @answers], [(204) x 5], 'everybody is answered';
    is_deeply [map { value($_) } @answers], [($value) x 5], '  with the value';
    wait_for('the new children', sub { eval { parked() == 0 } });
    my $connection = park($runner, current_value($runner));
    my $id = build(project => $project);
    gets($connection, $runner, $id, 'and the new processes park as the old ones did');
};

subtest 'a process that dies' => sub {
    # what httpd says when another file killed children a moment before
    expect_log(qr/AH10392/);
    chomp(my $parent = slurp($CELL->{pid_file}));
    my $children = "/proc/$parent/task/$parent/children";
    plan skip_all => 'this kernel does not tell whose child a process is' unless -e $children;
    my $connection = park($runner, current_value($runner));
    my @children = grep { length } split /\s+/, slurp($children);
    kill KILL => @children;
    ok !$connection->response, 'has no answer for those who waited';
    wait_for('a server that counts nobody', sub { my $parked = eval { parked() }; defined $parked && $parked == 0 });
};

is parked(), 0, 'nobody is parked in the end';
cancel_all($project);
done_testing();
