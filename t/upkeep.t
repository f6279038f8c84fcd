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

# Others fall silent beside these builds: when those are given up, so would these be if nobody had heard them.
subtest 'what counts as a word' => sub {
    my @ids = map { scalar build(%hasty, project => $project) } 1 .. 4;
    my ($uploading, $running, $silent, $stuck) = map { claim($runner, vhost => 'hasty') } @ids;
    my $connection = connect_to('hasty');
    my $some = sub { $connection->send(sprintf "%x\r\n%s\r\n", length $_[0], $_[0]) };
    $connection->send(request_text(POST => "$V1/builds/$uploading->{id}/artifacts", headers => ['Build-Token' => $uploading->{token},
        'Transfer-Encoding' => 'chunked'], type => 'multipart/form-data; boundary=b'));
    $some->("--b\r\n" . part(name => 'file', filename => 'a.zip', body => 'x'));
    is put($runner, $running->{id}, state => 'running', opt => { vhost => 'hasty' })->{status}, 200, 'a PUT without a trace';
    put($runner, $stuck->{id}, state => 'running', opt => { vhost => 'hasty' });
    wait_for('the silent build to be pending again', sub { status_of($silent->{id}) eq 'pending' });
    is status_of($running->{id}), 'running', '  is one';
    is status_of($uploading->{id}), 'running', 'the first byte of an upload is one';
    wait_for('the stuck build to fail', sub {
        $some->('x' x 20000);
        return status_of($stuck->{id}) eq 'failed';
    });
    is status_of($uploading->{id}), 'running', '  and so are those that follow';
    $some->("\r\n--b--\r\n");
    $connection->send("0\r\n\r\n");
    is $connection->response->{status}, 201, 'until it is whole';
    finish($runner, $uploading->{id}, 'success', vhost => 'hasty');
    cib({%hasty}, qw(build cancel), $silent->{id});
};

subtest 'a trace that was begun for the claim before' => sub {
    my $id = build(%hasty, project => $project);
    claim($runner, vhost => 'hasty');
    my $body = qq({"trace":"of the first claim","state":"running","token":"$runner->{token}"});
    my $cut = index $body, ' claim';
    my $connection = connect_to('hasty');
    $connection->send(request_text(PUT => "$V1/builds/$id.json", type => 'application/json', length => length $body) . substr $body, 0, $cut);
    wait_for('the build to be pending again', sub { status_of($id) eq 'pending' });
    is claim($runner, vhost => 'hasty')->{id}, $id, 'the same runner has it once more';
    put($runner, $id, state => 'running', trace => 'second', opt => { vhost => 'hasty' });
    $connection->send(substr $body, $cut);
    answers $connection->response, 404, '404 Not found', 'what began before is refused';
    is trace_of($id, 'hasty'), 'second', '  and replaces nothing';
    finish($runner, $id, 'success', vhost => 'hasty');
};

# A database without room: what runners say cannot be written down.
sub fill_database {
    my $params = $CELL->{instances}{hasty}{params};
    my $says = is_sqlite() ? q{BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END} : 'FOR EACH ROW EXECUTE FUNCTION no_room()';
    sql(q{CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'No space left on device'; END $$}, $params)
        unless is_sqlite();
    sql("CREATE TRIGGER no_room_for_leases BEFORE INSERT ON leases $says", $params);
    sql("CREATE TRIGGER no_room_for_builds BEFORE UPDATE ON builds $says", $params);
    return sub {
        sql("DROP TRIGGER no_room_for_$_" . (is_sqlite() ? '' : " ON $_"), $params) for qw(builds leases);
        sql('DROP FUNCTION no_room()', $params) unless is_sqlite();
    };
}

subtest 'a runner whose words cannot be written down' => sub {
    my $id = build(%hasty, project => $project);
    my $build = claim($runner, vhost => 'hasty');
    my $said = 0;
    my $speak = sub {
        my $r = http(PATCH => "builds/$id/trace.txt", vhost => 'hasty', type => 'text/plain', body => 'x',
            headers => ['Build-Token' => $build->{token}, 'Content-Range' => "$said-$said"]);
        $said++ if $r->{status} == 202;
        return $r->{status};
    };
    is $speak->(), 202, 'it is heard';
    my $begun = time;
    my $make_room = fill_database();
    expect_log(qr/CIB0302: /, qr/CIB0240: /, qr/CIB0241: /);
    my $works_again = () = slurp($CELL->{error_log}) =~ /CIB0241: /g;
    wait_for('more than its patience to pass', sub { $speak->(); return time - $begun > 5 });
    $make_room->();
    wait_for('upkeep to work again', sub { my $now = () = slurp($CELL->{error_log}) =~ /CIB0241: /g; return $now > $works_again });
    is status_of($id), 'running', 'and is not held to have been silent';
    finish($runner, $id, 'success', vhost => 'hasty');
};

done_testing;
