# cells: *-event
# A backup of a server at work, and what a second server makes of it.

use strict;
use warnings;

use CIB::Test;
use CIB::Place qw(am_root modules_dir);
use CIB::Postgres;
use Digest::SHA ();
use Fcntl qw(:flock);
use File::Path ();
use JSON::PP ();
use POSIX ();
use Time::HiRes ();

my $dir = "$CELL->{dir}/backup";
mkdir $dir;
chmod 0755, $dir;
my $codec = JSON::PP->new->utf8->canonical;
my %second = (instance => 'second');
my %there = (instance => 'restored');

# ---- places

my $databases = 0;

# Options for an empty database of this kind, and its DBDParams.
sub new_database {
    my ($driver, $storage) = @_;
    return (['--driver', 'sqlite3'], "$storage/ci-builds.db") if $driver eq 'sqlite3';
    my $params = CIB::Postgres->at($CELL->{postgres})->database("$CELL->{name}-backup-" . ++$databases);
    return (['--driver', 'pgsql', '--params', $params], $params);
}

# Restore a backup to a place of its own, as an instance of that name.
sub restore {
    my ($name, $backup, $driver) = @_;
    my $storage = "$dir/$name";
    my ($options, $params) = new_database($driver, $storage);
    my $told = cib({ storage => $storage }, 'restore', @$options, am_root() ? ('--user', $CELL->{user}) : (), $backup);
    $CELL->{instances}{$name} = { storage => $storage, params => $params };
    return $told;
}

# A server for it, on the spare port.
sub start_server {
    my ($name, $driver) = @_;
    my $modules = modules_dir();
    my $text = join '', map {"LoadModule ${_}_module $modules/mod_$_.so\n"} qw(mpm_event authz_core dbd);
    $text .= "LoadModule ci_builds_module $CELL->{module}\n";
    $text .= "User $CELL->{user}\nGroup $CELL->{group}\n" if $> == 0;
    $text .= "ServerName localhost\nListen 127.0.0.1:$CELL->{spare_port}\nServerRoot $dir\nPidFile $dir/httpd.pid\n"
        . "ErrorLog $dir/error_log\nDefaultRuntimeDir $dir\nLogLevel ci_builds:debug\n";
    $text .= qq(DBDriver $driver\nDBDParams "$CELL->{instances}{$name}{params}"\nCIBuilds On\n)
        . "CIBuildsStorage $CELL->{instances}{$name}{storage}\n";
    open my $out, '>', "$dir/httpd.conf" or die $!;
    print {$out} $text;
    close $out;
    my $words = qx($CELL->{httpd} -k start -f $dir/httpd.conf 2>&1);
    is $? >> 8, 0, "a server for $name" or diag $words;
    $CELL->{ports}{$name} = $CELL->{spare_port};
    push @{ $CELL->{logs} }, "$dir/error_log" unless grep { $_ eq "$dir/error_log" } @{ $CELL->{logs} };
    return;
}

sub stop_server {
    wait_for('the pid file', sub { -s "$dir/httpd.pid" });
    chomp(my $pid = slurp("$dir/httpd.pid"));
    kill TERM => $pid;
    wait_for('httpd to stop', sub { !kill 0, $pid });
    unlink "$dir/httpd.pid";
    return;
}

my @clients;
my $owner = $$;

END {
    local $?;
    if ($$ == $owner) {
        kill KILL => @clients if @clients;
        stop_server() if -s "$dir/httpd.pid";
    }
}

# ---- what builds have

sub line    { return sprintf "build %d says line %06d\n", @_ }
sub version { return "artifact of build $_[0], version $_[1]\n" x (1 + $_[0] * 7 % 900) }

sub stream {
    my ($id, $lines) = @_;
    return join '', map { line($id, $_) } 1 .. $lines;
}

