# What mod_status shows.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);
my @ids = build(project => $project, args => ['--count', 3]);
claim($runner);

my $html = http(GET => '/server-status');
is $html->{status}, 200, 'mod_status answers';
like $html->{body}, qr/ci.builds/i, 'with a section of ours';
like $html->{body}, qr/pending/i, '  that counts pending builds';
like $html->{body}, qr/running/i, '  and running ones';
like $html->{body}, qr/parked/i, '  and parked requests';
unlike $html->{body}, qr/<script/i, '  and is escaped';
my $auto = http(GET => '/server-status?auto');
my @lines = grep {/^CIBuilds/i} split /\n/, $auto->{body};
cmp_ok scalar @lines, '>=', 1, '?auto: lines of ours' or diag $auto->{body};
like "@lines", qr/:\s*\d+/, '  with numbers';
unlike $html->{body} . $auto->{body}, qr/\Q$runner->{token}\E/, 'no token';

cancel_all($project);
done_testing;
