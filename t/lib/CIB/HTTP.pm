package CIB::HTTP;

# A client that says exactly the bytes it is given: chunks as cut here, wrong lengths, broken ends. It
# reads while it writes, as Go's does, so it sees an answer that comes before the body is sent.

use strict;
use warnings;

use IO::Socket::INET ();
use JSON::PP         ();

use CIB::Tool;

use Exporter 'import';
our @EXPORT_OK = qw(chunked encode multipart part request_text uri_escape);

our $TIMEOUT = 60 * CIB::Tool::patience();

# Open a connection to a port of 127.0.0.1, from there or from another address.
sub connect {
    my ($class, $port, $from) = @_;
    my @from = defined $from ? (LocalAddr => $from) : ();
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp', @from)
        or die "cannot connect to port $port: $!\n";
    $socket->blocking(0);
    return bless { socket => $socket, in => '', sent => 0, reset => 0, eof => 0 }, $class;
}

# Send bytes. With `until_answer` sending ends as soon as something comes back. False when the peer
# would take no more.
sub send {
    my ($self, $bytes, %opt) = @_;
    my $at = 0;
    while ($at < length $bytes) {
        last if $opt{until_answer} && length $self->{in};
        my ($readable, $writable) = $self->_wait(1) or die "the server takes no bytes\n";
        $self->_read if $readable && !$self->{eof};
        next unless $writable;
        local $SIG{PIPE} = 'IGNORE';
        my $n = syswrite $self->{socket}, $bytes, 65536, $at;
        if (defined $n) {
            $at += $n;
        } elsif (!$!{EAGAIN} && !$!{EINTR}) {
            $self->{reset} = 1;
            return 0;
        }
    }
    $self->{sent} += $at;
    return 1;
}

# No more bytes will come, but an answer can be read.
sub finish_writing {
    my ($self) = @_;
    shutdown $self->{socket}, 1;
    return $self;
}

sub close {
    my ($self) = @_;
    CORE::close $self->{socket};
    return;
}

# Is there something to read, or the end, within `seconds`?
sub answered {
    my ($self, $seconds) = @_;
    return 1 if length $self->{in} || $self->{eof};
    my $vec = '';
    vec($vec, fileno $self->{socket}, 1) = 1;
    return select($vec, undef, undef, $seconds) > 0;
}

