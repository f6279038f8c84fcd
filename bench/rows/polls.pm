package Rows::polls;

# A runner with nothing to do asks again and again.

use strict;
use warnings;

use CIB::Place ();

sub run {
    my ($bench) = @_;
    for my $driver (qw(sqlite3 pgsql)) {
        my $server = $bench->server($driver);
        my $idle = $server->ci_builds(qw(runner add --shared --tags idle --no-untagged));
        my %env = (LAST_UPDATE => $server->last_update($idle->{token}));
        my $poll = sub { $bench->wrk($server, 'poll.lua', token => $idle->{token}, env => { %env, @_ }) };
        $bench->compare(what => "idle poll, $driver, 64 at once", unit => 'requests/s', goal => 0.9,
            ours => sub { $poll->() }, name => 'a handler that answers 204', theirs => sub { $poll->(TRIVIAL => 1) });
    }
    return;
}

1;
