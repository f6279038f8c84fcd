# The value of the queue: idle runners are answered without a search.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);

sub value { return $_[0]{headers}{'x-gitlab-last-update'} }

subtest 'the value' => sub {
    my $r = poll($runner);
    my $value = value($r);
    ok length $value, 'an idle runner is given one';
    $r = poll($runner, json => { last_update => $value });
    is $r->{status}, 204, 'it comes back: nothing new';
    is value($r), $value, '  and the value is the same';
    is poll($runner, json => { last_update => 'something else' })->{status}, 204, 'any other value is searched for';
    is value(poll($runner, json => { last_update => 'something else' })), $value, '  and answered with the current one';
    answers poll($runner, headers => [], json => { last_update => $value }), 404, '404 Not Found', '404 where 204 is not known';

    my $id = build(project => $project);
    $r = poll($runner, json => { last_update => $value });
    is $r->{status}, 201, 'a new build is handed out although the old value comes';
    ok !defined value($r), '  without a value';
    my $put = put($runner, $id, state => 'success');
    ok !defined value($put), 'never on a PUT';
    my $new = value(poll($runner));
    isnt $new, $value, 'the value changed';
    is value(poll($runner, json => { last_update => $new })), $new, 'and then stays';
};

subtest 'what changes it' => sub {
    my $changes = sub {
        my ($what, $do) = @_;
        my $value = value(poll($runner));
        $do->();
        my $r = poll($runner, json => { last_update => $value });
        isnt value($r) // '', $value, $what;
        if ($r->{status} == 201) {
            finish($runner, $r->{json}{id});
            return $r->{json}{id};
        }
        return;
    };
    my $id = $changes->('a new build', sub { build(project => $project) });
    $changes->('a retried build', sub { cib(qw(build retry), $id) });
    $changes->('a dependency that is done', sub {
        my $first = build(project => $project);
        build(project => $project, args => ['--depends-on', $first]);
        claim($runner);
        finish($runner, $first);
    });
    $changes->("the runner's settings", sub { cib(qw(runner set), $runner->{id}, '--tags', 'a,b') });
    $changes->('a pause', sub { cib(qw(runner pause), $runner->{id}); cib(qw(runner resume), $runner->{id}) });
};

done_testing;
