package Rows::parking;

# Runners that wait without a thread: 10,000 of them on two processes of 16 threads.

use strict;
use warnings;

use IO::Handle ();
use IPC::Open2 ();
use Time::HiRes qw(sleep time);

use CIB::Place qw(am_root as_user httpd_user modules_dir);

my $WAKES = 100;

sub run {
    my ($bench) = @_;
    for my $driver (qw(sqlite3 pgsql)) {
        my $self = begin($bench, $driver);
        eval { $self->measure; 1 } or $bench->failed("waiting, $driver", $@);
        $self->end;
    }
    return;
}

sub measure {
    my ($self) = @_;
    my ($driver, $number) = @$self{qw(driver number)};
    my $what = "$number waiting, $driver";
    my $before = $self->memory;
    my $took = $self->park;
    my $each = ($self->memory - $before) / $number;
    $self->note("$what: until all do", sprintf '%.1f s', $took);
    $self->note("$what: memory of each", sprintf('%.1f KiB', $each), 'at most 24 KiB', $each <= 24);
    $self->idle($what);
    $self->wakes("$what: from a commit to its runner", $self->{add});
    $self->wakes("$what: the same, committed on another host", $self->{elsewhere}) if $self->{elsewhere};
    $self->service($what);
    $self->ends("$what: at a graceful restart", 'USR1');
    $self->park;
    $self->ends("$what: at a graceful stop", 'WINCH');
    return;
}

sub idle {
    my ($self, $what) = @_;
    my $before = $self->ticks;
    $self->events(10);
    my $used = $self->ticks - $before;
    $self->note("$what: CPU in 10 s in which nothing happens", sprintf('%.0f ms', $used), 'at most 50 ms', $used <= 50);
    return;
}

