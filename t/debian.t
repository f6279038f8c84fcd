# cells: sqlite3-event
# conf/ci_builds.load and .conf with Debian's own /etc/apache2 and a2enmod, in a copy of it.

use strict;
use warnings;

use File::Copy ();

use CIB::Test;

my $a2enmod = (grep { -x } qw(/usr/sbin/a2enmod))[0];
plan(skip_all => "Debian's apache2 package is not installed") unless $a2enmod && -e '/etc/apache2/apache2.conf';

my $etc = "$CELL->{dir}/etc";
my $var = "$CELL->{dir}/debian";
my $storage = "$var/ci-builds";
mkdir $var;
chmod 0755, $var;
system('cp', '-a', '/etc/apache2', $etc) == 0 or die "no copy of /etc/apache2\n";

# what the packages' own files say, but for where things lie and for the port
sub edit {
    my ($file, $change) = @_;
    local $_ = slurp("$etc/$file");
    $change->();
    open my $out, '>', "$etc/$file" or die "$file: $!\n";
    print {$out} $_;
    close $out;
    return;
}
edit('ports.conf', sub { s/^\s*Listen .*//gm; $_ = "Listen 127.0.0.1:$CELL->{spare_port}\n$_" });
edit('apache2.conf', sub { $_ = "ServerName localhost\n$_" });
unlink glob "$etc/mods-enabled/*ci_builds*";
for my $file (qw(ci_builds.load ci_builds.conf)) {
    File::Copy::copy("$CELL->{top}/conf/$file", "$etc/mods-available/$file") or die "$file: $!\n";
}
edit('mods-available/ci_builds.load', sub { s{/usr/lib/apache2/modules/mod_ci_builds.so}{$CELL->{module}} });
edit('mods-available/ci_builds.conf', sub { s{/var/lib/ci-builds}{$storage}g });

local %ENV = (
    %ENV, APACHE_CONFDIR => $etc, APACHE_ENVVARS => "$etc/envvars", APACHE_RUN_USER => $CELL->{user},
    APACHE_RUN_GROUP => $CELL->{group}, APACHE_PID_FILE => "$var/apache2.pid", APACHE_RUN_DIR => $var, APACHE_LOCK_DIR => $var,
    APACHE_LOG_DIR => $var, APACHE2_MODULES_ENABLED_DIR => '',
);
my $words = qx($a2enmod ci_builds 2>&1);
is $? >> 8, 0, 'a2enmod ci_builds' or diag $words;
ok -e "$etc/mods-enabled/dbd.load", '  enables mod_dbd with it';

my @httpd = ($CELL->{httpd}, '-d', $etc, '-f', "$etc/apache2.conf");
$words = qx(@httpd -t 2>&1);
is $? >> 8, 0, 'before init the configuration is fine' or diag $words;
my @user = $> == 0 ? ('--user', $CELL->{user}) : ();
is ci_builds({ storage => $storage, json => 0 }, 'init', @user)->{exit}, 0, 'ci-builds init';
$words = qx(@httpd -t 2>&1);
is $? >> 8, 0, 'and after it' or diag $words;

sub stop {
    wait_for('the pid file', sub { -s "$var/apache2.pid" });
    chomp(my $pid = slurp("$var/apache2.pid"));
    kill TERM => $pid;
    wait_for('apache2 to stop', sub { !kill 0, $pid });
    unlink "$var/apache2.pid";
    return;
}

$words = qx(@httpd -k start 2>&1);
if (is $? >> 8, 0, 'apache2 starts' or diag $words) {
    my $connection = CIB::HTTP->connect($CELL->{spare_port});
    $connection->send(request_text(POST => "$V1/builds/register.json", json => { token => 'x' x 40 }));
    answers $connection->response, 403, '403 Forbidden', '  and serves the coordinator';
    stop();
}
my $log = -e "$var/error.log" ? slurp("$var/error.log") : '';
# but that somebody came with a wrong token
my @words = grep { /\[ci_builds:(?:emerg|alert|crit|error|warn)\]/ && !/CIB0260: wrong tokens from 127\.0\.0\.1/ } split /\n/, $log;
is_deeply \@words, [], 'nothing else in its log' or diag $log;
like $log, qr/CIB0260: /, '  which it tells';

done_testing;
