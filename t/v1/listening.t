# cells: pgsql-*
# What other hosts commit to PostgreSQL is heard here: an idle runner is answered without a search, but never with
# what was true more than a moment ago.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);
my $channel = 'ci_builds_' . instance_id();

sub value { return $_[0]{headers}{'x-gitlab-last-update'} }

# httpd's own connections to this database that listen: one for each host, however many processes there are.
sub listeners {
    return grep {length} split /\n/,
        sql(q{SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_listening_channels%' AND pid <> pg_backend_pid()});
}

sub instance_id { return sql(q{SELECT value FROM meta WHERE key = 'instance_id'}) =~ s/\s+$//r }

# Do something with a table that nobody may read meanwhile.
sub while_locked {
    my ($table, $do) = @_;
    my (undef, $let_go) = hold_sql("BEGIN;\nLOCK TABLE $table IN ACCESS EXCLUSIVE MODE;\nSELECT 'held';");
    my @got = eval { $do->() };
    my $failed = $@;
    $let_go->();
    die $failed if $failed;
    return @got;
}

# Ask with the current value until there is an answer without a search: on a machine that has other things to do
# the listener may not be trusted for a moment.
sub answered_without_search {
    my $value = value(poll($runner));
    expect_log(qr/CIB0101:/);
    my ($r) = while_locked(queue => sub {
        return wait_for('an answer', sub {
            my $answer = poll($runner, json => { last_update => $value });
            return $answer->{status} == 204 ? $answer : undef;
        }, 60);
    });
    return value($r) eq $value;
}

subtest 'one listens' => sub {
    wait_for('the listener', sub { listeners() == 1 });
    ok answered_without_search(), 'while the queue is locked, who brings the current value is answered';
    is scalar(listeners()), 1, 'one process of this host listens';
};

subtest 'another host' => sub {
    my $value = value(poll($runner));
    sql("SELECT pg_notify('$channel', '0123456789abcdef $runner->{id}')");
    wait_for('the notice', sub { value(poll($runner, json => { last_update => $value })) ne $value });
    pass 'what it tells of a runner changes that one\'s value';
    my $other = runner(project => project());
    my ($mine, $its) = map { value(poll($_)) } $runner, $other;
    sql("SELECT pg_notify('$channel', '0123456789abcde1 $runner->{id}')");
    wait_for('the notice', sub { value(poll($runner)) ne $mine });
    is value(poll($other)), $its, '  and no other\'s';
    for my $text ('0123456789abcde3 all', 'what nobody understands', '') {
        my $before = value(poll($other));
        sql("SELECT pg_notify('$channel', '$text')");
        wait_for('the notice', sub { value(poll($other)) ne $before });
        pass "'$text' everybody's";
    }

    plan skip_all => 'only root can give this host another name' if $>;
    $value = value(poll($runner));
    my $storage = $CELL->{instances}{main}{storage};
    my $out = qx(unshare --uts sh -c 'hostname elsewhere && exec "\$@"' sh $CELL->{ci_builds} -s $storage --json build add --project $project->{id} --sha @{['c' x 40]});
    my ($id) = $out =~ /"id": ?(\d+)/ or die "no build: $out\n";
    ok -e "$storage/hosts/elsewhere", 'a build is added under another host\'s name';
    my $r = wait_for('the build', sub {
        my $answer = poll($runner, json => { last_update => $value });
        return $answer->{status} == 201 ? $answer : undef;
    });
    is $r->{json}{id}, $id, '  and handed out, although the old value comes';
    finish($runner, $id);
};

subtest 'who does not hear' => sub {
    my $value = value(poll($runner));
    my ($backend) = listeners();
    sql("SELECT pg_terminate_backend($backend)");
    wait_for('another listener', sub { grep { $_ != $backend } listeners() });
    wait_for('a new value', sub { value(poll($runner)) ne $value });
    pass 'once its connection was lost everything is new';
    ok answered_without_search(), '  and then it is trusted again';
};

# Run it, while the test goes on; closing what is returned waits for its end.
sub begin {
    open my $out, '-|', $CELL->{ci_builds}, '-s', $CELL->{instances}{main}{storage}, @_ or die "ci-builds: $!\n";
    return $out;
}

sub waiting { return sql("SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted") + 0 }

subtest 'a runner that is bound while builds are added' => sub {
    my $its = project();
    my $sha = 'd' x 40;
    sql(qq{CREATE FUNCTION hold_second() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF NEW.sha = '$sha' AND EXISTS (SELECT 1 FROM builds WHERE sha = NEW.sha) THEN PERFORM pg_advisory_xact_lock(77); END IF; RETURN NEW; END \$\$; CREATE TRIGGER hold_second BEFORE INSERT ON builds FOR EACH ROW EXECUTE FUNCTION hold_second()});
    my ($held, $let_go) = hold_sql("SELECT 'held' FROM (SELECT pg_advisory_lock(77)) l;");
    is $held, 'held', 'the second of two builds is held up';
    my $add = begin(qw(build add --count 2 --sha), $sha, '--project', $its->{id});
    wait_for('the first', sub { waiting() == 1 }, 10);
    my $bind = begin(qw(runner set), $runner->{id}, '--project', $its->{id});
    wait_for('the binding', sub { waiting() == 2 || sql("SELECT count(*) FROM runner_projects WHERE runner_id = $runner->{id}") == 2 }, 10);
    my $value = value(poll($runner));
    $let_go->();
    is scalar(() = <$add>), 2, 'they are added';
    close $add;
    () = <$bind>;
    ok close($bind), '  and the runner is bound';
    my $r = poll($runner, json => { last_update => $value });
    is $r->{status}, 201, '  which gets one, although it brings the value of before';
    finish($runner, $r->{json}{id}) if $r->{status} == 201;
    sql('DROP TRIGGER hold_second ON builds; DROP FUNCTION hold_second');
    cancel_all($its);
};

subtest 'a listener that dies' => sub {
    my ($backend) = listeners();
    chomp(my $parent = slurp($CELL->{pid_file}));
    my $children = "/proc/$parent/task/$parent/children";
    plan skip_all => 'this kernel does not tell whose child a process is' unless -e $children;
    expect_log(qr/AH00051|AH00052|AH10392|child pid \d+ exit signal Killed/);
    kill KILL => grep {length} split /\s+/, slurp($children);
    wait_for('another listener', sub { eval { grep { $_ != $backend } listeners() } });
    ok answered_without_search(), 'another process takes its place';
    is scalar(listeners()), 1, '  one';
};

cancel_all($project);
done_testing;
