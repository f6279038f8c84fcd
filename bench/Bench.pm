package Bench;

# What rows (bench/rows/NAME.pm) measure with: servers, generators of load, and the table.
#
#   $bench->server('sqlite3')       an httpd with the module on that database (bench/Server.pm); made once
#   $bench->compare(...)            ours beside what it is held against, in turns
#   $bench->note(...)               a line of the table that is no ratio
#   $bench->wrk(...), ->curl(...)   load
#
# $bench->{rounds,seconds,size,claims,quick,top,build,root}: what the command line said, the checkout, the
# build directory, and an empty directory that is gone afterwards. Sizes are in MiB.

use strict;
use warnings;

use File::Path ();
use JSON::PP ();

use CIB::Place qw(httpd_user as_user run scratch);
use CIB::Postgres;
use Machine;
use Server;

# new(rounds => , seconds => , size => , claims => , quick => , top => , build => )
sub new {
    my ($class, %self) = @_;
    my $self = bless { %self, root => scratch('ci-builds-bench'), server => {}, files => {}, table => [], owner => $$ }, $class;
    ($self->{machine}, $self->{is_quiet}) = Machine::describe(top => $self->{top}, root => $self->{root});
    $self->{ticks} = [Machine::ticks()];
    return $self;
}

# Stop what was started, and leave nothing behind.
sub end {
    my ($self) = @_;
    return if $$ != $self->{owner};
    $_->stop for values %{ $self->{server} };
    $self->{postgres}->stop if $self->{postgres};
    unlink values %{ $self->{files} };
    chdir '/';
    File::Path::remove_tree($self->{root}, { error => \my $ignored });
    return;
}

# ---- servers

# A server on that database. Rows share it, unless they ask for one of their own by a name:
# server('pgsql', name => 'parking', directives => "CIBuildsLongPoll 30\n"); see bench/Server.pm.
sub server {
    my ($self, $driver, %how) = @_;
    my $name = $how{name} // $driver;
    return $self->{server}{$name} //= Server->start(root => $self->{root}, build => $self->{build}, top => $self->{top},
        driver => $driver, ($driver eq 'pgsql' ? (postgres => $self->postgres) : ()), %how);
}

# The cluster that all servers on PostgreSQL share, with fsync on.
sub postgres {
    my ($self) = @_;
    return $self->{postgres} //= CIB::Postgres->start("$self->{root}/postgres", durable => 1);
}

# ---- the table

# Measure in turns, `rounds` times; a line for each of what it is held against.
#
#   what     => 'claims, sqlite3', unit => 'claims/s'
#   prepare  => sub {}                before each round; may be left out
#   ours     => sub { $number }
#   name     => 'a raw program', theirs => sub { $number }, goal => 0.8 (at least; undef: none)
#   at_most  => 1.5                   instead of goal, where less is better
#   against  => [{ name => , theirs => , goal => }, …]    several; instead of those four
#
# Where `theirs` is a hash of subs by name, the one with the best median counts. `ours` and `theirs` may
# return more than the number; compare() returns what `ours` returned in each round, as arrays.
sub compare {
    my ($self, %row) = @_;
    my @against = $row{against} ? @{ $row{against} } : \%row;
    my (@ours, @all);
    for my $round (1 .. $self->{rounds}) {
        $row{prepare}->() if $row{prepare};
        push @all, [$row{ours}->()];
        push @ours, $all[-1][0];
        _measure($_) for @against;
        printf "%-46s %d/%d  %s  %s\n", $row{what}, $round, $self->{rounds},
            join('  ', map { sprintf '%10s', figure($_) } $ours[-1], map { map { $_->[-1] } _found($_) } @against), $row{unit};
    }
    $self->_compared(\%row, \@ours, $_) for @against;
    return @all;
}

sub _candidates { my ($against) = @_; return ref $against->{theirs} eq 'HASH' ? $against->{theirs} : { '' => $against->{theirs} } }
sub _found { my ($against) = @_; return map { $against->{found}{$_} } sort keys %{ $against->{found} } }

