package CIB::HTTP2;

# A client that says HTTP/2 frame by frame, over TCP without TLS: streams that stop in the middle, are reset, bring
# trailers, or many at once. What other clients do as well is curl's to say (see t/http2.t). Of the headers of an
# answer it reads the status only.

use strict;
use warnings;

use JSON::PP ();
use Socket   ();

use CIB::HTTP ();

use constant { DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4, PING => 6, GOAWAY => 7, WINDOW_UPDATE => 8, CONTINUATION => 9 };
use constant { END_STREAM => 1, ACK => 1, END_HEADERS => 4, PADDED => 8, PRIORITY => 32 };

# Open a connection to a port of 127.0.0.1. There is room for any answer, and nothing is remembered for packing headers.
sub connect {
    my ($class, $port) = @_;
    my $self = bless {
        tcp => CIB::HTTP->connect($port), next => 1, streams => {}, window => 65535, each => 65535, largest => 16384,
    }, $class;
    setsockopt $self->{tcp}{socket}, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    $self->{tcp}->send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    $self->frame(SETTINGS, 0, 0, pack 'nNnN', 1, 0, 4, 0x7fffffff);
    $self->frame(WINDOW_UPDATE, 0, 0, pack 'N', 0x7fff0000);
    return $self;
}

# Send one frame, whatever it is. False when the peer takes no more.
sub frame {
    my ($self, $type, $flags, $stream, $bytes) = @_;
    return $self->{tcp}->send(substr(pack('N', length $bytes), 1) . pack('CCN', $type, $flags, $stream) . $bytes);
}

sub close { return $_[0]{tcp}->close }

