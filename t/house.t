# cells: none
# The directive table, the manual, the README and the sample configurations say the same.

use strict;
use warnings;

use Test::More;

sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or die "$file: $!\n";
    local $/ = undef;
    return scalar <$in>;
}

my %source;
for my $file ('mod_ci_builds.c', glob 'src/server/*.c') {
    my $text = slurp($file);
    $source{$1} = $file while $text =~ /\b[A-Z][A-Z0-9_]*\(\s*"(CIBuilds\w*)"/g;
}
my @directives = sort keys %source;
cmp_ok scalar @directives, '>', 0, 'the source has a directive table';

my $manual = slurp('docs/directives.md');
my (%manual, %default);
while ($manual =~ /^## (CIBuilds\w*)\n(.*?)(?=^## |\z)/msg) {
    my ($name, $entry) = ($1, $2);
    $manual{$name} = $entry;
    for my $field (qw(Description Syntax Default Context)) {
        like $entry, qr/^\| \*\*$field\*\* \| \S.* \|$/m, "docs/directives.md: $name has its $field";
    }
    like $entry, qr/^\| \*\*Syntax\*\* \| `$name /m, "docs/directives.md: the syntax of $name begins with its name";
    ($default{$name}) = $entry =~ /^\| \*\*Default\*\* \| `$name (.*?)` \|$/m;
}
is_deeply [sort keys %manual], \@directives, 'docs/directives.md describes each directive, and no other';

my $readme = slurp('README.md');
my %readme;
$readme{$1} = $2 while $readme =~ /^\| `(CIBuilds\w*)[^`]*` \| (.*?) \|/mg;
is_deeply [sort keys %readme], \@directives, 'so does the table in README.md';
for my $name (grep { defined $default{$_} } @directives) {
    is $readme{$name}, "`$default{$name}`", "README.md has the same default for $name";
}

my $reference = slurp('conf/reference.conf');
my %reference;
$reference{$2} = $3 while $reference =~ /^\s*(#?)(CIBuilds\w*)\s+(.*?)\s*$/mg;
is_deeply [sort keys %reference], \@directives, 'conf/reference.conf shows each';
for my $name (grep { defined $default{$_} && $reference =~ /^\s*#$_\b/m } @directives) {
    is $reference{$name}, $default{$name}, "conf/reference.conf comments out the default of $name";
}

my %known = map { $_ => 1 } @directives;
for my $file (glob('conf/*'), 't/conf/extra.conf.in', glob('docs/*.md'), 'README.md') {
    my %used;
    my $text = slurp($file);
    $used{$1}++ while $text =~ /\b(CIBuilds\w*)/g;
    is_deeply [grep { !$known{$_} } sort keys %used], [], "$file names no directive that there is not";
}

like slurp('conf/ci_builds.load'), qr/^# Depends: dbd$/m, 'conf/ci_builds.load lets a2enmod enable mod_dbd';

done_testing;
