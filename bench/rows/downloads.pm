package Rows::downloads;

# Artifacts as builds fetch them, with their token, against files that httpd gives to everybody.

use strict;
use warnings;

use CIB::Place ();

use constant SMALL => 10;    # KiB

sub run {
    my ($bench) = @_;
    my ($server, $file, $size) = ($bench->server('sqlite3'), $bench->big_file, $bench->{size});
    my ($build, $url) = offer($bench, $server, $file, 'big');
    $bench->compare(what => "download of $size MiB", unit => 'MiB/s', goal => 0.95,
        ours => sub { fetch($bench, '-H', "BUILD-TOKEN: $build->{token}", $server->url($url)) },
        name => "httpd's file handler", theirs => sub { fetch($bench, $server->url('/big')) });

    my $small = "$bench->{root}/small";
    CIB::Place::run('cp', $file, $small);
    truncate $small, SMALL * 1024 or die "$small: $!\n";
    ($build, $url) = offer($bench, $server, $small, 'small');
    $bench->compare(what => 'download of ' . SMALL . ' KiB, 64 at once', unit => 'requests/s', goal => 0.85,
        ours => sub { $bench->wrk($server, 'send.lua', path => $url, env => { HEADER => "BUILD-TOKEN: $build->{token}" }) },
        name => "httpd's file handler",
        theirs => sub { $bench->wrk($server, 'send.lua', path => '/small', env => { HEADER => 'BUILD-TOKEN: nothing-of-interest' }) });
    return;
}

# As an artifact, and as a file of httpd's.
sub offer {
    my ($bench, $server, $file, $name) = @_;
    my $build = $server->claim;
    my $url = "/ci/api/v1/builds/$build->{id}/artifacts";
    $bench->curl('-H', "BUILD-TOKEN: $build->{token}", '-H', 'Expect:', '-F', "file=\@$file;filename=$name.zip", $server->url($url), 201);
    CIB::Place::run('cp', $file, "$server->{dir}/htdocs/$name");
    return ($build, $url);
}

# A few times, for one takes less than a second.
sub fetch {
    my ($bench, @args) = @_;
    my $times = $bench->{quick} ? 2 : 5;
    my $took = 0;
    $took += $bench->curl(@args, 200) for 1 .. $times;
    return $times * $bench->{size} / $took;
}

1;
