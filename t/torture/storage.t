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
    system('mount', '-t', 'tmpfs', '-o', 'size=24m,mode=0777', 'tmpfs', $own) == 0 or undef $own;
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
sub take {
    $arena->add_builds(1);
    $runner = $arena->cib('runner', 'add', '--project', $arena->{project}{id});
    my $r = $arena->request('v4', 'ask', $runner);
    $job = { id => $r->{json}{id}, token => $r->{json}{token}, at => 0 };
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
    }
    ok $arena->end_load, 'the clients come to their ends';
    is_deeply [grep { $_ ne '507 well' } @told], [], 'an upload was told 507, in JSON with Retry-After';
    $arena->request('v1', 'update', $job, $runner, 'failed');
    $arena->holds('  what must hold', settled => 1);
};

subtest 'an artifact that somebody cut, or took away' => sub {
    $arena->expect(qr/CIB0\d+: .*build \d+/);
    for my $how (qw(cut gone)) {
        take();
        is $arena->request('v4', 'upload', $job, 'x' x 3_000_000)->{status}, 201, 'artifacts are stored';
        my ($file) = grep {m{/$job->{id}-[^/]*$}} split /\n/, qx(find $arena->{storage}/artifacts -type f);
        $how eq 'cut' ? truncate($file, 1_000_000) : unlink $file;
        my $r = $arena->request('v4', 'fetch', $job->{id}, $job->{token});
        ok !$r || $r->{status} =~ /^(?:404|500)$/, "$how: no answer that looks whole";
        diag $r->{status}, ' ', length $r->{body} if $r && $r->{status} == 200;
        like slurp($arena->{error_log}), qr/build $job->{id}\b.*artifact|artifact.*build $job->{id}\b/, '  and the log names the build';
        my $check = ci_builds({ storage => $arena->{storage} }, 'check');
        is $check->{exit}, 1, '  and check sees it';
        $arena->request('v1', 'update', $job, $runner, 'failed');
        $arena->cib(qw(build erase), $job->{id});
    }
};

subtest 'a directory that is not there' => sub {
    take();
    $arena->expect(qr/CIB0\d+: .*(?:No such file|artifacts|traces)/);
    rename "$arena->{storage}/artifacts", "$arena->{storage}/away" or die "rename: $!";
    my $r = $arena->request('v4', 'upload', $job, 'x' x 1000);
    ok $r && $r->{status} >= 500 && $r->{json}{message}, 'an upload is answered with an error, in JSON' or diag $r && "$r->{status} $r->{body}";
    rename "$arena->{storage}/away", "$arena->{storage}/artifacts" or die "rename: $!";
    is $arena->request('v4', 'upload', $job, 'x' x 1000)->{status}, 201, '  and taken when it is back';
};

is scalar($arena->stop), 0, 'nothing runs on';
$arena->log_is_clean;
done_testing;
