#!/usr/bin/perl
# cells: none
# ci-builds backup and restore on their own, without httpd: what is made, what is refused, what is left
# behind. Needs CI_BUILDS=path/of/ci-builds, or BUILD as t/check sets it.

use strict;
use warnings;

use Cwd ();
use Digest::SHA ();
use File::Path ();
use File::Temp ();
use FindBin ();
use IPC::Open3 ();
use JSON::PP ();
use Test::More;

my $program = $ENV{CI_BUILDS} // ($ENV{BUILD} // "$FindBin::Bin/../../build") . '/ci-builds';
$program = Cwd::abs_path($program) // $program;
-x $program or plan skip_all => "no $program";
delete $ENV{CI_BUILDS_STORAGE};
alarm 300;

my $root = $> == 0;
my $place = File::Temp::tempdir('cib-backup-XXXXXX', DIR => $root ? '/tmp' : $ENV{TMPDIR} || '/tmp', CLEANUP => 1);
chmod 0755, $place;
my $storage = "$place/storage";
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $sha = 'a1' x 20;

# run([stdin,] words): exit code, output, errors
sub run {
    my $stdin = ref $_[0] ? ${ shift() } : '';
    my @words = @_;
    open my $err, '+>', undef or die $!;
    my $pid = IPC::Open3::open3(my $in, my $out, '>&' . fileno $err, @words);
    binmode $_ for $in, $out;
    { local $SIG{PIPE} = 'IGNORE'; print {$in} $stdin; close $in }
    my $output = do { local $/ = undef; <$out> } // '';
    waitpid $pid, 0;
    my $code = $? & 127 ? "signal $?" : $? >> 8;
    seek $err, 0, 0;
    my $errors = do { local $/ = undef; <$err> } // '';
    return ($code, $output, $errors);
}

# ci-builds -s DIR …: its JSON; dies when it fails
sub cib {
    my $stdin = ref $_[0] ? shift : \'';
    my ($dir, @words) = @_;
    my ($code, $out, $err) = run($stdin, $program, '-s', $dir, '--json', @words);
    die "@words: exit $code: $err" if $code;
    my @lines = map { $json->decode($_) } split /\n/, $out;
    return wantarray ? @lines : $lines[0];
}

sub fails {
    my ($exit, $why, $dir, @words) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($code, $out, $err) = run($program, '-s', $dir, @words);
    is $code, $exit, "exit $exit: ci-builds @words";
    like $err, $why, '  and says why';
    is $out, '', '  and prints no result';
    return;
}

sub slurp {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/ = undef;
    return scalar <$in> // '';
}

sub spew {
    my ($file, $bytes) = @_;
    open my $out, '>:raw', $file or die "$file: $!\n";
    print {$out} $bytes;
    close $out or die "$file: $!\n";
    return $file;
}

sub entries {
    my ($dir) = @_;
    opendir my $open, $dir or return 'not there';
    return [sort grep { !/^\.\.?$/ } readdir $open];
}

# What `find` says of a storage directory: names, kinds, modes, owners.
sub tree {
    my ($dir) = @_;
    my ($code, $out) = run('find', $dir, '-mindepth', 1, '-not', '-path', '*/hosts/*', '-printf', '%P %y %m %u %g\n');
    return [sort split /\n/, $out];
}

# ---- an instance

