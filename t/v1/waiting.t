# An idle runner that brings the current value of the queue waits for a build.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);

sub value { return $_[0]{headers}{'x-gitlab-last-update'} }

subtest 'waiting' => sub {
    my $first = poll($runner, vhost => 'parking');
    is $first->{status}, 204, 'who brings no value does not wait';
    my $value = value($first);
    my $ask = sub {
        my $connection = connect_to('parking');
        $connection->send(request_text(
            POST => "$V1/builds/register.json", json => { token => $runner->{token}, last_update => $value },
            headers => ['User-Agent' => 'gitlab-ci-multi-runner 1.11.5 (x)'], close => 0,
        ));
        return $connection;
    };
    my $connection = $ask->();
    if (!is_event()) {
        is $connection->response->{status}, 204, 'no thread to wait without: answered at once';
        return;
    }
    ok !$connection->answered(0.5), 'who brings it waits';
    my $id = build(project => $project);
    ok $connection->answered(10), 'until there is a build';
    my $r = $connection->response;
    is $r->{status}, 201, '  which it gets';
    remember($r->{json});
    is $r->{json}{id}, $id, '  whole';
    $connection->send(request_text(GET => '/nothing'));
    is $connection->response->{status}, 404, 'and the connection goes on';
    finish($runner, $id);

    $value = value(poll($runner));
    $connection = $ask->();
    ok !$connection->answered(0.3), 'the next one waits';
    cib(qw(runner set), $runner->{id}, '--description', uniq('new'));
    ok $connection->answered(10), 'a change of its settings wakes it too';
    is $connection->response->{status}, 204, '  with nothing to do';

    $value = value(poll($runner));
    my @waiting = map { $ask->() } 1 .. 3;
    my ($gone) = shift @waiting;
    $gone->close;
    $id = build(project => $project);
    wait_for('an answer', sub { grep { $_->answered(0) } @waiting });
    my @answers = map { $_->answered(0) ? $_->response : () } @waiting;
    is_deeply [grep { $_ == 201 } map { $_->{status} } @answers], [201], 'one build wakes one that is still there';
    remember($_->{json}) for @answers;
    is build_show($id)->{status}, 'running', '  and it runs';
    $_->close for @waiting;
    finish($runner, $id);
};

done_testing;
