package CIB::Place;

# Who runs what, and where it can be read from. As root httpd runs as www-data and PostgreSQL as
# postgres, and what they read lies in a directory of its own that they can reach, wherever the
# checkout is. As anybody else everything runs as that user.

use strict;
use warnings;

use File::Temp ();

use Exporter 'import';
our @EXPORT_OK = qw(am_root apxs as_user give_to httpd_program httpd_user modules_dir run scratch);

sub am_root    { return $> == 0 }
sub httpd_user { return am_root() ? 'www-data' : scalar getpwuid $> }

# An empty directory that everybody may enter. The caller removes it.
sub scratch {
    my ($name) = @_;
    my $base = am_root() ? '/tmp' : $ENV{TMPDIR} || '/tmp';
    my $dir = File::Temp::tempdir("$name-XXXXXX", DIR => $base);
    chmod 0755, $dir;
    return $dir;
}

# The command line that runs @command as `user`.
sub as_user {
    my ($user, @command) = @_;
    return @command unless am_root();
    return ('setpriv', "--reuid=$user", "--regid=" . (getpwnam $user)[3], '--init-groups', '--', @command);
}

sub give_to {
    my ($user, @paths) = @_;
    return unless am_root();
    my ($uid, $gid) = (getpwnam $user)[2, 3];
    chown $uid, $gid, @paths;
    return;
}

# Run a command; its output, or its words and death.
sub run {
    my (@command) = @_;
    my $pid = open my $pipe, '-|';
    defined $pid or die "cannot fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        chdir '/';
        exec { $command[0] } @command or do { print "cannot run $command[0]: $!\n"; exit 127 };
    }
    my $output = do { local $/ = undef; <$pipe> } // '';
    close $pipe or die "@command: failed\n$output";
    return $output;
}

my %apxs;

sub apxs {
    my ($name) = @_;
    my $apxs = $ENV{APXS} || 'apxs';
    return $apxs{$name} //= do { chomp(my $value = qx($apxs -q $name)); $value };
}

sub modules_dir   { return apxs('LIBEXECDIR') }
sub httpd_program { return apxs('SBINDIR') . '/' . apxs('PROGNAME') }

1;
