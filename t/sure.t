# cells: pgsql-*
# A connection to PostgreSQL that breaks in a commit: ci-builds tells what became of it, and says so where nobody
# can.

use strict;
use warnings;

use IO::Select       ();
use IO::Socket::UNIX ();
use JSON::PP         ();

use CIB::Place qw(give_to run scratch);
use CIB::Test;

my $main = $CELL->{instances}{main};
my ($host) = $main->{params} =~ /\bhost=(\S+)/;
my $dir = scratch('ci-builds-sure');
my $project = project();
my $pid;

# ---- a proxy that listens in $dir/proxy

# Read what comes from one side and write it to the other. Nothing more to do: false.
sub hand_on {
    my ($from, $to) = @_;
    my $bytes;
    return sysread($from, $bytes, 65536) && syswrite $to, $bytes;
}

# One connection, until either side ends it or the client says COMMIT. That gets no answer, and does not even
# get there if it is to be `cut`. Returns whether that came.
sub serve {
    my ($client, $how) = @_;
    my $server = IO::Socket::UNIX->new(Peer => "$host/.s.PGSQL.5432") or return 0;
    my $both = IO::Select->new($client, $server);
    while (1) {
        for my $ready ($both->can_read) {
            if ($ready == $server) {
                hand_on($server, $client) or return 0;
                next;
            }
            my $bytes;
            sysread($client, $bytes, 65536) or return 0;
            my $commits = $bytes =~ /^Q....COMMIT\0/s;
            syswrite $server, $bytes unless $commits && $how eq 'cut';
            next unless $commits;
            sysread $server, $bytes, 65536 unless $how eq 'cut';
            return 1;
        }
    }
}

# Serve one connection after the other, break the first that commits, and then, where it is to be `gone`, no more.
sub proxy {
    my ($listener, $how) = @_;
    while (my $client = $listener->accept) {
        my $broken = serve($client, $how);
        close $client;
        exit if $broken && $how eq 'gone';
        $how = 'whole' if $broken;
    }
    exit;
}

# The instance as it is seen through a proxy that breaks the next commit so: a storage directory.
sub through_proxy {
    my ($how) = @_;
    my $path = "$dir/$how";
    mkdir $_ or die "$_: $!\n" for $path, "$path/proxy";
    my $config = JSON::PP->new->decode(slurp("$main->{storage}/config"));
    $config->{params} =~ s/\bhost=\S+/host=$path\/proxy/;
    open my $out, '>', "$path/config" or die "config: $!\n";
    print {$out} JSON::PP->new->encode($config);
    close $out;
    chmod 0600, "$path/config";
    symlink "$main->{storage}/$_", "$path/$_" for qw(artifacts traces hosts lock);
    give_to($CELL->{user}, $path, "$path/config");
    my $listener = IO::Socket::UNIX->new(Local => "$path/proxy/.s.PGSQL.5432", Listen => 5) or die "no proxy: $!\n";
    chmod 0777, "$path/proxy/.s.PGSQL.5432";
    defined($pid = fork) or die "cannot fork: $!\n";
    proxy($listener, $how) unless $pid;
    return $path;
}

sub add {
    my ($storage) = @_;
    my $r = ci_builds({ storage => $storage, stdin => "echo\n" }, qw(build add --project), $project->{id}, '--sha', 'a' x 40, qw(--commands-file - --count 3));
    kill TERM => $pid;
    waitpid $pid, 0;
    return $r;
}

sub builds { return [map { $_->{id} } @{ cib(qw(build list --project), $project->{id}) }] }

subtest 'an answer that is lost' => sub {
    my $r = add(through_proxy('lost'));
    is $r->{exit}, 0, 'the builds were added, and that is said' or diag $r->{err};
    is_deeply [map { $_->{id} } @{ $r->{json} // [] }], builds(), '  with their ids';
    is $r->{err}, '', '  and nothing else';
};

subtest 'a commit that does not arrive' => sub {
    my $before = builds();
    my $r = add(through_proxy('cut'));
    is $r->{exit}, 1, 'the builds were not added, and that is said';
    is $r->{out}, '', '  without ids';
    unlike $r->{err}, qr/not known/, '  for sure' or diag $r->{err};
    is_deeply builds(), $before, 'there are none';
};

subtest 'a database that is gone after it' => sub {
    my $before = builds();
    my $r = add(through_proxy('gone'));
    is $r->{exit}, 1, 'nobody knows, and it fails';
    my @new = grep { my $id = $_; !grep { $_ == $id } @$before } @{ builds() };
    like $r->{err}, qr/whether it was done is not known.*\bbuild $new[0]\b/, '  and says what to look for';
    is $r->{out}, '', '  without ids';
};

cancel_all($project);
run('rm', '-rf', $dir);
done_testing;
