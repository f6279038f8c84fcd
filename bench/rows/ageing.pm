package Rows::ageing;

# Whether PostgreSQL's queue slows down as claims go by: dead rows stay in tables and indexes until
# they are vacuumed. A cycle on a server that has seen many, against one on a server that has seen none.

use strict;
use warnings;

sub run {
    my ($bench) = @_;
    my $many = $bench->{claims};
    my ($old, $new) = map { $bench->server('pgsql', name => $_) } qw(old new);
    age($bench, $old, $many);
    $bench->compare(what => "claim+finish, pgsql, after $many", unit => 'us',
        prepare => sub { $_->fill(10_000 * $bench->{seconds}) for $old, $new },
        ours => sub { cycle($bench, $old) }, name => 'the first ones', theirs => sub { cycle($bench, $new) }, at_most => 1.3);
    return;
}

sub age {
    my ($bench, $server, $many) = @_;
    my $done = 0;
    $server->fill($many + 10_000 * $bench->{seconds});
    while ($done < $many) {
        my ($rate, $count) = $bench->wrk($server, 'cycle.lua');
        printf "%-46s %6d  %10.0f  cycles/s\n", 'claim+finish, pgsql, as they go by', $done += $count, $rate;
    }
    return;
}

# What one takes when 64 are under way, in us.
sub cycle {
    my ($bench, $server) = @_;
    return 1e6 / $bench->wrk($server, 'cycle.lua');
}

1;
