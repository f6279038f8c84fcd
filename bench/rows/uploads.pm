package Rows::uploads;

# An artifact as runners send it: multipart, hashed on the way, synced before the answer; against PUTs
# that are neither hashed nor synced. Each upload is a new file, what it left is removed, and nothing
# waits to be written when the next begins.

use strict;
use warnings;

use POSIX ();
use Time::HiRes ();

use CIB::Place ();
use Nginx;

use constant { AT_ONCE => 8, FLAT => 4096 };    # uploads; KiB

sub run {
    my ($bench) = @_;
    my $server = $bench->server('sqlite3');
    my $nginx = Nginx::is_there() ? Nginx->start(root => $bench->{root}, top => $bench->{top}) : undef;
    my $done = eval { measure($bench, $server, $nginx); 1 };
    my $why = $@;
    $nginx->stop if $nginx;
    die $why unless $done;
    $bench->note(what => 'uploads to nginx', got => 'nginx is not installed') unless $nginx;
    return;
}

sub measure {
    my ($bench, $server, $nginx) = @_;
    my %grown;
    for my $count (1, AT_ONCE) {
        my $size = $count == 1 ? $bench->{size} : $bench->{size} / 4;
        my $file = $bench->big_file($size);
        my $put = sub { my ($url, $dir) = @_; return sub { $size * $count / puts($file, $count, $url, $dir) } };
        $grown{$count} = 0;
        $bench->compare(what => "upload of $size MiB (SHA-256, fsync), $count at once", unit => 'MiB/s',
            ours => sub { $size * $count / artifacts($server, $file, $count, \$grown{$count}) },
            against => [
                { name => 'mod_dav PUT (neither)', goal => 1.2, theirs => $put->($server->url('/dav'), "$server->{dir}/dav/files") },
                $nginx ? { name => 'nginx PUT (neither)', goal => 1, theirs => $put->($nginx->url(''), "$nginx->{dir}/files") } : (),
            ]);
    }
    for my $count (1, AT_ONCE) {
        my $each = $grown{$count} / $count;
        $bench->note(what => "  memory for each of $count", got => sprintf('%.2f MiB', $each / 1024), goal => 'below 4 MiB', ok => $each < FLAT);
    }
    return;
}

# The seconds that so many uploads take; `grown`: the most that httpd's own memory (KiB) grew by meanwhile.
sub artifacts {
    my ($server, $file, $count, $grown) = @_;
    my @builds = map { $server->claim } 1 .. $count;
    my @children = $server->children;
    my $before = own(@children);
    my $took = all(sub {
        my $more = own(@children) - $before;
        $$grown = $more if $more > $$grown;
    }, map { [qw(-H Expect: -H), "BUILD-TOKEN: $_->{token}", '-F', "file=\@$file;filename=big.zip", url($server, $_)] } @builds);
    for my $build (@builds) {
        CIB::Place::run('curl', '-sSf', '-o', '/dev/null', '-X', 'DELETE', '-H', "BUILD-TOKEN: $build->{token}", url($server, $build));
    }
    return $took;
}

sub own { my $sum = 0; $sum += Bench::anonymous($_) for @_; return $sum }

sub url { my ($server, $build) = @_; return $server->url("/ci/api/v1/builds/$build->{id}/artifacts") }

sub puts {
    my ($file, $count, $url, $dir) = @_;
    my $took = all(sub { }, map { [qw(-H Expect: -T), $file, "$url/big-$_"] } 1 .. $count);
    unlink map {"$dir/big-$_"} 1 .. $count;
    return $took;
}

# Seconds until the last of these curls is done; meanwhile `look` is called now and then.
sub all {
    my ($look, @uploads) = @_;
    CIB::Place::run('sync');
    my $start = Time::HiRes::time();
    my %running = map { curl(@$_) => 1 } @uploads;
    while (%running) {
        $look->();
        select undef, undef, undef, 0.005;
        while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) {
            die "an upload failed\n" if delete $running{$pid} && $?;
        }
    }
    return Time::HiRes::time() - $start;
}

sub curl {
    my (@args) = @_;
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    open STDOUT, '>', '/dev/null' or POSIX::_exit(1);
    exec 'curl', '-sSf', @args or POSIX::_exit(127);
}

1;
