#!/usr/bin/perl
# cells: none
# The command line on its own, without httpd: every command, its JSON, its exit codes. Needs
# CI_BUILDS=path/of/ci-builds, or BUILD as t/check sets it. CI_BUILDS_PARAMS='host=…' runs it on an
# empty PostgreSQL database instead of SQLite.

use strict;
use warnings;

use Cwd ();
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
my $pgsql = $ENV{CI_BUILDS_PARAMS};
my $place = File::Temp::tempdir('cib-cli-XXXXXX', DIR => $root ? '/tmp' : $ENV{TMPDIR} || '/tmp', CLEANUP => 1);
chmod 0755, $place;
my $storage = "$place/storage";
my $codec = JSON::PP->new->utf8->canonical;
my $sha = 'a1' x 20;

# run([stdin,] words): exit code, output, errors
sub run {
    my $stdin = ref $_[0] ? ${ shift() } : '';
    my @words = @_;
    open my $err, '+>', undef or die $!;
    my $pid = IPC::Open3::open3(my $in, my $out, '>&' . fileno $err, $program, @words);
    binmode $_ for $in, $out;
    { local $SIG{PIPE} = 'IGNORE'; print {$in} $stdin; close $in }
    my $output = do { local $/ = undef; <$out> } // '';
    waitpid $pid, 0;
    my $code = $? & 127 ? "signal $?" : $? >> 8;
    seek $err, 0, 0;
    my $errors = do { local $/ = undef; <$err> } // '';
    return ($code, $output, $errors);
}

sub at { return ref $_[0] ? (shift, '-s', $storage, @_) : ('-s', $storage, @_) }

# A success: its output.
sub done {
    my ($code, $out, $err) = run(at(@_));
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($code, 0, join ' ', 'done:', grep { !ref } @_) or diag $err;
    return $out;
}

# The same with --json: what its lines say; the first in scalar context.
sub json {
    my ($code, $out, $err) = run(ref $_[0] ? (shift, at('--json', @_)) : at('--json', @_));
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($code, 0, join ' ', 'json:', grep { !ref } @_) or diag $err;
    my @lines = map { $codec->decode($_) } split /\n/, $out;
    return wantarray ? @lines : $lines[0];
}

sub refused {
    my ($want, $why, @words) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($code, $out, $err) = run(at(@words));
    my $what = join ' ', grep { !ref } @words;
    is $code, $want, "exit $want: $what";
    like $err, $why, '  says why';
    like $err, qr/^ci-builds: /, '  as ci-builds';
    is $out, '', '  prints no result';
    like $err, qr/ --help'\.$/m, '  names --help' if $want == 2;
    return;
}

sub keys_are {
    my ($object, $what, @keys) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply [sort keys %$object], [sort @keys], "keys of $what";
    return;
}

sub write_file {
    my ($name, $bytes) = @_;
    open my $out, '>:raw', "$place/$name" or die $!;
    print {$out} $bytes;
    close $out;
    return "$place/$name";
}

my @PROJECT = qw(id name repo_url timeout allow_git_fetch shared_runners_enabled builds_enabled);
my @RUNNER = qw(id description active is_shared locked run_untagged tag_list maximum_timeout projects contacted_at
    status name version revision platform architecture);
my @BUILD = qw(id project_id status name stage ref tag sha before_sha tag_list runner_id timeout created_at
    started_at finished_at failure_reason exit_code erased_at trace_checksum trace_size artifacts_file artifacts_expire_at
    artifacts depends_on pending_reasons);
my $TIME = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;
my $TOKEN = qr/^[0-9a-f]{40}$/;
my $CREATED = qr/^glrt-[0-9a-f]{40}$/;

# ---- the program itself

