# The database fails under load: it is stopped, killed, out of connections, locked, silent. Whoever asks
# meanwhile is told 503, soon; no child crashes; it is served again by itself; and nothing is lost.
# cells: *-event *-prefork

use strict;
use warnings;

use CIB::HTTP qw(request_text);
use CIB::Outage;
use CIB::Place qw(as_user);
use CIB::Postgres;
use CIB::Test;
use CIB::Tool;
use CIB::Torture;

own_mounts();
plan skip_all => 'the long form only' unless $SECONDS || (is_event() && CIB::Tool::name() eq 'none');

my $TIMES = $CIB::Outage::TIMES;
my ($arena, $outage);

sub fault { return $outage->fault(@_) }

# A psql that does something and holds still until it is let go.
sub hold {
    my ($cluster, $sql) = @_;
    my $pid = open my $psql, '|-', as_user($cluster->{user}, "$cluster->{bin}/psql", '-h', $cluster->{dir}, '-U', 'postgres', '-d', 'torture', '-XqAt',
        '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1') or die "psql: $!\n";
    $psql->autoflush(1);
    my $sign = "$arena->{dir}/held";
    unlink $sign;
    print {$psql} "$sql\n\\! touch $sign\n";
    wait_for('the lock', sub { -e $sign });
    return $psql;
}

sub postgresql {
    my $cluster = CIB::Postgres->start("$CELL->{dir}/torture-pg");
    my $params = $cluster->database('torture');
    $arena = arena(name => 'database', params => $params, cluster => $cluster, vhost => "CIBuildsAckTimeout 3s\nCIBuildsStuckTimeout 15s");
    chmod 0777, $arena->{dir};
    $arena->expect(qr/CIB0101:/, qr/CIB0302:/, qr/CIB0304:|CIB040[12]:/, qr/AH10159/, qr/CIB024[01]:/, qr/CIB033[123]:/, qr/\[dbd:(?:error|crit)\]/, qr/AH00484/, qr/CIB0230/);
    $arena->start;
    $outage = CIB::Outage->new($arena);
    my $terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'torture' AND pid <> pg_backend_pid()";

    for my $mode (('fast', 'immediate') x $TIMES) {
        fault("PostgreSQL stopped ($mode)", sub {
            $cluster->stop($mode);
            $outage->refused($_[0]);
            $cluster->resume;
        });
    }
    fault('its backends terminated', sub {
        for (1 .. 8 * $TIMES) {
            $cluster->sql($terminate);
            moment(0.05, 0.3);
        }
        return 8 * $TIMES;
    }, counts => 1);
    fault('no connection left', sub {
        $cluster->sql('ALTER ROLE ci_builds CONNECTION LIMIT 0');
        $cluster->sql($terminate);
        $outage->refused($_[0]);
        $cluster->sql('ALTER ROLE ci_builds CONNECTION LIMIT -1');
    });
    fault('a table that is locked', sub {
        my $psql = hold($cluster, 'BEGIN; LOCK TABLE builds;');
        $outage->refused($_[0], some => 1);
        $outage->refused("$_[0], once more", some => 1);
        close $psql;
    });
    fault('a server that does not answer', sub {
        my ($postmaster) = slurp("$cluster->{dir}/data/postmaster.pid") =~ /^(\d+)/;
        my @all = ($postmaster, $arena->children($postmaster));
        kill STOP => @all;
        eval {
            $outage->refused($_[0]);
            $outage->refused("$_[0], once more");
        };
        kill CONT => @all;
        die $@ if $@;
    }, settled => 1);
    return;
}

# A sqlite3 that holds the write lock until it is let go.
sub hold_sqlite {
    my $sign = "$arena->{dir}/held";
    unlink $sign;
    open my $shell, '|-', as_user($CELL->{user}, 'sqlite3', '-cmd', '.timeout 20000', $arena->{params}) or die "sqlite3: $!\n";
    $shell->autoflush(1);
    print {$shell} "BEGIN IMMEDIATE;\n.shell touch $sign\n";
    wait_for('the lock', sub { -e $sign });
    return $shell;
}

# Leave no byte free.
sub fill {
    my ($dir) = @_;
    open my $out, '>', "$dir/filler" or die "filler: $!\n";
    my $block = 'x' x 65536;
    1 while syswrite $out, $block;
    1 while syswrite $out, 'x';
    close $out;
    return;
}

