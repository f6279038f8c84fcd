# POST builds/:id/artifacts/authorize: may I upload, before anything is sent.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);
my $id = build(project => $project);
my $build = claim($runner);

sub authorize {
    my (%opt) = @_;
    my $token = $opt{token} // $build->{token};
    return http(
        POST => 'builds/' . ($opt{id} // $id) . '/artifacts/authorize' . ($opt{suffix} // ''),
        headers => ['Build-Token' => $token], map { $_ => $opt{$_} } grep { exists $opt{$_} } qw(vhost json form query)
    );
}

my $r = authorize();
is "$r->{status} $r->{body}", '200 {}', 'who may: 200 {}';
is $r->{headers}{'content-type'}, 'application/json', '  exactly application/json';
is authorize(suffix => '.json')->{status}, 200, 'with .json';
is authorize(query => [filesize => 1000])->{status}, 200, 'a size that fits';
is authorize(token => $project->{token})->{status}, 200, "the project's token";
is http(POST => "builds/$id/artifacts/authorize", json => { token => $build->{token}, filesize => 10 })->{status}, 200, 'in JSON';
answers authorize(token => 'x' x 40), 403, '403 Forbidden', 'a wrong token';
answers http(POST => "builds/$id/artifacts/authorize"), 403, '403 Forbidden', 'no token';
answers authorize(id => 999999999), 404, '404 Not Found', 'no such build';
answers authorize(vhost => 'noart'), 405, '405 Method Not Allowed', 'artifacts switched off';
answers authorize(vhost => 'small', query => [filesize => 1024 * 1024 + 1]), 413, qr/^413 Request Entity Too Large/, 'a size over the limit';
is authorize(vhost => 'small', query => [filesize => 1024 * 1024])->{status}, 200, 'exactly the limit';
is authorize(query => [filesize => $_])->{status}, 400, "a size that is no number of bytes: $_" for 'large', -1;
expect_log(qr/free|space|CIBuildsMinFree/i);
answers authorize(vhost => 'full'), 507, qr/^507 Insufficient Storage/, 'too little free space';
answers http(GET => "builds/$id/artifacts/authorize", headers => ['Build-Token' => $build->{token}]), 405, undef, 'GET is not served';
finish($runner, $id);
answers authorize(), 403, qr/^403 Forbidden  - build is not running$/i, 'a build that ended';

done_testing;
