package CIB::Network;

# A network of two hosts, ours and one that is a namespace, with a wire between them that can be cut. Of all
# that, nothing has a name that outlives us: the namespace is that of a process which ends when we do, and
# with the namespace go both ends of the wire.

use strict;
use warnings;

use CIB::Place qw(am_root run);
use CIB::Test qw(wait_for);

# Why there can be none here, or nothing.
sub impossible {
    return 'a network namespace needs root' unless am_root();
    return 'no network namespace can be made here' if system('unshare -n true 2>/dev/null') != 0;
    return 'no ip (iproute2)' if system('ip -V >/dev/null 2>&1') != 0;
    return;
}

# new: the wire is whole. `near` and `far` are the addresses of the two hosts.
sub new {
    my ($class) = @_;
    my $self = bless { ours => "cib${$}n", theirs => "cib${$}f", owner => $$ }, $class;
    $self->{holder} = open $self->{life}, '|-', 'exec unshare -n cat >/dev/null' or die "unshare: $!\n";
    my $here = readlink '/proc/self/ns/net';
    wait_for('the namespace', sub { (readlink("/proc/$self->{holder}/ns/net") // $here) ne $here });
    # of the addresses that are for tests between networks, eight that no run beside this one has
    my $n = $$ % 2**14;
    my $net = sprintf '198.%d.%d.%%d', 18 + ($n >> 13), ($n >> 5) & 255;
    @$self{qw(near far other)} = map { sprintf $net, 8 * ($n & 31) + $_ } 1 .. 3;
    run('ip', 'link', 'add', $self->{ours}, 'type', 'veth', 'peer', 'name', $self->{theirs}, 'netns', $self->{holder});
    run('ip', 'address', 'add', "$self->{near}/29", 'dev', $self->{ours});
    run('ip', 'link', 'set', $self->{ours}, 'up');
    run($self->there, 'ip', 'address', 'add', "$self->{far}/29", 'dev', $self->{theirs});
    run($self->there, 'ip', 'link', 'set', $_, 'up') for 'lo', $self->{theirs};
    return $self;
}

# What to put before a command that is to run on the far host.
sub there { return ('nsenter', '-t', $_[0]{holder}, '-n', '--') }

# No packet passes, and nobody is told.
sub cut  { my ($self) = @_; run($self->there, 'ip', 'link', 'set', $self->{theirs}, 'down'); return }
sub mend { my ($self) = @_; run($self->there, 'ip', 'link', 'set', $self->{theirs}, 'up');   return }

# What we say arrives there, and no answer does.
sub silence { my ($self) = @_; run($self->there, qw(tc qdisc add dev), $self->{theirs}, qw(root pfifo limit 0)); return }
sub listen  { my ($self) = @_; run($self->there, qw(tc qdisc del dev), $self->{theirs}, 'root');                 return }

# We have another address from now on, as a host that takes the place of one that is gone.
sub move {
    my ($self) = @_;
    run('ip', 'address', 'del', "$self->{near}/29", 'dev', $self->{ours});
    @$self{qw(near other)} = @$self{qw(other near)};
    run('ip', 'address', 'add', "$self->{near}/29", 'dev', $self->{ours});
    return;
}

# Clients that a test forks have it too.
sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $@);
    eval { run('ip', 'link', 'delete', $self->{ours}) };
    close $self->{life};
    return;
}

1;
