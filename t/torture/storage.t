# The storage directory fails: full under load, read-only, gone, and files that somebody cut or took away.
# cells: *-event

use strict;
use warnings;

use CIB::HTTP qw(request_text);
use CIB::Test;
use CIB::Torture;

own_mounts();
my $own = $ENV{CIB_MOUNT_NAMESPACE} ? "$CELL->{dir}/torture-full" : undef;
if ($own) {
    mkdir $own;
    system('mount', '-t', 'tmpfs', '-o', 'size=48m,mode=0777', 'tmpfs', $own) == 0 or undef $own;
}

my $beside = "$CELL->{dir}/torture-beside";    # the database is elsewhere, and has space
mkdir $beside;
chmod 0777, $beside;

my $arena = arena(
    name => 'storage', vhost => "CIBuildsMinFree 0\nCIBuildsAckTimeout 3s\nCIBuildsStuckTimeout 30s",
    storage => $own && "$own/storage",
    is_sqlite() ? (params => "$beside/ci-builds.db") : ()
);
$arena->start;

my ($runner, $job);

# A build that is heard of: the machine may be too busy for CIBuildsAckTimeout.
sub take {
    $arena->add_builds(1);
    $runner = $arena->cib('runner', 'add', '--project', $arena->{project}{id});
    my $r = $arena->request('v4', 'ask', $runner);
    $job = { id => $r->{json}{id}, token => $r->{json}{token}, at => 0 };
    $arena->request('v4', 'update', $job, $runner, 'running');
    return;
}

subtest 'no space left, under load' => sub {
    plan skip_all => 'needs a filesystem of its own' unless $own;
    $arena->expect(qr/CIB0102:.*(?:No space|full)/, qr/CIB0\d+:.*No space left/, qr/CIB0304:|CIB033[123]:/, qr/AH00484|AH10159/);
    take();
    my @told;
    $arena->add_builds(60);
    $arena->begin_load(6, may => { 507 => 1, 503 => 1 });
    for (1 .. 2 + int($SECONDS / 10)) {
        moment(0.2, 0.5);
        open my $out, '>', "$own/filler" or die "filler: $!\n";
        my $block = 'x' x 65536;
        1 while syswrite $out, $block;
        # the others may come upon it or not
        my $r = $arena->request('v4', 'upload', $job, 'x' x 8_000_000);
        push @told, $r ? "$r->{status} " . (defined $r->{json}{message} && defined $r->{headers}{'retry-after'} ? 'well' : $r->{body}) : 'nothing';
        moment(0.3, 0.8);
        close $out;
        unlink "$own/filler";
        tally('faults.no space left');
    }
    ok $arena->end_load, 'the clients come to their ends';
    is_deeply [grep { $_ ne '507 well' } @told], [], 'an upload was told 507, in JSON with Retry-After';
    $arena->request('v1', 'update', $job, $runner, 'failed');
    $arena->holds('  what must hold', settled => 1);
};

# Lines of the error log, from a place in it on, that name this build.
sub named {
    my ($from) = @_;
    return grep {/build $job->{id}\b/} split /\n/, substr slurp($arena->{error_log}), $from;
}

sub stored {
    my ($size) = @_;
    take();
    is $arena->request('v4', 'upload', $job, 'x' x $size)->{status}, 201, 'artifacts are stored';
    my ($file) = grep {m{/$job->{id}-[^/]*$}} split /\n/, qx(find $arena->{storage}/artifacts -type f);
    return $file;
}

# Whatever was broken: this build is done with.
sub done_with {
    $arena->request('v1', 'update', $job, $runner, 'failed');
    $arena->cib(qw(build erase), $job->{id});
    return;
}

