package CIB::Torture;

# An instance with an httpd of its own that may be broken on purpose, clients that load it, each writing
# down what it was told, and the checks that must hold whatever was broken.
#
# TORTURE_SECONDS: how long the long form of a file takes in a cell; without it the short form runs.
# TORTURE_SEED: repeats the random choices of a run that failed.
# TORTURE_TALLY: a file that each test appends its line of numbers to (t/torture/run adds them up).

use strict;
use warnings;

use Digest::SHA ();
use File::Path  ();
use JSON::PP    ();
use POSIX       ();
use Test::More import => ['!done_testing'];
use Time::HiRes ();

use CIB::HTTP qw(part request_text);
use CIB::Log;
use CIB::Place qw(am_root as_user give_to modules_dir run);
use CIB::Postgres;
use CIB::Test qw($CELL ci_builds is_event is_sqlite slurp wait_for);
use CIB::Tool;

use Exporter 'import';
our @EXPORT = qw(arena moment own_mounts pick request_of tally tally_most $SECONDS $SEED);

our $SECONDS = $ENV{TORTURE_SECONDS} // 0;
our $SEED = $ENV{TORTURE_SEED} // (time ^ $$) % 1_000_000;
srand $SEED;
note "TORTURE_SEED=$SEED";
alarm(4 * $SECONDS + 300 * CIB::Tool::patience());

my $json = JSON::PP->new->canonical;
my @arenas;
my $owner = $$;

sub pick { return $_[int rand @_] }

# A moment by chance: to break something in the middle of whatever goes on, or what a client lets pass
# between two requests.
sub moment {
    my ($least, $most) = @_;
    select undef, undef, undef, $least + rand($most - $least);
    return;
}

# ---- numbers

my %tally;

# tally(NAME, N): so many more of these: "kills.…" processes, "faults.…", "answers.STATUS", "bytes", "builds", "checks".
sub tally {
    my ($name, $n) = @_;
    $tally{ $name =~ s/[^\w.]+/-/gr } += $n // 1;
    return;
}

