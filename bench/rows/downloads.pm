package Rows::downloads;

use strict;
use warnings;

use CIB::Place ();

sub run {
    my ($bench) = @_;
    my ($server, $file, $size) = ($bench->server('sqlite3'), $bench->big_file, $bench->{size});
    my $build = $server->claim;
    my $url = $server->url("/ci/api/v1/builds/$build->{id}/artifacts");
    $bench->curl('-H', "BUILD-TOKEN: $build->{token}", '-H', 'Expect:', '-F', "file=\@$file;filename=big.zip", $url, 201);
    CIB::Place::run('cp', $file, "$server->{dir}/htdocs/big");
    $bench->compare(what => "download of $size MiB", unit => 'MiB/s',
        ours => sub { $size / $bench->curl('-H', "BUILD-TOKEN: $build->{token}", $url, 200) },
        name => "httpd's file handler", theirs => sub { $size / $bench->curl($server->url('/big'), 200) });
    return;
}

1;
