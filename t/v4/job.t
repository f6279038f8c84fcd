# The job that a runner of v4 is given: every member, of the type that Go decodes it to.

use strict;
use warnings;

use B ();
use File::Temp ();
use JSON::PP ();

use CIB::Test;
use CIB::V4;

my $json = JSON::PP->new->utf8->canonical;
my ($yes, $no) = (JSON::PP::true, JSON::PP::false);
my $sha = '0123456789abcdef0123456789abcdef01234567';
my $zeros = '0' x 40;

my $project = project(name => uniq('Group/Demo'), args => [qw(--timeout 1234)]);
my $runner = runner(project => $project, tags => 'b,a', args => ['--description', 'a runner']);

# Add a build, take it and end it: what its runner was told.
sub told {
    my (%opt) = @_;
    my $its = delete $opt{runner} // $runner;
    my $version = delete $opt{version};
    my $id = build(project => $project, sha => $sha, %opt);
    my $r = ask($its, $version ? (json => { info => CIB::V4::info($version) }) : ());
    $r->{status} == 201 && $r->{json}{id} == $id or die "not build $id but $r->{status} $r->{body}\n";
    finish($its, $id);
    return $json->decode($r->{body});
}

sub with_options { return told(args => ['--options', $json->encode(shift)], @_) }

