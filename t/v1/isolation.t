# Two instances on one httpd know nothing of each other.

use strict;
use warnings;

use CIB::Test;

my %instance;
for my $name (qw(main second)) {
    my $project = project(instance => $name);
    my $runner = runner(instance => $name, project => $project);
    my $id = build(instance => $name, project => $project);
    my $build = claim($runner, vhost => $name) or die "no build\n";
    upload($build, "artifact of $name", vhost => $name);
    put($runner, $build->{id}, trace => "trace of $name", opt => { vhost => $name });
    $instance{$name} = { project => $project, runner => $runner, build => $build, registration => registration_token($name) };
}

for my $pair ([qw(main second)], [qw(second main)]) {
    my ($here, $there) = @$pair;
    my ($own, $foreign) = @instance{$here, $there};
    answers poll($foreign->{runner}, vhost => $here), 403, '403 Forbidden', "$here does not know ${there}'s runner";
    answers put($foreign->{runner}, $own->{build}{id}, state => 'success', opt => { vhost => $here }), 403, '403 Forbidden', '  nor for a PUT';
    answers http(POST => 'runners/register.json', vhost => $here, json => { token => $foreign->{$_} }), 403, '403 Forbidden', "  nor its $_ token"
        for 'registration';
    answers http(POST => 'runners/register.json', vhost => $here, json => { token => $foreign->{project}{token} }), 403, '403 Forbidden',
        '  nor its project';
    answers http(DELETE => 'runners/delete', vhost => $here, json => { token => $foreign->{runner}{token} }), 403, '403 Forbidden',
        '  nor to delete it';
    for my $token ($foreign->{build}{token}, $foreign->{project}{token}) {
        my @headers = ('Build-Token' => $token);
        my $r = http(GET => "builds/$own->{build}{id}/artifacts", vhost => $here, headers => \@headers);
        is $r->{status}, 403, "its tokens open no artifact of $here";
        is http(POST => "builds/$own->{build}{id}/artifacts", vhost => $here, headers => \@headers,
            multipart => [part(name => 'file', filename => 'x', body => 'x')])->{status}, 403, '  and put none there';
        is http(PATCH => "builds/$own->{build}{id}/trace.txt", vhost => $here, type => 'text/plain', body => 'x',
            headers => [@headers, 'Content-Range' => '0-1'])->{status}, 403, '  and write no trace';
    }
    is http(GET => "builds/$own->{build}{id}/artifacts", vhost => $here, headers => ['Build-Token' => $own->{build}{token}])->{body},
        "artifact of $here", "$here has its own artifact";
    is trace_of($own->{build}{id}, $here), "trace of $here", '  and its own trace';
}

# the same instance behind two virtual hosts is one
my $own = $instance{main};
is http(GET => "builds/$own->{build}{id}/artifacts", vhost => 'small', headers => ['Build-Token' => $own->{build}{token}])->{body},
    'artifact of main', 'another virtual host of the same storage serves it';

# where it is off, httpd does what it always does
my $r = http(POST => 'builds/register.json', vhost => 'off', json => { token => $own->{runner}{token} });
is $r->{status}, 404, 'CIBuilds Off: 404';
like $r->{headers}{'content-type'}, qr{^text/html}, "  which is httpd's own";
$r = http(GET => '/index.html', vhost => 'main');
is $r->{status}, 200, "everything outside the API is httpd's";

finish($instance{$_}{runner}, $instance{$_}{build}{id}, 'success', vhost => $_) for qw(main second);

done_testing;