sub patch {
    my ($build, $at, $bytes, %opt) = @_;
    return http(PATCH => "builds/$build->{id}/trace.txt", type => 'text/plain', body => $bytes, %opt,
        headers => ['Build-Token' => $build->{token}, 'Content-Range' => sprintf '%d-%d', $at, $at + length $bytes]);
}

sub artifact_at {
    my ($instance, $id) = @_;
    my $r = ci_builds({ instance => $instance, json => 0 }, qw(build artifacts), $id, '-o', '-');
    return $r->{exit} ? undef : $r->{out};
}

# ---- clients

# Claim, speak, upload, replace, remove, end and erase until there is a file `stop`. Whatever was acknowledged
# stands in the log, with the time; what may take something away stands there before it is asked for.
sub client {
    my ($runner, $log) = @_;
    open my $out, '>>', $log or die $!;
    $out->autoflush;
    my $note = sub { print {$out} join(' ', Time::HiRes::time(), @_), "\n" };
    until (-e "$dir/stop") {
        my $build = claim($runner, vhost => 'second') or last;
        my $id = $build->{id};
        my $at = 0;
        for my $part (0 .. 2) {
            my $bytes = join '', map { line($id, $_) } 1 + $part * 20 .. 20 + $part * 20;
            patch($build, $at, $bytes, vhost => 'second')->{status} == 202 or die 'PATCH';
            $at += length $bytes;
            $note->(trace => $id, $at);
            next if $id % 5 == 0;
            upload($build, version($id, $part), vhost => 'second')->{status} == 201 or die 'upload';
            $note->(artifact => $id, $part);
        }
        if ($id % 7 == 0) {
            $note->(takes => $id);
            http(DELETE => "builds/$id/artifacts", headers => ['Build-Token' => $build->{token}], vhost => 'second');
            $note->(removed => $id);
        }
        next if $id % 11 == 0;    # it runs on, and nobody speaks for it
        finish($runner, $id, $id % 3 ? 'success' : 'failed', vhost => 'second');
        $note->(ended => $id, $id % 3 ? 'success' : 'failed');
        if ($id % 13 == 0) {
            $note->(takes => $id);
            cib({%second}, qw(build erase), $id);
            $note->(erased => $id);
        }
    }
    return;
}

sub start_clients {
    my (@runners) = @_;
    unlink "$dir/stop";
    for my $i (0 .. $#runners) {
        my $pid = fork // die;
        if (!$pid) {
            my $well = eval { client($runners[$i], "$dir/client$i"); 1 };
            print STDERR "client $i: $@" unless $well;
            POSIX::_exit($well ? 0 : 1);
        }
        push @clients, $pid;
    }
    return;
}

# How many of them failed.
sub stop_clients {
    open my $out, '>', "$dir/stop" or die $!;
    close $out;
    my $failed = 0;
    for my $pid (splice @clients) {
        waitpid $pid, 0;
        $failed++ if $?;
    }
    return $failed;
}

# What they were told, as [time, kind, id, …].
sub noted {
    return map { [split / /] } map { split /\n/, slurp($_) } glob "$dir/client*";
}

# ---- the backup under load

my @projects = map { project(%second) } 1 .. 3;
my $own = project(%second);
my @runners = map { runner(%second, project => $_) } @projects;
my $runner = runner(%second, project => $own);
my $shared = runner(%second, shared => 1, tags => 'nothing');
my %saved;    # what was acknowledged before the backup began, by what it was
my ($large, $replaced, $removed, $erased, $live, $pending);
my $backup = "$dir/loaded.tar";
my $began;

