package CIB::Outage;

# A database that is away while clients are at work: what whoever asks meanwhile is told, how soon, and what
# must hold when it is back.

use strict;
use warnings;

use Test::More import => ['!done_testing'];
use Time::HiRes ();

use CIB::Test qw(ci_builds wait_for);
use CIB::Tool;
use CIB::Torture;

# What proves a time-out: so long, when 5 seconds are promised, on a machine that has other things to do.
my $SOON = 10 * CIB::Tool::patience();

# How often a file's faults are made anew.
our $TIMES = 1 + int($SECONDS / 60);

# new($arena): of an instance that is served. It takes a build, and speaks of it beside the load.
sub new {
    my ($class, $arena) = @_;
    my $self = bless { arena => $arena }, $class;
    $arena->cib('build', 'add', '--project', $arena->{project}{id}, '--sha', 'b' x 40);
    $self->{runner} = $arena->cib('runner', 'add', '--project', $arena->{project}{id});
    my $r = $arena->request('v4', 'ask', $self->{runner});
    $r && $r->{status} == 201 or die 'no build: ' . ($r ? $r->{status} : 'no answer') . "\n";
    $self->{job} = { id => $r->{json}{id}, token => $r->{json}{token}, at => 0 };
    return $self;
}

# So many requests, more at once than a child has connections, of every kind that needs the database.
sub everybody {
    my ($self, $n) = @_;
    my ($runner, $job) = @$self{qw(runner job)};
    my @kinds = (
        request_of('v1', 'ask', $runner), request_of('v4', 'ask', $runner), request_of('v4', 'append', $job, 0, 'some'),
        request_of('v4', 'update', $job, $runner, 'running'), request_of('v1', 'update', $job, $runner, 'running'),
        request_of('v4', 'upload', $job, 'bytes'), request_of('v4', 'fetch', $job->{id}, $job->{token}),
        [POST => '/api/v4/runners/verify', json => { token => $runner->{token} }],
        [POST => '/ci/api/v1/builds/register', json => { token => 'x' x 30 }]
    );
    return map { $kinds[$_ % @kinds] } 1 .. $n // 24;
}

# While the database is away: each is answered 503 with a reason, and soon. `some`: others may have been served.
sub refused {
    my ($self, $what, %opt) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @all = eval { $self->{arena}->http_at_once(60, $self->everybody) };
    diag $@ unless @all;
    my @bad = map {"$_->{status} $_->{body}"} grep { $_->{status} != 503 && !$opt{some} } @all;
    push @bad, map {"503 without JSON or Retry-After: $_->{head} $_->{body}"} grep { $_->{status} == 503
        && !($_->{json} && $_->{json}{message} && $_->{headers}{'retry-after'}) } @all;
    my ($slowest) = sort { $b <=> $a } map { $_->{took} } @all;
    ok @all && !@bad, "$what: each of " . @all . ' requests is answered 503 with a reason';
    diag $_ for @bad > 3 ? @bad[0 .. 2] : @bad;
    cmp_ok $slowest // 999, '<', $SOON, sprintf '  and soon: %.1f s', $slowest // 0;
    tally_most('refusal', $slowest // 999);
    return;
}

# After it came back.
sub served_again {
    my ($self, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $begun = Time::HiRes::time();
    my $arena = $self->{arena};
    wait_for('service', sub { my $r = $arena->request('v4', 'append', $self->{job}, 0, ''); $r && $r->{status} < 500 }, 60);
    # which writes to files; and this to the database
    wait_for('the database', sub { !ci_builds({ storage => $arena->{storage} }, qw(build add --project), $arena->{project}{id}, '--sha', 'b' x 40)->{exit} }, 60);
    my $took = Time::HiRes::time() - $begun;
    cmp_ok $took, '<', $SOON, sprintf '%s: served again after %.1f s', $what, $took;
    tally_most('return', $took);
    return;
}

# Load, the fault, its end, and what must hold after it. `during` is given `what`.
#   settled => 1: as `holds` takes it        counts => 1: `during` says how often it was
sub fault {
    my ($self, $what, $during, %opt) = @_;
    my $arena = $self->{arena};
    return if defined $ENV{TORTURE_ONLY} && $what !~ /$ENV{TORTURE_ONLY}/;
    $arena->add_builds(60);
    $arena->begin_load(6, may => { 503 => 1, 507 => 1 });
    moment(0.3, 0.8);
    my $times = $during->($what);
    tally("faults.$what", $opt{counts} ? $times : 1);
    $self->served_again($what);
    ok $arena->end_load, '  the clients come to their ends';
    $arena->holds("  what must hold, after $what", settled => $opt{settled});
    return;
}

1;
