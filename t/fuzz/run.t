# cells: none
# t/fuzz/run with a fuzzer that has something to find, where there is a clang that can make it.

use strict;
use warnings;

use File::Temp ();
use Test::More;

my $dir = File::Temp::tempdir(CLEANUP => 1);
mkdir "$dir/fuzzer";
chomp(my $flags = qx(apr-1-config --cppflags --cflags --includes --link-ld | tr '\\n' ' '));
my $words = qx(clang -w -g -fsanitize=fuzzer,address -D_GNU_SOURCE -rdynamic -It/fuzz -o $dir/fuzzer/planted t/fuzz/fuzz_planted.c t/fuzz/fuzz.c t/fuzz/exact_pools.c $flags 2>&1);
plan(skip_all => 'no clang with libFuzzer here (make fuzz installs it)') if $? != 0;

$ENV{BUILD} = $dir;
delete $ENV{ASAN_OPTIONS};

my $said = qx(t/fuzz/run --seconds 60 planted 2>&1);
is $? >> 8, 1, 'a fault makes it fail' or diag $said;
like $said, qr/^planted +[1-9]\d* executions, .*, FAULT$/m, 'it says so';
like $said, qr/nobody says boom|heap-buffer-overflow/, 'and what it is';
my ($input) = $said =~ /^  the input: (\S+)$/m;
ok defined $input && -s $input, 'the input lies where it says';
like $said, qr/^fuzz: 1 targets, [1-9]\d* executions: FAULTS in planted$/m, 'the last line sums up';
cmp_ok scalar(() = glob "$dir/finds/planted/*"), '>', 0, 'new inputs lie beside';
ok !-e 't/fuzz/corpus/planted', 'and not in the corpus';

$said = qx(t/fuzz/run nowhere 2>&1);
isnt $?, 0, 'a target that there is not is a fault too';
$said = qx(t/fuzz/run --seconds 0 planted 2>&1);
isnt $?, 0, 'so is no time at all';

done_testing;