# Begin a stream: its number. headers => [name => value …]; with `end` it has no body.
sub begin {
    my ($self, $method, $path, %opt) = @_;
    my $id = $self->{next};
    $self->{next} += 2;
    $self->{streams}{$id} = { window => $self->{each}, body => '' };
    my @fields = (':method' => $method, ':scheme' => 'http', ':authority' => '127.0.0.1', ':path' => $path, @{ $opt{headers} // [] });
    $self->frame(HEADERS, END_HEADERS | ($opt{end} ? END_STREAM : 0), $id, _fields(@fields));
    return $id;
}

# Send bytes of a body, as the peer has room for them; stops when the stream is over. With `end` it is all of it.
sub data {
    my ($self, $id, $bytes, %opt) = @_;
    return $self->bodies({ $id => $bytes }, %opt);
}

# Send bytes on several streams, a piece of each in turn; none waits for another to have room.
sub bodies {
    my ($self, $bytes, %opt) = @_;
    my %at = map { $_ => 0 } keys %$bytes;
    while (%at) {
        my $moved = 0;
        $self->_next_frame while !$self->{over} && $self->{tcp}->answered(0);
        for my $id (sort { $a <=> $b } keys %at) {
            my $stream = $self->{streams}{$id};
            my ($room) = sort { $a <=> $b } $stream->{window}, $self->{window}, $self->{largest}, length($bytes->{$id}) - $at{$id};
            if ($stream->{over} || $self->{over} || $at{$id} == length $bytes->{$id}) {
                delete $at{$id};
                $self->frame(DATA, END_STREAM, $id, '') if $opt{end} && !$stream->{over} && !$self->{over};
                $moved = 1;
            } elsif ($room > 0) {
                $self->frame(DATA, 0, $id, substr $bytes->{$id}, $at{$id}, $room);
                $_->{window} -= $room for $stream, $self;
                $at{$id} += $room;
                $moved = 1;
            }
        }
        $self->_next_frame if !$moved;
    }
    return;
}

# End a body with header fields.
sub trailers {
    my ($self, $id, @fields) = @_;
    return $self->frame(HEADERS, END_HEADERS | END_STREAM, $id, _fields(@fields));
}

sub reset {
    my ($self, $id) = @_;
    return $self->frame(RST_STREAM, 0, $id, pack 'N', 8);
}

# Wait until a stream is over: { status, body, json, reset => error code or undef }, where `status` is undef without an
# answer, `interim` counts the answers that only announced one, and `twice` says that there was more than one. With
# `head` wait for the status only.
sub response {
    my ($self, $id, %opt) = @_;
    my $stream = $self->{streams}{$id};
    $self->_next_frame until $stream->{over} || $self->{over} || ($opt{head} && $stream->{status});
    $stream->{json} = eval { JSON::PP->new->utf8->allow_nonref->decode($stream->{body}) } if $stream->{over};
    return $stream;
}

# Wait for the announcement that a body is wanted.
sub wanted {
    my ($self, $id) = @_;
    my $stream = $self->{streams}{$id};
    $self->_next_frame until $stream->{interim} || $stream->{over} || $self->{over};
    return $stream->{interim};
}

# Wait until the peer has read all that was sent so far.
sub settle {
    my ($self) = @_;
    my $pings = $self->{pings} // 0;
    $self->frame(PING, 0, 0, '12345678');
    $self->_next_frame until $self->{over} || ($self->{pings} // 0) > $pings;
    return;
}

# ---- frames that come

sub _next_frame {
    my ($self) = @_;
    my $head = eval { $self->{tcp}->_exactly(9) };
    if (!defined $head) {
        die $@ if $@ =~ /within/;
        return $self->{over} = 1;
    }
    my ($high, $low, $type, $flags, $id) = unpack 'CnCCN', $head;
    my $bytes = $self->{tcp}->_exactly($high << 16 | $low);
    if    ($type == SETTINGS)      { $self->_settings($bytes) unless $flags & ACK }
    elsif ($type == PING)          { $flags & ACK ? $self->{pings}++ : $self->frame(PING, ACK, 0, $bytes) }
    elsif ($type == GOAWAY)        { $self->{goaway} = unpack 'x4N', $bytes }
    elsif ($type == WINDOW_UPDATE) { my $where = $id ? $self->{streams}{$id} : $self; $where->{window} += unpack 'N', $bytes if $where }
    elsif (my $stream = $self->{streams}{$id}) { $self->_of_stream($stream, $type, $flags, $bytes) }
    return;
}

sub _settings {
    my ($self, $bytes) = @_;
    my %set = unpack '(nN)*', $bytes;
    if (defined $set{4}) {
        $_->{window} += $set{4} - $self->{each} for values %{ $self->{streams} };
        $self->{each} = $set{4};
    }
    $self->{largest} = $set{5} if defined $set{5};
    $self->frame(SETTINGS, ACK, 0, '');
    return;
}

sub _of_stream {
    my ($self, $stream, $type, $flags, $bytes) = @_;
    if ($type == RST_STREAM) {
        $stream->{reset} = unpack 'N', $bytes;
        $stream->{over} = 1;
        return;
    }
    if ($type == DATA || $type == HEADERS) {
        $bytes = substr $bytes, 1, length($bytes) - 1 - unpack 'C', $bytes if $flags & PADDED;
        $bytes = substr $bytes, 5 if $type == HEADERS && $flags & PRIORITY;
        $stream->{ending} = 1 if $flags & END_STREAM;
    }
    if    ($type == DATA)                              { $stream->{body} .= $bytes }
    elsif ($type == HEADERS || $type == CONTINUATION)  { $stream->{fields} .= $bytes }
    if ($flags & END_HEADERS && $type != DATA) {
        my $status = _status(delete $stream->{fields});
        if (defined $status && $status < 200) { $stream->{interim}++ }
        elsif (defined $status && $stream->{status}) { $stream->{twice} = 1 }
        elsif (defined $status) { $stream->{status} = $status }
    }
    $stream->{over} = 1 if $stream->{ending} && ($type == DATA || $flags & END_HEADERS);
    return;
}

# ---- header fields (RFC 7541)

sub _number {
    my ($n) = @_;
    return chr $n if $n < 127;
    my $out = chr 127;
    for ($n -= 127; $n > 127; $n >>= 7) { $out .= chr($n & 127 | 128) }
    return $out . chr $n;
}

# Each as it is, to be remembered by nobody.
sub _fields {
    my (@fields) = @_;
    my $out = '';
    while (my ($name, $value) = splice @fields, 0, 2) {
        $out .= "\0" . _number(length $name) . lc($name) . _number(length $value) . $value;
    }
    return $out;
}

# The status, which comes first: by its place in the static table, or in digits that may be packed.
my %PLACE = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404, 14 => 500);
my %DIGIT = ('00000' => 0, '00001' => 1, '00010' => 2, map { sprintf('%06b', 22 + $_) => $_ } 3 .. 9);

sub _status {
    my ($fields) = @_;
    $fields =~ s/^[\x20-\x3f]//;    # how much may be remembered: nothing
    my $first = ord $fields;
    return $PLACE{ $first & 127 } if $first & 128;
    my ($length, $text) = unpack 'xCa*', $fields;
    return unless ($first & 63) == 8 || ($first & 15) == 8;
    $text = substr $text, 0, $length & 127;
    return $text unless $length & 128;
    my $bits = unpack 'B*', $text;
    my $status = '';
    while (length $status < 3 && $bits =~ s/^(0000\d|00010|0\d{5})//) { $status .= $DIGIT{$1} // '?' }
    return $status;
}

1;
