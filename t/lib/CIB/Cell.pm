package CIB::Cell;

# One cell of the test matrix, e.g. sqlite3-event: its storage directories, its databases and a server
# that Apache::Test makes. `cell.json` in its directory tells the tests where everything is.

use strict;
use warnings;

use File::Copy ();
use File::Path ();
use JSON::PP   ();

use CIB::Place qw(am_root give_to httpd_user modules_dir run);
use CIB::Tool;

our @INSTANCES = qw(main second hasty);
my @VHOSTS = qw(main small noart full parking moment second hasty off);
# one each, one for Apache::Test itself, two for servers that a test starts
sub PORTS { return @VHOSTS + 3 }

my @MODULES = qw(authz_core authz_host mime alias dir env setenvif reqtimeout status dbd);
# Debian's httpd has these built in, others may not
my @BUILT_IN = qw(unixd log_config watchdog);

# new(name => 'sqlite3-event', root => DIR, top => the checkout, build => its build directory,
#     port => N, postgres => a CIB::Postgres or undef)
sub new {
    my ($class, %self) = @_;
    my $self = bless \%self, $class;
    ($self->{driver}, $self->{mpm}) = split /-/, $self->{name};
    $self->{dir} = "$self->{root}/$self->{name}";
    return $self;
}

sub start {
    my ($self) = @_;
    my $t = "$self->{dir}/t";
    File::Path::make_path("$t/conf", "$t/htdocs", "$t/logs");
    chmod 0755, $self->{dir}, $t, glob "$t/*";
    $self->_instances;
    $self->_configuration($t);
    $self->{httpd} = CIB::Tool::httpd($self->{top}, $self->{dir});
    $self->_test_pl('-start-httpd', '-apxs', $ENV{APXS} || '/usr/bin/apxs', '-httpd', $self->{httpd},
        '-httpd_conf', "$t/conf/inherit.conf", '-user', httpd_user(), '-group', $self->_group,
        '-port', $self->{port});
    $self->{running} = 1;
    $self->_describe($t);
    return;
}

sub stop {
    my ($self) = @_;
    return unless delete $self->{running};
    return $self->_test_pl('-stop-httpd');
}

sub file { return "$_[0]{dir}/cell.json" }

sub error_log { return "$_[0]{dir}/t/logs/error_log" }

sub _group { return scalar getgrgid((getpwnam httpd_user())[3]) }

# Make each instance's storage directory and database with the command line, and keep the lines that it
# says to paste.
sub _instances {
    my ($self) = @_;
    for my $name (@INSTANCES) {
        my $dir = "$self->{dir}/storage-$name";
        my @params = $self->{driver} eq 'pgsql'
            ? ('--params', $self->{postgres}->database("$self->{name}-$name"))
            : ();
        my $snippet = run("$self->{build}/ci-builds", '-s', $dir, 'init', '--driver', $self->{driver}, @params,
            am_root() ? ('--user', httpd_user()) : ());
        my ($params) = $snippet =~ /^\s*DBDParams\s+"?(.*?)"?\s*$/m
            or die "init printed no DBDParams:\n$snippet";
        $self->{instances}{$name} = { storage => $dir, params => $params };
        my $key = uc $name;
        $self->{env}{"CIB_STORAGE_$key"} = $dir;
        $self->{env}{"CIB_PARAMS_$key"} = $params;
    }
    $self->{env}{CIB_DRIVER} = $self->{driver};
    # the impatient instance must not lose it with a test that a tool slows down
    my $slower = 1 + int(CIB::Tool::patience() / 4);
    $self->{env}{CIB_HASTY_ACK} = 2 * $slower . 's';
    $self->{env}{CIB_HASTY_STUCK} = 4 * $slower . 's';
    return;
}

sub _configuration {
    my ($self, $t) = @_;
    my $module = "$self->{dir}/mod_ci_builds.so";
    File::Copy::copy("$self->{build}/mod_ci_builds.so", $module) or die "$module: $!\n";
    chmod 0755, $module;
    $self->{env}{CIB_MODULE} = $module;
    File::Copy::copy("$self->{top}/t/conf/extra.conf.in", "$t/conf/extra.conf.in") or die "extra.conf.in: $!\n";
    my $modules = modules_dir();
    open my $out, '>', "$t/conf/inherit.conf" or die "inherit.conf: $!\n";
    print {$out} "LoadModule ${_}_module $modules/mod_$_.so\n"
        for "mpm_$self->{mpm}", (grep { -e "$modules/mod_$_.so" } @BUILT_IN), @MODULES;
    close $out;
    return;
}

sub _test_pl {
    my ($self, @args) = @_;
    local @ENV{ keys %{ $self->{env} } } = values %{ $self->{env} };
    my $words = eval {
        run($^X, "$self->{top}/t/TEST.PL", @args, '-top_dir', $self->{dir}, '-t_dir', "$self->{dir}/t");
    };
    return $words if defined $words;
    my $why = $@;
    my $log = '';
    if (open my $in, '<', $self->error_log) { local $/ = undef; $log = <$in> // '' }
    die "$why\n---- error log\n$log";
}

sub _describe {
    my ($self, $t) = @_;
    my $port = $self->{port};
    my %cell = (
        name      => $self->{name},
        driver    => $self->{driver},
        mpm       => $self->{mpm},
        tool      => CIB::Tool::name(),
        top       => $self->{top},
        dir       => $self->{dir},
        user      => httpd_user(),
        group     => $self->_group,
        ci_builds => "$self->{build}/ci-builds",
        module    => $self->{env}{CIB_MODULE},
        httpd     => $self->{httpd},
        instances => $self->{instances},
        ports => { map { $_ => ++$port } @VHOSTS },
        spare_port => $self->{port} + @VHOSTS + 1,
        other_port => $self->{port} + @VHOSTS + 2,
        error_log => $self->error_log,
        logs      => [glob "$t/logs/*_log"],
        pid_file  => "$t/logs/httpd.pid",
        htdocs    => "$t/htdocs",
        tokens    => "$self->{dir}/tokens",
        seen      => "$self->{dir}/seen",
        postgres  => $self->{postgres} ? $self->{postgres}{dir} : undef,
    );
    open my $out, '>', $self->file or die $self->file . ": $!\n";
    print {$out} JSON::PP->new->pretty->canonical->encode(\%cell);
    close $out;
    return;
}

1;
