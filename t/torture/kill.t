# SIGKILL under load: a child, all of them, the whole server, again and again. After each round nothing that
# was acknowledged is missing, nothing else is to be seen, and no build is lost or given away twice.

use strict;
use warnings;

use CIB::Test;
use CIB::Torture;

plan skip_all => 'the long form only' unless is_event() || $SECONDS;

my $arena = arena(name => 'kill', vhost => "CIBuildsAckTimeout 1s\nCIBuildsStuckTimeout 3s");
$arena->expect(
    qr/AH00051|AH00052|AH1039[23]|child pid \d+ exit signal Killed/,    # what we do
    qr/AH00025|AH00098/,                                             # pid file of a server that was killed
    qr/CIB0304:|CIB033[12]:/,                                        # builds whose runner was gone or silent
);
$arena->start;

my @KINDS = (
    [children => sub { $arena->kill_child }],
    ['all children' => sub { $arena->kill_children }],
    ['the server' => sub { my $n = $arena->kill_server; $arena->start; return $n }],
);

sub round {
    my ($what, $sub, $seconds) = @_;
    $arena->add_builds(80);
    $arena->begin_load(8);
    my $until = Time::HiRes::time() + $seconds;
    my $rounds = 0;
    while (Time::HiRes::time() < $until) {
        moment(0.05, 0.45);
        tally("kills.$what", $sub->());
        $rounds++;
    }
    ok $arena->end_load, "$what killed $rounds times";
    return;
}

if ($SECONDS) {
    my $until = time + $SECONDS;
    while (time < $until) {
        my $kind = pick(@KINDS);
        round(@$kind, 4);
        $arena->holds("  what must hold, after $kind->[0]", settled => 1);
    }
} else {
    for my $kind (@KINDS) {
        round(@$kind, 1.2);
        $arena->holds("  what must hold, after $kind->[0]", settled => $kind == $KINDS[-1]);
    }
}
$arena->ended;
cmp_ok $arena->count(qr/ 0$/), '>', 0, 'connections were cut';
done_testing;
