package Server;

# An httpd of the benchmark's own, on one database, with a project and a runner.

use strict;
use warnings;

use File::Copy ();
use File::Path ();
use IO::Socket::INET ();
use JSON::PP ();

use CIB::Place qw(am_root apxs as_user give_to httpd_program httpd_user modules_dir run);

my @MODULES = qw(mpm_event authz_core mime alias dir dbd dav dav_fs);

# start(root => DIR, build => DIR, top => DIR, driver => 'sqlite3'|'pgsql', postgres => undef or a CIB::Postgres)
# and, where it is not like the others:
#   name       => its directory and database are called that
#   processes  => 3, threads => 25
#   directives => lines for its configuration, the last word
#   bare       => without the module: nothing but what it is held against
#   beside     => another server: one more httpd on its database and its storage
sub start {
    my ($class, %self) = @_;
    my $self = bless { processes => 3, threads => 25, directives => '', name => $self{driver}, %self }, $class;
    $self->{dir} = "$self->{root}/$self->{name}";
    File::Path::make_path("$self->{dir}/htdocs", "$self->{dir}/dav/files");
    give_to(httpd_user(), "$self->{dir}/dav", "$self->{dir}/dav/files");
    if (!$self->{bare}) {
        $self->{beside} ? $self->_join($self->{beside}) : $self->_init;
    }
    $self->_configure;
    run(httpd_program(), '-f', "$self->{dir}/httpd.conf", '-k', 'start');
    $self->{running} = 1;
    return $self;
}

sub stop {
    my ($self) = @_;
    return unless delete $self->{running};
    open my $in, '<', "$self->{dir}/httpd.pid" or return;
    chomp(my $pid = <$in>);
    kill TERM => $pid;
    select undef, undef, undef, 0.05 while kill 0 => $pid;
    return;
}

sub url { return "http://127.0.0.1:$_[0]{port}$_[1]" }

# Run ci-builds on the server's storage; its JSON.
sub ci_builds {
    my ($self, @args) = @_;
    my $out = run("$self->{build}/ci-builds", '-s', $self->{storage}, '--json', @args);
    my ($line) = split /\n/, $out;
    return JSON::PP::decode_json($line // 'null');
}

sub add_builds {
    my ($self, $count) = @_;
    return $self->ci_builds(qw(build add --project), $self->{project}, '--sha', 'a' x 40, '--count', $count);
}

# Add what is missing until so many builds are pending.
sub fill {
    my ($self, $count) = @_;
    my $missing = $count - $self->sql('SELECT count(*) FROM queue');
    $self->add_builds($missing) if $missing > 0;
    return;
}

# Run SQL on the server's database, as httpd's user; the last line of what it says.
sub sql {
    my ($self, $sql) = @_;
    my @lines = split /\n/, $self->{driver} eq 'sqlite3'
        ? run(as_user(httpd_user(), 'sqlite3', '-bail', '-cmd', '.timeout 60000', $self->{params}, $sql))
        : $self->{postgres}->sql($sql, ($self->{params} =~ /dbname=(\S+)/)[0]);
    return $lines[-1];
}

# Claim one more build: { id => , token => , … }
sub claim {
    my ($self) = @_;
    $self->add_builds(1);
    return JSON::PP::decode_json(run('curl', '-s', '-H', 'Content-Type: application/json', '-d', qq({"token":"$self->{token}"}),
        $self->url('/ci/api/v1/builds/register')));
}

# The queue's value for a runner.
sub last_update {
    my ($self, $token) = @_;
    my $out = run('curl', '-s', '-D', '-', '-H', 'Content-Type: application/json', '-d', qq({"token":"$token"}),
        $self->url('/ci/api/v1/builds/register'));
    my ($value) = $out =~ /^X-GitLab-Last-Update: (\S+)/mi or die "no X-GitLab-Last-Update in:\n$out";
    return $value;
}

# The pids of httpd's children.
sub children {
    my ($self) = @_;
    open my $in, '<', "$self->{dir}/httpd.pid" or die "no httpd\n";
    chomp(my $pid = <$in>);
    return split ' ', qx(pgrep -P $pid);
}

sub _init {
    my ($self) = @_;
    my @params = $self->{postgres} ? ('--params', $self->{postgres}->database("bench-$self->{name}")) : ();
    $self->{storage} = "$self->{dir}/storage";
    my $snippet = run("$self->{build}/ci-builds", '-s', $self->{storage}, 'init', '--driver', $self->{driver},
        @params, am_root() ? ('--user', httpd_user()) : ());
    ($self->{params}) = $snippet =~ /^\s*DBDParams\s+"?(.*?)"?\s*$/m or die "no DBDParams in:\n$snippet";
    my $project = $self->ci_builds(qw(project add bench --repo-url http://127.0.0.1/bench.git));
    $self->{project} = $project->{id};
    my $runner = $self->ci_builds(qw(runner add --project), $project->{id});
    ($self->{runner}, $self->{token}) = @$runner{qw(id token)};
    return;
}

sub _join {
    my ($self, $other) = @_;
    @$self{qw(storage params project runner token)} = @$other{qw(storage params project runner token)};
    return;
}

sub _configure {
    my ($self) = @_;
    my $modules = modules_dir();
    my $load = join '', map { "LoadModule ${_}_module $modules/mod_$_.so\n" } @MODULES;
    $self->{port} = free_port();
    my %fill = (
        %$self,
        all         => $self->{processes} * $self->{threads},
        loadmodules => "${load}LoadModule bench_trivial_module " . $self->_trivial,
        module      => $self->{bare} ? '' : $self->_module,
        user        => am_root() ? 'User www-data' . "\nGroup www-data" : '',
    );
    open my $in, '<', "$self->{top}/bench/httpd.conf.in" or die $!;
    my $text = do { local $/ = undef; <$in> };
    $text =~ s/\@(\w+)\@/$fill{$1} \/\/ die "no $1"/ge;
    open my $out, '>', "$self->{dir}/httpd.conf" or die $!;
    print {$out} $text;
    close $out or die $!;
    return;
}

sub _module {
    my ($self) = @_;
    File::Copy::copy("$self->{build}/mod_ci_builds.so", "$self->{dir}/mod_ci_builds.so") or die $!;
    chmod 0755, "$self->{dir}/mod_ci_builds.so";
    return <<"END";
LoadModule ci_builds_module $self->{dir}/mod_ci_builds.so
DBDriver $self->{driver}
DBDParams "$self->{params}"
DBDMax 4
CIBuilds On
CIBuildsStorage $self->{storage}
CIBuildsMaxArtifactSize unlimited
CIBuildsMinFree 1M
END
}

# The module that is held against, made for this httpd.
sub _trivial {
    my ($self) = @_;
    my $made = "$self->{root}/mod_bench_trivial.so";
    if (!-e $made) {
        run('sh', '-ec', 'exec gcc -shared -fPIC -O2 $(apr-1-config --cppflags --includes) $(apu-1-config --includes)'
            . ' $(pkg-config --cflags json-c) "$@" $(pkg-config --libs json-c)', 'sh', '-I' . apxs('INCLUDEDIR'), '-D_GNU_SOURCE',
            '-o', $made, "$self->{top}/bench/mod_bench_trivial.c");
        chmod 0755, $made;
    }
    return $made;
}

sub free_port {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "no port: $!\n";
    return $socket->sockport;
}

1;