sub _measure {
    my ($against) = @_;
    my $candidates = _candidates($against);
    push @{ $against->{found}{$_} }, scalar $candidates->{$_}->() for sort keys %$candidates;
    return;
}

sub _compared {
    my ($self, $row, $ours, $against) = @_;
    my $found = $against->{found};
    my $is_less = defined $against->{at_most};
    my ($best) = sort { ($is_less ? 1 : -1) * (median(@{ $found->{$a} }) <=> median(@{ $found->{$b} })) } sort keys %$found;
    my $theirs = $found->{$best};
    my @ratios = sort { $a <=> $b } map { $ours->[$_] / $theirs->[$_] } 0 .. $#$ours;
    my $ratio = median(@ratios);
    $self->_add(
        what   => $row->{what},
        got    => figure(median(@$ours)) . " $row->{unit}",
        name   => join(' ', grep {length} $against->{name}, $best),
        theirs => figure(median(@$theirs)),
        ratio  => sprintf('%.2f (%.2f to %.2f)', $ratio, @ratios[0, -1]),
        _judged($ratio, $against->{goal}, $against->{at_most}),
    );
    return;
}

sub _judged {
    my ($ratio, $goal, $at_most) = @_;
    return (goal => "at most $at_most", ok => $ratio <= $at_most) if defined $at_most;
    return (goal => "at least $goal", ok => $ratio >= $goal) if defined $goal;
    return;
}

# A line with no ratio: what => , got => '12 ms', goal => 'under 30 ms', ok => whether that is so
# (without ok: no goal). name => , theirs => where there is something beside it.
sub note {
    my ($self, %line) = @_;
    printf "%-46s %s\n", @line{qw(what got)};
    $self->_add(%line);
    return;
}

sub _add {
    my ($self, %line) = @_;
    push @{ $self->{table} }, \%line;
    return;
}

# A row could not be measured.
sub failed {
    my ($self, $row, $why) = @_;
    warn "$row: $why";
    $self->_add(what => $row, got => 'NOT MEASURED', goal => 'see above', ok => 0);
    return;
}

