# Recorded conversations of real GitLab Runners, said again: the same methods, paths, headers, bodies and
# framing, with our ids and tokens. t/wire/<version>.json holds them; `status` there is what the recorder
# answered, which was not always what we answer (it provoked the runner), so what we must answer is worked
# out here from what was said before.

use strict;
use warnings;

use JSON::PP ();

use CIB::Test;

my $coder = JSON::PP->new->utf8->canonical;

# so many bytes of a trace as runners write them
sub filler {
    my ($size) = @_;
    my $line = "\e[32;1m\$ make\e[0m <all> \"quoted\"\r\n";
    return substr $line x (1 + $size / length $line), 0, $size;
}

sub fill_in {
    my ($text, $state) = @_;
    $text =~ s/\{([\w-]+)\}/$state->{values}{$1} \/\/ die "nothing for $1\n"/ge;
    return $text;
}

# The bytes of the request, and what the model needs to know of it.
sub prepare {
    my ($exchange, $state, $infos) = @_;
    my ($method, $path) = split / /, fill_in($exchange->{request}, $state);
    my @headers = map { ($_->[0], fill_in($_->[1], $state)) } @{ $exchange->{headers} };
    my ($body, $json);
    if ($exchange->{json}) {
        $json = { %{ $exchange->{json} } };
        $json->{info} = $infos->{ $1 } if ($json->{info} // '') =~ /^\{(.*)\}$/;
        $json->{token} = fill_in($json->{token}, $state) if defined $json->{token};
        $json->{trace} = filler($exchange->{trace_filler}) if $exchange->{trace_filler};
        $body = $coder->encode($json);
    } elsif (my $multipart = $exchange->{multipart}) {
        my $content = filler($state->{upload_size} // $multipart->{size});
        $state->{uploaded} = $content;
        $body = "--$multipart->{boundary}\r\n" . join('', map {"$_\r\n"} @{ $multipart->{headers} })
            . "\r\n$content\r\n--$multipart->{boundary}--\r\n";
    } elsif ($exchange->{filler}) {
        $body = filler($exchange->{filler});
    } else {
        $body = $exchange->{body};
        utf8::encode($body) if defined $body;
    }
    my %framing;
    if (ref $exchange->{chunks}) {
        my @chunks = @{ $exchange->{chunks} };
        # the middle one is the file's, whatever its size is now
        $chunks[1] = length($state->{uploaded}) if @chunks == 3;
        %framing = (chunked => \@chunks);
    } elsif (!defined $body && !exists $exchange->{chunks}) {
        %framing = (length => 0);
    }
    my %headers = @headers;
    return {
        method => $method, path => $path, json => $json, body => $body, agent => $headers{'User-Agent'} // '',
        start => ($headers{'Content-Range'} // '') =~ /^(\d+)/ ? $1 : 0,
        text => request_text($method, $path, headers => \@headers, close => 0, defined $body ? (body => $body) : (), %framing),
    };
}

# The status that our decisions give, and what follows from it.
sub expected {
    my ($said, $state) = @_;
    my ($method, $path, $json) = @{$said}{qw(method path json)};
    if ($path =~ m{/builds/register}) {
        return 403 if $json->{token} ne $state->{values}{'runner-token'} || $state->{removed};
        return 201 if $state->{waiting} && !$state->{held_back}->();
        return $said->{agent} =~ /^gitlab(?:-ci-multi)?-runner \d+\.\d+/ ? 204 : 404;
    }
    return $state->{refused} ? 403 : 201 if $path =~ m{/runners/register};
    return 200 if $path =~ m{/runners/delete};
    return $state->{removed} ? 403 : 404 if $path =~ m{/builds/-1};
    my ($id) = $path =~ m{/builds/(\d+)} or die "an unknown path: $path\n";
    my $build = $state->{builds}{$id};
    if ($method eq 'PUT') {
        return 404 if $build->{status} ne 'running';
        if (defined $json->{trace}) {
            $build->{trace} = $json->{trace};
            utf8::encode($build->{trace}) if utf8::is_utf8($build->{trace});
        }
        $build->{status} = $json->{state} if $json->{state} =~ /^(?:success|failed)$/;
        return 200;
    }
    if ($method eq 'PATCH') {
        return 416 if $said->{start} != length $build->{trace};
        $build->{trace} .= $said->{body} // '';
        return 202;
    }
    return 200 if $method eq 'GET';
    return $build->{status} ne 'running' ? 403 : $state->{upload_size} ? 413 : 201;
}

# Before which exchange the administrator cancels the build: the one that the recorder refused, else the
# last word about it.
sub cancel_before {
    my ($exchanges) = @_;
    my @about = grep { $exchanges->[$_]{request} =~ m{^(?:PUT|PATCH) .*/builds/\{1\}} } 0 .. $#$exchanges;
    my ($refused) = grep { $exchanges->[$_]{status} =~ /^40[34]$/ } @about;
    my ($last_patch) = reverse grep { $exchanges->[$_]{request} =~ /^PATCH/ } @about;
    return $refused // $last_patch // $about[-1];
}

sub replay {
    my ($name, $exchanges, $infos) = @_;
    my $project = project();
    my $runner = runner(project => $project);
    my $wanted = grep { $_->{request} =~ m{/builds/register} && $_->{status} == 201 } @$exchanges;
    my @ids;
    for my $n (1 .. $wanted) {
        push @ids, build(project => $project, args => [@ids ? ('--depends-on', $ids[0]) : ()]);
    }
    my %state = (
        waiting => $wanted, builds => { map { $_ => { status => 'pending', trace => '' } } @ids },
        values => {
            'runner-token' => $runner->{token}, 'registration-token' => $project->{token}, map { ($_ => $ids[$_ - 1]) } 1 .. @ids,
        },
    );
    $state{held_back} = sub { $state{waiting} < @ids && $state{builds}{ $ids[0] }{status} ne 'success' };
    $state{values}{'registration-token'} = 'x' x 40, $state{refused} = 1 if $name eq 'register-403';
    if ($name =~ /^(?:request-403|verify-removed)$/) {
        cib(qw(runner remove), $runner->{id});
        $state{removed} = 1;
    }
    $state{upload_size} = 1024 * 1024 + 1 if $name eq 'upload-413';
    my $cancel = $name =~ /^(?:cancel-|put-final-404)/ ? cancel_before($exchanges) : -1;
    my $connection = connect_to($name eq 'upload-413' ? 'small' : 'main');
    for my $at (0 .. $#$exchanges) {
        if ($at == $cancel) {
            cib(qw(build cancel), $ids[0]);
            $state{builds}{ $ids[0] }{status} = 'canceled';
        }
        my $said = prepare($exchanges->[$at], \%state, $infos);
        my $status = expected($said, \%state);
        $connection = connect_to($name eq 'upload-413' ? 'small' : 'main') if $connection->{eof};
        $connection->send($said->{text}, until_answer => 1);
        my $r = $connection->response($said->{method}) // { status => 'no answer', body => '', headers => {} };
        is $r->{status}, $status, "$said->{method} $said->{path}: $status" or diag $r->{body};
        $connection = connect_to($name eq 'upload-413' ? 'small' : 'main') if ($r->{headers}{connection} // '') eq 'close';
        remember($r->{json});
        if ($status == 201 && $said->{path} =~ m{/builds/register}) {
            my $n = @ids - $state{waiting}--;
            is $r->{json}{id}, $ids[$n], '  the build';
            $state{values}{ 'build-token-' . ($n + 1) } = $r->{json}{token};
            $state{builds}{ $ids[$n] }{status} = 'running';
        }
        my ($id) = $said->{path} =~ m{/builds/(\d+)};
        is $r->{headers}{range}, '0-' . length $state{builds}{$id}{trace}, '  Range' if $said->{method} eq 'PATCH';
        is $r->{headers}{'build-status'}, $state{builds}{$id}{status}, '  Build-Status' if $status == 202;
        ok $r->{body} eq $state{uploaded}, '  the artifact' if $said->{method} eq 'GET';
    }
    for my $id (@ids) {
        my $build = $state{builds}{$id};
        is build_show($id)->{status}, $build->{status}, "build $id ends as $build->{status}";
        ok trace_of($id) eq $build->{trace}, '  with its trace';
    }
    cancel_all($project);
    return;
}

my ($here) = __FILE__ =~ m{(.*)/};
for my $file (glob "$here/wire/*.json") {
    my ($version) = $file =~ m{([\d.]+)\.json$};
    my $recorded = JSON::PP->new->utf8->decode(slurp($file));
    for my $name (sort keys %{ $recorded->{scenarios} }) {
        subtest "runner $version, $name" => sub { replay($name, $recorded->{scenarios}{$name}, $recorded->{infos}) };
    }
}

done_testing;