# tally_most(NAME, SECONDS): the longest of these.
sub tally_most {
    my ($name, $seconds) = @_;
    my $most = \$tally{"slowest.$name"};
    $$most = sprintf '%.1f', $seconds if $seconds >= ($$most // 0);
    return;
}

# One line of them, for machines: also when the test fails, for it says what had been survived until then.
sub _tell_tally {
    return unless %tally;
    my $line = join ' ', "torture: file=$0", "cell=$CELL->{name}", "seed=$SEED", map {"$_=$tally{$_}"} sort keys %tally;
    note $line;
    open my $out, '>>', $ENV{TORTURE_TALLY} // return or return;
    print {$out} "$line\n";
    close $out;
    return;
}

# Where we may, begin anew in a mount namespace of our own: $ENV{CIB_MOUNT_NAMESPACE} is set then, and a
# filesystem that we mount is gone when we are.
sub own_mounts {
    return if $ENV{CIB_MOUNT_NAMESPACE} || !am_root() || system('unshare -m true 2>/dev/null') != 0;
    $ENV{CIB_MOUNT_NAMESPACE} = 1;
    $owner = 0;
    exec 'unshare', '-m', '--propagation', 'private', $^X, (map {"-I$_"} @INC), $0;
}

# ---- the instance and its server

# arena(name => …, params => its database's, cluster => a CIB::Postgres of its own, storage => DIR, conf => more lines for the server,
# vhost => more for the virtual host): an instance, not yet served.
sub arena {
    my (%opt) = @_;
    my $dir = "$CELL->{dir}/torture-$opt{name}";
    my $self = bless {
        dir => $dir, storage => $opt{storage} // "$dir/storage", port => $CELL->{spare_port}, conf => $opt{conf} // '',
        vhost => $opt{vhost} // '', clients => [], journals => [], expected => [], told => {}, counts => {},
    }, __PACKAGE__;
    $self->{params} = $opt{params};
    $self->{cluster} = $opt{cluster};
    $self->_settle;
    $self->{params} //= database("torture-$opt{name}") unless is_sqlite();
    $self->_init;
    return $self;
}

# beside($arena, on => [COMMAND…]): another httpd of its instance, with a port, processes and a log of its own, not yet started;
# `on` is what to start it by.
sub beside {
    my ($self, %opt) = @_;
    my $other = bless {
        (map { $_ => $self->{$_} } qw(storage conf vhost params project)), dir => "$self->{dir}-beside", port => $CELL->{other_port},
        on => $opt{on}, clients => [], journals => [], expected => [@{ $self->{expected} }], told => {}, counts => {},
    }, __PACKAGE__;
    $other->_settle;
    return $other;
}

# The requests of `http` and of the load go to any of these servers of the instance, by lot.
sub spread { my ($self, @fronts) = @_; $self->{fronts} = \@fronts; return }

# Its files.
sub _settle {
    my ($self) = @_;
    my $dir = $self->{dir};
    File::Path::make_path("$dir/journals");
    chmod 0755, $dir;
    @$self{qw(error_log tokens seen)} = map {"$dir/$_"} qw(error_log tokens seen);
    $self->{logs} = [$self->{error_log}];
    push @arenas, $self;
    return;
}

# A new database in the cell's cluster.
sub database { return CIB::Postgres->at($CELL->{postgres})->database("$CELL->{name}-$_[0]") }

sub _init {
    my ($self) = @_;
    my @params = defined $self->{params} ? ('--params', $self->{params}) : ();
    my $r = ci_builds({ storage => $self->{storage}, json => 0 }, 'init', '--driver', $CELL->{driver}, @params,
        am_root() ? ('--user', $CELL->{user}) : ());
    die "init: $r->{err}" if $r->{exit};
    ($self->{params}) = $r->{out} =~ /^\s*DBDParams\s+"?(.*?)"?\s*$/m;
    $self->{project} = $self->cib(qw(project add torture --no-shared-runners --repo-url https://git.example.com/t.git));
    return;
}

# Run ci-builds on this instance.
sub cib {
    my ($self, @args) = @_;
    my $data = CIB::Test::cib({ storage => $self->{storage} }, @args);
    $self->_remember($data->{token}) if ref $data eq 'HASH';
    return $data;
}

sub _remember {
    my ($self, $token) = @_;
    CIB::Log::remember($self, $token) if defined $token;
    return;
}

sub _configuration {
    my ($self) = @_;
    my ($dir, $port, $modules) = (@$self{qw(dir port)}, modules_dir());
    my $text = join '', map {"LoadModule ${_}_module $modules/mod_$_.so\n"} "mpm_$CELL->{mpm}", qw(authz_core reqtimeout dbd);
    $text .= "LoadModule ci_builds_module $CELL->{module}\n";
    $text .= "User $CELL->{user}\nGroup $CELL->{group}\n" if am_root();
    $text .= <<"CONF";
ServerName localhost
Listen 127.0.0.1:$port
ServerRoot $dir
PidFile $dir/httpd.pid
DefaultRuntimeDir $dir
ErrorLog $self->{error_log}
LogLevel info ci_builds:debug
KeepAliveTimeout 5
LimitRequestBody 0
<IfModule mpm_event_module>
    StartServers 3
    ServerLimit 5
    ThreadsPerChild 8
    MaxRequestWorkers 32
    MinSpareThreads 8
    MaxSpareThreads 32
    AsyncRequestWorkerFactor 4
</IfModule>
<IfModule mpm_prefork_module>
    StartServers 6
    MinSpareServers 3
    MaxSpareServers 40
    MaxRequestWorkers 40
</IfModule>
$self->{conf}
<VirtualHost *:$port>
    DBDriver $CELL->{driver}
    DBDParams "$self->{params}"
    CIBuilds On
    CIBuildsStorage $self->{storage}
    $self->{vhost}
</VirtualHost>
CONF
    open my $out, '>', "$dir/httpd.conf" or die "$dir/httpd.conf: $!\n";
    print {$out} $text;
    close $out or die "$dir/httpd.conf: $!\n";
    return "$dir/httpd.conf";
}

# Start httpd, in the foreground and a process group of its own, and wait until it answers.
sub start {
    my ($self) = @_;
    my $file = $self->_configuration;
    my $pid = fork // die "cannot fork: $!\n";
    if (!$pid) {
        setpgrp 0, 0;
        open STDIN, '<', '/dev/null';
        open STDERR, '>>', "$self->{dir}/stderr";
        open STDOUT, '>&', \*STDERR;
        exec @{ $self->{on} // [] }, $CELL->{httpd}, '-DFOREGROUND', '-f', $file or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    wait_for('httpd to listen', sub {
        die 'httpd did not start: ' . slurp($self->{error_log}) . slurp("$self->{dir}/stderr") if waitpid($pid, POSIX::WNOHANG()) == $pid;
        return $self->children && eval { CIB::HTTP->connect($self->{port}) };
    }, 60);
    return $self;
}

# Write the configuration anew (after a change of `conf` or `vhost`) and make httpd read it.
sub graceful {
    my ($self) = @_;
    $self->_configuration;
    kill USR1 => $self->{pid};
    return;
}

# [pid, state, parent] of each process there is.
sub _processes {
    my @all;
    for my $file (glob '/proc/[0-9]*/stat') {
        open my $in, '<', $file or next;
        my $stat = <$in> // next;
        push @all, [$1, $2, $3] if $stat =~ /^(\d+) \(.*\) (\S) (\d+)/;
    }
    return @all;
}

# Processes whose parent is `of`, by default the server.
sub children {
    my ($self, $of) = @_;
    $of //= $self->{pid};
    return map { $_->[0] } grep { $_->[2] == $of && $_->[1] !~ /[ZX]/ } _processes();
}

# Both wait until there is somebody to kill.
sub kill_child {
    my ($self) = @_;
    return kill KILL => pick(@{ wait_for('children', sub { my @all = $self->children; return @all && \@all }) });
}

sub kill_children {
    my ($self) = @_;
    my $children;
    wait_for('children', sub { $children = [$self->children]; return @$children > 1 });
    return kill KILL => @$children;
}

# Nothing of the server survives. Its process group is all of it.
sub kill_server {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return 0;
    my $killed = 1 + $self->children($pid);
    kill KILL => -$pid;
    waitpid $pid, 0;
    # the last thread of the last process has let go of it
    wait_for('the port to be free', sub { IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => $self->{port}, ReuseAddr => 1) });
    return $killed;
}

# As an administrator does, and wait for its end; what of it is still there afterwards.
sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return;
    my @children = $self->children($pid);
    kill $signal // 'TERM', $pid;
    wait_for('httpd to end', sub { waitpid($pid, POSIX::WNOHANG()) == $pid }, 60);
    return grep { kill 0 => $_ } @children;
}

# The end of a test: it is stopped, and its log is clean.
sub ended {
    my ($self) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is scalar($self->stop), 0, 'nothing runs on';
    $self->log_is_clean;
    return;
}

END {
    if ($$ == $owner) {
        local $?;
        _tell_tally();
        for my $arena (@arenas) {
            kill KILL => @{ $arena->{clients} };
            kill KILL => -$arena->{pid} if $arena->{pid};
            $_->stop for grep {defined} $arena->{cluster};
        }
    }
}

# Lines of the error log that match are what is provoked.
sub expect { my ($self, @patterns) = @_; push @{ $self->{expected} }, @patterns; return }

# What was logged since the last look: no crash but those of ours, no token, nothing unexpected.
sub log_is_clean {
    my ($self, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @faults = grep { !/exit signal Killed \(9\)/ } CIB::Log::faults($self, @{ $self->{expected} });
    ok !@faults, $what // 'the log is clean';
    diag $_ for @faults;
    return;
}

# ---- requests

# The port that the next request goes to.
sub _front { return pick(@{ $_[0]{fronts} // [$_[0]] })->{port} }

# One request; undef when the connection broke. `took` in the answer: seconds.
sub http {
    my ($self, $method, $path, %opt) = @_;
    my $begun = Time::HiRes::time();
    my $r = eval {
        my $connection = CIB::HTTP->connect($self->_front);
        $connection->send(request_text($method, $path, %opt), until_answer => $opt{until_answer});
        $connection->response($method);
    };
    $r->{took} = Time::HiRes::time() - $begun if $r;
    return $r;
}

# The answers to requests that are sent all at once; each is [METHOD, PATH, options]. Dies when one has
# none within `seconds`. `took` in each: seconds.
sub http_at_once {
    my ($self, $seconds, @requests) = @_;
    local $CIB::HTTP::TIMEOUT = $seconds;
    my $begun = Time::HiRes::time();
    my @waiting = map {
        my $connection = CIB::HTTP->connect($self->_front);
        $connection->send(request_text(@$_));
        [$connection, $_->[0]]
    } @requests;
    my @all;
    while (@waiting) {
        my ($done) = grep { $_->[0]->answered(0) } @waiting;
        if (!$done) {
            die scalar(@waiting) . " requests have no answer within $seconds seconds\n" if Time::HiRes::time() - $begun > $seconds;
            moment(0.01, 0.02);
            next;
        }
        @waiting = grep { $_ != $done } @waiting;
        my $r = $done->[0]->response($done->[1]) or die "a request ended without an answer\n";
        push @all, { %$r, took => Time::HiRes::time() - $begun };
    }
    return @all;
}

# The dialects: what a runner sends. Each gives a method, a path and options of `http`.
my $AGENT = 'gitlab-ci-multi-runner 1.11.5 (1-11-stable; go1.7.4; linux/amd64)';
my %SAY = (
    v1 => {
        ask => sub { (POST => '/ci/api/v1/builds/register.json', headers => ['User-Agent' => $AGENT],
            json => { token => $_[0]{token}, info => CIB::Test::info() }) },
        append => sub {
            my ($job, $at, $bytes) = @_;
            return (PATCH => "/ci/api/v1/builds/$job->{id}/trace.txt", type => 'text/plain', body => $bytes,
                headers => ['Build-Token' => $job->{token}, 'Content-Range' => $at . '-' . ($at + length $bytes)]);
        },
        upload => sub {
            my ($job, $bytes) = @_;
            return (POST => "/ci/api/v1/builds/$job->{id}/artifacts", headers => ['Build-Token' => $job->{token}], chunked => [30000],
                multipart => [part(name => 'file', filename => 'a.zip', body => $bytes)], until_answer => 1);
        },
        update => sub {
            my ($job, $runner, $state, %more) = @_;
            return (PUT => "/ci/api/v1/builds/$job->{id}.json", json => { token => $runner->{token}, state => $state, %more });
        },
        fetch => sub { (GET => "/ci/api/v1/builds/$_[0]/artifacts", headers => ['Build-Token' => $_[1]]) },
    },
    v4 => {
        ask => sub { (POST => '/api/v4/jobs/request', headers => ['User-Agent' => 'gitlab-runner 14.7.1 (x)'],
            json => { token => $_[0]{token}, info => { name => 'gitlab-runner', version => '14.7.1', features => { map { $_ => JSON::PP::true() } qw(artifacts trace_checksum trace_size) } } }) },
        append => sub {
            my ($job, $at, $bytes) = @_;
            return (PATCH => "/api/v4/jobs/$job->{id}/trace", type => 'text/plain', body => $bytes,
                headers => ['Job-Token' => $job->{token}, 'Content-Range' => $at . '-' . ($at + length($bytes) - 1)]);
        },
        upload => sub {
            my ($job, $bytes) = @_;
            return (POST => "/api/v4/jobs/$job->{id}/artifacts?artifact_format=zip&artifact_type=archive", headers => ['Job-Token' => $job->{token}],
                chunked => [30000], multipart => [part(name => 'file', filename => 'a.zip', body => $bytes)], until_answer => 1);
        },
        update => sub {
            my ($job, $runner, $state, %more) = @_;
            my $output = $state eq 'running' ? {} : { output => { bytesize => $job->{at} } };
            return (PUT => "/api/v4/jobs/$job->{id}", json => { token => $job->{token}, state => $state, %$output });
        },
        fetch => sub { (GET => "/api/v4/jobs/$_[0]/artifacts", headers => ['Job-Token' => $_[1]]) },
    },
);

# request(DIALECT, KIND, …): one of the above.
sub request {
    my ($self, $dialect, $kind, @args) = @_;
    return $self->http($SAY{$dialect}{$kind}->(@args));
}

# request_of(DIALECT, KIND, …): what `http` takes for it.
sub request_of {
    my ($dialect, $kind, @args) = @_;
    return [$SAY{$dialect}{$kind}->(@args)];
}

# ---- what clients say

# Bytes [from, to) of the one trace that this claim may have.
sub trace_bytes {
    my ($id, $token, $from, $to) = @_;
    my $name = substr Digest::SHA::sha256_hex($token), 0, 12;
    my ($first, $last) = (int($from / 32), int($to / 32));
    my $text = join '', map { sprintf "%-18s %012d\n", "$id.$name", $_ } $first .. $last;
    return substr $text, $from - 32 * $first, $to - $from;
}

sub artifact_bytes {
    my ($size) = @_;
    my $block = join '', map { chr int rand 256 } 1 .. 1 + rand 500;
    return substr $block x (1 + $size / length $block), 0, $size;
}

# ---- clients

# Start `n` clients, v1 and v4 by turns, each a runner of its own. They work until `end_load`.
#   may => { STATUS => 1 }: what is answered while something is broken, and to be tried again
sub begin_load {
    my ($self, $n, %opt) = @_;
    unlink "$self->{dir}/end";
    my $round = ++$self->{round};
    for my $number (1 .. $n) {
        my $runner = $self->{runners}[$number] //= $self->cib('runner', 'add', '--project', $self->{project}{id});
        my $journal = "$self->{dir}/journals/$round-$number";
        my $seed = int rand 2**31;
        my $pid = fork // die "cannot fork: $!\n";
        if ($pid) {
            push @{ $self->{clients} }, $pid;
            push @{ $self->{journals} }, $journal;
            next;
        }
        my $done = eval {
            srand $seed;
            alarm 0;
            open my $out, '>>', $journal or die "$journal: $!\n";
            my $client = {
                arena => $self, number => $number, runner => $runner, out => $out, dialect => $number % 2 ? 'v1' : 'v4',
                by_put => $number % 4 == 1, may => $opt{may} // {}, big => $opt{big} // 300_000, patience => $opt{patience} // 90,
            };
            _work($client);
            1;
        };
        print STDERR "client $number: $@" unless $done;
        POSIX::_exit($done ? 0 : 1);
    }
    return;
}

# Let the clients end what they are at, and read what they wrote down.
sub end_load {
    my ($self) = @_;
    open my $end, '>', "$self->{dir}/end" or die "end: $!\n";
    close $end;
    my $failed = 0;
    for my $pid (splice @{ $self->{clients} }) {
        waitpid $pid, 0;
        $failed++ if $?;
    }
    $self->_read_journals;
    return !$failed;
}

sub _say {
    my ($client, %entry) = @_;
    $entry{at} = Time::HiRes::time();
    $entry{by} = $client->{number};
    syswrite $client->{out}, $json->encode(\%entry) . "\n";
    return;
}

sub _over { return -e "$_[0]{arena}{dir}/end" }

# Ask until there is an answer that the protocol knows: `known` of this kind, or whatever is in `may`,
# which is tried again. Nothing when patience ends.
sub _insist {
    my ($client, $kind, $known, @args) = @_;
    my $until = Time::HiRes::time() + $client->{patience};
    while (Time::HiRes::time() < $until) {
        my $r = $client->{arena}->request($client->{dialect}, $kind, @args);
        my $status = $r ? $r->{status} : 0;
        $client->{seen}{"$kind $status"}++;
        $client->{slowest} = $r->{took} if $r && $kind ne 'upload' && $r->{took} > ($client->{slowest} // 0);
        return $r if $known->{$status};
        if ($client->{may}{$status}) {
            _say($client, k => 'fault', text => "$kind: $status without a message or Retry-After")
                unless ref $r->{json} && $r->{json}{message} && ($r->{headers}{'retry-after'} // '') =~ /^\d+$/;
        } elsif ($status) {
            _say($client, k => 'fault', text => "$kind: unexpected $status $r->{body}");
            return;
        }
        return if $kind eq 'ask' && _over($client);
        moment(0.01, 0.06);
    }
    _say($client, k => 'fault', text => "$kind: no answer in $client->{patience} seconds");
    return;
}

sub _work {
    my ($client) = @_;
    while (!_over($client)) {
        my $r = _insist($client, 'ask', { 201 => 1, 204 => 1 }, $client->{runner}) or next;
        if ($r->{status} == 204) {
            moment(0.02, 0.08);
            next;
        }
        my $job = { id => $r->{json}{id}, token => $r->{json}{token}, at => 0, acked => 0 };
        _say($client, k => 'claim', b => $job->{id}, t => $job->{token});
        next if rand() < 0.04;    # its runner dies right away
        _build($client, $job);
    }
    _say($client, k => 'seen', seen => $client->{seen}, slowest => $client->{slowest});
    return;
}

sub _build {
    my ($client, $job) = @_;
    for (1 .. 1 + rand 5) {
        last if _over($client);
        return unless ($client->{by_put} ? _put_trace($client, $job) : _append($client, $job));
        return if rand() < 0.01;
    }
    # over v4 a second one of the same type is refused, unless it is the same
    for (1 .. pick(0, 1, 1, $client->{dialect} eq 'v1' ? 2 : 1)) {
        last if _over($client);
        return unless _upload($client, $job);
    }
    return _finish($client, $job);
}

# Send the next piece of the trace, and go where the server says it is.
sub _append {
    my ($client, $job) = @_;
    my $begun = Time::HiRes::time();
    my $to = $job->{at} + 1 + int rand(rand() < 0.1 ? 60000 : 2000);
    while (1) {
        my $r = _insist($client, 'append', { 202 => 1, 416 => 1, 403 => 1, 404 => 1 }, $job, $job->{at}, trace_bytes($job->{id}, $job->{token}, $job->{at}, $to))
            or return 0;
        my $status = $r->{status};
        return _lost($client, $job, $status) if $status == 403 || $status == 404;
        my ($there) = ($r->{headers}{range} // '') =~ /^0-(\d+)/;
        if (!defined $there || $there < $job->{acked} || $there > $to) {
            _say($client, k => 'fault', text => "build $job->{id}: $status with Range " . ($there // 'none') . ", $job->{acked} acknowledged, $to sent");
            return 0;
        }
        $job->{at} = $there;
        if ($status == 202) {
            $job->{acked} = $there;
            _say($client, k => 'ack', b => $job->{id}, t => $job->{token}, upto => $there, begun => $begun);
            return 1;
        }
    }
}

# The whole trace so far, as runners before 1.1 do.
sub _put_trace {
    my ($client, $job) = @_;
    my $begun = Time::HiRes::time();
    my $to = $job->{at} + 1 + int rand 5000;
    my $r = _insist($client, 'update', { 200 => 1, 403 => 1, 404 => 1 }, $job, $client->{runner}, 'running', trace => trace_bytes($job->{id}, $job->{token}, 0, $to))
        or return 0;
    return _lost($client, $job, $r->{status}) if $r->{status} != 200;
    $job->{at} = $job->{acked} = $to;
    _say($client, k => 'ack', b => $job->{id}, t => $job->{token}, upto => $to, begun => $begun);
    return 1;
}

sub _upload {
    my ($client, $job) = @_;
    my $begun = Time::HiRes::time();
    my $bytes = artifact_bytes(int rand(rand() < 0.2 ? 5 * $client->{big} : $client->{big}));
    my $sha = Digest::SHA::sha256_hex($bytes);
    _say($client, k => 'try', b => $job->{id}, sha => $sha);
    my $r = _insist($client, 'upload', { 201 => 1, 403 => 1, 404 => 1 }, $job, $bytes) or return 0;
    return _lost($client, $job, $r->{status}) if $r->{status} != 201;
    _say($client, k => 'art', b => $job->{id}, t => $job->{token}, sha => $sha, begun => $begun);
    return 1 if rand() < 0.5;
    $r = _insist($client, 'fetch', { 200 => 1, 403 => 1, 404 => 1 }, $job->{id}, $job->{token}) or return 0;
    return _lost($client, $job, $r->{status}) if $r->{status} == 403;
    _say($client, k => 'fault', text => "build $job->{id}: its artifacts are answered $r->{status}, " . length($r->{body}) . ' bytes that are not what was stored')
        unless $r->{status} == 200 && Digest::SHA::sha256_hex($r->{body}) eq $sha;
    return 1;
}

sub _finish {
    my ($client, $job) = @_;
    my ($begun, $state) = (Time::HiRes::time(), pick(qw(success success failed)));
    for (1 .. 4) {
        my $r = _insist($client, 'update', { 200 => 1, 412 => 1, 403 => 1, 404 => 1 }, $job, $client->{runner}, $state) or return 0;
        if ($r->{status} == 200) {
            _say($client, k => 'fin', b => $job->{id}, t => $job->{token}, state => $state, begun => $begun);
            return 1;
        }
        return _lost($client, $job, $r->{status}) if $r->{status} != 412;
        _append($client, $job) or return 0;
    }
    return 0;
}

# Told that the build is not one's own (any more). An answer that was lost may have been a final 200.
sub _lost {
    my ($client, $job, $status) = @_;
    _say($client, k => 'lost', b => $job->{id}, t => $job->{token}, status => $status);
    return 0;
}

# ---- what they were told

sub _read_journals {
    my ($self) = @_;
    for my $file (splice @{ $self->{journals} }) {
        open my $in, '<', $file or next;
        while (defined(my $line = <$in>)) {
            my $entry = $json->decode($line);
            $self->_enter($entry);
        }
    }
    return;
}

sub _enter {
    my ($self, $e) = @_;
    my $k = $e->{k};
    if ($k eq 'seen') {
        for my $answer (keys %{ $e->{seen} }) {
            $self->{counts}{$answer} += $e->{seen}{$answer};
            my ($status) = $answer =~ / (\d+)$/;
            tally('answers.' . ($status || 'none'), $e->{seen}{$answer});
        }
        tally_most('answer', $e->{slowest} // 0);
        return;
    }
    return push @{ $self->{faults} }, "client $e->{by}: $e->{text}" if $k eq 'fault';
    my $build = $self->{told}{ $e->{b} } //= {};
    $build->{fresh} = 1;
    if ($k eq 'claim') {
        $self->_remember($e->{t});
        push @{ $self->{faults} }, "build $e->{b}: two claims with one token" if $build->{claims}{ $e->{t} };
        $build->{claims}{ $e->{t} } = $e->{at};
    }
    $build->{tries}{ $e->{sha} } = 1 if $k eq 'try';
    return unless $e->{begun};
    $build->{heard}{ $e->{t} } = $e->{begun} if $e->{begun} > ($build->{heard}{ $e->{t} } // 0);
    $build->{upto} = $e->{upto} if $k eq 'ack';
    @$build{qw(sha tries)} = ($e->{sha}, { $e->{sha} => 1 }) if $k eq 'art';
    $build->{state} = $e->{state} if $k eq 'fin';
    return;
}

# The sum of what was answered, e.g. "append 202".
sub count {
    my ($self, $pattern) = @_;
    my $sum = 0;
    $sum += $self->{counts}{$_} for grep { $_ =~ $pattern } keys %{ $self->{counts} };
    return $sum;
}

# Give the clients so many builds to do.
sub add_builds {
    my ($self, $n) = @_;
    $self->cib(qw(build add --project), $self->{project}{id}, '--sha', 'a' x 40, '--count', $n);
    return;
}

sub builds {
    my ($self) = @_;
    return @{ $self->cib(qw(build list --project), $self->{project}{id}) };
}

# ---- what must hold

# After a fault: nothing acknowledged is missing, nothing else is to be seen, nothing is left over.
# settled => 1: wait until no build is running, for each must end or go back.
sub holds {
    my ($self, $what, %opt) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @faults = splice @{ $self->{faults} //= [] };
    tally('checks');
    if ($opt{settled}) {
        my $none = eval { wait_for('no build to be running', sub { !grep { $_->{status} eq 'running' } $self->builds }, 90) };
        push @faults, 'builds are stranded: ' . join ' ', map { $_->{id} } grep { $_->{status} eq 'running' } $self->builds unless $none;
    }
    my %now = map { $_->{id} => $_ } $self->builds;
    for my $id (sort { $a <=> $b } keys %{ $self->{told} }) {
        my $told = $self->{told}{$id};
        push @faults, map {"build $id: $_"} _claims($told);
        push @faults, map {"build $id: $_"} $now{$id} ? $self->_kept($id, $told, $now{$id}) : 'is not there';
    }
    push @faults, $self->_left_over(values %now);
    ok !@faults, $what;
    diag $_ for @faults > 20 ? (@faults[0 .. 19], '… ' . @faults) : @faults;
    diag "repeat with TORTURE_SEED=$SEED" if @faults;
    return !@faults;
}

# A claim of which a word was taken is the last one: the runner of it and nobody else has the build.
sub _claims {
    my ($told) = @_;
    my @heard = keys %{ $told->{heard} // {} };
    return 'words of ' . @heard . ' claims were taken' if @heard > 1;
    my ($mine) = @heard or return;
    my $claimed = $told->{claims}{$mine} // return 'a word of a claim that nobody was given';
    my @later = grep { $told->{claims}{$_} > $claimed } keys %{ $told->{claims} };
    return @later ? 'given to another although its runner had been heard' : ();
}

sub _kept {
    my ($self, $id, $told, $now) = @_;
    return unless delete $told->{fresh};
    tally('builds');
    my @faults;
    push @faults, "acknowledged as $told->{state}, is $now->{status}" if $told->{state} && $told->{state} ne $now->{status};
    if (my ($token) = keys %{ $told->{heard} // {} }) {
        my $r = ci_builds({ storage => $self->{storage}, json => 0 }, qw(build trace), $id);
        my $size = length $r->{out};
        tally('bytes', $told->{upto} // 0);
        push @faults, "$told->{upto} bytes of its trace acknowledged, $size there" if ($told->{upto} // 0) > $size;
        push @faults, 'its trace has other bytes than were sent' if $r->{out} ne trace_bytes($id, $token, 0, $size);
    }
    my $artifact = $now->{artifacts_file};
    push @faults, 'its acknowledged artifacts are not there' if $told->{sha} && !$artifact;
    push @faults, $self->_artifact($id, $told, $artifact) if $artifact;
    return @faults;
}

sub _artifact {
    my ($self, $id, $told, $artifact) = @_;
    my $r;
    # one process may know later than another that the database is back
    eval { wait_for('an answer', sub { $r = $self->request('v1', 'fetch', $id, $self->{project}{token}); return !$r || $r->{status} != 503 }, 10) };
    return 'its artifacts are not answered' unless $r;
    return "its artifacts are answered $r->{status}" if $r->{status} != 200;
    tally('bytes', length $r->{body});
    my $sha = Digest::SHA::sha256_hex($r->{body});
    return 'its artifacts are not what their SHA-256 says' if $sha ne $artifact->{sha256};
    return 'artifacts that nobody sent, or that were replaced' unless $told->{tries}{$sha};
    return;
}

sub _left_over {
    my ($self, @builds) = @_;
    my @faults;
    my $gc = ci_builds({ storage => $self->{storage} }, 'gc');
    push @faults, "gc: $gc->{err}" if $gc->{exit};
    my $check = ci_builds({ storage => $self->{storage} }, 'check');
    push @faults, "check: $check->{out}$check->{err}" if $check->{exit};
    my %ids = map { $_->{id} => 1 } grep { $_->{artifacts_file} } @builds;
    my @files = map { chomp(my $path = $_); $path } split /\n/, run('find', "$self->{storage}/artifacts", '-type', 'f');
    for my $file (@files) {
        my ($id) = $file =~ m{/(\d+)-[^/]*$};
        push @faults, "left over: $file" unless defined $id && delete $ids{$id};
    }
    push @faults, map {"build $_ has no file"} sort keys %ids;
    return @faults;
}

1;
