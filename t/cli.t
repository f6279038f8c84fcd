# cells: *-event
# ci-builds: every command, its JSON and its exit codes, beside a server that runs.

use strict;
use warnings;

use CIB::Test;

my $storage = $CELL->{instances}{main}{storage};

my $time = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;

sub keys_of { return [sort keys %{ $_[0] }] }

my @PROJECT = sort qw(id name repo_url timeout allow_git_fetch shared_runners_enabled builds_enabled);
my @RUNNER = sort qw(id description active is_shared locked run_untagged tag_list maximum_timeout projects contacted_at status name
    version revision platform architecture machines);
my @BUILD = sort qw(id project_id status name stage ref tag sha before_sha tag_list runner_id timeout created_at started_at finished_at
    failure_reason exit_code erased_at trace_checksum trace_size artifacts_file artifacts_expire_at artifacts
    depends_on pending_reasons);

# are these among the keys?
sub has_keys {
    my ($object, $keys, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is_deeply [grep { !exists $object->{$_} } @$keys], [], $what;
}

subtest 'usage' => sub {
    for my $args ([], ['nonsense'], ['project'], ['project', 'nonsense'], ['project', 'add'], [qw(project show)], [qw(project show x)],
        [qw(build add --project 1)], [qw(project list extra)], [qw(build list --nonsense)], [qw(build list --limit -1)],
        [qw(project list --json=x)])
    {
        cib_fails(2, qr/\S/, @$args);
    }
    my $r = ci_builds({ json => 0 }, '--help');
    is $r->{exit}, 0, '--help';
    like $r->{out}, qr/\b$_\b/, "  names $_" for qw(init project runner build registration-token gc check stats);
    like ci_builds({ json => 0 }, '--version')->{out}, qr/\d+\.\d+/, '--version';
    cib_fails(1, qr/\S/, { storage => '/nonexistent' }, qw(project list));
    is ci_builds({ storage => '', env => { CI_BUILDS_STORAGE => $storage } }, qw(project list))->{exit}, 0, '$CI_BUILDS_STORAGE';
};

my $project;
subtest 'project' => sub {
    my $name = uniq('p');
    $project = cib(qw(project add), $name, '--repo-url', 'https://git.example.com/p.git', '--timeout', 99);
    is_deeply $project->{name}, $name, 'add: name';
    like $project->{id}, qr/^\d+$/, '  id';
    cmp_ok length $project->{token}, '>=', 20, '  token';
    my $show = cib(qw(project show), $project->{id});
    is_deeply keys_of($show), \@PROJECT, 'show: exactly the keys there are';
    is $show->{repo_url}, 'https://git.example.com/p.git', '  repo_url';
    is $show->{timeout}, 99, '  timeout';
    is $show->{$_} ? 1 : 0, 1, "  $_" for qw(allow_git_fetch shared_runners_enabled builds_enabled);
    is cib(qw(project show), $project->{id}, '--show-token')->{token}, $project->{token}, '  the token when asked';
    is project()->{id} > $project->{id} ? 1 : 0, 1, 'ids grow';
    my $list = cib(qw(project list));
    is ref $list, 'ARRAY', 'list: an array';
    my ($listed) = grep { $_->{id} == $project->{id} } @$list;
    is_deeply $listed, $show, '  of the same objects, without tokens';
    cib(qw(project set), $project->{id}, '--timeout', 100, '--no-git-fetch', '--no-shared-runners', '--no-builds');
    $show = cib(qw(project show), $project->{id});
    is $show->{timeout}, 100, 'set: timeout';
    is $show->{$_} ? 1 : 0, 0, "  $_" for qw(allow_git_fetch shared_runners_enabled builds_enabled);
    cib_fails(1, qr/\S/, qw(build add --sha), 'a' x 40, '--project', $project->{id});
    cib(qw(project set), $project->{id}, '--git-fetch', '--shared-runners', '--builds');
    cib(qw(project set), $project->{id}, '--no-shared-runners');
    my $rotated = cib(qw(project rotate-token), $project->{id});
    isnt $rotated->{token}, $project->{token}, 'rotate-token: another';
    cib_fails(1, qr/\S/, qw(project show 999999999));
    cib_fails(1, qr/\S/, qw(project set 999999999 --timeout 1));
    cib_fails(1, qr/\S/, qw(project rotate-token 999999999));
    cib_fails(1, qr/\S/, qw(project remove 999999999));
    cib_fails('1|2', qr/16/, qw(project add), uniq('p'), qw(--repo-url https://x.example/ --token short));
};

subtest 'runner' => sub {
    my $runner = cib(qw(runner add --project), $project->{id}, '--tags', 'b,a', qw(--locked --description), 'my runner');
    has_keys($runner, [qw(id token)], 'add: id and token');
    my $show = cib(qw(runner show), $runner->{id});
    is_deeply keys_of($show), \@RUNNER, 'show: exactly the keys there are';
    is_deeply [sort @{ $show->{tag_list} }], [qw(a b)], '  tag_list';
    is_deeply $show->{projects}, [$project->{id}], '  projects';
    is $show->{locked} ? 1 : 0, 1, '  locked';
    is $show->{is_shared} ? 1 : 0, 0, '  is_shared';
    is $show->{status}, 'not_connected', '  status';
    is $show->{contacted_at}, undef, '  contacted_at';
    cib(qw(runner pause), $runner->{id});
    is cib(qw(runner show), $runner->{id})->{active} ? 1 : 0, 0, 'pause';
    cib(qw(runner resume), $runner->{id});
    is cib(qw(runner show), $runner->{id})->{active} ? 1 : 0, 1, 'resume';
    cib(qw(runner set), $runner->{id}, '--tags', 'c', '--description', 'other', '--no-untagged');
    $show = cib(qw(runner show), $runner->{id});
    is_deeply $show->{tag_list}, ['c'], 'set: tags';
    is $show->{description}, 'other', '  description';
    is $show->{run_untagged} ? 1 : 0, 0, '  run_untagged';
    isnt cib(qw(runner rotate-token), $runner->{id})->{token}, $runner->{token}, 'rotate-token: another';
    ok scalar(grep { $_->{id} == $runner->{id} } @{ cib(qw(runner list)) }), 'list';
    cib(qw(runner remove), $runner->{id});
    cib_fails(1, qr/\S/, qw(runner), $_, $runner->{id}) for qw(show pause resume rotate-token remove);
    my $r = ci_builds(qw(runner add));
    like $r->{exit}, qr/^[12]$/, 'add needs --project or --shared';
    cib_fails(1, qr/\S/, qw(runner add --project 999999999));
    cib_fails('1|2', qr/\S/, qw(runner add --no-untagged --project), $project->{id});
};

subtest "a runner's maximum timeout" => sub {
    my $runner = runner(project => $project, args => [qw(--maximum-timeout 600)]);
    is $runner->{maximum_timeout}, 600, 'add: shown';
    is cib(qw(runner show), $runner->{id})->{maximum_timeout}, 600, '  and kept';
    cib(qw(runner set), $runner->{id}, '--description', 'x');
    is cib(qw(runner show), $runner->{id})->{maximum_timeout}, 600, '  also where something else is set';
    is cib(qw(runner set), $runner->{id}, '--maximum-timeout', 7200)->{maximum_timeout}, 7200, 'set';
    cib_fails(2, qr/600/, qw(runner set), $runner->{id}, '--maximum-timeout', $_) for 1, 599;
    cib_fails(2, qr/--maximum-timeout: '\Q$_\E'/, qw(runner set), $runner->{id}, "--maximum-timeout=$_") for -1, '2h', '', 2**31;
    cib_fails(2, qr/600/, qw(runner add --shared --maximum-timeout 60));
    is cib(qw(runner show), $runner->{id})->{maximum_timeout}, 7200, 'what is refused changes nothing';
    for my $none (qw(none 0)) {
        cib(qw(runner set), $runner->{id}, '--maximum-timeout', 7200);
        my $set = cib(qw(runner set), $runner->{id}, '--maximum-timeout', $none);
        is_deeply [exists $set->{maximum_timeout}, $set->{maximum_timeout}], [1, undef], "set to $none";
    }
    is runner(project => $project)->{maximum_timeout}, undef, 'none unless it is given';
};

subtest 'build' => sub {
    my $id = build(project => $project, tags => 'x,y', args => [qw(--name n --stage s --timeout 5 --tag --ref v1)]);
    my $show = build_show($id);
    is_deeply keys_of($show), \@BUILD, 'show: exactly the keys there are';
    is $show->{status}, 'pending', '  status';
    is $show->{project_id}, $project->{id}, '  project_id';
    is $show->{tag} ? 1 : 0, 1, '  tag';
    is $show->{timeout}, 5, '  timeout';
    is_deeply [sort @{ $show->{tag_list} }], [qw(x y)], '  tag_list';
    like $show->{created_at}, $time, '  created_at';
    is $show->{$_}, undef, "  $_" for qw(runner_id started_at finished_at failure_reason exit_code erased_at artifacts_file artifacts_expire_at);
    is $show->{trace_size}, 0, '  trace_size';
    is_deeply $show->{depends_on}, [], '  depends_on';
    cmp_ok scalar @{ $show->{pending_reasons} }, '>=', 1, '  pending_reasons';
    my @ids = build(project => $project, args => ['--count', 3]);
    is scalar @ids, 3, 'add --count: a line each';
    my $needs = build(project => $project, args => [map { ('--depends-on', $_) } @ids]);
    is_deeply build_show($needs)->{depends_on}, \@ids, '--depends-on';
    my $list = cib(qw(build list --project), $project->{id});
    is_deeply [map { $_->{id} } @$list], [$id, @ids, $needs], 'list: oldest first';
    is_deeply $list->[0], { %$show, exists $list->[0]{pending_reasons} ? (pending_reasons => $list->[0]{pending_reasons}) : () },
        '  of the same objects' or diag explain $list->[0];
    is_deeply [map { $_->{id} } @{ cib(qw(build list --limit 2 --project), $project->{id}) }], [$id, $ids[0]], '  --limit';
    is_deeply [map { $_->{id} } @{ cib(qw(build list --status created --project), $project->{id}) }], [$needs], '  --status';
    cib(qw(build cancel), $ids[0]);
    is build_show($ids[0])->{status}, 'canceled', 'cancel';
    is build_show($needs)->{status}, 'skipped', '  skips what depends on it';
    cib_fails(1, qr/\S/, qw(build cancel), $ids[0]);
    my $retried = cib(qw(build retry), $ids[0]);
    isnt $retried->{id}, $ids[0], 'retry: another build';
    is build_show($retried->{id})->{status}, 'pending', '  which is pending';
    is build_show($needs)->{status}, 'created', '  and reopens what depended on it';
    cib_fails(1, qr/\S/, qw(build retry), $id);
    cib_fails(1, qr/\S/, qw(build erase), $id);
    cib(qw(build erase), $ids[0]);
    like build_show($ids[0])->{erased_at}, $time, 'erase';
    cib_fails(1, qr/\S/, qw(build erase), $ids[0]);
    is ci_builds({ json => 0 }, qw(build trace), $ids[0])->{out}, '', '  no trace is left';
    cib_fails(1, qr/\S/, qw(build), $_, 999999999) for qw(show trace cancel retry erase artifacts);
    cib_fails(1, qr/\S/, qw(build artifacts), $id, '-o', '-');
    cib_fails('1|2', qr/\S/, qw(build add --project), $project->{id}, '--sha', 'short');
    cib_fails(1, qr/\S/, qw(build add --sha), 'a' x 40, qw(--project 999999999));
    cib_fails(1, qr/\S/, qw(build add --sha), 'a' x 40, '--project', $project->{id}, qw(--depends-on 999999999));
    cib_fails('1|2', qr/\S/, qw(build add --sha), 'a' x 40, '--project', $project->{id}, qw(--options nonsense));
    is ref cib(qw(build show), build(project => $project, sha => 'b' x 64)), 'HASH', 'a SHA of 64 digits';
    cancel_all($project);
};

subtest 'following a trace' => sub {
    my $runner = runner(project => $project);
    my $id = build(project => $project);
    my $build = claim($runner);
    my $pid = open my $follow, '-|', $CELL->{ci_builds}, '-s', $storage, qw(build trace), $id, '--follow' or die $!;
    my $append = sub {
        my ($at, $text) = @_;
        http(PATCH => "builds/$id/trace.txt", type => 'text/plain', body => $text,
            headers => ['Build-Token' => $build->{token}, 'Content-Range' => "$at-0"])->{status} == 202 or die 'no 202';
    };
    my $seen = '';
    my $until = sub {
        my ($text) = @_;
        wait_for($text, sub {
            my $vec = '';
            vec($vec, fileno $follow, 1) = 1;
            sysread $follow, $seen, 4096, length $seen if select($vec, undef, undef, 0) > 0;
            return $seen eq $text;
        });
    };
    $append->(0, "one\n");
    ok $until->("one\n"), 'what there is';
    $append->(4, "two\n");
    ok $until->("one\ntwo\n"), 'what comes';
    finish($runner, $id);
    ok wait_for('its end', sub { waitpid($pid, 1) == $pid }), 'and its end';
};

subtest 'the rest' => sub {
    like registration_token(), qr/^\S{20,}$/, 'registration-token show';
    my $r = ci_builds(qw(stats));
    is $r->{exit}, 0, 'stats';
    is scalar(@{ $r->{json} }), 1, '  one object on one line';
    is ci_builds(qw(check))->{exit}, 0, 'check: clean';
    is ci_builds(qw(gc --dry-run))->{exit}, 0, 'gc --dry-run';
    is ci_builds(qw(gc))->{exit}, 0, 'gc';
    my $orphan = "$storage/artifacts/0/0/1-archive-orphan";
    my ($folder) = $orphan =~ m{(.*)/};
    require File::Path;
    File::Path::make_path($folder);
    open my $out, '>', $orphan or die "$orphan: $!";
    print {$out} 'nobody knows me';
    close $out;
    my ($uid, $gid) = (stat $storage)[4, 5];
    chown $uid, $gid, $orphan, $folder, $folder =~ s{/[^/]+$}{}r;
    # httpd's upkeep may find it first; t/unit/cli.t has no httpd beside it and sees the fault
    is ci_builds({ json => 0 }, qw(check --repair))->{exit}, 0, 'check --repair mends a file without a row';
    ok !-e $orphan, '  it is gone';
    is ci_builds(qw(check))->{exit}, 0, '  and then it is clean';
};

subtest 'removal' => sub {
    my $runner = runner(project => $project);
    my $id = build(project => $project);
    claim($runner);
    upload({ id => $id, token => $project->{token} }, 'x');
    cib(qw(project remove), $project->{id});
    cib_fails(1, qr/\S/, qw(project show), $project->{id});
    cib_fails(1, qr/\S/, qw(build show), $id);
    ok !(grep {m{/$id-}} stored_files('artifacts')), 'its files are gone';
    like put($runner, $id, state => 'success')->{status}, qr/^40[34]$/, 'its build is nobody\'s';
};

subtest 'init' => sub {
    my $dir = "$CELL->{dir}/storage-cli";
    my @user = $> == 0 ? ('--user', $CELL->{user}) : ();
    if (is_sqlite()) {
        my $r = ci_builds({ storage => $dir, json => 0 }, 'init', @user);
        is $r->{exit}, 0, 'init';
        like $r->{out}, qr/^\s*\Q$_\E/m, "  prints $_"
            for 'LoadModule dbd_module', 'LoadModule ci_builds_module', 'DBDriver sqlite3', 'DBDParams', 'CIBuilds On', 'CIBuildsStorage', 'LimitRequestBody 0';
        is +(stat "$dir/config")[2] & 07777, 0600, '  the config is for its owner alone';
        is +(stat $dir)[4], scalar getpwnam($CELL->{user}), '  who is the server\'s user';
        my $config = slurp("$dir/config");
        is ci_builds({ storage => $dir, json => 0 }, 'init', @user)->{exit}, 0, 'again';
        is slurp("$dir/config"), $config, '  changes nothing';
        cib_fails(1, qr/\S/, { storage => $dir }, 'init', @user, '--driver', 'pgsql', '--params', 'dbname=x');
    }
    my $r = ci_builds({ storage => "$CELL->{dir}/storage-x" }, 'init', @user, '--driver', 'oracle');
    like $r->{exit}, qr/^[12]$/, 'a driver that there is not';
    $r = ci_builds({ storage => "$CELL->{dir}/storage-y" }, 'init', @user, '--driver', 'pgsql', '--params', 'host=/nonexistent dbname=x');
    is $r->{exit}, 1, 'a database that is not there';
};

done_testing;