my %made;
{
    cib($storage, 'init');
    $made{project} = cib($storage, qw(project add p --repo-url https://git.example.com/p.git));
    $made{imported} = cib($storage, qw(project add q --repo-url u --token), 'imported-token-0123456789');
    cib($storage, qw(runner add --shared --tags), 'a,b');
    cib($storage, qw(registration-token rotate));
    $made{registration} = cib($storage, qw(registration-token show))->{token};
    cib(\"make\n", $storage, qw(build add --project 1 --sha), $sha, qw(--commands-file - --secret K=a-long-secret
        --variable A=b --count 30 --tags a));
    cib($storage, qw(build add --project 1 --sha), $sha, '--depends-on', 30);
    cib($storage, qw(build cancel 3));
    cib($storage, qw(build cancel 31));
}
my $backup = "$place/b.tar";

# one of some megabytes
my $big = "$place/big";
cib($big, 'init');
cib($big, qw(project add p --repo-url u));
cib(\('x' x 900_000), $big, qw(build add --project 1 --sha), $sha, qw(--commands-file - --count 3));

# ---- backup

{
    my $told = cib($storage, 'backup', $backup);
    is_deeply $told, { file => $backup, builds => 31, artifacts => 0, bytes => -s $backup, faults => 0 }, 'backup says what it made';
    my @is = stat $backup;
    is $is[2] & 07777, 0600, 'for its owner only';
    is $is[4], $>, 'who is the caller';
    my ($code, $list) = run('tar', '-tf', $backup);
    is $code, 0, 'a tar';
    my @members = split /\n/, $list;
    is $members[0], 'manifest.json', 'that begins with its manifest';
    is $members[-1], 'SHA256SUMS', '  and ends with the sums';
    my $manifest = $json->decode((run('tar', '-xOf', $backup, 'manifest.json'))[1]);
    my $config = $json->decode(slurp("$storage/config"));
    is $manifest->{$_}, $config->{$_}, "the manifest has the instance's $_" for qw(id secret driver);
    ok !exists $manifest->{params}, '  but not where its database is';
    fails(1, qr/^ci-builds: \Q$backup\E is there: --force replaces it$/, $storage, 'backup', $backup);
    is_deeply(cib($storage, 'backup', '--force', $backup)->{builds}, 31, '--force');
    fails(1, qr/is no file/, $storage, 'backup', '--force', $place);
    fails(1, qr/is no file/, $storage, qw(backup --force /dev/null));
    fails(1, qr/No such file/, $storage, 'backup', "$place/nowhere/b.tar");
    fails(2, qr/FILE is missing/, $storage, 'backup');
    fails(1, qr/no storage directory|cannot be used/, "$place/nowhere", 'backup', "$place/none.tar");
    is_deeply entries($place), ['b.tar', 'big', 'storage'], 'nothing else is left';
    chdir $place or die;
    is cib($storage, qw(backup relative.tar))->{file}, 'relative.tar', 'a name without a slash';
    ok -s "$place/relative.tar", '  is a file here';
    chdir '/' or die;
    unlink "$place/relative.tar";
}
{
    my ($code, $out, $err) = run($program, '-s', $storage, 'backup', '-');
    is "$code$err", '0', 'backup -';
    cmp_ok length $out, '>=', 10240, '  writes it to standard output, and nothing else';
    ($code, undef, $err) = run(\$out, 'tar', '-t');
    is $code, 0, '  a tar';
    ($code, undef, $err) = run('sh', '-c', "exec '$program' -s '$storage' backup - >/dev/full");
    is $code, 1, 'a full disk';
    like $err, qr/^ci-builds: .*No space left on device$/, '  is told as what it is';
}
for my $ending (qw(gz xz zst)) {
    cib($storage, 'backup', "$place/b.$ending");
    cmp_ok -s "$place/b.$ending", '<', (-s $backup) / 2, "packed: .$ending";
    is cib("$place/unpacked", 'restore', "$place/b.$ending")->{builds}, 31, '  and restored';
    File::Path::remove_tree("$place/unpacked");
    unlink "$place/b.$ending";
}
{
    mkdir "$place/target";
    my ($code, undef, $err) = run('bash', '-c', "ulimit -f 1000; exec '$program' -s '$big' backup '$place/target/b.tar'");
    is $code, 1, 'a file beyond a limit';
    like $err, qr/^ci-builds: .*File too large$/, '  is told as what it is';
    is_deeply entries("$place/target"), [], '  and nothing is left of it';
    File::Path::remove_tree("$place/target");
}

# ---- restore

my $sums = 'SHA256SUMS';
{
    my $to = "$place/restored";
    my $told = cib($to, 'restore', $backup);
    is_deeply $told, { storage => $to, id => $json->decode(slurp("$storage/config"))->{id}, driver => 'sqlite3', builds => 31,
        artifacts => 0, bytes => 0 }, 'restore says what it made';
    is_deeply tree($to), tree($storage), 'as init makes it';
    is +(stat $to)[2] & 07777, 0750, 'closed to others';
    is slurp("$to/config"), slurp("$storage/config"), 'the same config';
    is cib($to, 'check')->{found}, 0, 'check is clean';
    for my $what ([qw(build list)], [qw(project list)], [qw(runner list)], [qw(registration-token show)], [qw(project show 1 --show-token)],
        [qw(project show 2 --show-token)])
    {
        is_deeply [cib($to, @$what)], [cib($storage, @$what)], "the same @$what";
    }
    is cib($to, qw(build add --project 1 --sha), $sha)->{id}, 32, 'ids go on';
    is cib($to, qw(project add r --repo-url u))->{id}, 3, '  of projects, too';
    my ($code, $out) = run($program, '-s', "$place/again", 'restore', $backup);
    like $out, qr/^# 31 builds and 0 artifacts /, 'for people: what it did';
    like $out, qr/^\Q$_\E/m, "  and what httpd is to be told: $_"
        for 'LoadModule ci_builds_module', 'DBDriver sqlite3', "DBDParams \"$place/again/ci-builds.db\"", "CIBuildsStorage \"$place/again\"";
    File::Path::remove_tree("$place/again", $to);
}
{
    mkdir "$place/empty", 0700;
    is cib("$place/empty", 'restore', $backup)->{builds}, 31, 'into a directory that is empty';
    fails(1, qr/is not an empty directory/, "$place/empty", 'restore', $backup);
    is cib("$place/empty", 'check')->{found}, 0, '  which overwrites nothing';
    File::Path::remove_tree("$place/empty");
    mkdir "$place/used";
    spew("$place/used/precious", 'x');
    fails(1, qr/is not an empty directory/, "$place/used", 'restore', $backup);
    is_deeply entries("$place/used"), ['precious'], '  whatever is in it';
    fails(1, qr/is not an empty directory/, "$place/used/precious", 'restore', $backup);
    File::Path::remove_tree("$place/used");
    my $database = "$place/elsewhere";
    mkdir $database;
    chmod 0777, $database;
    is cib("$place/to", 'restore', '--params', "$database/ci.db", $backup)->{builds}, 31, 'a database elsewhere';
    ok -s "$database/ci.db", '  is there';
    fails(1, qr/the database is not empty/, "$place/to2", 'restore', '--params', "$database/ci.db", $backup);
    ok !-e "$place/to2", '  nothing is left';
    is cib("$place/to", 'check')->{found}, 0, '  nor changed';
    fails(1, qr/No such file/, "$place/to2", 'restore', "$place/none.tar");
    fails(1, qr/is a directory/, "$place/to2", 'restore', $place);
    fails(2, qr/sqlite3 or pgsql/, "$place/to2", qw(restore --driver mysql), $backup);
    fails(2, qr/needs --params/, "$place/to2", qw(restore --driver pgsql), $backup);
    fails(1, qr/cannot be opened/, "$place/to2", qw(restore --driver pgsql --params), 'host=/nowhere connect_timeout=1', $backup);
    fails(1, qr/no user/, "$place/to2", qw(restore --user no-such-user), $backup);
    ok !-e "$place/to2", 'what fails leaves nothing behind';
    File::Path::remove_tree("$place/to", $database);
    my ($code, $out, $err) = run(\slurp($backup), 'sh', '-c', "gzip | exec '$program' -s '$place/to' --json restore -");
    is $json->decode($out)->{builds}, 31, 'from standard input, packed';
    File::Path::remove_tree("$place/to");
}

# ---- backups that are none

# Take the backup to pieces, let `change` work on them (by name; undef: not there), and put them together
# again with sums that are right.
sub changed {
    my ($change, %how) = @_;
    my $dir = "$place/pieces";
    File::Path::remove_tree($dir);
    mkdir $dir;
    run('tar', '-xf', $backup, '-C', $dir);
    my @names = split /\n/, (run('tar', '-tf', $backup))[1];
    @names = grep { $_ ne $sums } @names;
    my %pieces = map { $_ => slurp("$dir/$_") } @names;
    $change->(\%pieces);
    push @names, grep { my $name = $_; !grep { $_ eq $name } @names } sort keys %pieces;
    @names = grep { defined $pieces{$_} } @names;
    @names = reverse @names if $how{reverse};
    for my $name (@names) {
        my ($folder) = "$dir/$name" =~ m{(.*)/};
        File::Path::make_path($folder);
        spew("$dir/$name", $pieces{$name});
    }
    spew("$dir/$sums", join '', map { Digest::SHA::sha256_hex($pieces{$_}) . "  $_\n" } @names);
    my ($code, undef, $err) = run('tar', '-C', $dir, '-cPf', "$place/changed.tar", @names, $sums);
    die $err if $code;
    return "$place/changed.tar";
}

# Change each row of a table.
sub rows {
    my ($pieces, $table, $change) = @_;
    $pieces->{"database/$table.jsonl"} = join '', map { my $row = $json->decode($_); $change->($row); $json->encode($row) . "\n" }
        split /\n/, $pieces->{"database/$table.jsonl"};
    return;
}

sub manifest {
    my ($pieces, %members) = @_;
    $pieces->{'manifest.json'} = $json->encode({ %{ $json->decode($pieces->{'manifest.json'}) }, %members });
    return;
}

is cib("$place/to", 'restore', changed(sub { }))->{builds}, 31, 'one that was put together by others';
File::Path::remove_tree("$place/to");

for my $case (
    ['a newer schema', sub { manifest($_[0], schema => 99, program => '9.9') }, qr/made by a newer program \(9\.9, schema 99/],
    ['a newer format', sub { manifest($_[0], version => 2) }, qr/made by a newer program/],
    ['another format', sub { manifest($_[0], format => 'x') }, qr/it is no backup/],
    ['no secret', sub { manifest($_[0], secret => 'abc') }, qr/no secret/],
    ['no id', sub { manifest($_[0], id => undef) }, qr/cannot be understood/],
    ['no JSON', sub { $_[0]{'manifest.json'} = '{' }, qr/no JSON/],
    ['a column that nobody knows', sub { rows($_[0], 'projects', sub { $_[0]{more} = 1 }) }, qr/a row of projects that is none/],
    ['a text for a number', sub { rows($_[0], 'projects', sub { $_[0]{timeout} = 'x' }) }, qr/a row of projects that is none/],
    ['half a row', sub { chop $_[0]{'database/builds.jsonl'} for 1 .. 5 }, qr/a row of builds that is none/],
    ['a row without what it must have', sub { rows($_[0], 'builds', sub { delete $_[0]{sha} }) }, qr/database: .*sha/],
    ['a table that is missing', sub { $_[0]{'database/builds.jsonl'} = undef }, qr/database: /],
    ['a table that nobody knows', sub { $_[0]{'database/more.jsonl'} = '' }, qr{it holds database/more.jsonl}],
    ['a file that leads out', sub { $_[0]{'artifacts/0/0/../../../x'} = '' }, qr{it is (?:no backup|damaged)}],
    ['a file in another place', sub { $_[0]{'artifacts/0/1/12-archive-00'} = '' }, qr{it holds artifacts/0/1/12-archive-00}],
    ['a state of a trace', sub { $_[0]{'traces/0/0/12.state'} = '' }, qr{it holds traces/0/0/12.state}],
    ['a trace without its bytes', sub {
        $_[0]{'traces.jsonl'} = qq({"build_id":1,"claim":1,"received":5,"stored":5,"crc":0,"tail":""}\n);
    }, qr/bytes of the trace of build 1 are missing/],
    ['a trace that is no row', sub { $_[0]{'traces.jsonl'} = qq({"build_id":1}\n) }, qr/a row of traces that is none/],
) {
    my ($what, $change, $why) = @$case;
    note $what;
    fails(1, $why, "$place/to", 'restore', changed($change));
    ok !-e "$place/to", "  nothing is left of $what";
}
fails(1, qr/does not begin with manifest.json/, "$place/to", 'restore', changed(sub { }, reverse => 1));
for my $file ('/dev/null', '/etc/passwd', $program) {
    fails(1, qr/\Q$file\E: it is no backup/, "$place/to", 'restore', $file);
}

# ---- damage

my $bytes = slurp($backup);
my $end = length $bytes =~ s/\0+\z//r;
mkdir "$place/to";
for my $at (map { int($end / 7 * $_) } 0 .. 6) {
    my $cut = spew("$place/cut.tar", substr $bytes, 0, $at);
    fails(1, qr/^ci-builds: \Q$cut\E: it is (?:damaged|no backup): /, "$place/to", 'restore', $cut);
}
my $tried = 0;
for my $name ('database/builds.jsonl', 'database/queue.jsonl', 'manifest.json', $sums) {
    my $spoilt = $bytes;
    # somewhere within the member
    my $at = index($spoilt, "$name\0") + 512 + 100 * (1 + $tried++);
    substr($spoilt, $at, 1) = chr(ord(substr $spoilt, $at, 1) ^ 1);
    spew("$place/spoilt.tar", $spoilt);
    fails(1, qr/it is (?:damaged|no backup): /, "$place/to", 'restore', "$place/spoilt.tar");
}
is_deeply entries("$place/to"), [], 'and none of them left anything behind';
mkdir "$place/elsewhere";
chmod 0777, "$place/elsewhere";
fails(1, qr/it is damaged/, "$place/to", 'restore', '--params', "$place/elsewhere/ci.db", "$place/spoilt.tar");
is_deeply entries("$place/elsewhere"), [], '  nor did a database elsewhere';
rmdir "$place/to";

# ---- older schemas

{
    my $old = changed(sub {
        my ($pieces) = @_;
        manifest($pieces, schema => 1);
        delete $pieces->{'database/runner_machines.jsonl'};
        rows($pieces, 'runners', sub { delete $_[0]{maximum_timeout} });
        rows($pieces, 'builds', sub { delete @{ $_[0] }{qw(trace_checksum short_traces followed_until)} });
        rows($pieces, 'build_variables', sub { delete @{ $_[0] }{qw(is_file is_raw)} });
    });
    is cib("$place/to", 'restore', $old)->{builds}, 31, 'a backup of schema 1';
    is_deeply [cib("$place/to", qw(build list))], [cib($storage, qw(build list))], '  with all its builds';
    is cib("$place/to", 'check')->{found}, 0, '  and clean';
    is cib("$place/to", qw(build retry 3))->{id}, 32, '  whose builds can be retried';
    File::Path::remove_tree("$place/to");
}

# ---- interrupted

for my $signal (qw(TERM INT KILL)) {
    my $much = (run($program, '-s', $big, 'backup', '-'))[1];
    pipe my $reader, my $writer or die;
    my $pid = fork // die;
    if (!$pid) {
        close $writer;
        open STDIN, '<&', $reader;
        open STDERR, '>', "$place/said";
        exec $program, '-s', "$place/to", 'restore', '-';
    }
    close $reader;
    # more than a pipe holds: when all is written it is in the middle of it
    syswrite $writer, substr $much, 0, 1_000_000;
    kill $signal => $pid;
    close $writer;
    waitpid $pid, 0;
    isnt $?, 0, "a restore that ends by SIG$signal";
    if ($signal eq 'KILL') {
        ok !-e "$place/to/config", '  makes no storage directory';
    } else {
        ok !-e "$place/to", '  leaves nothing behind';
    }
    like slurp("$place/said"), qr/^ci-builds: /, '  and says so' if $signal eq 'TERM';
}

done_testing;
