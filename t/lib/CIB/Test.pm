package CIB::Test;

# What the test files share. Brings Test::More with it; `done_testing` also reads what the server
# logged meanwhile and fails on a crash, on a sanitizer's report, on a token, and on every warning or
# error that the file did not announce with expect_log().

use strict;
use warnings;

use Fcntl       ();
use IPC::Open2  ();
use IPC::Open3  ();
use JSON::PP    ();
use POSIX       ();
use Symbol      ();
use Test::More import => ['!done_testing'];
use Time::HiRes ();

use CIB::HTTP qw(chunked multipart part request_text uri_escape);
use CIB::Log;
use CIB::Place qw(as_user run);
use CIB::Tool;

use Exporter 'import';
my @HERE = qw(
    $CELL $V1 answers artifact_token build build_show cancel_all ci_builds cib cib_fails claim connect_to
    chunked done_testing expect_log finish hold_claims hold_sql http is_event is_sqlite multipart part poll project put
    registration_token remember request_text runner silence slurp sql stored_files trace_of uniq upload
    uri_escape wait_for with_json
);
our @EXPORT = ((grep { $_ ne 'done_testing' } @Test::More::EXPORT), @HERE);

our $CELL = _read_cell();
our $V1 = '/ci/api/v1';

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);
$SIG{ALRM} = sub { require Carp; Carp::confess('this takes too long') };
alarm(300 * CIB::Tool::patience());

sub _read_cell {
    my $file = $ENV{CIB_CELL} or do { print "1..0 # SKIP run by t/check\n"; exit 0 };
    return JSON::PP->new->utf8->decode(slurp($file));
}

sub slurp {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/ = undef;
    return scalar <$in> // '';
}

sub is_event  { return $CELL->{mpm} eq 'event' }
sub is_sqlite { return $CELL->{driver} eq 'sqlite3' }

my $serial = 0;
sub uniq { return "$_[0]-$$-" . ++$serial }

# ---- waiting

