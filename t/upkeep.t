# What happens when a runner is silent: the impatient instance.

use strict;
use warnings;

use CIB::Test;

my %hasty = (instance => 'hasty');
my $project = project(%hasty);
my $runner = runner(%hasty, project => $project);

sub status_of { return build_show($_[0], 'hasty')->{status} }

# what it does is worth a warning
expect_log(qr/CIB033[12]:/);

subtest 'a claim without a word goes back' => sub {
    my $id = build(%hasty, project => $project);
    my $build = claim($runner, vhost => 'hasty');
    is $build->{id}, $id, 'claimed';
    wait_for('the build to be pending again', sub { status_of($id) eq 'pending' });
    my $again = claim($runner, vhost => 'hasty');
    is $again->{id}, $id, 'it is handed out again';
    isnt $again->{token}, $build->{token}, '  with a token of its own';
    my $r = http(PATCH => "builds/$id/trace.txt", vhost => 'hasty', type => 'text/plain', body => 'x',
        headers => ['Build-Token' => $build->{token}, 'Content-Range' => '0-1']);
    answers $r, 403, '403 Forbidden', '  and the former is refused';
    finish($runner, $id, 'success', vhost => 'hasty');
    is status_of($id), 'success', 'it ends as any other';
};

subtest 'three times at most' => sub {
    my $id = build(%hasty, project => $project);
    my $claims = 0;
    wait_for('the build to fail', sub {
        $claims++ if claim($runner, vhost => 'hasty');
        return status_of($id) eq 'failed';
    }, 60);
    is $claims, 4, 'handed out four times';
    is build_show($id, 'hasty')->{failure_reason}, 'runner_lost', 'then it failed because no runner kept it';
};

subtest 'a runner that falls silent' => sub {
    my $id = build(%hasty, project => $project);
    my $build = claim($runner, vhost => 'hasty');
    my $r = http(PATCH => "builds/$id/trace.txt", vhost => 'hasty', type => 'text/plain', body => 'x',
        headers => ['Build-Token' => $build->{token}, 'Content-Range' => '0-1']);
    is $r->{status}, 202, 'it says something';
    wait_for('the build to fail', sub { status_of($id) eq 'failed' }, 60);
    like build_show($id, 'hasty')->{failure_reason}, qr/^(?:runner_lost|stuck\w*)$/, 'and then nothing: it failed, and says why';
    answers put($runner, $id, state => 'success', opt => { vhost => 'hasty' }), 404, '404 Not found', '  for good';
};

done_testing;
