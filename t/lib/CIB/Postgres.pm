package CIB::Postgres;

# A PostgreSQL cluster of our own: in a directory, on a Unix socket, gone afterwards.

use strict;
use warnings;

use CIB::Place qw(am_root as_user give_to run);

sub _bindir {
    my ($newest) = sort { ($b =~ m{/(\d+)/bin})[0] <=> ($a =~ m{/(\d+)/bin})[0] }
        glob '/usr/lib/postgresql/*/bin';
    return $newest if $newest;
    chomp(my $dir = qx(pg_config --bindir 2>/dev/null));
    return $dir || die "PostgreSQL is not installed\n";
}

# Make a cluster in `dir` (which is made) and start it. durable => 1: as a real one, for the benchmarks.
# listen => ADDRESS: on the network too, and `database` names that; within => [COMMAND…]: what to start it by.
sub start {
    my ($class, $dir, %options) = @_;
    my $self = bless {
        %options,
        dir  => $dir,
        bin  => _bindir(),
        user => am_root() ? 'postgres' : scalar getpwuid $>,
    }, $class;
    mkdir $dir or die "$dir: $!\n";
    give_to($self->{user}, $dir);
    $self->_run('initdb', '-D', "$dir/data", '-A', 'trust', '-U', 'postgres', '-E', 'UTF8',
        '--locale=C.UTF-8', '--no-sync');
    $self->_admit if $self->{listen};
    $self->{started} = 1;
    $self->_control('start');
    $self->sql(q{CREATE ROLE ci_builds LOGIN});
    return $self;
}

# Whoever can reach it.
sub _admit {
    my ($self) = @_;
    open my $out, '>>', "$self->{dir}/data/pg_hba.conf" or die "pg_hba.conf: $!\n";
    print {$out} "host all all all trust\n";
    close $out or die "pg_hba.conf: $!\n";
    return;
}

# The cluster that somebody else started in `dir`.
sub at {
    my ($class, $dir) = @_;
    return bless { dir => $dir, bin => _bindir(), user => am_root() ? 'postgres' : scalar getpwuid $> }, $class;
}

# Start it once more after `stop`.
sub resume {
    my ($self) = @_;
    $self->{started} = 1;
    return $self->_control('start');
}

# Nothing of the tests outlives their run, so nothing needs to survive a power cut.
sub _control {
    my ($self, $action, @more) = @_;
    my $options = join ' ', map {"-c $_"} 'listen_addresses=' . ($self->{listen} // "''"), "unix_socket_directories=$self->{dir}",
        'fsync=' . ($self->{durable} ? 'on' : 'off'), 'max_connections=300', 'shared_buffers=32MB';
    return $self->_run('pg_ctl', '-D', "$self->{dir}/data", '-l', "$self->{dir}/log", '-w', '-o', $options,
        @more, $action);
}

sub stop {
    my ($self, $mode) = @_;
    return unless delete $self->{started};
    return eval { $self->_run('pg_ctl', '-D', "$self->{dir}/data", '-w', '-m', $mode // 'immediate', 'stop') };
}

# Run SQL as the superuser; rows of unaligned text.
sub sql {
    my ($self, $sql, $database) = @_;
    return $self->_run('psql', '-h', $self->{dir}, '-U', 'postgres', '-d', $database // 'postgres',
        '-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', $sql);
}

# A new database and its DBDParams.
sub database {
    my ($self, $name) = @_;
    $self->sql(qq{CREATE DATABASE "$name" OWNER ci_builds});
    my $host = $self->{listen} // $self->{dir};
    return "host=$host dbname=$name user=ci_builds connect_timeout=3";
}

sub _run {
    my ($self, $program, @args) = @_;
    return run(@{ $self->{within} // [] }, as_user($self->{user}, "$self->{bin}/$program", @args));
}

1;