# Call `sub` until it is true, and return that; die after `seconds`. For what happens in another process
# without telling us.
sub wait_for {
    my ($what, $condition, $seconds) = @_;
    my $until = Time::HiRes::time() + ($seconds // 30) * CIB::Tool::patience();
    while (1) {
        my $got = $condition->();
        return $got if $got;
        die "waited in vain for $what\n" if Time::HiRes::time() > $until;
        select undef, undef, undef, 0.02;
    }
}

# ---- the command line

# Run ci-builds. Options first: { instance => 'second', stdin => TEXT, json => 0, env => {…} }.
# Gives { exit, out, err }, and `json` with the decoded lines.
sub ci_builds {
    my %opt = ref $_[0] ? %{ shift() } : ();
    my @args = @_;
    my $storage = $opt{storage} // $CELL->{instances}{ $opt{instance} // 'main' }{storage};
    my @command = ($CELL->{ci_builds}, $storage eq '' ? () : ('-s', $storage), ($opt{json} // 1) ? '--json' : (), @args);
    local @ENV{ keys %{ $opt{env} // {} } } = values %{ $opt{env} // {} };
    open my $err, '+>', undef or die "a temporary file: $!\n";
    my $pid = IPC::Open3::open3(my $in, my $out, '>&' . fileno $err, @command);
    binmode $_ for $in, $out;
    {
        local $SIG{PIPE} = 'IGNORE';
        print {$in} $opt{stdin} // '';
        close $in;
    }
    my %r = (out => do { local $/ = undef; <$out> } // '');
    waitpid $pid, 0;
    $r{exit} = $? & 127 ? "signal " . ($? & 127) : $? >> 8;
    seek $err, 0, 0;
    $r{err} = do { local $/ = undef; <$err> } // '';
    if (($opt{json} // 1) && !$r{exit}) {
        $r{json} = [map { $json->decode($_) } split /\n/, $r{out}];
        remember($r{json});
    }
    return \%r;
}

# Run ci-builds and have its JSON: one value, or a list where there were several lines. Dies when it fails.
sub cib {
    my $r = ci_builds(@_);
    my @args = grep { !ref } @_;
    die "ci-builds @args: exit $r->{exit}: $r->{err}" if $r->{exit};
    return wantarray ? @{ $r->{json} } : $r->{json}[0];
}

# It must fail: with this exit code (a number or a pattern), a message on standard error that matches, and no result.
sub cib_fails {
    my ($exit, $message, @args) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = ci_builds(@args);
    my $what = join ' ', grep { !ref } @args;
    like $r->{exit}, qr/^(?:$exit)$/, "exit $exit: ci-builds $what";
    like $r->{err}, $message, "  and says why";
    is $r->{out}, '', '  and prints no result';
    return $r;
}

# Every token that passes by is written down, so that the logs can be searched for it.
sub remember {
    my ($data) = @_;
    my @found;
    my @queue = ($data);
    while (@queue) {
        my $item = shift @queue;
        if (ref $item eq 'HASH') {
            push @found, $item->{token} if exists $item->{token} && !ref $item->{token} && length($item->{token} // '') >= 8;
            push @queue, values %$item;
        } elsif (ref $item eq 'ARRAY') {
            push @queue, @$item;
        } elsif (!ref $item && defined $item && !ref $data) {
            push @found, $item;
        }
    }
    CIB::Log::remember($CELL, @found) if @found;
    return $data;
}

# project(name => …, shared => 0|1, args => [more options]): what `project add` gave. Without shared
# runners unless asked, so that files do not meet in the queue.
sub project {
    my (%opt) = @_;
    return scalar cib({ instance => $opt{instance} }, qw(project add), $opt{name} // uniq('project'),
        '--repo-url', $opt{repo_url} // 'http://git.example.com/demo.git',
        $opt{shared} ? () : '--no-shared-runners', @{ $opt{args} // [] });
}

# runner(project => {…} | [..], shared => 1, tags => 'a,b', args => [...])
sub runner {
    my (%opt) = @_;
    my @projects = map { ('--project', ref $_ eq 'HASH' ? $_->{id} : $_) }
        ref $opt{project} eq 'ARRAY' ? @{ $opt{project} } : grep {defined} $opt{project};
    return scalar cib({ instance => $opt{instance} }, qw(runner add), @projects, $opt{shared} ? '--shared' : (),
        defined $opt{tags} ? ('--tags', $opt{tags}) : (), @{ $opt{args} // [] });
}

# build(project => {…}, tags => …, commands => …, args => […]): the id
sub build {
    my (%opt) = @_;
    my @lines = cib({ instance => $opt{instance}, stdin => $opt{commands} // "echo hello\n" }, qw(build add --project),
        ref $opt{project} ? $opt{project}{id} : $opt{project}, '--sha', $opt{sha} // 'a' x 40, '--commands-file', '-',
        defined $opt{tags} ? ('--tags', $opt{tags}) : (), @{ $opt{args} // [] });
    return wantarray ? map { $_->{id} } @lines : $lines[0]{id};
}

sub build_show {
    my ($id, $instance) = @_;
    return scalar cib({ instance => $instance }, qw(build show), $id);
}

sub trace_of {
    my ($id, $instance) = @_;
    my $r = ci_builds({ instance => $instance, json => 0 }, qw(build trace), $id);
    die "build trace $id: $r->{err}" if $r->{exit};
    return $r->{out};
}

sub registration_token {
    my ($instance) = @_;
    return cib({ instance => $instance }, qw(registration-token show))->{token};
}

# Cancel whatever of these projects still waits or runs.
sub cancel_all {
    for my $project (@_) {
        for my $status (qw(pending running)) {
            my $list = cib(qw(build list --project), $project->{id}, '--status', $status);
            cib(qw(build cancel), $_->{id}) for @$list;
        }
    }
    return;
}

# All files below an area of a storage directory.
sub stored_files {
    my ($area, $instance) = @_;
    my @files;
    my @dirs = ($CELL->{instances}{ $instance // 'main' }{storage} . "/$area");
    while (defined(my $dir = shift @dirs)) {
        for my $entry (glob "$dir/*") {
            push @{ -d $entry ? \@dirs : \@files }, $entry;
        }
    }
    return sort @files;
}

# Change or read the database (the main instance's, or that of other DBDParams) behind everybody's back, for
# what else lasts as long as one command.
sub sql {
    my ($statement, $params) = @_;
    $params //= $CELL->{instances}{main}{params};
    return run(is_sqlite() ? as_user($CELL->{user}, 'sqlite3', '-cmd', '.timeout 20000', $params, $statement)
        : ('psql', $params, '-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', $statement));
}

# Have PostgreSQL do something that lasts until the returned function is called (with the statements to end
# it by, if any). What it said of it, a line, comes first.
sub hold_sql {
    my ($statements) = @_;
    my $pid = IPC::Open2::open2(my $out, my $in, 'psql', $CELL->{instances}{main}{params}, '-XqAt', '-v', 'ON_ERROR_STOP=1');
    print {$in} "$statements\n";
    my $said = <$out> // die "psql does not hold: $statements\n";
    chomp $said;
    return ($said, sub { print {$in} @_; close $in; waitpid $pid, 0 });
}

# Keep everybody from claiming until the returned function is called.
sub hold_claims {
    if (is_sqlite()) {
        open my $lock, '+<', "$CELL->{instances}{main}{storage}/lock" or die "lock: $!\n";
        flock $lock, Fcntl::LOCK_EX() or die "flock: $!\n";
        return sub { close $lock };
    }
    return (hold_sql("BEGIN;\nLOCK TABLE queue IN EXCLUSIVE MODE;\nSELECT 'held';"))[1];
}

# ---- HTTP

sub connect_to {
    my ($vhost) = @_;
    return CIB::HTTP->connect($CELL->{ports}{ $vhost // 'main' });
}

# http(GET => PATH, vhost => …, and what CIB::HTTP::request_text takes). PATH below /ci/api/v1 when it
# does not begin with a slash. With `until_answer` the body is sent only until something comes back.
sub http {
    my ($method, $path, %opt) = @_;
    $path = "$V1/$path" unless $path =~ m{^/};
    my $connection = connect_to($opt{vhost});
    my $text = request_text($method, $path, %opt);
    $connection->send($text, until_answer => $opt{until_answer});
    my $r = $connection->response($method) or die "$method $path: the connection ended without an answer\n";
    remember($r->{json}) if ref $r->{json};
    $r->{connection} = $connection if exists $opt{close} && !$opt{close};
    return $r;
}

sub with_json { return (json => $_[0]) }

# The answer has this status and, for errors, this message.
sub answers {
    my ($r, $status, $message, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $got = $r->{json} && ref $r->{json} eq 'HASH' ? $r->{json}{message} // $r->{json}{error} : undef;
    my $held = $r->{status} == $status;
    if (ref $message) {
        $held &&= defined $got && $got =~ $message;
    } elsif (defined $message) {
        $held &&= defined $got && $got eq $message;
    }
    ok $held, $what // "$status" . (defined $message ? " $message" : '');
    diag "expected $status", defined $message ? " $message" : '', "\ngot      $r->{status} $r->{body}" unless $held;
    return $held;
}

# What a runner of that version says about itself.
sub info {
    my ($version) = @_;
    return {
        name => 'gitlab-ci-multi-runner', version => $version // '1.11.5', revision => 'local', platform => 'linux',
        architecture => 'amd64', executor => 'shell',
    };
}

my $AGENT = 'gitlab-ci-multi-runner 1.11.5 (1-11-stable; go1.7.4; linux/amd64)';

# Ask for a build as a runner does; the whole answer.
sub poll {
    my ($runner, %opt) = @_;
    my $body = delete $opt{json} // {};
    return http(
        POST => 'builds/register.json', headers => ['User-Agent' => $AGENT],
        json => { token => $runner->{token}, info => info(), %$body }, %opt
    );
}

# Ask for a build; its description, or nothing.
sub claim {
    my ($runner, %opt) = @_;
    my $r = poll($runner, %opt);
    return $r->{json} if $r->{status} == 201;
    die "no claim but $r->{status}: $r->{body}\n" unless $r->{status} == 204;
    return;
}

# PUT builds/:id
sub put {
    my ($runner, $id, %json) = @_;
    my %opt = %{ delete $json{opt} // {} };
    return http(PUT => "builds/$id.json", json => { token => $runner->{token}, %json }, %opt);
}

# End a build that runs.
sub finish {
    my ($runner, $id, $state, %opt) = @_;
    my $r = put($runner, $id, state => $state // 'success', opt => \%opt);
    die "build $id could not be ended: $r->{status} $r->{body}\n" unless $r->{status} == 200;
    return;
}

# Upload bytes as runners from 1.0 on do: chunked, the token in a header.
sub upload {
    my ($build, $bytes, %opt) = @_;
    return http(
        POST      => "builds/$build->{id}/artifacts" . ($opt{suffix} // ''),
        headers   => ['Build-Token' => $opt{token} // $build->{token}, @{ $opt{headers} // [] }],
        multipart => [part(name => 'file', filename => $opt{filename} // 'artifacts.zip', body => $bytes)],
        chunked   => $opt{chunked} // 1,
        map { $_ => $opt{$_} } grep { exists $opt{$_} } qw(vhost until_answer)
    );
}

# ---- the logs

my @expected;

# Lines of the error log that match are what this file provokes.
sub expect_log { push @expected, @_; return }

sub done_testing {
    my @faults = CIB::Log::faults($CELL, @expected);
    ok !@faults, 'the logs are clean';
    diag $_ for @faults;
    return Test::More::done_testing();
}

1;