# Equal as JSON: 1, "1" and true differ.
sub is_json {
    my ($got, $expected, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @texts = map { JSON::PP->new->canonical->pretty->allow_nonref->encode($_) } $got, $expected;
    return ok 1, $what if $texts[0] eq $texts[1];
    my @lines = map { [split /\n/] } @texts;
    my ($at) = grep { ($lines[0][$_] // '') ne ($lines[1][$_] // '') } 0 .. $#{ $lines[0] };
    ok 0, $what;
    return diag "from line $at on:\n", map { join("\n", grep {defined} @{$_}[$at .. $at + 9]), "\n--- expected:\n" } @lines;
}

sub values_of { return { map { $_->{key} => $_->{value} } @{ $_[0]{variables} } } }

# ---- types, as the runners' Go structures have them

sub type_of {
    my ($value) = @_;
    return 'null' if !defined $value;
    return 'boolean' if JSON::PP::is_bool($value);
    return { HASH => 'object', ARRAY => 'list' }->{ ref $value } if ref $value;
    my $flags = B::svref_2object(\$value)->FLAGS;
    return $flags & B::SVf_POK ? 'string' : $flags & B::SVf_NOK ? 'float' : 'int';
}

# A type, or with "?" one that may be null; {…}: an object of these; […]: a list, never null. What GitLab
# gives as null may be null here.
my $strings = ['string'];
my $port = { number => 'int', protocol => 'string', name => 'string' };
my $variable = { key => 'string', value => 'string', map { $_ => 'boolean' } qw(public masked file raw) };
my $executor = { docker => { platform => 'string', user => 'string' } };
my $artifact = {
    (map { $_ => 'string' } qw(when artifact_type artifact_format)), (map { $_ => 'string?' } qw(name expire_in)),
    untracked => 'boolean', paths => $strings, exclude => $strings,
};
my %job = (
    id => 'int', token => 'string', allow_git_fetch => 'boolean',
    job_info => { id => 'int', name => 'string', stage => 'string', project_id => 'int', project_name => 'string' },
    git_info => { (map { $_ => 'string' } qw(repo_url ref sha before_sha ref_type)), refspecs => $strings, depth => 'int' },
    runner_info => { timeout => 'int', runner_session_url => 'null' },
    variables   => [$variable],
    steps       => [{ name => 'string', script => $strings, timeout => 'int', when => 'string', allow_failure => 'boolean' }],
    image       => { name => 'string', entrypoint => $strings, ports => [$port], pull_policy => $strings, executor_opts => $executor },
    services    => [{
        name => 'string', alias => 'string?', entrypoint => 'strings?', command => 'strings?', ports => [$port],
        variables => [$variable], pull_policy => $strings,
    }],
    artifacts => [$artifact],
    cache     => [{
        key => 'string', untracked => 'boolean', paths => $strings, policy => 'string', when => 'string', fallback_keys => $strings,
    }],
    credentials  => [],
    dependencies => [{ id => 'int', token => 'string', name => 'string', artifacts_file => { filename => 'string', size => 'int' } }],
    features => { (map { $_ => 'boolean' } qw(trace_sections trace_checksum trace_size)), failure_reasons => $strings },
);

# What is not of its type, as paths.
sub mistyped {
    my ($value, $shape, $path) = @_;
    my $type = type_of($value);
    $shape = $strings if $shape eq 'strings?' && $type ne 'null';
    if (ref $shape eq 'HASH') {
        return "$path is $type" if $type ne 'object';
        return map { exists $shape->{$_} ? mistyped($value->{$_}, $shape->{$_}, "$path.$_") : "$path.$_ is unknown" }
            sort keys %$value;
    }
    if (ref $shape) {
        return "$path is $type" if $type ne 'list';
        return map { mistyped($value->[$_], $shape->[0] // 'nothing', $path . "[$_]") } 0 .. $#$value;
    }
    return if $shape eq $type || ($shape eq "$type?" || $type eq 'null' && $shape =~ /\?$/);
    return "$path is $type";
}

# ---- the predefined variables

sub predefined {
    my ($job, %build) = @_;
    my $told = values_of($job);
    my ($major, $minor, $patch) = split /\./, $told->{CI_SERVER_VERSION};
    my @public = (
        CI => 'true', GITLAB_CI => 'true', CI_SERVER_NAME => 'mod_ci_builds',
        CI_SERVER_VERSION => $told->{CI_SERVER_VERSION}, CI_SERVER_REVISION => $told->{CI_SERVER_REVISION},
        CI_SERVER_VERSION_MAJOR => $major, CI_SERVER_VERSION_MINOR => $minor, CI_SERVER_VERSION_PATCH => $patch,
        CI_JOB_ID => "$job->{id}", CI_JOB_NAME => $build{name}, CI_JOB_STAGE => $build{stage}, CI_JOB_TOKEN => $job->{token},
        CI_NODE_TOTAL => '1', CI_COMMIT_SHA => $sha, CI_COMMIT_SHORT_SHA => '01234567', CI_COMMIT_BEFORE_SHA => $build{before},
        CI_COMMIT_REF_NAME => $build{ref}, CI_COMMIT_REF_SLUG => $build{slug},
        ($build{tag} ? 'CI_COMMIT_TAG' : 'CI_COMMIT_BRANCH') => $build{ref}, CI_REPOSITORY_URL => 'http://git.example.com/demo.git',
        CI_PROJECT_ID => "$project->{id}", CI_PROJECT_NAME => $project->{name}, CI_PROJECT_PATH => $project->{name},
        CI_PROJECT_URL => 'http://git.example.com/demo.git', CI_PIPELINE_ID => "$job->{id}",
        CI_PROJECT_PATH_SLUG => lc($project->{name}) =~ tr{/}{-}r,
        CI_RUNNER_ID => "$runner->{id}", CI_RUNNER_DESCRIPTION => 'a runner', CI_RUNNER_TAGS => 'a, b',
        CI_BUILD_ID => "$job->{id}", CI_BUILD_TOKEN => $job->{token}, CI_BUILD_REF => $sha, CI_BUILD_BEFORE_SHA => $build{before},
        CI_BUILD_REF_NAME => $build{ref}, CI_BUILD_REF_SLUG => $build{slug}, CI_BUILD_NAME => $build{name},
        CI_BUILD_STAGE => $build{stage}, $build{tag} ? (CI_BUILD_TAG => $build{ref}) : (),
    );
    my @list;
    while (my ($key, $value) = splice @public, 0, 2) {
        my $token = $key =~ /TOKEN/;
        my $private = $token || $key eq 'CI_REPOSITORY_URL';
        push @list, {
            key => $key, value => $value, public => $private ? $no : $yes, masked => $token ? $yes : $no, file => $no, raw => $no,
        };
    }
    return @list;
}

sub own {
    my ($key, $value, %flags) = @_;
    return { key => $key, value => $value, public => $no, masked => $no, file => $no, raw => $no, %flags };
}

# ---- a build with everything, and one with nothing

my %everything = (
    before_script => ['cd src', "umask 022\nset -u"],
    after_script  => ["rm -rf tmp\nsync", 'date'],
    image         => {
        name => 'debian:12', entrypoint => ['/bin/sh', '-c'], ports => [80, { number => 443, protocol => 'https', name => 'tls' }],
        pull_policy => 'always', executor_opts => { docker => { platform => 'linux/arm64', user => 'me' } }, unknown => {},
    },
    services => [
        'redis',
        {
            name => 'postgres:15', alias => 'db', entrypoint => ['entry'], command => ['postgres', '-F'], ports => [5432],
            variables => { POSTGRES_DB => 'x' }, pull_policy => ['if-not-present', 'never'],
        },
    ],
    artifacts => [
        {
            name => 'out', paths => ['out/', 'b*'], exclude => ['out/tmp'], untracked => $yes, when => 'always', expire_in => '1 week',
            reports => { junit => 'a.xml', dotenv => ['x.env', 'y.env'], codequality => ['q.json'] },
        },
        { reports => { coverage_report => { coverage_format => 'cobertura', path => 'c.xml' } } },
    ],
    cache => [
        { key => 'k', paths => ['.m2'], untracked => $no, policy => 'pull', when => 'on_failure', fallback_keys => ['a', 'b'] },
        { paths => ['.npm'] },
    ],
    dependencies => ['produce'],
    retry => 2, allow_failure => $yes, environment => { name => 'x' },
);

my ($produce, $other);
{
    my @made = map { build(project => $project, args => ['--name', $_]) } qw(produce other);
    my %job = map { $_->{id} => $_ } map { job($runner) } @made;
    ($produce, $other) = @job{@made};
    upload($produce, 'x' x 7, filename => 'p.zip');
    upload($other, 'y', filename => 'o.zip');
    finish($runner, $_) for @made;
}

subtest 'everything' => sub {
    my $job = told(
        commands => "make\r\n\n  make check \n\n",
        args     => [
            qw(--ref feature/Ab_c --name all --stage deploy --timeout 77 --before-sha), 'b' x 40,
            '--options', $json->encode(\%everything), '--depends-on', $produce->{id}, '--depends-on', $other->{id},
            '--variable', 'GIT_DEPTH=20', '--variable', 'P=12345678', '--raw-variable', 'R=$P', '--secret', 'S=1234567',
            '--secret', 'L=12345678', '--file-variable', "F=a file\n", '--secret', 'D=a$b', '--file-variable', 'G=$x',
            '--variable', 'O=$P',
        ]
    );
    is_deeply [mistyped($job, \%job, 'job')], [], 'each member is of the type that runners decode';
    my %archive = (when => 'always', expire_in => '1 week');
    my %report = (when => 'always', expire_in => '1 week', untracked => $no);
    my $reports = $job->{artifacts};
    $job->{artifacts} = [$reports->[0], sort { $a->{artifact_type} cmp $b->{artifact_type} } @$reports[1 .. $#$reports]];
    is_json $job, {
        id => 0 + $job->{id}, token => $job->{token}, allow_git_fetch => $yes,
        job_info => {
            id => 0 + $job->{id}, name => 'all', stage => 'deploy', project_id => 0 + $project->{id}, project_name => $project->{name},
        },
        git_info => {
            repo_url => 'http://git.example.com/demo.git', ref => 'feature/Ab_c', sha => $sha, before_sha => 'b' x 40,
            ref_type => 'branch', refspecs => ['+refs/heads/feature/Ab_c:refs/remotes/origin/feature/Ab_c'], depth => 20,
        },
        runner_info => { timeout => 77, runner_session_url => undef },
        variables   => [
            predefined($job, name => 'all', stage => 'deploy', ref => 'feature/Ab_c', slug => 'feature-ab-c', before => 'b' x 40),
            own(GIT_DEPTH => '20', public => $yes), own(P => '12345678', public => $yes), own(O => '$P', public => $yes),
            own(R => '$P', public => $yes, raw => $yes), own(S => '1234567'), own(L => '12345678', masked => $yes),
            # no runner is to expand what is secret
            own(D => 'a$b', raw => $yes), own(F => "a file\n", file => $yes), own(G => '$x', file => $yes, raw => $yes),
        ],
        steps => [
            {
                name => 'script', script => ['cd src', 'umask 022', 'set -u', 'make', '', '  make check '], timeout => 77,
                when => 'on_success', allow_failure => $no,
            },
            { name => 'after_script', script => ["rm -rf tmp\nsync", 'date'], timeout => 77, when => 'always', allow_failure => $yes },
        ],
        image => {
            name => 'debian:12', entrypoint => ['/bin/sh', '-c'], pull_policy => ['always'],
            ports => [
                { number => 80, protocol => 'http', name => 'default_port' }, { number => 443, protocol => 'https', name => 'tls' },
            ],
            executor_opts => { docker => { platform => 'linux/arm64', user => 'me' } },
        },
        services => [
            { name => 'redis', alias => undef, entrypoint => undef, command => undef, ports => [], variables => [] },
            {
                name => 'postgres:15', alias => 'db', entrypoint => ['entry'], command => ['postgres', '-F'],
                ports => [{ number => 5432, protocol => 'http', name => 'default_port' }],
                variables => [own(POSTGRES_DB => 'x', public => $yes)], pull_policy => ['if-not-present', 'never'],
            },
        ],
        artifacts => [
            {
                name => 'out', untracked => $yes, paths => ['out/', 'b*'], exclude => ['out/tmp'], %archive,
                artifact_type => 'archive', artifact_format => 'zip',
            },
            {
                name => 'cobertura-coverage.xml', paths => ['c.xml'], %report, expire_in => undef,
                artifact_type => 'cobertura', artifact_format => 'gzip',
            },
            {
                name => 'gl-code-quality-report.json', paths => ['q.json'], %report,
                artifact_type => 'codequality', artifact_format => 'raw',
            },
            { name => '.env', paths => ['x.env', 'y.env'], %report, artifact_type => 'dotenv', artifact_format => 'gzip' },
            { name => 'junit.xml', paths => ['a.xml'], %report, artifact_type => 'junit', artifact_format => 'gzip' },
        ],
        cache => [
            { key => 'k', untracked => $no, paths => ['.m2'], policy => 'pull', when => 'on_failure', fallback_keys => ['a', 'b'] },
            { key => 'default', untracked => $no, paths => ['.npm'], policy => 'pull-push', when => 'on_success', fallback_keys => [] },
        ],
        credentials  => [],
        dependencies => [
            {
                id => 0 + $produce->{id}, token => $produce->{token}, name => 'produce',
                artifacts_file => { filename => 'p.zip', size => 7 },
            },
        ],
        features => $job->{features},
    }, 'and has the expected value';
};

subtest 'next to nothing' => sub {
    my $job = told(commands => '', args => []);
    is_deeply [mistyped($job, { %job, image => 'null' }, 'job')], [], 'each member is of its type';
    is_json $job, {
        id => 0 + $job->{id}, token => $job->{token}, allow_git_fetch => $yes,
        job_info => {
            id => 0 + $job->{id}, name => 'build', stage => 'test', project_id => 0 + $project->{id}, project_name => $project->{name},
        },
        git_info => {
            repo_url => 'http://git.example.com/demo.git', ref => 'master', sha => $sha, before_sha => $zeros, ref_type => 'branch',
            refspecs => ['+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*'], depth => 0,
        },
        runner_info => { timeout => 1234, runner_session_url => undef },
        variables   => [predefined($job, name => 'build', stage => 'test', ref => 'master', slug => 'master', before => $zeros)],
        steps => [{ name => 'script', script => [], timeout => 1234, when => 'on_success', allow_failure => $no }],
        image => undef, map({ $_ => [] } qw(services artifacts cache credentials dependencies)), features => $job->{features},
    }, 'and has its default';
};

subtest 'what this server understands' => sub {
    my $features = told()->{features};
    is_json [@$features{qw(trace_sections trace_checksum trace_size)}], [$yes, $yes, $yes], 'sections, checksums, sizes';
    my %reason = map { $_ => 1 } @{ $features->{failure_reasons} };
    ok $reason{$_}, "and the reason $_" for qw(script_failure runner_system_failure job_execution_timeout image_pull_failure);
    is scalar(keys %$features), 4, 'and nothing else, which would make runners speak otherwise';
};

# ---- part by part

subtest 'where the sources are' => sub {
    my $job = told(args => [qw(--tag --ref v1.0 --variable GIT_DEPTH=1)]);
    is $job->{git_info}{ref_type}, 'tag', 'a tag';
    is_json $job->{git_info}{refspecs}, ['+refs/tags/v1.0:refs/tags/v1.0'], '  and its refspec';
    is_json $job->{variables}, [
        predefined($job, name => 'build', stage => 'test', ref => 'v1.0', slug => 'v1-0', before => $zeros, tag => 1),
        own(GIT_DEPTH => '1', public => $yes),
    ], '  and its variables';
    is_json told(args => [qw(--tag --ref v1.0)])->{git_info}{refspecs},
        ['+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*'], 'a tag with all of the history';

    my @all = ('+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*');
    my @one = ('+refs/heads/master:refs/remotes/origin/master');
    for (
        [0, 'GIT_DEPTH=0'], [0, 'GIT_DEPTH=-1'], [0, 'GIT_DEPTH='], [0, 'GIT_DEPTH=deep'], [0, 'GIT_DEPTH=1.5'],
        [0, 'GIT_DEPTH=99999999999'], [50, 'GIT_DEPTH=50'], [2, 'GIT_DEPTH=1', 'GIT_DEPTH=2'], [0, 'GIT_DEPTHS=1'],
    ) {
        my ($depth, @variables) = @$_;
        my $git = told(args => [map { ('--variable', $_) } @variables])->{git_info};
        is_json [@$git{qw(depth refspecs)}], [$depth, $depth ? \@one : \@all], "@variables: $depth";
    }
    is told(args => [qw(--variable GIT_DEPTH=1 --secret GIT_DEPTH=3)])->{git_info}{depth}, 3, 'a secret one comes last';
};

subtest 'a repository that wants the token' => sub {
    my $closed = project(repo_url => 'https://git.example.com/closed.git', args => [qw(--repo-auth token --no-git-fetch)]);
    my $its = runner(project => $closed);
    my $job = told(project => $closed, runner => $its);
    my $url = "https://gitlab-ci-token:$job->{token}\@git.example.com/closed.git";
    is $job->{git_info}{repo_url}, $url, 'gets it as user info';
    is_json $job->{allow_git_fetch}, $no, 'allow_git_fetch is what the project says';
    my ($variable) = grep { $_->{key} eq 'CI_REPOSITORY_URL' } @{ $job->{variables} };
    is_json $variable, own(CI_REPOSITORY_URL => $url), 'CI_REPOSITORY_URL has it too, and is not public';
    is values_of($job)->{CI_PROJECT_URL}, 'https://git.example.com/closed.git', 'CI_PROJECT_URL has not';
};

subtest 'commands' => sub {
    my %cases = (
        "a\nb"         => ['a', 'b'],
        "a\r\nb\r\n"   => ['a', 'b'],
        "\na\n\n\nb\n" => ['', 'a', '', '', 'b'],
        "a\n\r\n\n"    => ['a'],
        "a\r\r\nb\rc"  => ["a\r", "b\rc"],
        "\n\r\n"       => [],
        "  a \t\n"     => ["  a \t"],
    );
    is_json told(commands => $_)->{steps}[0]{script}, $cases{$_}, $json->allow_nonref->encode($_) for sort keys %cases;
    my %options = (before_script => ['x', "y\n"]);
    is_json with_options(\%options, commands => "a\n")->{steps}[0]{script}, ['x', 'y', '', 'a'], 'before_script is in front';
    is_json with_options(\%options, commands => '')->{steps}[0]{script}, ['x', 'y'], '  also of nothing';
    is_json with_options({ before_script => [] }, commands => 'a')->{steps}[0]{script}, ['a'], '  and may be empty';
    for my $after ([], undef) {
        is scalar @{ with_options({ after_script => $after })->{steps} }, 1, 'no step for an after_script without commands';
    }
    my $job = with_options({}, commands => "echo \x{e2}\x{82}\xac \"\\\x{c3}\x{a4}\n");
    is $job->{steps}[0]{script}[0], "echo \x{20ac} \"\\\x{e4}", 'any character';
};

subtest 'the shorter time' => sub {
    my $short = runner(project => $project, args => [qw(--maximum-timeout 600)]);
    my %of = (599 => 599, 600 => 600, 601 => 600);
    for my $timeout (sort keys %of) {
        my $job = told(runner => $short, args => ['--timeout', $timeout, '--options', '{"after_script":["x"]}']);
        is_json [$job->{runner_info}{timeout}, map { $_->{timeout} } @{ $job->{steps} }], [($of{$timeout}) x 3],
            "a build's $timeout seconds and its runner's 600";
    }
};

subtest 'images and services' => sub {
    my %of = (
        '"x"'                                => { name => 'x', entrypoint => undef, ports => [] },
        '{"name":"x"}'                       => { name => 'x', entrypoint => undef, ports => [] },
        '{"name":"x","entrypoint":[]}'       => { name => 'x', entrypoint => [], ports => [] },
        '{"name":"x","entrypoint":null,"pull_policy":null,"ports":null,"executor_opts":null}' =>
            { name => 'x', entrypoint => undef, ports => [] },
        '{"name":"x","pull_policy":["never"]}' => { name => 'x', entrypoint => undef, ports => [], pull_policy => ['never'] },
        '{"name":"x","executor_opts":{"docker":{"user":"1000"}}}' =>
            { name => 'x', entrypoint => undef, ports => [], executor_opts => { docker => { user => '1000' } } },
        'null' => undef,
    );
    for my $given (sort keys %of) {
        is_json told(args => ['--options', qq({"image":$given})])->{image}, $of{$given}, "the image $given";
        next unless $of{$given};
        is_json told(args => ['--options', qq({"services":[$given]})])->{services},
            [{ %{ $of{$given} }, alias => undef, command => undef, variables => [] }], '  as a service';
    }
    is_json with_options({ services => [] })->{services}, [], 'no services';
};

subtest 'artifacts' => sub {
    my %archive = (
        name => undef, untracked => $no, paths => [], exclude => [], when => 'on_success', expire_in => undef,
        artifact_type => 'archive', artifact_format => 'zip',
    );
    my %junit = (
        name => 'junit.xml', untracked => $no, paths => ['x'], when => 'always', expire_in => undef, artifact_type => 'junit',
        artifact_format => 'gzip',
    );
    my @cases = (
        ['{"paths":["a"]}', { %archive, paths => ['a'] }],
        ['{"untracked":true}', { %archive, untracked => $yes }],
        ['{"paths":["a"],"when":null,"name":null,"exclude":null}', { %archive, paths => ['a'] }],
        ['{"paths":[],"name":"n","expire_in":"1 day"}'],
        ['[]'],
        ['{"reports":{"junit":["x"]}}', \%junit],
        ['{"reports":{"junit":"x"},"expire_in":"2h","when":"on_failure"}', { %junit, expire_in => '2h' }],
        ['[{"reports":{"junit":"x"}},{"paths":["a"]}]', { %archive, paths => ['a'] }, \%junit],
    );
    for my $case (@cases) {
        my ($given, @expected) = @$case;
        is_json told(args => ['--options', qq({"artifacts":$given})])->{artifacts}, \@expected, $given;
    }

    my %options = (artifacts => { paths => ['a'], reports => { junit => 'x', codequality => 'y' } });
    my %types = (0 => 'archive', 1 => 'archive junit', 2 => 'archive codequality junit');
    # more versions of one runner than are written down
    for (
        ['9.5.1', 0], ['11.1.0', 0], ['11.2.0', 1], ['11.4.2', 1], ['11.5.0', 2], ['11.10.1', 2], ['12.0.0', 2], ['19.3.0', 2],
        ['development version', 2],
    ) {
        my ($version, $more) = @$_;
        my ($first, @rest) = map { $_->{artifact_type} } @{ with_options(\%options, version => $version)->{artifacts} };
        is join(' ', $first, sort @rest), $types{$more}, "runner $version: $types{$more}";
    }
    is_json with_options({ artifacts => { reports => { junit => 'x' } } }, version => '10.0.0')->{artifacts}, [], 'or nothing';
};

subtest 'caches' => sub {
    my %cache = (key => 'default', untracked => $no, paths => [], policy => 'pull-push', when => 'on_success', fallback_keys => []);
    for (
        ['{}', {}], ['{"key":"a","policy":"push"}', { key => 'a', policy => 'push' }], ['[]'],
        ['{"when":"always","untracked":true}', { when => 'always', untracked => $yes }],
        ['[{"paths":["a"]},{"key":null,"paths":["b"]}]', { paths => ['a'] }, { paths => ['b'] }],
    ) {
        my ($given, @expected) = @$_;
        is_json told(args => ['--options', qq({"cache":$given})])->{cache}, [map { { %cache, %$_ } } @expected], $given;
    }
};

subtest 'dependencies' => sub {
    my @on = map { ('--depends-on', $_->{id}) } $produce, $other;
    my $names = sub {
        my ($options) = @_;
        return [map { $_->{name} } @{ told(args => ['--options', $options, @on])->{dependencies} }];
    };
    is_json $names->('{}'), ['produce', 'other'], 'all';
    is_json $names->('{"dependencies":null}'), ['produce', 'other'], 'null is as if it were not there';
    is_json $names->('{"dependencies":[]}'), [], 'none';
    is_json $names->('{"dependencies":["other","third"]}'), ['other'], 'those that are named';
    is_json $names->('{"dependencies":["other","produce","other"]}'), ['produce', 'other'], '  once each';

    my $bare = build(project => $project, args => [qw(--name bare)]);
    my $token = job($runner)->{token};
    finish($runner, $bare);
    is_json told(args => ['--depends-on', $bare])->{dependencies}, [{ id => 0 + $bare, token => $token, name => 'bare' }],
        'one without artifacts';
    cib(qw(build erase), $other->{id});
    is_json [grep { exists $_->{artifacts_file} } @{ told(args => \@on)->{dependencies} }],
        [{ id => 0 + $produce->{id}, token => $produce->{token}, name => 'produce', artifacts_file => { filename => 'p.zip', size => 7 } }],
        'and one whose artifacts are gone';
};

subtest 'variables' => sub {
    my $file = File::Temp->new;
    print {$file} "-----\nkey\n";
    close $file or die "$file: $!\n";
    my @args = (
        '--file-variable', "A=\@$file", '--file-variable', 'B=-', '--raw-variable', 'C=@none', '--raw-variable', 'D=-',
        '--secret', "E=\@$file",
    );
    my ($id) = map { $_->{id} } cib({ stdin => "from standard input\n" }, qw(build add --project), $project->{id}, '--sha', $sha, @args);
    my @expected = (
        own(C => '@none', public => $yes, raw => $yes), own(D => '-', public => $yes, raw => $yes),
        own(E => "-----\nkey", masked => $yes), own(A => "-----\nkey\n", masked => $yes, file => $yes),
        own(B => "from standard input\n", masked => $yes, file => $yes),
    );
    my $first = job($runner);
    is_json [@{ $first->{variables} }[-5 .. -1]], \@expected, 'raw ones as they are, files byte for byte, secrets without the line end';
    finish($runner, $id, 'failed');
    cib(qw(build retry), $id);
    my $again = job($runner);
    isnt $again->{id}, $id, 'retried';
    is_json [@{ $again->{variables} }[-5 .. -1]], \@expected, '  with the same';
    append($again, 0, "-----\nkey\n and more\n");
    unlike trace_of($again->{id}), qr/key/, 'and the contents of a file are masked';
    finish($runner, $again->{id});
    my %row = map { $_->{key} => $_ } @{ told(args => ['--file-variable', 'S=1234567', '--secret', "U=\x{c3}\x{a4}bcdefg"])->{variables} };
    is_json $row{S}{masked}, $no, 'seven bytes are too few to be masked';
    is_json $row{U}{masked}, $yes, 'eight bytes of seven characters are not';
};

# ---- what is refused when a build is added

subtest 'refused' => sub {
    my @add = (qw(build add --project), $project->{id}, '--sha', $sha);
    my %cases = (
        '{"image":{"name":"x","entrypoint":"sh"}}' => qr/option image\.entrypoint must be a list of strings/,
        '{"services":["x",{"name":"y","command":"z"}]}' => qr/option services\.command must be a list of strings/,
        '{"artifacts":[{"paths":["a"]},{"paths":["b"]}]}' => qr/asks for an archive \(paths or untracked\) twice/,
        '{"artifacts":{"reports":{"junitt":"x"}}}' => qr/artifacts\.reports\.junitt is no report; there are .*junit.*codequality/,
        '{"artifacts":{"expire_in":86400}}' => qr/option artifacts\.expire_in must be a duration/,
        '{"cache":{"policy":"pull_push"}}' => qr/option cache\.policy must be pull-push, pull or push/,
        '{"cache":[{"when":"never"}]}' => qr/option cache\.when must be on_success, on_failure or always/,
        '{"before_script":"x"}' => qr/option before_script must be a list of strings/,
    );
    cib_fails(2, $cases{$_}, @add, '--options', $_) for sort keys %cases;
    cib_fails(2, qr/KEY=VALUE/, @add, '--file-variable', 'x');
    cib_fails(2, qr/KEY=VALUE/, @add, '--raw-variable', '=x');
    cib_fails(2, qr/only once/, @add, '--file-variable', 'A=-', '--secret', 'B=-');
    cib_fails(2, qr/64 KiB/, { stdin => 'x' x 65537 }, @add, '--file-variable', 'A=-');
    is ask($runner)->{status}, 204, 'and no build is there';
};

done_testing;