# Print it, and whether every goal was reached.
sub print_table {
    my ($self) = @_;
    my @head = ('measured', 'ours', 'held against', 'theirs', 'ratio (spread)', 'goal', '');
    my @lines = map { [map { $_ // '' } @$_{qw(what got name theirs ratio goal)}, defined $_->{ok} ? $_->{ok} ? 'reached' : 'MISSED' : ''] }
        @{ $self->{table} };
    my @width = map { my $column = $_; (sort { $b <=> $a } map { length $_->[$column] } \@head, @lines)[0] } 0 .. $#head;
    print "\n";
    printf "%-9s %s\n", @$_ for @{ $self->{machine} }, [stolen => $self->_stolen], [rounds => $self->_how];
    print "          NOT QUIET: something else was at work, so do not rely on these figures\n" unless $self->{is_quiet};
    print "\n";
    print map { my $line = $_;
        (join('  ', map { sprintf "%-$width[$_]s", $line->[$_] } 0 .. $#head) =~ s/\s+$//r) . "\n" }
        \@head, [map { '-' x $_ } @width], @lines;
    my @judged = grep { defined $_->{ok} } @{ $self->{table} };
    printf "\n%d of %d goals reached\n", scalar(grep { $_->{ok} } @judged), scalar @judged;
    return;
}

sub _how {
    my ($self) = @_;
    return "$self->{rounds}, in turns, $self->{seconds} s for each measurement; medians, and the least and the greatest ratio";
}

# What the host of a virtual machine gave to others meanwhile.
sub _stolen {
    my ($self) = @_;
    my @now = Machine::ticks();
    return sprintf '%.1f %% of the time, by the host', 100 * ($now[1] - $self->{ticks}[1]) / (($now[2] - $self->{ticks}[2]) || 1);
}

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# Three digits or all that stand before the point.
sub figure { my ($number) = @_; return abs $number >= 100 ? sprintf '%.0f', $number : sprintf '%.3g', $number }

# ---- load

# Run wrk with a script of bench/; the rate that it found and, where a list is wanted, the number of
# requests (or what the script counts), the 99th percentile of latencies in ms, and of cycle.lua the claims.
# wrk($server, 'cycle.lua', clients => 64, threads => 1, path => '/', token => , env => { NAME => value })
sub wrk {
    my ($self, $server, $script, %how) = @_;
    local @ENV{ 'RUNNER_TOKEN', keys %{ $how{env} } } = ($how{token} // $server->{token}, values %{ $how{env} });
    my $seconds = $how{seconds} // $self->{seconds};
    my $out = run('wrk', '-t' . ($how{threads} // 1), '-c' . ($how{clients} // 64), "-d${seconds}s", '-s', "$self->{top}/bench/$script",
        $server->url($how{path} // '/'));
    my ($rate, $all, $bad, $p99, $claims) = $out =~ /^RESULT (\S+) (\d+) (\d+) (\S+) ?(\d*)$/m or die "wrk said:\n$out";
    die "$script: $bad of $all answers were not as they should be\n$out" if $bad || !$all;
    return wantarray ? ($rate, $all, $p99, $claims) : $rate;
}

# Run curl; the seconds it took. The last arguments are the statuses that are right.
sub curl {
    my ($self, @args) = @_;
    my @right;
    unshift @right, pop @args while $args[-1] =~ /^\d{3}$/;
    my $out = run('curl', '-sS', '-o', '/dev/null', '-w', 'RESULT %{http_code} %{time_total}', @args);
    my ($status, $took) = $out =~ /RESULT (\d+) (\S+)/ or die "curl said:\n$out";
    die "curl: status $status\n" unless grep { $_ == $status } @right;
    return $took;
}

# A file of so many MiB (`size`) in memory, so that reading it costs nothing.
sub big_file {
    my ($self, $size) = @_;
    $size //= $self->{size};
    return $self->{files}{$size} if $self->{files}{$size};
    my $in = -d '/dev/shm' && -w '/dev/shm' ? '/dev/shm' : $self->{root};
    my $file = $self->{files}{$size} = "$in/" . ($self->{root} =~ s{.*/}{}r) . "-$size";
    run('sh', '-c', "openssl enc -aes-128-ctr -pass pass:bench -nosalt -in /dev/zero 2>/dev/null | head -c ${size}M > '$file'");
    return $file;
}

# A program of bench/, compiled with the store's sources in reach.
sub program {
    my ($self, $name) = @_;
    my $program = "$self->{root}/$name";
    if (!-x $program) {
        my @flags = split ' ', qx(apr-1-config --includes --cppflags; apu-1-config --includes);
        run('gcc', '-O2', '-ffunction-sections', '-fdata-sections', "-I$self->{top}/include", "-I$self->{top}/src/store", @flags,
            '-Wl,--gc-sections', '-o', $program, "$self->{top}/bench/$name.c", '-lsqlite3');
        chmod 0755, $program;
    }
    return $program;
}

# Run one of them as the user that the database file belongs to.
sub run_program {
    my ($self, $name, @args) = @_;
    my $out = run(as_user(httpd_user(), $self->program($name), @args));
    my ($found) = $out =~ /^RESULT (\S+)/m or die "$name said:\n$out";
    return $found;
}

sub write_file {
    my ($path, $text) = @_;
    open my $out, '>', $path or die "$path: $!\n";
    print {$out} $text;
    close $out or die "$path: $!\n";
    chmod 0644, $path;
    return;
}

# Resident memory in KiB that is a process's own.
sub anonymous {
    my ($pid) = @_;
    my ($kib) = Machine::slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
    return $kib // 0;
}

1;