{
    my ($code, $out, $err) = run('--help');
    is $code, 0, '--help';
    like $out, qr/^Usage: ci-builds/, 'explains the program';
    my @commands = $out =~ /^  ((?:[a-z]+(?:-[a-z]+)?)(?: [a-z]+(?:-[a-z]+)?)?)(?: ID| NAME| FILE)? {2,}/mg;
    cmp_ok scalar @commands, '>=', 30, 'lists the commands';
    for my $command (@commands) {
        ($code, $out, $err) = run(split(/ /, $command), '--help');
        is "$code$err", '0', "$command --help";
        like $out, qr/^Usage: ci-builds \[-s DIR\] \[--json\] \Q$command\E/, '  explains it';
    }
    like +(run(qw(build --help)))[1], qr/^  build artifacts ID +/m, 'build --help lists what there is';
    is +(run(qw(build add --help)))[1], (run(qw(help build add)))[1], 'help build add';
    like +(run('--version'))[1], qr/^ci-builds .*\d+\.\d+/, '--version';
}
refused(2, qr/no command given/);
refused(2, qr/'nonsense'/, 'nonsense');
refused(2, qr/which command/, 'build');
refused(2, qr/'build nonsense'/, 'build', 'nonsense');
refused(2, qr/invalid option: --nonsense/, qw(build list --nonsense));
refused(2, qr/invalid option character: x/, '-x');
refused(2, qr/missing argument/, qw(build list --status));
refused(2, qr/one word too many/, qw(stats now));
refused(1, qr/no storage directory|cannot be used/, 'stats');

# ---- init