subtest 'before' => sub {
    build(%second, project => $_, args => ['--count', 300]) for @projects;
    my @ids = build(%second, project => $own, args => ['--count', 6]);
    ($large, $replaced, $removed, $erased, $live) = map { claim($runner, vhost => 'second') } 1 .. 5;
    $pending = $ids[5];
    # the first of all, so that the backup is stuck in it while nobody reads
    is upload($large, "\1" x 5_000_000, vhost => 'second')->{status}, 201, 'a large artifact';
    is upload($_, "first of $_->{id}", vhost => 'second')->{status}, 201, 'an artifact' for $replaced, $removed, $erased;
    is patch($_, 0, stream($_->{id}, 100), vhost => 'second')->{status}, 202, 'a trace' for $large, $replaced, $removed, $erased, $live;
    finish($runner, $large->{id}, 'success', vhost => 'second');
    $saved{show}{ $_->{id} } = build_show($_->{id}, 'second') for $large, $live;
    $saved{registration} = registration_token('second');
    $saved{"project $_->{id}"} = $_->{token} for @projects, $own;
    $saved{pending} = build_show($pending, 'second');
};

subtest 'a backup of a server at work' => sub {
    start_clients(@runners);
    wait_for('every client to have ended some builds', sub {
        my %ended;
        $ended{ $_->[2] % 3 }++ for grep { $_->[1] eq 'ended' } noted();
        return keys %ended == 3 && (sort { $a <=> $b } values %ended)[0] > 5;
    }, 120);
    $began = Time::HiRes::time();
    my $pid = open my $pipe, '-|', $CELL->{ci_builds}, '-s', $CELL->{instances}{second}{storage}, 'backup', '-' or die $!;
    binmode $pipe;
    sysread $pipe, my $bytes, 512 or die "nothing comes\n";
    # its rows were read, and it waits for us; nobody waits for it
    is upload($replaced, "second of $replaced->{id}", vhost => 'second')->{status}, 201, 'meanwhile: an artifact is replaced';
    is http(DELETE => "builds/$removed->{id}/artifacts", headers => ['Build-Token' => $removed->{token}], vhost => 'second')->{status},
        200, '  one is removed';
    finish($runner, $erased->{id}, 'success', vhost => 'second');
    cib({%second}, qw(build erase), $erased->{id});
    is patch($live, length stream($live->{id}, 100), line($live->{id}, 101), vhost => 'second')->{status}, 202, '  a trace grows';
    my $later = build(%second, project => $own);
    my $claimed = claim($runner, vhost => 'second');
    is $claimed->{id}, $pending, '  a build is claimed';
    is patch($claimed, 0, 'after the backup began', vhost => 'second')->{status}, 202, '  and speaks';
    $saved{later} = { later => $later, claimed => $claimed };
    my $before = noted();
    wait_for('the clients to go on', sub { noted() > $before + 20 });
    open my $out, '>:raw', $backup or die $!;
    do { print {$out} $bytes } while sysread $pipe, $bytes, 1 << 20;
    close $out;
    close $pipe;
    is $?, 0, 'the backup is done';
    is stop_clients(), 0, 'and no client had trouble';
    is cib({%second}, 'check')->{found}, 0, 'the instance is clean';
};

# ---- what is restored of it