# Read one response (after any 1xx). undef when the connection ended without one.
sub response {
    my ($self, $method) = @_;
    my $head = $self->_until(qr/\r\n\r\n/) // return;
    my ($line, @lines) = split /\r\n/, $head;
    my ($version, $status, $reason) = $line =~ m{^HTTP/(\S+) (\d{3}) ?(.*)$} or die "no status line: $line\n";
    my (%headers, @all);
    for (@lines) {
        my ($name, $value) = /^([^:]+):\s*(.*?)\s*$/ or die "no header: $_\n";
        push @all, [$name, $value];
        $headers{ lc $name } //= $value;
    }
    return $self->response($method) if $status < 200 && $status != 101;
    my $r = { status => $status, reason => $reason, headers => \%headers, all => \@all, head => $head };
    $r->{body} = $self->_body($r, $method);
    $r->{reset} = $self->{reset};
    if (($headers{'content-type'} // '') =~ m{^application/json} && length $r->{body}) {
        $r->{json} = eval { JSON::PP->new->utf8->allow_nonref->decode($r->{body}) };
    }
    return $r;
}

# Everything up to the end of the connection.
sub rest {
    my ($self) = @_;
    $self->_until(undef);
    return delete($self->{in}) // '';
}

sub _body {
    my ($self, $r, $method) = @_;
    return '' if ($method // '') eq 'HEAD' || $r->{status} == 204 || $r->{status} == 304;
    my $headers = $r->{headers};
    if (lc($headers->{'transfer-encoding'} // '') eq 'chunked') {
        my $body = '';
        while (1) {
            my $size = $self->_until(qr/\r\n/) // die "the chunked answer breaks off\n";
            $size =~ s/;.*//;
            my $chunk = $self->_exactly(hex($size) + 2);
            return $body unless hex $size;
            $body .= substr $chunk, 0, -2;
        }
    }
    return $self->_exactly($headers->{'content-length'}) if defined $headers->{'content-length'};
    return $self->rest;
}

# (readable, writable), or nothing when time is up.
sub _wait {
    my ($self, $write) = @_;
    my ($r, $w) = ('', '');
    vec($r, fileno $self->{socket}, 1) = 1 unless $self->{eof};
    vec($w, fileno $self->{socket}, 1) = 1 if $write;
    my $n = select my $rout = $r, my $wout = $w, undef, $TIMEOUT;
    return unless $n > 0;
    return (scalar($rout =~ /[^\0]/), scalar($wout =~ /[^\0]/));
}

sub _read {
    my ($self) = @_;
    my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
    return if !defined $n && ($!{EAGAIN} || $!{EINTR});
    $self->{reset} = 1 unless defined $n;
    $self->{eof} = 1 unless $n;
    return;
}

sub _until {
    my ($self, $end) = @_;
    while (1) {
        if (defined $end && $self->{in} =~ $end) {
            my ($from, $to) = ($-[0], $+[0]);
            my $text = substr $self->{in}, 0, $to, '';
            return substr $text, 0, $from;
        }
        return if $self->{eof};
        my @ready = $self->_wait(0) or die "no answer within $TIMEOUT seconds\n";
        $self->_read;
    }
}

sub _exactly {
    my ($self, $n) = @_;
    while (length $self->{in} < $n) {
        die "the answer breaks off: " . length($self->{in}) . " of $n bytes\n" if $self->{eof};
        my @ready = $self->_wait(0) or die "no answer within $TIMEOUT seconds\n";
        $self->_read;
    }
    return substr $self->{in}, 0, $n, '';
}

# ---- making requests

sub uri_escape {
    my ($text) = @_;
    utf8::encode($text) if utf8::is_utf8($text);
    $text =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge;
    return $text;
}

# application/x-www-form-urlencoded out of a list of pairs
sub encode {
    my @pairs = @_;
    my @out;
    while (my ($name, $value) = splice @pairs, 0, 2) {
        push @out, uri_escape($name) . '=' . uri_escape($value);
    }
    return join '&', @out;
}

# One part of a multipart body: part(name => 'file', filename => 'a.zip', body => $bytes)
sub part {
    my (%part) = @_;
    my $head = $part{disposition};
    if (!defined $head) {
        $head = qq{form-data; name="$part{name}"};
        $head .= qq{; filename="$part{filename}"} if defined $part{filename};
    }
    my $type = $part{type} // (defined $part{filename} ? 'application/octet-stream' : undef);
    my $text = "Content-Disposition: $head\r\n";
    $text .= "Content-Type: $type\r\n" if defined $type;
    $text .= "$_\r\n" for @{ $part{headers} // [] };
    return "$text\r\n" . ($part{body} // '');
}

# A whole multipart body.
sub multipart {
    my ($boundary, @parts) = @_;
    return join('', map {"--$boundary\r\n$_\r\n"} @parts) . "--$boundary--\r\n";
}

# Chunked framing; `cuts` are the chunks' sizes, the last of them for all the rest.
sub chunked {
    my ($bytes, @cuts) = @_;
    @cuts = (4096) unless @cuts;
    my ($out, $at) = ('', 0);
    while ($at < length $bytes) {
        my $size = @cuts > 1 ? shift @cuts : $cuts[0];
        $size = 1 if $size < 1;
        my $piece = substr $bytes, $at, $size;
        $out .= sprintf "%x\r\n%s\r\n", length $piece, $piece;
        $at += length $piece;
    }
    return $out . "0\r\n\r\n";
}

# The bytes of a request.
#   headers => [name => value …]   query => [name => value …]
#   one of: json => DATA, form => [pairs], multipart => [parts], body => BYTES (with type => …)
#   chunked => 1 or [sizes]        length => N (a false one)      close => 0 to keep the connection
sub request_text {
    my ($method, $path, %opt) = @_;
    my ($body, $type) = @opt{qw(body type)};
    if (exists $opt{json}) {
        $body = JSON::PP->new->utf8->canonical->allow_nonref->encode($opt{json});
        $type //= 'application/json';
    } elsif ($opt{form}) {
        $body = encode(@{ $opt{form} });
        $type //= 'application/x-www-form-urlencoded';
    } elsif ($opt{multipart}) {
        my $boundary = $opt{boundary} // 'cib' . join '', map { int rand 10 } 1 .. 20;
        $body = multipart($boundary, @{ $opt{multipart} });
        $type //= "multipart/form-data; boundary=$boundary";
    }
    $path .= ($path =~ /\?/ ? '&' : '?') . encode(@{ $opt{query} }) if $opt{query};
    my $text = "$method $path HTTP/1.1\r\nHost: " . ($opt{host} // '127.0.0.1') . "\r\n";
    my @headers = @{ $opt{headers} // [] };
    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }
    $text .= "Content-Type: $type\r\n" if defined $type;
    $text .= "Connection: close\r\n" if $opt{close} // 1;
    if ($opt{chunked}) {
        $text .= "Transfer-Encoding: chunked\r\n";
        $body = chunked($body // '', ref $opt{chunked} ? @{ $opt{chunked} } : ());
    } elsif (defined $opt{length} || defined $body) {
        $text .= 'Content-Length: ' . ($opt{length} // length $body) . "\r\n";
    }
    return "$text\r\n" . ($body // '');
}

1;