{
    my $snippet = done('init', $pgsql ? ('--driver', 'pgsql', '--params', $pgsql) : ());
    like $snippet, qr/^LoadModule dbd_module \S+$/m, 'init prints LoadModule of dbd';
    like $snippet, qr/^LoadModule ci_builds_module \S+$/m, 'and of the module';
    my ($driver, $params) = $pgsql ? ('pgsql', $pgsql) : ('sqlite3', "$storage/ci-builds.db");
    like $snippet, qr/^DBDriver $driver$/m, 'DBDriver';
    like $snippet, qr{^DBDParams "\Q$params\E"$}m, 'DBDParams';
    like $snippet, qr/^CIBuilds On$/m, 'CIBuilds';
    like $snippet, qr/^CIBuildsStorage "\Q$storage\E"$/m, 'CIBuildsStorage';
    like $snippet, qr/^LimitRequestBody 0$/m, 'LimitRequestBody';
    like $snippet, qr/^#   ci-builds -s \Q$storage\E runner add --project ID$/m, 'and what to do next';
    is_deeply [grep { !/^(?:#|<|LoadModule|DB|CIBuilds|LimitRequestBody)/ } split /\n/, $snippet], [], 'all of which may be pasted';
    is +(stat $storage)[2] & 07777, 0750, 'the directory is closed to others';
    is +(stat "$storage/config")[2] & 07777, 0600, 'its config to all but the owner';
    my $owner = $root ? (getpwnam 'www-data')[2] : $>;
    is_deeply [map { (stat)[4] } grep { (stat)[4] != $owner } $storage, glob "$storage/*"], [],
        'everything belongs to its user';
    is +(stat $storage)[5], (getpwuid $owner)[3], 'and group';
}
{
    my $config = -s "$storage/config";
    my $again = json('init');
    keys_are($again, 'init', qw(storage id driver));
    is $again->{storage}, $storage, 'the storage directory';
    like $again->{id}, qr/^[0-9a-f]{32}$/, 'its id';
    my ($driver, $params) = $pgsql ? ('pgsql', $pgsql) : ('sqlite3', "$storage/ci-builds.db");
    is json(qw(init --driver), $driver, '--params', $params)->{id}, $again->{id}, 'the same again';
    is -s "$storage/config", $config, 'nothing was changed';
}
refused(1, qr/has the driver/, qw(init --params x --driver), $pgsql ? 'sqlite3' : 'pgsql');
refused(1, qr/other parameters/, qw(init --params /elsewhere.db));
refused(2, qr/sqlite3 or pgsql/, qw(init --driver mysql));
refused(1, qr/no user/, qw(init --user no-such-user));
{
    my ($code, $out, $err) = run('-s', "$place/pg", qw(init --driver pgsql));
    is $code, 2, 'pgsql needs --params';
    ok !-e "$place/pg", '  and nothing was made';
    ($code, $out, $err) = run('-s', "$place/pg", qw(init --driver pgsql --params), 'host=/nowhere connect_timeout=1');
    is $code, 1, 'a database that cannot be reached';
    ok !-e "$place/pg/config", '  leaves no storage directory';
    ($code, $out, $err) = run('-s', "$place/pg", '--json', 'init');
    is $code, 0, 'which can be made otherwise then';
    ($code, $out, $err) = run('-s', "$place/other", 'init',
        $pgsql ? ('--driver', 'pgsql', '--params', $pgsql) : ('--params', "$storage/ci-builds.db"));
    is $code, 1, 'the database of another storage directory is refused';
    like $err, qr/another|belongs|instance/, '  and it says why';
}
SKIP: {
    skip 'only as root', 4 unless $root;
    mkdir "$place/full";
    write_file('full/precious', '');
    my ($code, $out, $err) = run('-s', "$place/full", 'init');
    is $code, 1, 'a directory with other things in it is not given away';
    is +(stat "$place/full")[4], 0, '  it is still its owner\'s';
    mkdir "$place/empty", 0700;
    ($code, $out, $err) = run('-s', "$place/empty", 'init', '--user', 'nobody');
    is $code, 0, 'an empty one is';
    is +(stat "$place/empty/lock")[4], (getpwnam 'nobody')[2], '  with all that is in it';
}
{
    local $ENV{CI_BUILDS_STORAGE} = $storage;
    my ($code, $out) = run('stats', '--json');
    is $code, 0, '$CI_BUILDS_STORAGE';
    ($code, $out) = run('-s', "$place/none", 'stats');
    is $code, 1, '-s is stronger';
}

{
    my @outs = map { open my $pipe, '-|', $program, '-s', "$place/met", '--json', 'init' or die $!; $pipe } 1 .. 3;
    my %ids = map { my $line = readline $_; close $_; ($line && $codec->decode($line)->{id} // $? => 1) } @outs;
    is scalar keys %ids, 1, 'three inits at once agree';
    my ($code, $out) = run('-s', "$place/a \"quoted\" name", 'init');
    like $out, qr{^CIBuildsStorage "\Q$place\E/a \\"quoted\\" name"$}m, 'quotes in the snippet';
    my ($id) = grep {/^[0-9a-f]{32}$/} keys %ids;
    my $other = $codec->decode((run('-s', "$place/pg", '--json', 'init'))[1])->{id};
    my $config = do { open my $in, '<', "$place/pg/config" or die $!; local $/ = undef; <$in> };
    $config =~ s/$other/$id/;
    system 'cp', '-p', "$place/pg/config", "$place/pg/before";
    open my $changed, '>', "$place/pg/config" or die $!;
    print {$changed} $config;
    close $changed;
    my $err;
    for my $command ([qw(project list)], ['init']) {
        ($code, $out, $err) = run('-s', "$place/pg", @$command);
        is "$code$out", '1', "@$command: another directory's database";
        like $err, qr/belongs to another storage directory/, '  is refused';
    }
    unlink "$place/pg/ci-builds.db";
    ($code, $out, $err) = run('-s', "$place/pg", 'stats');
    is $code, 1, 'a database that is gone';
    ok !-e "$place/pg/ci-builds.db", '  is not made anew';
}

# ---- projects

my $project = json(qw(project add), 'demo', '--repo-url', 'http://git.example.com/demo.git');
keys_are($project, 'project add', @PROJECT, 'token');
like $project->{token}, $TOKEN, 'its token';
is_deeply { map { $_ => $project->{$_} } @PROJECT },
    {
    id => $project->{id}, name => 'demo', repo_url => 'http://git.example.com/demo.git', timeout => 3600,
    allow_git_fetch => JSON::PP::true, shared_runners_enabled => JSON::PP::true, builds_enabled => JSON::PP::true,
    }, 'the defaults of a project';
my $import = json(
    \"imported-token-0123\n", qw(project add imported --repo-url http://x/y.git --repo-auth token --timeout 60
        --no-git-fetch --no-shared-runners --token -)
);
is $import->{token}, 'imported-token-0123', 'an imported token, from standard input';
is $import->{timeout}, 60, '--timeout';
ok !$import->{allow_git_fetch}, '--no-git-fetch';
ok !$import->{shared_runners_enabled}, '--no-shared-runners';
like +(run(at(qw(project add plain --repo-url http://x/y.git))))[1], qr/^token +[0-9a-f]{40}$/m, 'for people';
refused(1, qr/./, qw(project add twice --repo-url http://x --token imported-token-0123));
refused(2, qr/16/, qw(project add short --repo-url http://x --token short));
refused(2, qr/--repo-url is missing/, qw(project add demo));
refused(2, qr/NAME is missing/, qw(project add --repo-url http://x));
refused(2, qr/none or token/, qw(project add demo --repo-url http://x --repo-auth maybe));
refused(2, qr/--timeout/, qw(project add demo --repo-url http://x --timeout 0));

{
    my $list = json(qw(project list));
    is_deeply [map { $_->{name} } @$list], [qw(demo imported plain)], 'project list';
    keys_are($list->[0], 'a listed project', @PROJECT);
    keys_are(json(qw(project show), $project->{id}), 'project show', @PROJECT);
    is json(qw(project show --show-token), $project->{id})->{token}, $project->{token}, '--show-token';
    like done(qw(project list)), qr/^id +name.*\n.*demo/, 'a table for people';
    is json(qw(project show --show-token), $import->{id})->{token}, $import->{token}, 'of an imported one';
}
{
    my @all = qw(--name renamed --repo-url https://x/z.git --timeout 77 --no-git-fetch --no-shared-runners --no-builds);
    my $set = json(qw(project set), $project->{id}, @all);
    is "@$set{qw(name repo_url timeout)}", 'renamed https://x/z.git 77', 'project set';
    ok !(grep { $set->{$_} } qw(allow_git_fetch shared_runners_enabled builds_enabled)), 'and its switches';
    is done(qw(project set), $project->{id}, qw(--git-fetch --shared-runners --builds)), '', 'no news for people';
    $set = json(qw(project show), $project->{id});
    ok !(grep { !$set->{$_} } qw(allow_git_fetch shared_runners_enabled builds_enabled)), 'on again';
    is $set->{name}, 'renamed', 'what is not named stays';
    refused(2, qr/--builds and --no-builds/, qw(project set), $project->{id}, qw(--builds --no-builds));
    my $new = json(qw(project rotate-token), $project->{id});
    keys_are($new, 'rotate-token', @PROJECT, 'token');
    isnt $new->{token}, $project->{token}, 'another token';
    like done(qw(project rotate-token), $import->{id}), qr/^[0-9a-f]{40}\n$/, 'the bare token for people';
}
for my $command (qw(show set rotate-token remove)) {
    refused(1, qr/no project 999/, 'project', $command, 999);
    refused(2, qr/'abc' is not an id/, 'project', $command, 'abc');
    refused(2, qr/ID is missing/, 'project', $command);
}

# ---- runners

my $runner = json(qw(runner add --project), $project->{id}, '--project', $import->{id},
    '--tags', 'b,a', qw(--tags c --description), "a \x{c3}\x{a9}", qw(--no-untagged --locked));
keys_are($runner, 'runner add', @RUNNER, 'token');
like $runner->{token}, $CREATED, 'its token';
is_deeply $runner->{tag_list}, [qw(a b c)], 'tags';
is_deeply $runner->{projects}, [$project->{id}, $import->{id}], 'projects';
is $runner->{description}, "a \x{e9}", 'description';
ok $runner->{active} && $runner->{locked} && !$runner->{run_untagged} && !$runner->{is_shared}, 'flags';
is $runner->{status}, 'not_connected', 'status';
is $runner->{contacted_at}, undef, 'never heard of';
my $shared = json(qw(runner add --shared --token), 'shared-runner-token-1');
ok $shared->{is_shared} && $shared->{run_untagged} && !$shared->{locked}, 'a shared runner';
is $shared->{token}, 'shared-runner-token-1', 'with an imported token';
refused(1, qr/./, qw(runner add --shared --token shared-runner-token-1));
refused(2, qr/--project or --shared/, qw(runner add));
refused(1, qr/no project 999/, qw(runner add --project 999));
refused(2, qr/tags/, qw(runner add --shared --no-untagged));
{
    my $list = json(qw(runner list));
    is scalar @$list, 2, 'runner list';
    keys_are($list->[0], 'a listed runner', @RUNNER);
    keys_are(json(qw(runner show), $runner->{id}), 'runner show', @RUNNER, 'machines');
    my $set = json(qw(runner set), $runner->{id}, qw(--description new --tags x --untagged --no-locked));
    is "@$set{'description'} @{ $set->{tag_list} }", 'new x', 'runner set';
    ok $set->{run_untagged} && !$set->{locked}, 'and its switches';
    $set = json(qw(runner set), $shared->{id}, '--project', $project->{id});
    is_deeply $set->{projects}, [$project->{id}], 'bind to a project';
    refused(1, qr/no project 999/, qw(runner set), $shared->{id}, qw(--project 999));
    refused(2, qr/tags/, qw(runner set), $runner->{id}, '--no-untagged', '--tags', '');
    ok !json(qw(runner pause), $runner->{id})->{active}, 'pause';
    ok !json(qw(runner show), $runner->{id})->{active}, 'it stays';
    ok json(qw(runner resume), $runner->{id})->{active}, 'resume';
    my $new = json(qw(runner rotate-token), $runner->{id});
    keys_are($new, 'rotate-token', @RUNNER, 'token');
    like $new->{token}, $CREATED, 'a token of the same kind';
    isnt $new->{token}, $runner->{token}, 'another one';
    like done(qw(runner rotate-token), $shared->{id}), qr/^glrt-[0-9a-f]{40}\n$/, 'in place of an imported one too';
}
for my $command (qw(show set pause resume rotate-token remove)) {
    refused(1, qr/no runner 999/, 'runner', $command, 999);
}

# ---- builds

my @add = (qw(build add --project), $project->{id}, '--sha', $sha);
{
    my @made = json(@add);
    keys_are($made[0], 'build add', 'id');
    my $build = json(qw(build show), $made[0]{id});
    keys_are($build, 'build show', @BUILD);
    is "@$build{qw(status name stage ref sha before_sha timeout)}", "pending build test master $sha ${\('0' x 40)} 77",
        'the defaults of a build';
    is_deeply [@$build{qw(tag_list depends_on artifacts_file runner_id started_at finished_at exit_code)}],
        [[], [], undef, undef, undef, undef, undef], 'nothing yet';
    like $build->{created_at}, $TIME, 'created_at';
    is $build->{trace_size}, 0, 'no trace';
    is ref $build->{pending_reasons}, 'ARRAY', 'pending_reasons';
    cmp_ok scalar @{ $build->{pending_reasons} }, '>', 0, 'nothing takes it, and it says why';
    is done(qw(build trace), $made[0]{id}), '', 'an empty trace';
    refused(1, qr/no artifacts/, qw(build artifacts), $made[0]{id});
    refused(1, qr/no artifacts/, qw(build artifacts), $made[0]{id}, '-o', "$place/none.zip");
    ok !-e "$place/none.zip", '  and no file is left';
    write_file('kept.zip', 'before');
    refused(1, qr/no artifacts/, qw(build artifacts), $made[0]{id}, '-o', "$place/kept.zip");
    is -s "$place/kept.zip", 6, '  nor is one that was there cut';
    refused(1, qr/open/, qw(build artifacts), $made[0]{id}, '-o', "$place/none/none.zip");
    like done(qw(build show), $made[0]{id}), qr/^pending_reasons +\S/m, 'for people';
    like done(@add), qr/^\d+\n$/, 'the bare id for people';
}
{
    my $private = write_file('private', "from a file\n");
    chmod 0600, $private;
    my $commands = write_file('commands', "make\n");
    my @made = json(
        \'from standard input', @add, qw(--ref v1 --tag --before-sha), 'b2' x 20, qw(--name n --stage s --tags), 'y,x',
        '--commands-file', $commands, '--options', '{"image":"debian"}', '--variable', 'A=b=c', '--secret', "B=\@$private",
        '--secret', 'C=-', '--secret', 'D=given', qw(--timeout 5)
    );
    my $build = json(qw(build show), $made[0]{id});
    is "@$build{qw(name stage ref before_sha timeout)} @{ $build->{tag_list} }", "n s v1 ${\('b2' x 20)} 5 x y",
        'what was given';
    ok $build->{tag}, '--tag';
    my $options = write_file('options.json', '{}');
    is scalar(my @lines = json(\'', @add, '--options', "\@$options", qw(--commands-file - --count 3))), 3, '--count';
}
refused(2, qr/--sha is missing/, qw(build add --project 1));
refused(2, qr/--project is missing/, qw(build add --sha), $sha);
refused(2, qr/./, qw(build add --project 1 --sha xyz));
refused(1, qr/no project 999/, qw(build add --project 999 --sha), $sha);
refused(1, qr/no build 999/, @add, qw(--depends-on 999));
refused(2, qr/JSON|object|options/i, @add, qw(--options [1));
refused(2, qr/only once/, @add, qw(--commands-file - --secret K=-));
refused(2, qr/KEY=VALUE/, @add, qw(--secret loose-secret));
refused(2, qr/KEY=VALUE/, @add, qw(--variable =x));
refused(1, qr/open/, @add, '--commands-file', "$place/none");
refused(1, qr/open/, @add, '--secret', "K=\@$place/none");
refused(2, qr/NUL/, \"a\0b", @add, qw(--commands-file -));
unlike +(run(at(@add, qw(--secret loose-secret))))[2], qr/loose-secret/, 'no secret in a message';

{
    my @many = map { $_->{id} } json(@add, qw(--count 1201 --name many));
    is scalar @many, 1201, 'many builds';
    is_deeply \@many, [sort { $a <=> $b } @many], 'in order';
    my $list = json(qw(build list --project), $project->{id});
    cmp_ok scalar @$list, '>=', 1201, 'all are listed';
    keys_are($list->[0], 'a listed build', @BUILD);
    is_deeply [map { $_->{id} } @$list], [sort { $a <=> $b } map { $_->{id} } @$list], 'oldest first';
    is scalar @{ json(qw(build list --limit 700)) }, 700, '--limit';
    is_deeply json(qw(build list --limit 0)), [], '--limit 0';
    is_deeply json(qw(build list --status running)), [], '--status';
    is_deeply json(qw(build list --project), $import->{id}), [], '--project';
    like done(qw(build list --limit 2)), qr/^id +status.*\n\d.*\n\d.*\n$/, 'a table for people';
    refused(2, qr/'done' is not a status/, qw(build list --status done));
    refused(1, qr/no project 999/, qw(build list --project 999));
}
{
    my ($first) = json(@add, qw(--name first));
    my ($second) = json(@add, qw(--name second --depends-on), $first->{id});
    is_deeply json(qw(build show), $second->{id})->{depends_on}, [$first->{id}], 'depends_on';
    is json(qw(build show), $second->{id})->{status}, 'created', 'a build that waits';
    refused(1, qr/./, qw(build retry), $first->{id});
    refused(1, qr/./, qw(build erase), $first->{id});
    is json(qw(build cancel), $first->{id})->{status}, 'canceled', 'build cancel';
    refused(1, qr/./, qw(build cancel), $first->{id});
    like json(qw(build show), $first->{id})->{finished_at}, $TIME, 'finished_at';
    is json(qw(build show), $second->{id})->{status}, 'skipped', 'its dependent is skipped';
    is done(qw(build trace --follow), $first->{id}), '', 'following an ended build ends';
    my $again = json(qw(build retry), $first->{id});
    keys_are($again, 'build retry', 'id');
    my $dependent = json(qw(build show), $second->{id});
    is $dependent->{status}, 'created', 'a retry reopens the dependent';
    is_deeply $dependent->{depends_on}, [$again->{id}], '  for the new one';
    like json(qw(build erase), $first->{id})->{erased_at}, $TIME, 'build erase';
    refused(1, qr/./, qw(build erase), $first->{id});
    is done(qw(build trace), $first->{id}), '', 'nothing of an erased build';
}
for my $command (qw(show trace cancel retry erase artifacts)) {
    refused(1, qr/no build 99999/, 'build', $command, 99999);
    refused(2, qr/'0' is not an id/, 'build', $command, 0);
}

# ---- the instance

{
    my $token = json(qw(registration-token show));
    keys_are($token, 'registration-token', 'token');
    like $token->{token}, $TOKEN, 'the registration token';
    is done(qw(registration-token show)), "$token->{token}\n", 'the bare token for people';
    my $new = json(qw(registration-token rotate));
    isnt $new->{token}, $token->{token}, 'rotate';
    is json(qw(registration-token show))->{token}, $new->{token}, 'it stays';
}
{
    my $stats = json('stats');
    keys_are($stats, 'stats', qw(projects runners runners_online builds artifacts artifact_bytes));
    is $stats->{projects}, 3, 'projects are counted';
    is $stats->{runners}, 2, 'runners are counted';
    cmp_ok $stats->{builds}{pending}, '>', 1200, 'builds are counted';
    keys_are($stats->{builds}, 'builds', qw(created pending running success failed canceled skipped));
}
{
    my @gc = qw(requeued failed expired removed orphans freed dry_run);
    my $gc = json(qw(gc --dry-run));
    keys_are($gc, 'gc', @gc);
    ok $gc->{dry_run}, '--dry-run';
    is $gc->{removed}, 0, 'nothing is removed by default';
    is json(qw(gc --dry-run --history 0s))->{removed}, 1, 'the canceled build would be';
    is json(qw(gc --history 0s --ack-timeout Off --stuck-timeout 1d))->{removed}, 1, 'and is';
    is json(qw(gc --history 0s))->{removed}, 0, 'once';
    refused(2, qr/no duration/, qw(gc --history sometimes));
}
{
    my $clean = json('check');
    keys_are($clean, 'check', qw(faults found left));
    is $clean->{found}, 0, 'a clean instance';
    is done('check'), '', 'no news for people';
    mkdir "$storage/artifacts/0";
    mkdir "$storage/artifacts/0/0";
    my $orphan = "$storage/artifacts/0/0/7-archive-0123456789abcdef0123456789abcdef";
    write_file('orphan', 'bytes');
    system 'cp', "$place/orphan", $orphan;
    if ($root) {
        my ($uid, $gid) = (stat $storage)[4, 5];
        chown $uid, $gid, "$storage/artifacts/0", "$storage/artifacts/0/0", $orphan;
    }
    my ($code, $out) = run(at('check'));
    is $code, 1, 'check finds an orphan';
    like $out, qr/^\S+: .*7-archive/m, 'and names it';
    ($code, $out) = run(at(qw(--json check)));
    is $codec->decode($out)->{left}, 1, 'to programs too';
    is json(qw(gc --dry-run))->{orphans}, 1, 'gc would remove it';
    ok -e $orphan, '  but did not';
    ($code, $out) = run(at(qw(check --repair)));
    is $code, 0, 'check --repair leaves no fault';
    ok !-e $orphan, 'the orphan is gone';
    is +(run(at('check')))[0], 0, 'clean again';
}

# ---- options anywhere, one writer, output that does not arrive

is +(run('project', '-s', $storage, 'list', '--json'))[0], 0, 'options between the words';
is +(run('project', 'list', "--storage=$storage"))[0], 0, 'and behind them';
SKIP: {
    skip 'no /dev/full', 2 unless -c '/dev/full';
    my $full = qx("$program" -s "$storage" build list 2>&1 >/dev/full);
    is $? >> 8, 1, 'a full disk is a failure';
    like $full, qr/^ci-builds: standard output: /, 'and it says so';
}
{
    my @pids;
    for my $n (1 .. 4) {
        my $pid = fork // die $!;
        if (!$pid) {
            open STDOUT, '>', '/dev/null';
            exec $program, at(@add, qw(--count 600 --name), "writer$n") or exit 9;
        }
        push @pids, $pid;
    }
    my @codes = map { waitpid $_, 0; $? } @pids;
    is "@codes", '0 0 0 0', 'four writers at once';
    is scalar(grep { $_->{name} =~ /^writer/ } @{ json(qw(build list)) }), 2400, 'lose nothing';
}

# ---- the end of things

is_deeply json(qw(runner remove), $runner->{id}), { id => $runner->{id} }, 'runner remove';
refused(1, qr/no runner/, qw(runner show), $runner->{id});
is_deeply json(qw(project remove), $project->{id}), { id => $project->{id} }, 'project remove';
refused(1, qr/no project/, qw(project show), $project->{id});
is_deeply json(qw(build list)), [], 'with its builds';
is +(run(at('check')))[0], 0, 'nothing is left behind';

SKIP: {
    my $user = $root && getpwnam 'nobody' ? 'nobody' : undef;
    skip 'only as root', 2 unless $user;
    my $out = qx(setpriv --reuid=nobody --clear-groups -- "$program" -s "$storage" stats 2>&1);
    is $? >> 8, 1, 'a stranger is refused';
    like $out, qr/run ci-builds as root or as www-data/, 'and told who may';
}

done_testing;
