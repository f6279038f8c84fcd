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
    $changes->('one more project of the runner', sub { cib(qw(runner set), $runner->{id}, '--project', project()->{id}) });
    $changes->("its project's settings", sub { cib(qw(project set), $project->{id}, '--timeout', 99) });
    $changes->('a pause', sub { cib(qw(runner pause), $runner->{id}); cib(qw(runner resume), $runner->{id}) });
};

subtest 'what does not' => sub {
    my $value = value(poll($runner));
    my $elsewhere = project();
    build(project => $elsewhere);
    build(project => $project, tags => 'nobody-has-this');
    is value(poll($runner, json => { last_update => $value })), $value, 'builds that this runner cannot take';
    claim(runner(project => $elsewhere)) or die "no build\n";
    is value(poll($runner, json => { last_update => $value })), $value, '  nor that another takes one';
    my $shared = runner(shared => 1, tags => 'shared-only', args => ['--no-untagged']);
    my $locked = runner(shared => 1, tags => 'shared-only', args => ['--no-untagged', '--locked']);
    my %value = map { $_->{id} => value(poll($_)) } $shared, $locked;
    build(project => $elsewhere, tags => 'shared-only');
    is value(poll($shared, json => { last_update => $value{ $shared->{id} } })), $value{ $shared->{id} },
        '  nor a build of a project that wants no shared runners';
    my $open = project(shared => 1);
    my $id = build(project => $open, tags => 'shared-only');
    is value(poll($locked, json => { last_update => $value{ $locked->{id} } })), $value{ $locked->{id} },
        '  nor, for a locked shared one, any';
    my $r = poll($shared, json => { last_update => $value{ $shared->{id} } });
    is $r->{json}{id}, $id, 'but the other one is given it at once';
    finish($shared, $id);
    cancel_all($elsewhere, $project);
};

# On a connection that stays, for each process remembers for itself.
subtest 'who asks in vain again and again' => sub {
    my $idle = runner(project => $project);
    my $connection = connect_to();
    my $ask = sub {
        my (%json) = @_;
        $connection->send(request_text(POST => "$V1/builds/register.json", close => 0,
            headers => ['User-Agent' => 'gitlab-ci-multi-runner 1.11.5 (x)'], json => { token => $idle->{token}, info => CIB::Test::info(), %json }));
        return $connection->response;
    };
    my $value = value($ask->());
    my $known = sub { my $r = $ask->(last_update => $value, @_); return $r->{status} == 204 && value($r) eq $value };
    wait_for('an answer without a search', sub { $known->() }) for 1 .. 2;
    # what is in the database now nobody was told of
    sql("UPDATE runners SET token_sha256 = 'x' || token_sha256 WHERE id = $idle->{id}");
    ok wait_for('an answer', $known), 'is answered without a question to the database';
    is $ask->()->{status}, 403, '  unless no value is brought';
    is $ask->(last_update => "0$value")->{status}, 403, '  or another one';
    is $ask->(last_update => $value, info => CIB::Test::info('1.10.0'))->{status}, 403, '  or something new is said';
    is $ask->(last_update => $value, token => $idle->{token} . 'x')->{status}, 403, '  or by somebody else';
    cib(qw(runner set), $runner->{id}, '--description', uniq('new'));
    ok wait_for('an answer', $known), '  nor is it looked up when another runner changes';
    cib(qw(runner set), $idle->{id}, '--description', uniq('new'));
    is $ask->(last_update => $value)->{status}, 403, '  but when it does';
    sql("UPDATE runners SET token_sha256 = substr(token_sha256, 2) WHERE id = $idle->{id}");
    is value($ask->(last_update => $value)) ne $value, 1, '  and then it has another value';
    $connection->close;
};

subtest 'a build that comes back' => sub {
    my %hasty = (instance => 'hasty');
    my $back = project(%hasty);
    my ($lost, $waiting) = map { runner(%hasty, project => $back) } 1 .. 2;
    my $id = build(%hasty, project => $back);
    is claim($lost, vhost => 'hasty')->{id}, $id, 'a runner takes it';
    my $value = value(poll($waiting, vhost => 'hasty'));
    expect_log(qr/CIB0331:/);
    wait_for('the build to be pending again', sub { build_show($id, 'hasty')->{status} eq 'pending' });
    my $r = poll($waiting, vhost => 'hasty', json => { last_update => $value });
    is $r->{status}, 201, 'and is not heard of: another is given it although the old value comes' or return;
    is $r->{json}{id}, $id, '  that very one';
    finish($waiting, $id, 'success', vhost => 'hasty');
};

done_testing;