sub sqlite {
    my $own = $ENV{CIB_MOUNT_NAMESPACE} ? "$CELL->{dir}/torture-db" : undef;
    if ($own) {
        mkdir $own;
        system('mount', '-t', 'tmpfs', '-o', 'size=12m,mode=0777', 'tmpfs', $own) == 0 or undef $own;
    }
    $arena = arena(name => 'database', params => $own && "$own/ci-builds.db", vhost => "CIBuildsAckTimeout 3s\nCIBuildsStuckTimeout 15s");
    chmod 0777, $arena->{dir};
    $arena->expect(qr/CIB010[12]:/, qr/CIB024[01]:/, qr/CIB033[123]:/, qr/CIB0302:/, qr/CIB0304:|CIB040[12]:/, qr/AH00484|AH10159/);
    $arena->start;
    $outage = CIB::Outage->new($arena);
    fault('the write lock held by another program', sub {
        for (1 .. $TIMES) {
            my $shell = hold_sqlite();
            $outage->refused($_[0], some => 1);
            $outage->refused("$_[0], once more", some => 1);
            close $shell;
        }
    }, settled => !$own);
    return unless $own;
    fault('no space left for the database', sub {
        fill($own);
        my @all = $arena->http_at_once(60, $outage->everybody);
        my @bad = grep { $_->{status} !~ /^(?:20\d|416|403|404|400|503|507)$/ || $_->{status} >= 500 && !($_->{json} && $_->{json}{message}) } @all;
        ok !@bad, "$_[0]: every request is answered";
        diag "$_->{status} $_->{body}" for @bad;
        unlink "$own/filler";
    }, settled => 1);
    return;
}

# A transfer that takes its time, or a request that waits, keeps no connection from the others.
sub one_connection {
    $arena = arena(name => 'one', conf => "DBDMin 1\nDBDKeep 1\nDBDMax 1\nStartServers 1\nServerLimit 1\nMaxRequestWorkers 8",
        vhost => "CIBuildsLongPoll 30s");
    $arena->expect(qr/AH00484|AH10159/);
    $arena->start;
    my ($runner, $job) = @{ CIB::Outage->new($arena) }{qw(runner job)};
    my $bytes = 'z' x 30_000_000;
    is $arena->request('v4', 'upload', $job, $bytes)->{status}, 201, 'large artifacts';
    my $asks = sub {
        my ($what) = @_;
        my ($r) = eval { $arena->http_at_once(60, request_of('v1', 'update', $job, $runner, 'running')) };
        is $r && $r->{status}, 200, "with one connection, $what: others are served";
    };
    my $download = CIB::HTTP->connect($arena->{port});
    $download->send(request_text(@{ request_of('v4', 'fetch', $job->{id}, $job->{token}) }));
    $download->answered(30);
    $asks->('a download that is not read');
    my $upload = CIB::HTTP->connect($arena->{port});
    my $text = request_text(@{ request_of('v1', 'upload', $job, 'z' x 200_000) });
    $upload->send(substr $text, 0, 100_000);
    $asks->('an upload');
    my $idle = $arena->cib('runner', 'add', '--project', $arena->{project}{id});
    my $r = $arena->request('v1', 'ask', $idle);
    my $value = $r->{headers}{'x-gitlab-last-update'};
    my $parked = CIB::HTTP->connect($arena->{port});
    $parked->send(request_text(POST => '/ci/api/v1/builds/register.json', headers => ['User-Agent' => 'gitlab-ci-multi-runner 1.11.5 (x)'],
        json => { token => $idle->{token}, last_update => $value, info => CIB::Test::info() }));
    $asks->('a parked request');
    $upload->send(substr $text, 100_000);
    is $upload->response->{status}, 201, 'the upload ends';
    is length $download->response->{body}, length $bytes, '  and so does the download';
    $arena->add_builds(1);
    is $parked->response->{status} =~ /^20[14]$/, 1, '  and the wait';
    return;
}

is_sqlite() ? sqlite() : postgresql();
$arena->ended;
if (is_event()) {
    one_connection();
    $arena->ended;
}
done_testing;