# Is it what the client's build had at some time at or after what it was told before the backup began?
sub judge_client {
    my ($id, $events) = @_;
    my (%told, $takes, @wrong);
    for my $event (@$events) {
        my ($time, $kind, undef, @what) = @$event;
        $takes = 1 if $kind eq 'takes';
        $told{$kind} = $what[0] // 1 if $time < $began;
    }
    my $shown = build_show($id, 'restored');
    my $trace = trace_of($id, 'restored');
    my $bytes = artifact_at('restored', $id);
    push @wrong, 'trace of other bytes' unless $trace eq substr stream($id, 60), 0, length $trace;
    push @wrong, 'trace too short' if length $trace < ($told{trace} // 0) && !$takes;
    push @wrong, 'still there' if defined $bytes && ($told{removed} || $told{erased});
    push @wrong, 'lost' if !defined $bytes && defined $told{artifact} && !$takes;
    if (defined $bytes) {
        my ($version) = grep { $bytes eq version($id, $_) } 0 .. 2;
        push @wrong, 'of other bytes' unless defined $version;
        push @wrong, 'too old' if defined $version && $version < ($told{artifact} // 0);
        push @wrong, 'SHA-256' if $shown->{artifacts_file}{sha256} ne Digest::SHA::sha256_hex($bytes);
    }
    push @wrong, 'state' if $told{ended} && $shown->{status} ne $told{ended};
    push @wrong, 'erased' if $told{erased} && !$shown->{erased_at};
    return map {"build $id: $_"} @wrong;
}

subtest 'what is restored' => sub {
    my $told = restore('restored', $backup, $CELL->{driver});
    is $told->{driver}, $CELL->{driver}, 'to the same kind of database';
    is cib({%there}, 'check')->{found}, 0, 'it is clean';
    is registration_token('restored'), $saved{registration}, 'the registration token';
    is cib({%there}, qw(project show), $_->{id}, '--show-token')->{token}, $_->{token}, "the token of project $_->{id}" for @projects, $own;
    is_deeply build_show($large->{id}, 'restored'), $saved{show}{ $large->{id} }, 'a build that had ended';
    is artifact_at('restored', $large->{id}), "\1" x 5_000_000, '  its artifact';
    is trace_of($large->{id}, 'restored'), stream($large->{id}, 100), '  its trace';
    is artifact_at('restored', $replaced->{id}), "second of $replaced->{id}", 'an artifact that was replaced meanwhile';
    is artifact_at('restored', $removed->{id}), undef, 'one that was removed';
    is artifact_at('restored', $erased->{id}), undef, 'one that was erased';
    is trace_of($live->{id}, 'restored'), stream($live->{id}, 101), 'a trace that grew';
    is_deeply build_show($pending, 'restored'), $saved{pending}, 'a build that was claimed meanwhile waits';
    is trace_of($pending, 'restored'), '', '  without a word of that claim';
    cib_fails(1, qr/no build/, {%there}, qw(build show), $saved{later}{later});

    my %events;
    push @{ $events{ $_->[2] } }, $_ for noted();
    my @wrong;
    my $judged = 0;
    for my $id (sort { $a <=> $b } keys %events) {
        next unless grep { $_->[0] < $began } @{ $events{$id} };
        push @wrong, judge_client($id, $events{$id});
        $judged++;
    }
    cmp_ok $judged, '>', 15, "$judged builds of the clients";
    is_deeply \@wrong, [], '  are what was acknowledged';
};

subtest 'a second server' => sub {
    start_server('restored', $CELL->{driver});
    my %vhost = (vhost => 'restored');
    my $r = http(GET => "builds/$large->{id}/artifacts", headers => ['Build-Token' => $large->{token}], %vhost);
    is $r->{status}, 200, 'an artifact';
    is Digest::SHA::sha256_hex($r->{body}), $saved{show}{ $large->{id} }{artifacts_file}{sha256}, '  byte for byte';

    # its runner has said more than the backup holds, and is told where to go on
    my $have = length stream($live->{id}, 101);
    $r = patch($live, length stream($live->{id}, 150), line($live->{id}, 151), %vhost);
    is $r->{status}, 416, 'a running build speaks, beyond what is known of it';
    is $r->{headers}{range}, "0-$have", '  and is told where to go on';
    is patch($live, $have, line($live->{id}, 102), %vhost)->{status}, 202, '  so it goes on';
    is upload($live, 'its artifact', %vhost)->{status}, 201, '  uploads';
    finish($runner, $live->{id}, 'success', %vhost);
    is build_show($live->{id}, 'restored')->{status}, 'success', '  and ends';
    is trace_of($live->{id}, 'restored'), stream($live->{id}, 102), '  with all it said';

    my $old = $saved{later}{claimed};
    is patch($old, 0, 'x', %vhost)->{status}, 403, 'a claim that the backup does not know is refused';
    my $new = claim($runner, %vhost);
    is $new->{id}, $pending, 'the build is claimed once more';
    is patch($old, 0, 'x', %vhost)->{status}, 403, '  and the token of the unknown claim opens nothing still';
    is patch($new, 0, 'begun', %vhost)->{status}, 202, '  but its own';
    finish($runner, $pending, 'success', %vhost);

    $r = http(POST => 'runners/register.json', json => { token => $saved{registration}, description => 'new' }, %vhost);
    is $r->{status}, 201, 'the registration token';
    $r = http(POST => 'runners/register.json', json => { token => $own->{token}, description => 'new' }, %vhost);
    is $r->{status}, 201, "a project's token";
    cmp_ok $r->{json}{id}, '>', $shared->{id}, '  make runners of new ids';
    my ($last) = sort { $b <=> $a } map { $_->{id} } @{ cib({%there}, qw(build list)) };
    is build(%there, project => $own), $last + 1, 'ids go on';
    stop_server();
    is cib({%there}, 'check')->{found}, 0, 'all is clean';
};

# ---- to the other kind of database, and back

# The members of a backup that hold rows; what a restore changes is taken out.
sub rows_in {
    my ($file) = @_;
    my %rows;
    for my $name (grep {/\.jsonl$/} split /\n/, qx(tar -tf $file)) {
        my @lines = split /\n/, qx(tar -xOf $file $name);
        if ($name eq 'database/builds.jsonl') {
            for (@lines) {
                my $row = $codec->decode($_);
                delete $row->{claim} if $row->{status} =~ /^(?:pending|created)$/;
                $_ = $codec->encode($row);
            }
        }
        $rows{$name} = [sort @lines];
    }
    return \%rows;
}

subtest 'to the other kind of database and back' => sub {
    my @way = is_sqlite() ? qw(sqlite3 sqlite3) : qw(sqlite3 pgsql);
    my $from = $backup;
    for my $step (0, 1) {
        my $name = "step$step";
        is restore($name, $from, $way[$step])->{driver}, $way[$step], "restored to $way[$step]";
        is cib({ instance => $name }, 'check')->{found}, 0, '  clean';
        cib({ instance => $name }, 'backup', "$dir/$name.tar");
        is_deeply rows_in("$dir/$name.tar"), rows_in($backup), '  the same rows';
        is qx(tar -xOf $dir/$name.tar SHA256SUMS | grep -v -e jsonl -e manifest.json),
            qx(tar -xOf $backup SHA256SUMS | grep -v -e jsonl -e manifest.json), '  and files';
        $from = "$dir/$name.tar";
    }
    start_server('step1', $way[1]);
    my $r = http(GET => "builds/$large->{id}/artifacts", headers => ['Build-Token' => $large->{token}], vhost => 'step1');
    is Digest::SHA::sha256_hex($r->{body}), $saved{show}{ $large->{id} }{artifacts_file}{sha256}, 'an artifact after both ways';
    stop_server();
};

# ---- what fails

subtest 'what fails leaves nothing' => sub {
    plan skip_all => 'ThreadSanitizer holds back a signal while a lock is waited for' if $CELL->{tool} eq 'tsan';
    mkdir "$dir/target";
    # who writes this trace holds its lock, and so the backup waits
    my $state = "$CELL->{instances}{second}{storage}/traces/0/" . int($live->{id} / 1000) . "/$live->{id}.state";
    open my $held, '+<', $state or die "$state: $!";
    flock $held, LOCK_EX or die $!;
    my $inode = (stat $held)[1];
    my $pid = fork // die;
    if (!$pid) {
        open STDERR, '>', "$dir/said";
        exec $CELL->{ci_builds}, '-s', $CELL->{instances}{second}{storage}, 'backup', "$dir/target/b.tar";
    }
    my $waiting = wait_for('the backup to wait for a trace', sub { slurp('/proc/locks') =~ /-> FLOCK\s+\S+\s+\S+\s+(\d+) \S+:$inode / && $1 });
    is_deeply [glob "$dir/target/*"], [], 'a backup under way is not seen';
    # who is started as root passes the word on: the lock is held until it has arrived
    my $woken = sub { slurp("/proc/$waiting/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m && $1 };
    my $before = $woken->();
    kill TERM => $pid;
    wait_for('the word to arrive', sub { $woken->() > $before });
    close $held;
    waitpid $pid, 0;
    is $? >> 8, 1, 'one that is interrupted';
    like slurp("$dir/said"), qr/^ci-builds: .*interrupted$/, '  says so';
    is_deeply [glob "$dir/target/{*,.??*}"], [], '  and leaves nothing';

    my $lost = "$dir/lost";
    my ($options, $database) = new_database($CELL->{driver}, $lost);
    cib({ storage => $lost }, 'init', @$options, am_root() ? ('--user', $CELL->{user}) : ());
    if (is_sqlite()) {
        unlink $database;
    } else {
        CIB::Postgres->at($CELL->{postgres})->sql(qq{DROP DATABASE "$CELL->{name}-backup-$databases"});
    }
    cib_fails(1, qr/database/, { storage => $lost }, 'backup', "$dir/target/b.tar");
    is_deeply [glob "$dir/target/{*,.??*}"], [], '  which leaves nothing';

    my $spoilt = slurp($backup);
    substr($spoilt, 3_000_000, 1) = 'x';
    open my $out, '>:raw', "$dir/spoilt.tar" or die $!;
    print {$out} $spoilt;
    close $out;
    cib_fails(1, qr{the sum of artifacts/0/\d+/$large->{id}-archive-\S+ is not right}, { storage => "$dir/spoilt" }, 'restore',
        '--driver', 'sqlite3', "$dir/spoilt.tar");
    ok !-e "$dir/spoilt", 'a damaged backup leaves nothing';
    if (!is_sqlite()) {
        my ($empty, $there) = new_database('pgsql');
        cib_fails(1, qr/is not right/, { storage => "$dir/spoilt" }, 'restore', @$empty, "$dir/spoilt.tar");
        is ci_builds({ storage => "$dir/spoilt" }, 'restore', @$empty, $backup)->{exit}, 0, '  not in the database either';
        cib_fails(1, qr/the database is not empty/, { storage => "$dir/twice" }, 'restore', @$empty, $backup);
        ok !-e "$dir/twice", 'nothing is made beside a database that is in use';
    }
};

# ---- memory

subtest 'memory' => sub {
    plan skip_all => "$CELL->{tool} needs much" if $CELL->{tool} ne 'none';
    my $much = "$dir/much";
    my ($options) = new_database($CELL->{driver}, $much);
    cib({ storage => $much }, 'init', @$options, am_root() ? ('--user', $CELL->{user}) : ());
    cib({ storage => $much }, qw(project add p --repo-url u));
    cib({ storage => $much, stdin => "make\n" x 50_000 }, qw(build add --project 1 --commands-file - --count 400 --sha), 'a' x 40);
    cib({ storage => $much, stdin => "make\n" }, qw(build add --project 1 --commands-file - --count 6000 --sha), 'a' x 40);
    my ($target) = new_database($CELL->{driver}, "$dir/more");
    for my $case ([$much, 'backup', "$dir/much.tar"], ["$dir/more", 'restore', @$target, "$dir/much.tar"]) {
        my ($storage, @words) = @$case;
        # of address space, in KiB: most of it is libraries
        my $code = system 'bash', '-c', 'ulimit -v 120000; exec "$@" >/dev/null', 'bash', $CELL->{ci_builds}, '-s', $storage, @words;
        is $code >> 8, 0, "$words[0] in little memory";
    }
    cmp_ok -s "$dir/much.tar", '>', 100_000_000, 'of much more';
};

File::Path::remove_tree($dir);
done_testing;
