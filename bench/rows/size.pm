package Rows::size;

# Whether a claim costs more where there is much: the time of one, as a runner sees it that is alone,
# on a filled instance and on one that holds nothing but the builds that are claimed.

use strict;
use warnings;

use IO::Socket::INET ();
use Time::HiRes ();

use Filling;

my %NAME = (specific => 'specific', shared => 'shared', everywhere => 'shared');

sub run {
    my ($bench) = @_;
    my %of = $bench->{quick}
        ? (finished => 100_000,   barred => 10_000,  open => 2_000,  projects => 200,   runners => 200)
        : (finished => 1_000_000, barred => 100_000, open => 10_000, projects => 1_000, runners => 1_000);
    for my $driver (qw(sqlite3 pgsql)) {
        my ($full, $empty) = map { $bench->server($driver, name => "$_-$driver") } qw(full empty);
        my ($of_full, $of_empty) = map { Filling::begin($_) } $full, $empty;
        my $start = time;
        Filling::fill($full, %of);
        $bench->note(what => "full instance, $driver", name => 'filled in ' . (time - $start) . ' s',
            got => "$of{finished} ended, $of{barred} barred, 2 x $of{open} open");
        for my $kind (qw(specific shared everywhere)) {
            my $projects = $kind eq 'everywhere' ? $of{projects} : Filling::LANES;
            my @both = ([$full, $of_full->{$kind}], [$empty, $of_empty->{$kind}]);
            my ($in_full, $in_empty);
            $bench->compare(what => "claim, $driver, $NAME{$kind}, $projects lanes", unit => 'us',
                prepare => sub { ($in_full, $in_empty) = claims($bench, $Filling::KIND{$kind}, @both) },
                ours => sub { $in_full }, name => 'an empty instance', theirs => sub { $in_empty }, at_most => 1.5);
        }
    }
    return;
}

# The medians of many claims on each of these [server, token], in us, one here and one there. Each is
# finished before the next, or else the runner's own running builds would be what is measured.
sub claims {
    my ($bench, $tags, @both) = @_;
    my $count = $bench->{quick} ? 100 : 100 * $bench->{seconds};
    Filling::add($_->[0], $tags, $count) for @both;
    my @sockets = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_->[0]{port}) or die "no connection: $!\n" } @both;
    my @took;
    for (1 .. $count) {
        for my $which (0 .. $#both) {
            push @{ $took[$which] }, claim($sockets[$which], $both[$which][1]);
        }
    }
    return map { Bench::median(@$_) } @took;
}

sub claim {
    my ($socket, $token) = @_;
    my $start = Time::HiRes::time();
    my $answer = ask($socket, POST => '/ci/api/v1/builds/register', qq({"token":"$token"}));
    my $took = 1e6 * (Time::HiRes::time() - $start);
    my ($id) = $answer =~ /"id":\s*(\d+)/ or die "no build:\n$answer\n";
    ask($socket, PUT => "/ci/api/v1/builds/$id.json", qq({"token":"$token","state":"success"}));
    return $took;
}

sub ask {
    my ($socket, $method, $path, $body) = @_;
    print {$socket} "$method $path HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body";
    my $head = '';
    while (defined(my $line = <$socket>)) {
        last if $line eq "\r\n";
        $head .= $line;
    }
    $head =~ m{^HTTP/1.1 20[01] } or die "answer:\n$head\n";
    my ($length) = $head =~ /^Content-Length: (\d+)/mi or die "answer:\n$head\n";
    read($socket, my $answer, $length) == $length or die "an answer ended early\n";
    return $answer;
}

1;
