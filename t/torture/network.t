# The network to PostgreSQL fails under load: the wire is cut, answers are lost, the link goes up and down, a
# front end vanishes in the middle of what it was at. Nobody is told that a packet is gone: it is time that
# tells. What is promised is as in database.t.
# cells: pgsql-event

use strict;
use warnings;

use CIB::Network;
use CIB::Outage;
use CIB::Postgres;
use CIB::Test;
use CIB::Torture;

plan skip_all => 'run by make torture' unless $SECONDS;
my $impossible = CIB::Network::impossible();
plan skip_all => $impossible if $impossible;

my $TIMES = $CIB::Outage::TIMES;
my $network = CIB::Network->new;
my $cluster = CIB::Postgres->start("$CELL->{dir}/torture-net-pg", listen => $network->{far}, within => [$network->there]);
my $arena = arena(name => 'network', params => $cluster->database('torture'), cluster => $cluster, vhost => "CIBuildsAckTimeout 3s\nCIBuildsStuckTimeout 15s");
$arena->expect(qr/CIB0101:/, qr/CIB0302:/, qr/CIB0304:|CIB040[12]:/, qr/AH10159/, qr/CIB024[01]:/, qr/CIB033[123]:/, qr/\[dbd:(?:error|crit)\]/, qr/AH00484/, qr/CIB0230/,
    qr/AH00098/);    # the pid file of what vanished
$arena->start;
my $outage = CIB::Outage->new($arena);

# A fault that lasts until the second crowd has been answered: the first one finds it, the next one is told at once.
sub lasting {
    my ($what, $begin, $end) = @_;
    for (1 .. $TIMES) {
        $outage->fault($what, sub {
            $network->$begin;
            $outage->refused($what);
            $outage->refused("$what, once more");
            $network->$end;
        });
    }
    return;
}

# Sessions of a host that has gone, in the middle of a transaction: whatever they have locked is locked.
sub abandoned {
    return $cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE client_addr = '$network->{other}' AND xact_start IS NOT NULL") + 0;
}

lasting('the wire cut', 'cut', 'mend');
lasting('every answer lost', 'silence', 'listen');
$outage->fault('the link up and down', sub {
    for (1 .. 8 * $TIMES) {
        $network->cut;
        moment(0.05, 0.4);
        $network->mend;
        moment(0.05, 0.4);
    }
    return 8 * $TIMES;
}, counts => 1);
$outage->fault('a front end vanished', sub {
    # in the middle of as many transactions as can be had: they go on until they wait for an answer
    $network->silence;
    moment(0.3, 0.8);
    $network->cut;
    tally('kills.the server', $arena->kill_server);
    $network->move;
    $network->listen;
    $network->mend;
    note 'transactions that nobody will end: ' . abandoned();
    $arena->start;
    ok eval { wait_for('transactions to end', sub { !abandoned() }, 30) }, "$_[0]: what it had begun ends without it" or diag $@;
}, settled => 1);

$arena->ended;
done_testing;
