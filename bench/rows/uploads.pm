package Rows::uploads;

use strict;
use warnings;

use POSIX ();

sub run {
    my ($bench) = @_;
    my ($server, $file, $size) = ($bench->server('sqlite3'), $bench->big_file, $bench->{size});
    my $build = $server->claim;
    $bench->compare(what => "upload of $size MiB (SHA-256, fsync)", unit => 'MiB/s',
        ours => sub { upload($bench, $server, $build, $file) },
        name => 'mod_dav PUT (neither)', theirs => sub {
            my $took = $bench->curl('-T', $file, $server->url('/dav/big'), 201, 204);
            unlink "$server->{dir}/dav/files/big";
            return $size / $took;
        });
    memory($bench, $server, $build, $file);
    return;
}

sub upload {
    my ($bench, $server, $build, $file) = @_;
    return $bench->{size} / $bench->curl('-H', "BUILD-TOKEN: $build->{token}", '-H', 'Expect:', '-F', "file=\@$file;filename=big.zip",
        $server->url("/ci/api/v1/builds/$build->{id}/artifacts"), 201);
}

# What a child's own memory grows by while it takes a large upload.
sub memory {
    my ($bench, $server, $build, $file) = @_;
    my %before = map { $_ => Bench::anonymous($_) } $server->children;
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        upload($bench, $server, $build, $file);
        POSIX::_exit(0);
    }
    my $grown = 0;
    while (waitpid($pid, POSIX::WNOHANG()) == 0) {
        for my $child (keys %before) {
            my $more = Bench::anonymous($child) - $before{$child};
            $grown = $more if $more > $grown;
        }
        select undef, undef, undef, 0.02;
    }
    $bench->note(what => "memory of a child during an upload of $bench->{size} MiB", got => sprintf('+%.2f MiB', $grown / 1024),
        goal => 'below 4 MiB', ok => $grown < 4096);
    return;
}

1;
