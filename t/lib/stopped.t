# After a cell's server was stopped: what the last file did not see in its logs. Fails where the server
# never started.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use CIB::Log;

my $file = $ENV{CIB_CELL} // '';
if (ok -e $file, 'the server started') {
    open my $in, '<', $file or die "$file: $!\n";
    my $cell = JSON::PP->new->utf8->decode(do { local $/ = undef; <$in> });
    my @faults = CIB::Log::faults($cell);
    ok !@faults, 'its logs are clean after it stopped';
    diag $_ for @faults;
    ok !-e $cell->{pid_file}, 'it is gone';
}
done_testing;
