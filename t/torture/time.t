# What time does, and what it must not do: deadlines begin anew when the server or the database was away, what
# expires frees the disk and the log says how much, a client that stops in the middle of a body is sent away.
# cells: *-event

use strict;
use warnings;

use CIB::HTTP qw(part request_text);
use CIB::Place qw(as_user);
use CIB::Postgres;
use CIB::Test;
use CIB::Torture;

plan skip_all => 'run by make torture' unless $SECONDS;

my $DEADLINE = 6;
my $cluster = is_sqlite() ? undef : CIB::Postgres->start("$CELL->{dir}/torture-time-pg");
my $arena = arena(
    name => 'time', conf => 'RequestReadTimeout body=3',
    $cluster ? (params => $cluster->database('torture'), cluster => $cluster) : ()
);
chmod 0777, $arena->{dir};
$arena->expect(qr/CIB0101:/, qr/CIB0230:/, qr/CIB024[01]:/, qr/CIB033[12]:/, qr/CIB0304:/, qr/\[dbd:(?:error|crit)\]/, qr/AH00484|AH10159/);
$arena->start;
my $runner = $arena->cib('runner', 'add', '--project', $arena->{project}{id});

sub take {
    $arena->add_builds(1);
    my $r = $arena->request('v4', 'ask', $runner);
    return { id => $r->{json}{id}, token => $r->{json}{token}, at => 0 };
}

# An upload whose artifacts expire after so many seconds.
sub lasting {
    my ($job, $seconds, $bytes) = @_;
    return $arena->http(POST => "/api/v4/jobs/$job->{id}/artifacts?artifact_format=zip&artifact_type=archive&expire_in=${seconds}s",
        headers => ['Job-Token' => $job->{token}], multipart => [part(name => 'file', filename => 'a.zip', body => $bytes)]);
}

sub files { return split /\n/, qx(find $arena->{storage}/artifacts $arena->{storage}/traces -type f) }

sub show { return $arena->cib(qw(build show), $_[0]{id}) }

subtest 'a client that stops in the middle' => sub {
    my $job = take();
    my %half = (
        'an upload' => request_text(POST => "/api/v4/jobs/$job->{id}/artifacts?artifact_format=zip&artifact_type=archive", headers => ['Job-Token' => $job->{token}],
            multipart => [part(name => 'file', filename => 'a.zip', body => 'z' x 300_000)]),
        'a piece of a trace' => request_text(@{ request_of('v4', 'append', $job, 0, 'z' x 300_000) }),
        'a whole trace' => request_text(@{ request_of('v1', 'update', $job, $runner, 'success', trace => 'z' x 300_000) }),
        'a question' => request_text(@{ request_of('v1', 'ask', $runner) }),
    );
    my %open = map { $_ => CIB::HTTP->connect($arena->{port}) } keys %half;
    $open{$_}->send(substr $half{$_}, 0, length($half{$_}) - 20) for keys %open;
    for my $what (sort keys %open) {
        tally('faults.a body that stops');
        ok $open{$what}->answered(60), "$what: the server does not wait for ever";
        my $r = eval { $open{$what}->response };
        ok !$r || $r->{status} == 408, '  and says 408, or goes' or diag $r->{status};
    }
    is show($job)->{artifacts_file}, undef, 'nothing of it is there';
    is show($job)->{trace_size} // 0, 0, '  nor of the traces';
    is $arena->request('v4', 'update', $job, $runner, 'success')->{status}, 200, 'the build goes on';
};

$arena->stop;
$arena->{vhost} = "CIBuildsAckTimeout ${DEADLINE}s\nCIBuildsStuckTimeout ${DEADLINE}s";
$arena->start;

# Until all deadlines have passed, by the clock.
sub outlast { moment($DEADLINE + 2, $DEADLINE + 2); return }

my %AWAY = (
    'the server' => sub { $arena->stop; outlast(); $arena->start },
    'the database' => $cluster ? sub { $cluster->stop('fast'); outlast(); $cluster->resume } : sub {
        my $sign = "$arena->{dir}/held";
        open my $shell, '|-', as_user($CELL->{user}, 'sqlite3', '-cmd', '.timeout 20000', $arena->{params}) or die "sqlite3: $!\n";
        $shell->autoflush(1);
        print {$shell} "BEGIN IMMEDIATE;\n.shell touch $sign\n";
        wait_for('the lock', sub { -e $sign });
        outlast();
        close $shell;
    },
);

for my $what (sort keys %AWAY) {
    subtest "$what was away" => sub {
        my ($unheard, $silent, $mute) = map { take() } 1 .. 3;
        is $arena->request('v4', 'append', $_, 0, 'a word')->{status}, 202, 'a runner is heard' for $silent, $mute;
        # what expires meanwhile tells when upkeep is back: it looks at deadlines before that
        is lasting($silent, $DEADLINE - 1, 'z')->{status}, 201, '  and brings artifacts for some seconds';
        $AWAY{$what}->();
        tally("faults.$what away for long");
        wait_for('upkeep', sub { !grep {m{/$silent->{id}-}} files() });
        is $arena->request('v4', 'append', $silent, 6, ' more')->{status}, 202, 'a runner that could not be heard meanwhile goes on';
        is $arena->request('v4', 'append', $unheard, 0, 'a word')->{status}, 202, '  and so does one that had yet to say its first word';
        is show($mute)->{status}, 'running', '  and one that is silent has its time';
        wait_for('the silent one to fail', sub { show($mute)->{status} eq 'failed' }, 60);
        pass '  but no more than that';
        $arena->request('v4', 'update', $_, $runner, 'failed') for $silent, $unheard;
    };
}

# What upkeep said of this from there on: the sum of the bytes that it freed.
sub freed {
    my ($from, $word) = @_;
    my $sum = 0;
    $sum += $_ for substr(slurp($arena->{error_log}), $from) =~ /CIB0290:.* [1-9]\d* $word,.* (\d+) bytes freed/g;
    return $sum;
}

subtest 'what expires' => sub {
    my $from = -s $arena->{error_log};
    my $job = take();
    my $before = () = files();
    is lasting($job, 1, 'z' x 300_000)->{status}, 201, 'artifacts for a second';
    $arena->request('v4', 'update', $job, $runner, 'success');
    wait_for('upkeep', sub { freed($from, 'expired') });
    is freed($from, 'expired'), 300_000, 'upkeep says how much it freed';
    is scalar(grep {m{/artifacts/}} files()), 0, '  and the disk is free of it';
};

subtest 'what is history' => sub {
    my $job = take();
    is $arena->request('v4', 'append', $job, 0, 'x' x 5000)->{status}, 202, 'a trace';
    is $arena->request('v4', 'upload', $job, 'z' x 200_000)->{status}, 201, '  and artifacts';
    $arena->request('v4', 'update', $job, $runner, 'success');
    my $from = -s $arena->{error_log};
    $arena->{vhost} .= "\nCIBuildsHistory 1s";
    $arena->graceful;
    wait_for('upkeep', sub { !grep { $_->{id} == $job->{id} } $arena->builds }, 60);
    wait_for('its word', sub { freed($from, 'removed') >= 205_000 });
    is scalar(files()), 0, 'it is gone from the disk, and upkeep said how much that was';
};

$arena->ended;
done_testing;
