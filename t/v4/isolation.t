# Two instances on one httpd know nothing of each other, over v4.

use strict;
use warnings;

use CIB::Test;
use CIB::V4;

my %instance;
for my $name (qw(main second)) {
    my $project = project(instance => $name);
    my $runner = runner(instance => $name, project => $project);
    my $job = job_of($runner, instance => $name, project => $project, vhost => $name);
    put_artifact($job, "artifact of $name", vhost => $name);
    CIB::V4::append($job, 0, "trace of $name", vhost => $name);
    $instance{$name} = { project => $project, runner => $runner, job => $job, registration => registration_token($name) };
}

sub runners {
    my ($method, $path, $vhost, %json) = @_;
    return http($method => "$V4/$path", vhost => $vhost, json => \%json);
}

for my $pair ([qw(main second)], [qw(second main)]) {
    my ($here, $there) = @$pair;
    my ($own, $foreign) = @instance{$here, $there};
    my @here = (vhost => $here);
    my $token = $foreign->{runner}{token};
    answers ask($foreign->{runner}, @here), 403, '403 Forbidden', "$here does not know ${there}'s runner";
    answers runners(POST => 'runners/verify', $here, token => $token), 403, '403 Forbidden', '  nor to verify it';
    answers runners(DELETE => 'runners', $here, token => $token), 403, '403 Forbidden', '  nor to delete it';
    answers runners(DELETE => 'runners/managers', $here, token => $token, system_id => 's_1'), 403, '403 Forbidden', '  nor a machine of it';
    answers runners(POST => 'runners/reset_authentication_token', $here, token => $token), 403, '403 Forbidden', '  nor to give it another token';
    answers runners(POST => 'runners', $here, token => $_), 403, '403 Forbidden', '  nor what registers there'
        for $foreign->{registration}, $foreign->{project}{token};
    for my $as ($foreign->{job}{token}, $foreign->{project}{token}, $token) {
        my $stranger = { id => $own->{job}{id}, token => $as };
        answers update($stranger, state => 'failed', trace => 'evil', opt => {@here}), 403, '403 Forbidden', "its tokens end no job of $here";
        answers CIB::V4::append($stranger, length "trace of $here", 'evil', @here), 403, '403 Forbidden', '  and write no trace';
        answers put_artifact($stranger, 'evil', query => { artifact_type => 'junit' }, @here), 403, '403 Forbidden', '  and bring no artifact';
        answers get_artifact($stranger, @here), 403, '403 Forbidden', '  and fetch none';
    }
    is get_artifact($own->{job}, @here)->{body}, "artifact of $here", "$here has its own artifact";
    is trace_of($own->{job}{id}, $here), "trace of $here", '  and its own trace';
    is_deeply [map { $_->{type} } @{ build_show($own->{job}{id}, $here)->{artifacts} }], ['archive'], '  and nothing else';
}

# the same instance behind two virtual hosts is one
my $own = $instance{main};
is get_artifact($own->{job}, vhost => 'small')->{body}, 'artifact of main', 'another virtual host of the same storage serves it';
is CIB::V4::append($own->{job}, length 'trace of main', '.', vhost => 'small')->{headers}{range}, '0-14', '  and goes on with its trace';
is ask($own->{runner}, vhost => 'small')->{status}, 204, '  and knows its runner';

# where it is off, httpd does what it always does
my $r = ask($own->{runner}, vhost => 'off');
is $r->{status}, 404, 'CIBuilds Off: 404';
like $r->{headers}{'content-type'}, qr{^text/html}, "  which is httpd's own";

for my $name (qw(main second)) {
    my $it = $instance{$name};
    is runners(POST => 'runners/verify', $name, token => $it->{runner}{token})->{status}, 200, "the runner of $name is as it was";
    is update($it->{job}, state => 'success', opt => { vhost => $name })->{status}, 200, '  and its job';
}

done_testing;
