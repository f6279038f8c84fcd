# cells: *-event
# Start-up errors are one line that says what to do; what is right starts.

use strict;
use warnings;

use CIB::Test;
use CIB::Place qw(modules_dir);

my $dir = "$CELL->{dir}/startup";
mkdir $dir;
chmod 0755, $dir;
my ($params, $storage) = @{ $CELL->{instances}{main} }{qw(params storage)};
my $second = $CELL->{instances}{second};

# A whole configuration; `leave_out` names modules that are not loaded.
sub configuration {
    my ($vhost, %opt) = @_;
    my $modules = modules_dir();
    my %out = map { $_ => 1 } @{ $opt{leave_out} // [] };
    my $text = join '', map {"LoadModule ${_}_module $modules/mod_$_.so\n"} grep { !$out{$_} } qw(mpm_event authz_core dbd);
    $text .= "LoadModule ci_builds_module $CELL->{module}\n";
    $text .= "User $CELL->{user}\nGroup $CELL->{group}\n" if $> == 0;
    my $port = $CELL->{spare_port};
    $text .= "ServerName localhost\nListen 127.0.0.1:$port\nServerRoot $dir\nPidFile $dir/httpd.pid\nErrorLog $dir/error_log\nDefaultRuntimeDir $dir\n";
    $text .= "<VirtualHost *:$port>\n$vhost\n</VirtualHost>\n";
    my $file = "$dir/httpd.conf";
    open my $out, '>', $file or die "$file: $!";
    print {$out} $text;
    close $out;
    return $file;
}

# What `httpd -t` says: exit code and words.
sub configtest {
    my ($file) = @_;
    my $words = qx($CELL->{httpd} -t -f $file 2>&1);
    return ($? >> 8, $words);
}

# A start that must fail: what the error log and the terminal say.
sub start_fails {
    my ($file) = @_;
    unlink "$dir/error_log";
    my $words = qx($CELL->{httpd} -k start -f $file 2>&1);
    my $failed = $? >> 8;
    if (!$failed) {
        stop();
        return (0, $words);
    }
    return ($failed, $words . (-e "$dir/error_log" ? slurp("$dir/error_log") : ''));
}

# httpd has its sockets before `-k start` comes back, but perhaps not yet its pid file.
sub stop {
    wait_for('the pid file', sub { -s "$dir/httpd.pid" });
    chomp(my $pid = slurp("$dir/httpd.pid"));
    kill TERM => $pid;
    wait_for('httpd to stop', sub { !kill 0, $pid });
    unlink "$dir/httpd.pid";    # one that was stopped before it was ready leaves it
    return;
}

END {
    local $?;
    stop() if -s "$dir/httpd.pid";
}

my $dbd = "DBDriver $CELL->{driver}\nDBDParams \"$params\"\n";
my $good = "${dbd}CIBuilds On\nCIBuildsStorage $storage\n";

subtest 'what is right' => sub {
    my ($code, $words) = configtest(configuration($good));
    is $code, 0, 'configtest' or diag $words;
    my ($failed, $said) = start_fails(configuration($good));
    is $failed, 0, 'start' or diag $said;
    ($code, $words) = configtest(configuration("CIBuilds Off\n", leave_out => ['dbd']));
    is $code, 0, 'CIBuilds Off needs no mod_dbd' or diag $words;
};

subtest 'what configtest sees' => sub {
    my @bad = (
        ['no storage', "${dbd}CIBuilds On", qr/CIBuildsStorage/],
        ['no DBDriver', "CIBuilds On\nCIBuildsStorage $storage", qr/DBDriver|DBDParams/],
        ['a storage that is not there', "${dbd}CIBuilds On\nCIBuildsStorage /nonexistent/ci", qr{/nonexistent/ci.*ci-builds.*init}],
        ['a directory that is none', "${dbd}CIBuilds On\nCIBuildsStorage $dir", qr/\Q$dir\E.*init/],
        ['a size that is none', "${good}CIBuildsMaxArtifactSize lots", qr/CIBuildsMaxArtifactSize/],
        ['a negative size', "${good}CIBuildsMaxTraceSize -1", qr/CIBuildsMaxTraceSize/],
        ['a size beyond all', "${good}CIBuildsMaxTraceSize 99999999999T", qr/CIBuildsMaxTraceSize/],
        ['a duration that is none', "${good}CIBuildsStuckTimeout soon", qr/CIBuildsStuckTimeout/],
        ['a flag that is none', "${good}CIBuilds Perhaps", qr/CIBuilds/],
        ['a URL that is none', "${good}CIBuildsExternalURL ci.example.com", qr/CIBuildsExternalURL/],
        ['too many words', "${good}CIBuildsHistory 1 d", qr/CIBuildsHistory/],
    );
    for my $case (@bad) {
        my ($what, $vhost, $pattern) = @$case;
        my ($code, $words) = configtest(configuration($vhost));
        isnt $code, 0, "$what: refused";
        my @lines = grep { /\S/ && !/AH00526|^AH\d+: Configuration|AH00558/ } split /\n/, $words;
        is scalar(grep { $_ =~ $pattern } @lines), 1, '  with one line that says what to do' or diag $words;
    }
    my ($code, $words) = configtest(configuration($good, leave_out => ['dbd']) );
    isnt $code, 0, 'without mod_dbd: refused';
    ($code, $words) = configtest(configuration("CIBuilds On\nCIBuildsStorage $storage\n", leave_out => ['dbd']));
    isnt $code, 0, 'without mod_dbd and its directives: refused';
    like $words, qr/mod_dbd|dbd_module|a2enmod/, '  saying that it is missing';
    if ($> == 0) {
        my $other = "$dir/others";
        my $r = ci_builds({ storage => $other, json => 0 }, qw(init --user nobody));
        if (is_sqlite() && !$r->{exit}) {
            ($code, $words) = configtest(configuration("DBDriver sqlite3\nDBDParams $other/ci-builds.db\nCIBuilds On\nCIBuildsStorage $other\n"));
            isnt $code, 0, "somebody else's storage: refused";
            like $words, qr/own/, '  naming the owner';
        }
    }
};

subtest 'what only a start sees' => sub {
    my $wrong = $dbd =~ s/\Q$params\E/$second->{params}/r;
    my ($failed, $said) = start_fails(configuration("${wrong}CIBuilds On\nCIBuildsStorage $storage\n"));
    isnt $failed, 0, "another instance's database: refused";
    like $said, qr/CIB\d{4}: .*belong/, '  with one line that says so' or diag $said;
    ($failed, $said) = start_fails(configuration($good));
    is $failed, 0, 'the right one starts' or diag $said;
    if (is_sqlite()) {
        ($failed, $said) = start_fails(configuration("DBDriver sqlite3\nDBDParams $dir/empty.db\nCIBuilds On\nCIBuildsStorage $storage\n"));
        isnt $failed, 0, 'a database without a schema: refused';
        like $said, qr/CIB\d{4}: .*(?:init|belong|DBDParams name)/, '  with one line that says what to do' or diag $said;
    } else {
        my $away = $params =~ s/host=\S+/host=$dir/r;
        my $file = configuration("DBDriver pgsql\nDBDParams \"$away\"\nCIBuilds On\nCIBuildsStorage $storage\n");
        unlink "$dir/error_log";
        my $words = qx($CELL->{httpd} -k start -f $file 2>&1);
        is $? >> 8, 0, 'a database that is not there only warns' or diag $words;
        my $connection = eval { CIB::HTTP->connect($CELL->{spare_port}) };
        if ($connection) {
            $connection->send(request_text(POST => "$V1/builds/register.json", json => { token => 'x' x 40 }));
            my $r = $connection->response;
            answers $r, 503, qr/^503 Service Unavailable/, 'requests are answered 503';
            like $r->{headers}{'retry-after'}, qr/^\d+$/, '  with Retry-After';
        }
        like slurp("$dir/error_log"), qr/\[ci_builds:(?:warn|error)\]/, '  and the log says why';
        stop();
    }
};

subtest 'an older schema' => sub {
    my $old = "$dir/old";
    my @there = is_sqlite() ? () : ('--params', "$params options='-c search_path=old'");
    sql('CREATE SCHEMA old') if @there;
    my @owner = $> == 0 ? ('--user', $CELL->{user}) : ();
    my $r = ci_builds({ storage => $old, json => 0 }, 'init', '--driver', $CELL->{driver}, @there, @owner);
    is $r->{exit}, 0, 'an instance' or diag $r->{err};
    my $its = $there[1] // "$old/ci-builds.db";
    my $runner = cib({ storage => $old }, qw(runner add --shared --description old));
    my $file = configuration("DBDriver $CELL->{driver}\nDBDParams \"$its\"\nCIBuilds On\nCIBuildsStorage $old\n");
    # back to what the first release made
    sql($_, $its) for 'DROP INDEX builds_retried', 'DROP INDEX builds_tagset', 'DROP TABLE runner_machines', "UPDATE meta SET value = '1' WHERE key = 'schema_version'",
        map {"ALTER TABLE $_"} 'runners DROP COLUMN maximum_timeout', 'builds DROP COLUMN trace_checksum',
        'builds DROP COLUMN short_traces', 'builds DROP COLUMN followed_until', 'build_variables DROP COLUMN is_file',
        'build_variables DROP COLUMN is_raw';
    my ($failed, $said) = start_fails($file);
    isnt $failed, 0, 'httpd does not start';
    like $said, qr/CIB\d{4}: [^\n]*schema is version 1, this module needs \d+: run 'ci-builds -s \Q$old\E init'/, '  and says what to do'
        or diag $said;
    cib_fails(1, qr/schema is version 1, this program needs \d+: run 'ci-builds -s \Q$old\E init'/, { storage => $old }, qw(runner list));
    $r = ci_builds({ storage => $old, json => 0 }, 'init');
    is $r->{exit}, 0, 'which is done' or diag $r->{err};
    like $r->{out}, qr/^# The database's schema went from version 1 to \d+: restart httpd now\.$/m, '  and said';
    my $show = cib({ storage => $old }, qw(runner show), $runner->{id});
    is_deeply [@$show{qw(description maximum_timeout machines)}], ['old', undef, []], '  and what was there is there';
    my $words = qx($CELL->{httpd} -k start -f $file 2>&1);
    is $? >> 8, 0, 'httpd starts' or diag $words;
    my $connection = CIB::HTTP->connect($CELL->{spare_port});
    $connection->send(request_text(POST => '/api/v4/runners/verify', json => { token => $runner->{token}, system_id => 's_1' }));
    is $connection->response->{status}, 200, '  and knows the runner';
    is scalar @{ cib({ storage => $old }, qw(runner show), $runner->{id})->{machines} }, 1, '  and now its machine';
    stop();
    sql("UPDATE meta SET value = '99' WHERE key = 'schema_version'", $its);
    ($failed, $said) = start_fails($file);
    isnt $failed, 0, 'nor does it start on a newer one';
    like $said, qr/CIB\d{4}: [^\n]*schema is version 99, this module knows \d+: install /, '  and says what to do' or diag $said;
    $r = ci_builds({ storage => $old, json => 0 }, 'init');
    is $r->{exit}, 1, '  which init does not bring down';
};

subtest 'merging' => sub {
    my $file = configuration('CIBuildsMaxArtifactSize 10');
    open my $out, '>>', $file or die $!;
    print {$out} "$dbd\nCIBuilds On\nCIBuildsStorage $storage\nCIBuildsMaxArtifactSize 5\n";
    close $out;
    my $words = qx($CELL->{httpd} -k start -f $file 2>&1);
    is $? >> 8, 0, 'the server is configured, the virtual host inherits' or diag $words;
    my $project = project();
    my $runner = runner(project => $project);
    build(project => $project);
    my $build = claim($runner);
    for my $case ([10, 201], [11, 413]) {
        my ($size, $status) = @$case;
        my $connection = CIB::HTTP->connect($CELL->{spare_port});
        $connection->send(request_text(POST => "$V1/builds/$build->{id}/artifacts", headers => ['Build-Token' => $build->{token}],
            multipart => [part(name => 'file', filename => 'x', body => 'x' x $size)]));
        is $connection->response->{status}, $status, "  and overrides: $size bytes give $status";
    }
    finish($runner, $build->{id});
    stop();
};

subtest 'room to park' => sub {
    for my $case (['', 'warn', qr/of at most \d+, parks up to \d+ requests, .*: AsyncRequestWorkerFactor sets that limit, and is not in the configuration$/m],
        ["AsyncRequestWorkerFactor 7\nThreadsPerChild 10\n", 'notice', qr/parks up to 40 requests, .*: AsyncRequestWorkerFactor sets that limit$/m],
        ["ThreadLimit 600\nThreadsPerChild 600\nServerLimit 1\nMaxRequestWorkers 600\nStartServers 1\n", 'notice', qr/parks up to 400 requests, .*: the limit of open files sets that limit$/m],
        ["AsyncRequestWorkerFactor 999999\n", 'notice', qr/parks up to 400 requests, .*: the limit of open files sets that limit$/m]) {
        my ($lines, $level, $words) = @$case;
        my $file = configuration("$dbd\nCIBuilds On\nCIBuildsStorage $storage\nCIBuildsLongPoll 5s");
        open my $out, '>>', $file or die $!;
        print {$out} $lines;
        close $out;
        unlink "$dir/error_log";
        my $said = qx(ulimit -n 1000; $CELL->{httpd} -k start -f $file 2>&1);
        is $? >> 8, 0, 'it starts' or diag $said;
        stop();
        my ($line) = grep {/CIB0291:/} split /\n/, slurp("$dir/error_log");
        like $line, qr/\[ci_builds:$level\]/, "  the log says with level $level";
        like $line, $words, '  how many may wait, and what to raise';
    }
};

done_testing;
