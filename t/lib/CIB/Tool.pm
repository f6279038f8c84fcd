package CIB::Tool;

# What watches the programs that the tests run: nothing, the sanitizers of the compiler, or valgrind.
# `make check`, `check-asan`, `check-valgrind` and `check-threads` choose; docs/testing.md says what
# each sees.

use strict;
use warnings;

use Cwd        ();
use File::Path ();

use CIB::Place qw(httpd_program);

# patience: how many times as long as usual things may take; runtimes: of the compiler, which must be
# loaded first where the program itself is not built for them; valgrind: its options.
my @VALGRIND = qw(--quiet --vgdb=no --fair-sched=try --keep-debuginfo=yes --num-callers=30 --error-exitcode=99);
my %TOOLS = (
    none => { patience => 1 },
    asan => {
        patience => 4,
        runtimes => [qw(libasan libubsan)],
        options  => {
            ASAN_OPTIONS  => 'detect_leaks=0:abort_on_error=0:halt_on_error=1:detect_odr_violation=0',
            UBSAN_OPTIONS => 'print_stacktrace=1:halt_on_error=1',
        },
    },
    # APR and httpd know of no sanitizer, but their locks are the C library's, which it watches
    tsan => {
        patience => 8,
        runtimes => [qw(libtsan)],
        options  => { TSAN_OPTIONS => 'halt_on_error=0:second_deadlock_stack=1:history_size=4' },
    },
    memcheck => {
        patience => 12,
        valgrind => [@VALGRIND, qw(--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite)],
    },
);

# The tool of this run, by name; t/check tells its tests by CIB_TOOL.
sub name     { return $ENV{CIB_TOOL} || 'none' }
sub patience { return _tool()->{patience} }

sub _tool {
    return $TOOLS{ name() } // die "there is no tool " . name() . "\n";
}

# The files of what it reports on httpd, one for each process. t/check tells its tests by CIB_TOOL_REPORTS.
sub reports {
    my $dir = $ENV{CIB_TOOL_REPORTS};
    return defined $dir ? sort glob "$dir/*" : ();
}

sub _suppressions {
    my ($top) = @_;
    my $file = "$top/t/suppressions/" . name();
    return -e $file ? $file : ();
}

sub _valgrind {
    my ($top, @more) = @_;
    return ('valgrind', @{ _tool()->{valgrind} }, (map {"--suppressions=$_"} _suppressions($top)), @more);
}

# What tells the sanitizers how to go about it, as a hash: the environment of whatever is built for them.
# They report to standard error, and make the program fail.
sub environment {
    my ($top) = @_;
    my %env = %{ _tool()->{options} // {} };
    $env{TSAN_OPTIONS} .= join '', map {":suppressions=$_"} _suppressions($top) if exists $env{TSAN_OPTIONS};
    return %env;
}

# The command line of a program of ours, which fails when there is something to report.
sub command {
    my ($top, @command) = @_;
    return (_tool()->{valgrind} ? _valgrind($top) : (), @command);
}

# What is to be started for httpd: itself, or a script in `dir` that starts it under the tool. The
# reports go into files, because httpd closes what it was started with.
sub httpd {
    my ($top, $dir) = @_;
    my $tool = _tool();
    return httpd_program() unless $tool->{valgrind} || $tool->{runtimes};
    $ENV{CIB_TOOL_REPORTS} = "$dir/reports";
    File::Path::make_path($ENV{CIB_TOOL_REPORTS});
    chmod 01777, $ENV{CIB_TOOL_REPORTS};    # whoever httpd becomes
    my $wrapper = "$dir/httpd";
    open my $out, '>', $wrapper or die "$wrapper: $!\n";
    print {$out} "#!/bin/sh\n", map {"$_\n"} _wrapped($top);
    close $out or die "$wrapper: $!\n";
    chmod 0755, $wrapper;
    return $wrapper;
}

sub _wrapped {
    my ($top) = @_;
    my $tool = _tool();
    return 'exec ' . join ' ', _valgrind($top, "--log-file=$ENV{CIB_TOOL_REPORTS}/httpd.%p"), httpd_program(), '"$@"'
        if $tool->{valgrind};
    my %env = environment($top);
    $env{TSAN_OPTIONS} .= ":log_path=$ENV{CIB_TOOL_REPORTS}/httpd" if exists $env{TSAN_OPTIONS};
    $env{LD_PRELOAD} = join ':', map { chomp(my $path = qx(gcc -print-file-name=$_.so)); Cwd::abs_path($path) } @{ $tool->{runtimes} };
    return ((map {"export $_='$env{$_}'"} sort keys %env), 'exec ' . httpd_program() . ' "$@"');
}

1;