# A build for one of the runners, again and again: how long until it has it, and who looked.
sub wakes {
    my ($self, $what, $add) = @_;
    $self->settle;
    my $before = $self->status('Looks');
    my @took;
    for (1 .. $WAKES) {
        my (undef, undef, $done) = $add->('build w' . (1 + int rand @{ $self->{runners} }));
        push @took, $self->until_built($done);
    }
    $self->settle;
    my $looks = ($self->status('Looks') - $before) / $WAKES;
    @took = sort { $a <=> $b } @took;
    $self->note($what, sprintf('median %.2f, p99 %.2f, most %.2f ms', map { $took[$_ * $#took] } 0.5, 0.99, 1), 'median under 5 ms',
        $took[$#took / 2] < 5);
    $self->note("$what: looks for one build", sprintf('%.2f', $looks), sprintf('at most %d', $self->{most_looks}),
        $looks <= $self->{most_looks});
    return;
}

# Other requests, with and without those that wait.
sub service {
    my ($self, $what) = @_;
    my ($bench, $server) = @$self{qw(bench server)};
    Bench::write_file("$server->{dir}/htdocs/empty", '');
    my $p99 = sub {
        my (undef, undef, $found) = $bench->wrk($server, 'poll.lua', clients => 8, token => $self->{other}, env => { LAST_UPDATE => '' });
        return $found;
    };
    $bench->compare(
        what => "$what: p99 of others' polls", unit => 'ms', at_most => 2,
        ours   => sub { $self->park; $self->events(0.5); $p99->() },
        name   => 'with nobody waiting',
        theirs => sub { $self->leave; $self->events(0.5); $p99->() },
    );
    $self->park;
    return;
}

sub ends {
    my ($self, $what, $signal) = @_;
    chomp(my $pid = CIB::Place::run('cat', "$self->{server}{dir}/httpd.pid"));
    $self->settle;
    $self->tell('again off');
    my ($begun, $answered) = (time, 0);
    kill $signal => $pid;
    $answered += grep {/^answer \d+ 20\d/} $self->events(0.2) while $answered < $self->{number} && time - $begun < 15;
    $self->note("$what: answered", sprintf('%d in %.1f s', $answered, time - $begun), 'all', $answered == $self->{number});
    return;
}

# ---- how

sub begin {
    my ($bench, $driver) = @_;
    my $number = $bench->{quick} ? 1000 : 10_000;
    my $server = $bench->server($driver, name => "parking-$driver", processes => 2, threads => 16, directives => directives());
    my $self = bless { bench => $bench, driver => $driver, number => $number, server => $server, pending => '', lines => [] };
    my $storage = [$self->program('adder', objects($bench)), $server->{storage}, $server->{project}];
    $self->{add} = talk(as_user(httpd_user(), @$storage));
    $self->{elsewhere} = talk(qw(unshare --uts sh -c), 'hostname elsewhere && exec "$@"', 'sh', as_user(httpd_user(), @$storage))
        if $driver eq 'pgsql' && am_root();
    $self->{runners} = [map { ($self->{add}->("runner w$_"))[1] } 1 .. $number / 10];
    ($self->{other}) = ($self->{add}->('runner other'))[1];
    # ten of each runner: the first of each process looks, and who has a build lets the next one look
    $self->{most_looks} = 3;
    # new ones, so it is everybody's
    my $value = $server->last_update($self->{runners}[-1]);
    my $clients = "$server->{dir}/clients";
    Bench::write_file($clients, join '', map { $self->{runners}[$_ % @{ $self->{runners} }] . " $value\n" } 0 .. $number - 1);
    $self->{pid} = IPC::Open2::open2(my $from, my $to, $self->program('parkload'), $server->{port}, $clients, $number);
    @$self{qw(from to)} = ($from, $to);
    $to->autoflush(1);
    $bench->wrk($server, 'poll.lua', clients => 16, seconds => 1, token => $self->{other}, env => { LAST_UPDATE => '' });
    return $self;
}

sub end {
    my ($self) = @_;
    $self->tell('end');
    waitpid $self->{pid}, 0;
    $self->{server}->stop;
    return;
}

sub directives {
    return join "\n", 'LoadModule status_module ' . modules_dir() . '/mod_status.so',
        '<Location /server-status>', 'SetHandler server-status', 'Require all granted', '</Location>', 'ListenBacklog 4096',
        'Timeout 600', 'KeepAliveTimeout 600', 'AsyncRequestWorkerFactor 1000', 'CIBuildsLongPoll 590s', 'CIBuildsAckTimeout Off', '';
}

# What ci-builds is made of, but for its commands.
sub objects {
    my ($bench) = @_;
    my $in = "$bench->{build}/src";
    my @parsers = map {"$in/http/$_.o"}
        qw(buffer content_range digest_value field form_parser header_value json_parser multipart_parser params);
    my @flags = split ' ', qx(apr-1-config --includes --cppflags --link-ld; apu-1-config --includes --link-ld; pkg-config --libs json-c libcrypto zlib libarchive);
    return ((map { glob "$in/$_/*.o" } qw(util files store core)), @parsers, @flags);
}

sub program {
    my ($self, $name, @with) = @_;
    my $bench = $self->{bench};
    my $program = "$bench->{root}/$name";
    if (!-x $program) {
        CIB::Place::run('gcc', '-O2', '-D_GNU_SOURCE', "-I$bench->{top}/include", '-o', $program, "$bench->{top}/bench/$name.c", @with);
        chmod 0755, $program;
    }
    return $program;
}

# A program that answers each line with one: what asks it.
sub talk {
    my (@command) = @_;
    IPC::Open2::open2(my $from, my $to, @command);
    $to->autoflush(1);
    return sub {
        print {$to} "$_[0]\n";
        my $line = <$from> // die "@command: no answer\n";
        return split ' ', $line;
    };
}

sub tell { my ($self, $line) = @_; print { $self->{to} } "$line\n"; return }

# What the load tells, once it tells something, but not later than after these seconds.
sub events {
    my ($self, $seconds) = @_;
    my $until = time + $seconds;
    while (1) {
        my $left = $until - time;
        vec(my $bits = '', fileno $self->{from}, 1) = 1;
        return () unless select $bits, undef, undef, $left > 0 ? $left : 0;
        sysread $self->{from}, $self->{pending}, 1 << 20, length $self->{pending} or die "the load has ended\n";
        my @lines;
        push @lines, $1 while $self->{pending} =~ s/^(.*)\n//;
        return @lines if @lines;
    }
    return;
}

sub status {
    my ($self, $key) = @_;
    my ($number) = CIB::Place::run('curl', '-s', $self->{server}->url('/server-status?auto')) =~ /^CIBuilds\Q$key\E: (\d+)$/m;
    return $number // die "no $key\n";
}

# Until that many wait.
sub until_parked {
    my ($self, $number) = @_;
    my $begun = time;
    while ($self->status('Parked') != $number) {
        die sprintf "%d of %d wait\n", $self->status('Parked'), $number if time - $begun > 60;
        $self->events(0.02);
    }
    return time - $begun;
}

sub park {
    my ($self) = @_;
    $self->tell("again on\nask");
    return $self->until_parked($self->{number});
}

sub leave {
    my ($self) = @_;
    $self->tell("again off\nclose $self->{number}");
    return $self->until_parked(0);
}

# Nothing is under way.
sub settle {
    my ($self) = @_;
    $self->until_parked($self->{number});
    1 while $self->events(0.2);
    return;
}

# Milliseconds from then to the answer with a build.
sub until_built {
    my ($self, $done) = @_;
    my $begun = time;
    while (time - $begun < 10) {
        for my $line ($self->events(1)) {
            return ($1 - $done) / 1000 if $line =~ /^answer \d+ 201 (\d+)$/;
        }
    }
    die "a build reached nobody\n";
}

sub memory {
    my ($self) = @_;
    my $sum = 0;
    $sum += Bench::anonymous($_) for $self->{server}->children;
    return $sum;
}

# Milliseconds of CPU that the children have had.
sub ticks {
    my ($self) = @_;
    my $sum = 0;
    for my $child ($self->{server}->children) {
        my @field = split ' ', Machine::slurp("/proc/$child/stat") =~ s/.*\) //r;
        $sum += $field[11] + $field[12];
    }
    return $sum * 10;
}

sub note {
    my ($self, $what, $got, $goal, $ok) = @_;
    $self->{bench}->note(what => $what, got => $got, defined $goal ? (goal => $goal, ok => $ok) : ());
    return;
}

1;
