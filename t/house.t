# cells: none
# The directive table, the routes, the command line, the manual, the README and the sample configurations say
# the same.

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

# What the documents point at is there; NAME and <...> stand for something, * for anything.
sub is_there {
    my @found = glob $_[0] =~ s/NAME|<[^>]*>/*/gr;
    return @found && -e $found[0];
}
for my $file ('README.md', grep({-e} 'SECURITY.md'), glob 'docs/*.md') {
    my $text = slurp($file);
    my ($dir) = $file =~ m{^(.*/)} ? $1 : '';
    my %place = map { ($_ => $_) } $text =~ /`((?:src|include|conf|docs|bench|t)\/[^\s`]+)`/g;
    $place{$_} = "include/$_" for $text =~ m{`(\w+/cib_\w+\.h)`}g;
    $place{$_} = "$dir$_" for grep { !/:/ } $text =~ /\]\(([^)#]+)[^)]*\)/g;
    is_deeply [grep { !is_there($place{$_}) } sort keys %place], [], "what $file points at is there";
}

# ---- the dialects

my $protocol = slurp('docs/protocol.md');
my (@served, @prefixes);
for my $file (glob 'src/api/v[0-9].c') {
    my $text = slurp($file);
    my ($prefix) = $text =~ /^const cib_dialect_t \w+ = \{"([^"]+)"/m or next;
    push @prefixes, $prefix;
    push @served, map {"$_->[0] $prefix$_->[1]"} grep { @$_ } map { [/^\s*\{"([A-Z]+)", "([^"]+)", \w+\},$/] } split /\n/, $text;
}
is scalar @prefixes, 2, 'there are two dialects';
is_deeply [sort $protocol =~ /^\| `([A-Z]+ [^`]+)` \|/mg], [sort @served], 'docs/protocol.md has each route, and no other';

# a set of words as a text, each of them once and in order
sub set { my %set = map { $_ => 1 } @_; return join ' ', sort keys %set }

my ($errors) = $protocol =~ /^### Errors\n(.*?)^## /ms;
is set($errors =~ /^\| (\d+) \|/mg), set(slurp('src/http/reply.c') =~ /\[CIB_REASON_\w+\] = \{(\d+),/g), '  each status of an error';
my ($types) = $protocol =~ /^(Types of artifacts.*?)\n\n/ms;
is set(map { s/[`()]//gr =~ s/\s+/ /r } $types =~ /(`\w+`\s\(\w+\))/g),
    set(map { s/^\{"|"$//gr =~ s/", "/ /r } slurp('src/core/artifact_type.c') =~ /(\{"\w+", "\w+")/g), '  each type of artifact';
my ($reasons) = $protocol =~ /^(Reasons to fail.*?)\n\n/ms;
my ($known_reasons) = slurp('src/core/ending.c') =~ /cib_failure_reasons\[\] = \{(.*?)\}/s;
is set($reasons =~ /`(\w+)`/g), set($known_reasons =~ /"(\w+)"/g), '  each reason to fail';

# who configures one path must not forget the other
for my $prefix (@prefixes) {
    like slurp('conf/ci_builds.conf'), qr{<Location \Q$prefix\E>\s+LimitRequestBody 0\s+</Location>}, "conf/ci_builds.conf lifts httpd's limit of $prefix";
    for my $file ('conf/reference.conf', 'docs/install.md') {
        my ($pattern) = slurp($file) =~ /<LocationMatch (\S+)>/;
        like $prefix, qr/$pattern/, "  and $file narrows the access to it";
    }
}

# ---- the command line

# What the README, the manual and `make run` show of ci-builds is what it knows.
for my $file ('README.md', 'docs/install.md', 't/run') {
    my $shown = 0;
    for my $line (split /\n/, slurp($file) =~ s/\\\n\s*//gr) {
        my ($words) = $line =~ /^(?: {4,}|.*\| )(?:sudo )?(?:ci-builds|\$CLI) (.*?)(?: *#.*)?$/ or next;
        my ($command) = $words =~ /^(?:-s \S+ )?([a-z][a-z-]*(?: [a-z][a-z-]*)?)/;
        my @options = $words =~ /(?<=\s)--?[a-z][a-z-]*/g;
        my $help = qx($ENV{BUILD}/ci-builds $command --help 2>&1);
        is $?, 0, "$file: ci-builds $command";
        like $help, qr/^\s+(?:-\w, )?(?:\Q$_\E|\Q$_\E, --\S+)\b/m, "  with $_" for @options;
        $shown++;
    }
    cmp_ok $shown, '>', 0, "$file shows commands";
}

# The man page has an entry for each command, with its options and no others.
my $man = slurp('docs/ci-builds.1') =~ s/\\f[BIR]//gr =~ s/\\-/-/gr;
my @commands = qx($ENV{BUILD}/ci-builds --help) =~ /^  ([a-z][a-z-]*(?: [a-z][a-z-]*)?) .*\S$/mg;
cmp_ok scalar @commands, '>', 20, 'ci-builds --help lists the commands';
my %at = map { $_ => $man =~ /^(?:\.B )?\Q$_\E(?= |$)/m ? $-[0] : -1 } @commands;
is_deeply [grep { $at{$_} < 0 } @commands], [], 'docs/ci-builds.1 has each';
my @ends = (sort { $a <=> $b } grep { $_ >= 0 } values %at, index $man, '.SH OPTIONS OF A BUILD');
for my $command (grep { $at{$_} >= 0 } @commands) {
    my ($end) = grep { $_ > $at{$command} } @ends;
    my $entry = substr $man, $at{$command}, $end - $at{$command};
    my $lines = join "\n", (split /\n/, $entry)[0], $entry =~ /^(--.*)$/mg;
    my ($help) = qx($ENV{BUILD}/ci-builds $command --help) =~ /^Options:\n(.*?)\n\n/ms;
    my %knows = map { $_ => 1 } ($help // '') =~ /^  (?:-\w, )?(--[a-z-]+)/mg;
    my %has = map { my ($no, $name) = @$_; map { $_ => 1 } $no ? ("--$name", "--no-$name") : "--$name" }
        map { [/--(\[no-\])?([a-z-]+)/] } $lines =~ /(--(?:\[no-\])?[a-z][a-z-]*)/g;
    $has{'--output'} = 1 if $lines =~ /-o /;
    is set(keys %has), set(keys %knows), "  and the options of $command";
}

done_testing;
