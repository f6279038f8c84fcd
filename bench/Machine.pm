package Machine;

# What a table of figures is worth nothing without: what was measured, on what, and who else was at work.

use strict;
use warnings;

use POSIX ();

use CIB::Place qw(run);

# Above these somebody else is at work, and ratios may be off too.
use constant { QUIET_LOAD => 0.3, QUIET_SHARE => 0.05 };

# Lines for the head of the table, and whether the machine is quiet.
# describe(top => DIR, root => DIR, postgres => version or undef)
sub describe {
    my (%of) = @_;
    my ($load, $share) = (load(), share_in_use());
    my @lines = (
        [measured => 'mod_ci_builds ' . commit($of{top})],
        [machine => sprintf '%s, %d cores, %.1f GiB, Linux %s', cpu(), cores(), memory() / 2**20, (POSIX::uname())[2]],
        [disk => sprintf '%s, fdatasync of 4 KiB in %.2f ms', filesystem($of{root}), 1e3 * fdatasync($of{root})],
        [software => join ', ', httpd(), libraries(), 'SQLite ' . sqlite(), 'PostgreSQL ' . postgresql()],
        [load => sprintf '%.2f in the minute before, %.0f %% of all cores in the second before', $load, 100 * $share],
    );
    return (\@lines, $load / cores() <= QUIET_LOAD && $share <= QUIET_SHARE);
}

sub commit {
    my ($top) = @_;
    my $head = -e "$top/.git" ? qx(git -c safe.directory='*' -C '$top' describe --always --tags --dirty 2>/dev/null) : '';
    chomp $head;
    my ($version) = slurp("$top/include/util/cib_version.h") =~ /CIB_VERSION "([^"]+)"/;
    return join ' ', grep { $_ } $version, $head && "($head)";
}

sub cpu {
    my ($name) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)$/m;
    return $name // (POSIX::uname())[4];
}

sub cores { return scalar(() = slurp('/proc/stat') =~ /^cpu\d/mg) || 1 }

# In KiB.
sub memory { return (slurp('/proc/meminfo') =~ /^MemTotal:\s+(\d+)/m)[0] // 0 }

sub load { return (split ' ', slurp('/proc/loadavg'))[0] }

sub filesystem {
    my ($dir) = @_;
    my ($type, $device) = split ' ', (split /\n/, run('df', '--output=fstype,source', $dir))[-1];
    return "$type on $device";
}

# Seconds that a written page takes to the disk, where the file has its blocks already.
sub fdatasync {
    my ($dir) = @_;
    my ($file, $times) = ("$dir/fdatasync", 500);
    my @dd = ('dd', 'if=/dev/zero', "of=$file", 'bs=4k', "count=$times", 'conv=notrunc');
    run(@dd);
    local $ENV{LC_ALL} = 'C';
    my ($took) = run(@dd, 'oflag=dsync') =~ /copied, (\S+) s/ or die "dd said nothing of its time\n";
    unlink $file;
    return $took / $times;
}

sub httpd {
    require CIB::Place;
    my ($version) = run(CIB::Place::httpd_program(), '-v') =~ m{Apache/(\S+)};
    return "httpd $version";
}

sub libraries {
    chomp(my ($apr, $apu) = (qx(apr-1-config --version), qx(apu-1-config --version)));
    return ("APR $apr", "APR-util $apu");
}

sub sqlite     { return (split ' ', run(qw(sqlite3 --version)))[0] }
sub postgresql { return (run('sh', '-c', 'ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1 | sed "s,$,/postgres --version," | sh') =~ /(\d[\d.]+)/)[0] }

# Ticks of all cores: [used, stolen by the host, all].
sub ticks {
    my (undef, @ticks) = split ' ', (slurp('/proc/stat') =~ /^(cpu .*)$/m)[0];
    my $all = 0;
    $all += $_ for @ticks[0 .. 7];
    return ($all - $ticks[3] - $ticks[4], $ticks[7], $all);
}

# The share of all cores that is in use while we do nothing.
sub share_in_use {
    my @before = ticks();
    select undef, undef, undef, 1;
    my @after = ticks();
    return ($after[0] - $before[0]) / (($after[2] - $before[2]) || 1);
}

sub slurp {
    my ($path) = @_;
    open my $in, '<', $path or return '';
    local $/ = undef;
    return <$in> // '';
}

1;
