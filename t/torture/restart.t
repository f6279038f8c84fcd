# A graceful restart under load drops no request that was accepted, new configuration takes hold, and a stop
# leaves nothing running.
# cells: *-event sqlite3-prefork

use strict;
use warnings;

use CIB::HTTP qw(part request_text);
use CIB::Test;
use CIB::Tool;
use CIB::Torture;

plan skip_all => 'the long form only' unless $SECONDS || (is_event() && CIB::Tool::name() eq 'none');

my $TIMES = 3 + int($SECONDS / 5);
my $LIMIT = "CIBuildsAckTimeout 10s\nCIBuildsStuckTimeout 15s\nCIBuildsMaxArtifactSize";
my $arena = arena(name => 'restart', vhost => "$LIMIT 20M");
$arena->expect(qr/AH00484|AH10159|CIB033[12]:/, qr/CIB0304:/);
# a stop closes the sockets of the workers, and one that was just done with its own says so
$arena->expect(qr/\(9\)Bad file descriptor: AH03092:/);
$arena->start;

$arena->add_builds(2);
my ($runner, $job);
sub take {
    $runner = $arena->cib('runner', 'add', '--project', $arena->{project}{id});
    my $r = $arena->request('v1', 'ask', $runner);
    $r->{status} == 201 or die "no build: $r->{status}\n";
    $job = { id => $r->{json}{id}, token => $r->{json}{token}, at => 0 };
    return;
}

sub upload_status {
    my ($size) = @_;
    my $r = $arena->request('v1', 'upload', $job, 'x' x $size);
    return $r ? $r->{status} : 'none';
}

# How often the server has said that it goes on.
sub resumed { my $n = () = slurp($arena->{error_log}) =~ /AH00493|AH00489|AH00163|AH00094/g; return $n }

sub graceful {
    my $before = resumed();
    $arena->graceful;
    wait_for('the restart', sub { resumed() > $before });
    return;
}

subtest 'requests that were begun' => sub {
    take();
    my $text = request_text(@{ request_of('v1', 'upload', $job, 'y' x 400_000) });
    my $half = length($text) / 2;
    my $upload = CIB::HTTP->connect($arena->{port});
    $upload->send(substr $text, 0, $half);
    is $arena->request('v1', 'update', $job, $runner, 'running')->{status}, 200, 'a build runs, an upload is under way';
    my $kept = CIB::HTTP->connect($arena->{port});
    $kept->send(request_text(GET => '/ci/api/v1/nothing', close => 0));
    is $kept->response->{status}, 404, 'and a connection is kept alive';
    graceful();
    ok $kept->answered(30), 'a kept connection is closed';
    is $kept->rest, '', '  without a word';
    ok !$kept->{reset}, '  and without a reset';
    $upload->send(substr $text, $half);
    is $upload->response->{status}, 201, 'the upload goes on and ends';
    is $arena->request('v1', 'update', $job, $runner, 'success')->{status}, 200, 'the build ends';
};

subtest 'under load' => sub {
    $arena->add_builds(60 + 20 * $TIMES);
    $arena->begin_load(6);
    for (1 .. $TIMES) {
        moment(0.2, 0.7);
        graceful();
        tally('restarts.graceful');
    }
    ok $arena->end_load, "$TIMES graceful restarts";
    my $cut = $arena->count(qr/ 0$/);
    is $cut, 0, '  and no request without an answer';
    $arena->holds('  what must hold');
};

subtest 'new configuration' => sub {
    $arena->add_builds(1);
    take();
    is upload_status(100_000), 201, '100 000 bytes are taken';
    $arena->{vhost} = "$LIMIT 50K";
    graceful();
    wait_for('the new limit', sub { upload_status(100_000) eq 413 });
    is upload_status(100_000), 413, '  and refused when the limit has become 50 K';
    is upload_status(51_200), 201, '  which itself is taken';
    $arena->{vhost} = "$LIMIT 20M";
    graceful();
    wait_for('the limit before', sub { upload_status(100_000) eq 201 });
    pass '  and back';
};

subtest 'stop' => sub {
    $arena->add_builds(60);
    $arena->begin_load(6, patience => 30);
    moment(0.3, 0.6);
    my @left = $arena->stop;
    tally('restarts.stopped');
    is scalar(@left), 0, 'nothing runs on after a stop under load';
    $arena->start;
    ok $arena->end_load, 'after a start the clients go on';
    $arena->holds('  what must hold');
    $arena->begin_load(6, patience => 30);
    $arena->add_builds(60);
    moment(0.3, 0.6);
    @left = $arena->stop('WINCH');
    tally('restarts.stopped gracefully');
    is scalar(@left), 0, 'nor after a graceful one';
    $arena->start;
    ok $arena->end_load, 'after a start the clients go on';
    $arena->holds('  what must hold', settled => 1);
};

$arena->ended;
done_testing;
