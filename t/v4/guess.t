# Tokens guessed in bulk: every guess is refused while nobody can write to the database, each address is told
# of once a minute with the right number, and those who have a token are served meanwhile.

use strict;
use warnings;

use Fcntl      qw(:flock);
use IPC::Open2 ();

use CIB::Test;
use CIB::V4;

# what upkeep and httpd say while nobody can write
expect_log(qr/CIB024[01]:/, qr/\[dbd:/);

my $ME = '127.0.0.1';

# ---- the log

sub log_from {
    my ($at) = @_;
    return substr slurp($CELL->{error_log}), $at;
}

# Who was told of, in these lines: { address => [times, …] }.
sub told {
    my ($id, $text) = @_;
    my %told;
    push @{ $told{$1} }, $2 while $text =~ /\[ci_builds:\w+\].* $id: .* from (\S+), times since the last such line: (\d+)$/mg;
    return \%told;
}

sub sum { my $sum = 0; $sum += $_ for @_; return $sum }

# A restart tells what was counted until then.
sub restart {
    my $at = -s $CELL->{error_log};
    kill USR1 => slurp($CELL->{pid_file}) + 0 or die "cannot signal httpd: $!\n";
    wait_for('the restart', sub { log_from($at) =~ /resuming normal operations/ });
    return;
}

# ---- shutting the writers out

# Until what this returns is called nobody can write a row: readers are not disturbed.
sub shut_out {
    my $instance = $CELL->{instances}{main};
    if (is_sqlite()) {
        open my $lock, '+<', "$instance->{storage}/lock" or die "lock: $!\n";
        flock $lock, LOCK_EX or die "lock: $!\n";
        return sub { close $lock };
    }
    my $tables = join ', ', split /\n/, sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    my $pid = IPC::Open2::open2(my $out, my $in, 'psql', $instance->{params}, qw(-XqAt -v ON_ERROR_STOP=1));
    print {$in} "BEGIN; LOCK TABLE $tables IN EXCLUSIVE MODE; SELECT 'held';\n";
    $in->flush;
    (<$out> // '') eq "held\n" or die "the tables are not locked\n";
    return sub { close $in; waitpid $pid, 0; close $out };
}

# ---- guesses

my $project = project();
my $runner = runner(project => $project);
my $job = job_of($runner, project => $project);
CIB::V4::append($job, 0, 'a');
my $dead = runner(project => $project);
cib(qw(runner remove), $dead->{id});

my $serial = 0;
sub guess { return sprintf 'guess-%s-%06d-%s', $$, ++$serial, 'x' x 20 }

my $id = $job->{id};
my ($range, $part) = (['Content-Range' => '1-1'], part(name => 'file', filename => 'a.zip', body => 'z' x 1000));
my %KINDS = (
    registration => [
        sub { (POST => "$V1/runners/register.json", json => { token => $_[0] }) },
        sub { (POST => "$V1/runners/register", form => [token => $_[0], tag_list => 'a,b']) },
        sub { (POST => "$V1/runners/register", query => [token => $_[0]], json => {}) },
        sub { (POST => "$V4/runners", json => { token => $_[0], info => { name => 'r' } }) },
        sub { (POST => "$V4/runners", form => [token => $_[0]]) },
        sub { (POST => "$V4/runners", json => { token => $_[0], run_untagged => JSON::PP::false() }) },
    ],
    runner => [
        sub { (POST => "$V1/builds/register.json", json => { token => $_[0], info => { version => '1.11.5' } }) },
        sub { (PUT => "$V1/builds/$id.json", json => { token => $_[0], state => 'success' }) },
        sub { (PUT => "$V1/builds/$id", form => [state => 'failed', trace => 'evil', token => $_[0]]) },
        sub { (DELETE => "$V1/runners/delete", query => [token => $_[0]]) },
        sub { (POST => "$V4/jobs/request", json => { token => $_[0], system_id => 's_1', info => { version => '17.0.0' } }) },
        sub { (POST => "$V4/runners/verify", form => [token => $_[0]]) },
        sub { (DELETE => "$V4/runners", json => { token => $_[0] }) },
        sub { (DELETE => "$V4/runners/managers", json => { token => $_[0], system_id => 's_1' }) },
        sub { (POST => "$V4/runners/reset_authentication_token", json => { token => $_[0] }) },
    ],
    build => [
        sub { (PATCH => "$V1/builds/$id/trace.txt", headers => ['Build-Token' => $_[0], @$range], body => 'e') },
        sub { (PATCH => "$V1/builds/$id/trace.txt", query => [token => $_[0]], headers => $range, body => 'e') },
        sub { (POST => "$V1/builds/$id/artifacts/authorize", headers => ['Build-Token' => $_[0]], length => 0) },
        sub { (POST => "$V1/builds/$id/artifacts", headers => ['Build-Token' => $_[0]], multipart => [$part]) },
        sub { (GET => "$V1/builds/$id/artifacts", query => [token => $_[0]]) },
        sub { (DELETE => "$V1/builds/$id/artifacts", headers => ['Build-Token' => $_[0]]) },
        sub { (PUT => "$V4/jobs/$id", json => { token => $_[0], state => 'success' }) },
        sub { (PUT => "$V4/jobs/999999999", json => { token => $_[0], state => 'success' }) },
        sub { (PATCH => "$V4/jobs/$id/trace", headers => ['JOB-TOKEN' => $_[0], @$range], body => 'e') },
        sub { (POST => "$V4/jobs/$id/artifacts/authorize", headers => ['JOB-TOKEN' => $_[0]], json => {}) },
        sub { (POST => "$V4/jobs/$id/artifacts", multipart => [part(name => 'token', body => $_[0]), $part]) },
        sub { (GET => "$V4/jobs/$id/artifacts", headers => ['JOB-TOKEN' => $_[0]]) },
    ],
);

my %open;

# One request from an address, on one of its connections.
sub say_from {
    my ($from, $slot, $method, $path, %opt) = @_;
    delete $open{"$from $slot"} if $open{"$from $slot"} && $open{"$from $slot"}->answered(0);    # it was closed
    my $connection = $open{"$from $slot"} //= CIB::HTTP->connect($CELL->{ports}{main}, $from);
    $connection->send(CIB::HTTP::request_text($method, $path, %opt, close => 0), until_answer => 1);
    my $r = $connection->response($method) or die "$method $path: no answer\n";
    delete $open{"$from $slot"} if lc($r->{headers}{connection} // '') eq 'close';
    return $r;
}

# So many guesses of each kind; what was not refused, and each 50th time who has a token must be served.
sub guess_all {
    my ($times, @addresses) = @_;
    my (@bad, %sent);
    for my $kind (sort keys %KINDS) {
        my @forms = @{ $KINDS{$kind} };
        for my $n (1 .. $times) {
            my $from = $addresses[$n % @addresses];
            my $token = guess();
            remember($token);
            my $r = say_from($from, $n % 4, $forms[$n % @forms]->($token));
            push @bad, "$kind, form " . $n % @forms . ": $r->{status} $r->{body}"
                unless $r->{status} == 403 && $r->{json} && $r->{json}{message} eq '403 Forbidden';
            $sent{$from}++;
            next if $n % 50;
            $r = ask($runner);
            push @bad, "a runner: $r->{status} $r->{body}" unless $r->{status} == 204;
            $r = update($job, state => 'running');
            push @bad, "a job: $r->{status} $r->{body}" unless $r->{status} == 200;
        }
    }
    %open = ();
    return (\%sent, @bad);
}

subtest 'in bulk' => sub {
    is ask($runner)->{status}, 204, 'the runner has been heard';
    is update($job, state => 'running')->{status}, 200, '  and its job';
    restart();    # what other files have tried is told
    my ($at, $begun) = (-s $CELL->{error_log}, time);
    my $before = { map { $_ => cib($_, 'list') } qw(runner build) };
    my $let_in = shut_out();
    my ($sent, @bad) = guess_all(500, $ME, $ME, '127.0.0.2');
    $let_in->();
    is_deeply [@bad > 5 ? @bad[0 .. 4] : @bad], [], "$serial guesses are refused while nobody can write, and others are served";
    my $lines = 2 + int((time - $begun) / 60);
    my $text = log_from($at);
    my $told = told(CIB0260 => $text);
    cmp_ok scalar @{ $told->{$_} // [] }, '<=', $lines, "$_: a line a minute" for sort keys %$sent;
    is $told->{'127.0.0.2'}[0], 1, '  and at once';
    unlike $text, qr/CIB0(?:105|117):/, '  and none for each try';
    restart();
    $told = told(CIB0260 => log_from($at));
    is_deeply { map { $_ => sum(@{ $told->{$_} }) } keys %$told }, $sent, 'the numbers are right';
    is_deeply { map { $_ => cib($_, 'list') } qw(runner build) }, $before, 'nothing has changed';
    is update($job, state => 'success')->{status}, 200, 'and writers are served again';
};

subtest 'a runner that was removed' => sub {
    my $at = -s $CELL->{error_log};
    my @status = map { say_from('127.0.0.3', 0, POST => "$V4/jobs/request", json => { token => $dead->{token} })->{status} } 1 .. 30;
    is_deeply \@status, [(403) x 30], 'is refused as often as it asks';
    restart();
    my $text = log_from($at);
    is_deeply told(CIB0260 => $text)->{'127.0.0.3'}, [1], 'one warning';
    is sum(@{ told(CIB0261 => $text)->{'127.0.0.3'} }), 29, '  and the rest is no news';
    like $text, qr/:info\].* CIB0261:/, '  nor a warning';
};

subtest 'no token is no guess' => sub {
    my $at = -s $CELL->{error_log};
    for my $token (undef, '') {
        my @token = defined $token ? (token => $token) : ();
        is say_from('127.0.0.4', 0, POST => "$V1/builds/register.json", json => {@token})->{status}, 403, 'is refused';
    }
    restart();
    is_deeply told(CIB0260 => log_from($at))->{'127.0.0.4'}, undef, '  and not told of';
};

is ci_builds(qw(check))->{exit}, 0, 'all is in order';
done_testing;
