# cells: none
# The fuzz targets over the files of their corpus, without a fuzzer: every file runs, and nothing that must
# hold breaks. `make fuzz` looks for more such files.

use strict;
use warnings;

use File::Temp ();
use Test::More;

my $replays = ($ENV{BUILD} // 'build') . '/replay';
# no httpd here: every leak is ours
local $ENV{ASAN_OPTIONS} = 'detect_leaks=1' if ($ENV{CIB_TOOL} // '') eq 'asan';

# What became of it: how it ended, the files that ran, all it said.
sub replay {
    my ($target, @files) = @_;
    my $pid = open my $pipe, '-|';
    defined $pid or die "cannot fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec {"$replays/$target"} "$replays/$target", @files or exit 127;
    }
    my $said = do { local $/ = undef; <$pipe> } // '';
    close $pipe;
    return { status => $?, ran => [$said =~ /^ok \d+ - (.*)$/mg], said => $said };
}

my @targets = grep { $_ ne 'planted' } map {/fuzz_(\w+)\.c$/} sort glob 't/fuzz/fuzz_*.c';
cmp_ok scalar @targets, '>=', 12, 'there are targets';
is_deeply [map {m{([^/]+)$}} sort glob 't/fuzz/corpus/*'], \@targets, 'each has its corpus, and no other';
for my $target (@targets) {
    my @files = sort glob "t/fuzz/corpus/$target/*";
    my $replayed = replay($target, @files);
    cmp_ok scalar @files, '>=', 10, "$target has a corpus";
    is_deeply $replayed->{ran}, \@files, '  all of it runs';
    is $replayed->{status}, 0, '  and nothing breaks' or diag substr $replayed->{said}, -3000;
    my @large = grep { -s $_ > 4096 } @files;
    is "@large", '', '  no file is larger than 4 KiB';
}

# what is noticed: a condition that does not hold, and with AddressSanitizer a byte too far
my $dir = File::Temp::tempdir(CLEANUP => 1);
sub planted {
    my ($name, $text) = @_;
    open my $out, '>', "$dir/$name" or die "$dir/$name: $!\n";
    print {$out} $text;
    close $out or die "$dir/$name: $!\n";
    return "$dir/$name";
}
my @planted = (planted(quiet => 'quiet'), planted(boom => 'boom'), planted(empty => ''));
my $replayed = replay('planted', @planted);
isnt $replayed->{status}, 0, 'a condition that does not hold ends a replay';
is_deeply $replayed->{ran}, [$planted[0]], '  there';
like $replayed->{said}, qr/^# \Q$planted[1]\E\n\n\S+fuzz_planted\.c:\d+: does not hold: nobody says boom/m, '  and it says where';
$replayed = replay('planted', planted(over => 'over'));
if (($ENV{CIB_TOOL} // '') eq 'asan') {
    isnt $replayed->{status}, 0, 'so does a byte read beyond a piece of a pool';
    like $replayed->{said}, qr/heap-buffer-overflow.*apr_palloc/s, '  which is told from its neighbours';
} else {
    is $replayed->{status}, 0, 'a byte too far is only seen by AddressSanitizer';
}
$replayed = replay('planted', "$dir/nowhere");
isnt $replayed->{status}, 0, 'a file that is not there is no success';
isnt replay('planted')->{status}, 0, 'nor is none at all';

done_testing;