subtest 'an artifact that somebody cut, or took away' => sub {
    $arena->expect(qr/CIB0\d+: .*build \d+/);
    for my $how (qw(cut gone)) {
        my $file = stored(3_000_000);
        $how eq 'cut' ? truncate($file, 1_000_000) : unlink $file;
        tally("faults.a file $how");
        my $from = -s $arena->{error_log};
        my $r = $arena->request('v4', 'fetch', $job->{id}, $job->{token});
        ok $r && $r->{status} =~ /^(?:404|500)$/ && $r->{json} && $r->{json}{message}, "$how: an answer that says so";
        diag $r ? "$r->{status} $r->{body}" : 'none' unless $r && $r->{json};
        is scalar(named($from)), 1, '  and one line of the log names the build' or diag $_ for named($from);
        my $check = ci_builds({ storage => $arena->{storage} }, 'check');
        is $check->{exit}, 1, '  and check sees it';
        done_with();
    }
};

subtest 'an artifact that somebody cuts while it is sent' => sub {
    my $size = 10_000_000;    # more than sockets hold
    my $file = stored($size);
    my $connection = CIB::HTTP->connect($arena->{port});
    $connection->send(request_text(@{ request_of('v4', 'fetch', $job->{id}, $job->{token}) }));
    ok $connection->answered(30), 'it is being sent';
    truncate $file, 100_000;
    tally('faults.a file cut while it is sent');
    my $r = eval { $connection->response };
    like $@, qr/breaks off/, 'the answer ends before its length' or diag $r && length $r->{body};
    is $arena->request('v4', 'fetch', $job->{id}, $job->{token})->{status}, 500, '  and the next one says so';
    done_with();
};

# Each word of a runner while the storage is broken: an error in JSON, and nothing is taken that is not there.
sub words_fail {
    my ($what, %kinds) = @_;
    my %words = (
        'an upload' => [v4 => 'upload', $job, 'x' x 1000], 'a piece of the trace' => [v4 => 'append', $job, $job->{at}, 'some of the trace'],
        'a whole trace' => [v1 => 'update', $job, $runner, 'running', trace => 'a trace']
    );
    tally("faults.$what");
    for my $word (sort keys %words) {
        my $r = $arena->request(@{ $words{$word} });
        ok $r && $r->{status} >= 500 && $r->{json} && $r->{json}{message}, "$what: $word is answered with an error, in JSON"
            or diag $r ? "$r->{status} $r->{body}" : 'no answer';
    }
    return;
}

# And when it is whole again.
sub words_count {
    is $arena->request('v4', 'append', $job, 0, 'the trace')->{status}, 202, '  when it is back, a piece of the trace is taken';
    is $arena->request('v4', 'upload', $job, 'y' x 1000)->{status}, 201, '  and an upload';
    is $arena->request('v4', 'fetch', $job->{id}, $job->{token})->{body}, 'y' x 1000, '  and that is what there is';
    is ci_builds({ storage => $arena->{storage}, json => 0 }, qw(build trace), $job->{id})->{out}, 'the trace', '  after which nothing of what was refused';
    done_with();
    return;
}

subtest 'a directory that is not there' => sub {
    $arena->expect(qr/CIB0\d+: .*(?:No such file|artifacts|traces)/);
    my %away = map { $_ => "$arena->{storage}/$_" } qw(artifacts traces);
    take();
    rename $_, "$_-away" or die "rename: $!" for values %away;
    words_fail('the storage gone');
    rename "$_-away", $_ or die "rename: $!" for values %away;
    words_count();
};

subtest 'a filesystem that has become read-only' => sub {
    plan skip_all => 'needs a mount namespace' unless $ENV{CIB_MOUNT_NAMESPACE};
    $arena->expect(qr/Read-only file system/);
    my @areas = map {"$arena->{storage}/$_"} qw(artifacts traces);
    take();
    for my $area (@areas) {
        system('mount', '--bind', $area, $area) == 0 && system('mount', '-o', 'remount,bind,ro', $area) == 0 or die "mount\n";
    }
    words_fail('the storage read-only');
    like $arena->request('v1', 'ask', $runner)->{status}, qr{^20[14]$}, '  and who asks is answered';
    system('umount', $_) == 0 or die "umount\n" for @areas;
    words_count();
};

$arena->ended;
done_testing;
