package CIB::Log;

# What the server logged since somebody last looked.

use strict;
use warnings;

use JSON::PP ();

use CIB::Tool;

# what must never be there, wherever it comes from
my $CRASH = qr/exit signal|AddressSanitizer|UndefinedBehaviorSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed|double free|stack smashing/;

# warnings of httpd itself that say nothing about us
my @HARMLESS = (
    qr/AH00558:/,                # no fully qualified name
    qr/AH0010(?:3|4):/,          # graceful restarts
    qr/AH00045:|AH00046:/,       # a child that takes its time to stop
    qr/AH01382:/,                # a request timeout that a test provoked
    qr/CIB0260:/,                # wrong tokens, told up to a minute after the test that tried them
);

sub remember {
    my ($cell, @tokens) = @_;
    open my $out, '>>', $cell->{tokens} or die "$cell->{tokens}: $!\n";
    print {$out} map {"$_\n"} @tokens;
    close $out;
    return;
}

sub _tokens {
    my ($cell) = @_;
    open my $in, '<', $cell->{tokens} or return;
    my %seen;
    chomp(my @tokens = <$in>);
    return grep { length >= 8 && !$seen{$_}++ } @tokens;
}

# The new lines of each log.
sub _news {
    my ($cell) = @_;
    my $seen = {};
    if (open my $in, '<', $cell->{seen}) { local $/ = undef; $seen = JSON::PP->new->decode(<$in>) }
    my %news;
    for my $log (@{ $cell->{logs} }, CIB::Tool::reports()) {
        open my $in, '<', $log or next;
        seek $in, $seen->{$log} // 0, 0;
        $news{$log} = [<$in>];
        $seen->{$log} = tell $in;
    }
    open my $out, '>', $cell->{seen} or die "$cell->{seen}: $!\n";
    print {$out} JSON::PP->new->encode($seen);
    close $out;
    return \%news;
}

# What is wrong with them (whatever a tool reports is); `expected` are patterns of lines that may be there.
sub faults {
    my ($cell, @expected) = @_;
    my $news = _news($cell);
    my $any = join '|', map {quotemeta} _tokens($cell);
    my $tokens = length $any ? qr/$any/ : undef;
    my %reports = map { $_ => 1 } CIB::Tool::reports();
    my @faults;
    for my $log (sort keys %$news) {
        my ($name) = $log =~ m{([^/]+)$};
        my $report = $reports{$log} ? @{ $news->{$log} } : 0;
        for my $line (@{ $news->{$log} }) {
            chomp(my $text = $line);
            if (defined $tokens && $text =~ $tokens) {
                push @faults, "$name holds a token: " . ($text =~ s/$tokens/<TOKEN>/gr);
                next;
            }
            $report = 40 if $text =~ $CRASH;
            if ($report-- > 0) {
                push @faults, "$name: $text";
                next;
            }
            next unless $text =~ /\[\w+:(?:emerg|alert|crit|error|warn)\]/ && $log eq $cell->{error_log};
            next if grep { $text =~ $_ } @HARMLESS, @expected;
            push @faults, "$name: $text";
        }
    }
    return @faults > 60 ? (@faults[0 .. 59], '…') : @faults;
}

1;
