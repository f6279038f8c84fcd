# Recorded conversations of real GitLab Runners, said again: the same methods, paths, headers, bodies and
# framing, with our ids and tokens. t/wire/<version>.json holds them; `status` there is what the recorder
# answered, which was not always what we answer (it provoked the runner), so what we must answer is worked
# out here from what was said before.

use strict;
use warnings;

use JSON::PP ();

use CIB::Test;
use CIB::V4 qw(crc32);

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

# The JSON of a request. What it sums up is the trace that its client has sent, whoever took it.
sub object_of {
    my ($exchange, $state, $infos, $written) = @_;
    my $json = { %{ $exchange->{json} } };
    $json->{info} = $infos->{ $1 } if ($json->{info} // '') =~ /^\{(.*)\}$/;
    $json->{token} = fill_in($json->{token}, $state) if defined $json->{token};
    $json->{trace} = filler($exchange->{trace_filler}) if $exchange->{trace_filler};
    $json->{checksum} = crc32($written) if defined $json->{checksum};
    $json->{output} = { checksum => crc32($written), bytesize => length $written } if $json->{output};
    return $json;
}

# The bytes of the request, and what the model needs to know of it.
sub prepare {
    my ($exchange, $state, $infos) = @_;
    my ($method, $path) = split / /, fill_in($exchange->{request}, $state);
    my @headers = map { ($_->[0], fill_in($_->[1], $state)) } @{ $exchange->{headers} };
    my %headers = @headers;
    my ($id) = $path =~ m{/(?:builds|jobs)/(\d+)};
    my $build = $state->{builds}{ $id // '' };
    my $start = ($headers{'Content-Range'} // '') =~ /^(\d+)/ ? $1 : 0;
    my ($body, $json);
    if ($exchange->{json}) {
        $json = object_of($exchange, $state, $infos, $build->{written});
        $body = $coder->encode($json);
    } elsif (my $multipart = $exchange->{multipart}) {
        my ($type) = $path =~ /\bartifact_type=(\w+)/;
        my $content = filler($state->{upload_size} // $multipart->{size});
        $build->{artifacts}{ $type // 'archive' } = $content;
        $body = "--$multipart->{boundary}\r\n" . join('', map {"$_\r\n"} @{ $multipart->{headers} })
            . "\r\n$content\r\n--$multipart->{boundary}--\r\n";
    } elsif ($exchange->{filler}) {
        $body = filler($exchange->{filler});
    } else {
        $body = $exchange->{body};
        utf8::encode($body) if defined $body;
    }
    substr($build->{written}, $start) = $body // '' if $method eq 'PATCH';
    my %framing;
    if (ref $exchange->{chunks}) {
        my @chunks = @{ $exchange->{chunks} };
        # the middle one is the file's, whatever its size is now
        $chunks[1] = length $build->{artifacts}{archive} if @chunks == 3;
        %framing = (chunked => \@chunks);
    } elsif (!defined $body && !exists $exchange->{chunks}) {
        %framing = (length => 0);
    }
    return {
        method => $method, path => $path, json => $json, body => $body, agent => $headers{'User-Agent'} // '',
        start => $start, build => $build, act => act($method, $path), v4 => scalar $path =~ m{^/api/v4/},
        text => request_text($method, $path, headers => \@headers, close => 0, defined $body ? (body => $body) : (), %framing),
    };
}

# What a request is for.
sub act {
    my ($method, $path) = @_;
    return 'ask' if $path =~ m{/(?:builds/register|jobs/request)};
    return 'verify' if $path =~ m{/(?:builds/-1|runners/verify)};
    return $method eq 'DELETE' ? 'unregister' : 'register' if $path =~ m{/runners};
    $path =~ m{/(?:builds|jobs)/[\d\{]} or die "an unknown path: $path\n";
    return { PUT => 'word', PATCH => 'append', GET => 'download', POST => 'upload' }->{$method};
}

# The status that our decisions give, and what follows from it.
my %expected = (
    ask => sub {
        my ($said, $state) = @_;
        return 403 if $said->{json}{token} ne $state->{values}{'runner-token'} || $state->{removed};
        return 201 if $state->{waiting} && !$state->{held_back}->();
        return $said->{v4} || $said->{agent} =~ /^gitlab(?:-ci-multi)?-runner \d+\.\d+/ ? 204 : 404;
    },
    register   => sub { return $_[1]{refused} ? 403 : 201 },
    unregister => sub { return $_[0]{v4} ? 204 : 200 },
    verify     => sub { return $_[1]{removed} ? 403 : $_[0]{v4} ? 200 : 404 },
    download   => sub { return 200 },
    upload     => sub {
        my ($said, $state) = @_;
        my $status = $said->{build}{status} ne 'running' ? 403 : $state->{upload_size} ? 413 : 201;
        delete $said->{build}{artifacts} if $status != 201;
        return $status;
    },
    append     => sub {
        my ($said) = @_;
        my $build = $said->{build};
        return 403 if $said->{v4} && $build->{status} ne 'running';
        return 416 if $said->{start} != length $build->{trace};
        $build->{trace} .= $said->{body} // '';
        return 202;
    },
    word => sub {
        my ($said) = @_;
        my ($build, $json) = @{$said}{qw(build json)};
        return $said->{v4} ? 403 : 404 if $build->{status} ne 'running';
        if (defined $json->{trace}) {
            $build->{trace} = $json->{trace};
            utf8::encode($build->{trace}) if utf8::is_utf8($build->{trace});
        }
        return 200 if $json->{state} !~ /^(?:success|failed)$/;
        return 412 if $json->{output} && $json->{output}{bytesize} > length $build->{trace};
        $build->{status} = $json->{state};
        $build->{last} = $json;
        return 200;
    },
);

# Before which exchange the administrator cancels the build: the one that the recorder refused or called
# canceled, else the last word about it.
sub cancel_before {
    my ($exchanges) = @_;
    my @about = grep { $exchanges->[$_]{request} =~ m{^(?:PUT|PATCH) .*/(?:builds|jobs)/\{1\}} } 0 .. $#$exchanges;
    my ($refused) = grep { $exchanges->[$_]{status} =~ /^40[34]$/ || $exchanges->[$_]{job_status} } @about;
    my ($last_patch) = reverse grep { $exchanges->[$_]{request} =~ /^PATCH/ } @about;
    return $refused // $last_patch // $about[-1];
}

# The world that a scenario needs: a project, a runner, builds, and what became of them before.
sub world_of {
    my ($name, $exchanges) = @_;
    my $project = project();
    my $runner = runner(project => $project);
    my $wanted = grep { act(split / /, $_->{request}) eq 'ask' && $_->{status} == 201 } @$exchanges;
    my @ids;
    for my $n (1 .. $wanted) {
        push @ids, build(project => $project, args => [@ids ? ('--depends-on', $ids[0]) : ()]);
    }
    my %state = (
        project => $project, ids => \@ids, waiting => $wanted,
        builds => { map { $_ => { id => $_, status => 'pending', trace => '', written => '' } } @ids },
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
    $state{cancel} = $name =~ /^(?:cancel-|put-final-404)/ ? cancel_before($exchanges) : -1;
    return \%state;
}

# The runner was given the next of the builds.
sub handed_out {
    my ($job, $state) = @_;
    my $n = @{ $state->{ids} } - $state->{waiting}--;
    my $id = $state->{ids}[$n];
    is $job->{id}, $id, '  the build';
    $state->{values}{ 'build-token-' . ($n + 1) } = $job->{token};
    $state->{builds}{$id}{status} = 'running';
    return;
}

# What else there must be in an answer, and must not.
sub check_answer {
    my ($said, $r, $before) = @_;
    my ($build, $headers) = ($said->{build}, $r->{headers});
    if ($said->{act} eq 'append' && $r->{status} != 403) {
        is $headers->{range}, '0-' . length $build->{trace}, '  Range';
    }
    if ($said->{v4} && $said->{act} =~ /^(?:append|word)$/) {
        is $headers->{'job-status'}, $before, '  Job-Status' if $r->{status} != 416;
        is $headers->{'x-gitlab-trace-update-interval'}, 3, '  X-GitLab-Trace-Update-Interval' if $r->{status} =~ /^(?:20.|412)$/;
    } elsif ($r->{status} == 202) {
        is $headers->{'build-status'}, $before, '  Build-Status';
    }
    ok $r->{body} eq $build->{artifacts}{archive}, '  the artifact' if $said->{act} eq 'download';
    return;
}

# What the server holds of a build when the conversation is over.
sub check_build {
    my ($build) = @_;
    my $show = build_show($build->{id});
    my $last = $build->{last} // {};
    is $show->{status}, $build->{status}, "build $build->{id} ends as $build->{status}";
    ok trace_of($build->{id}) eq $build->{trace}, '  with its trace';
    is $show->{trace_checksum}, undef, '  which is as the runner sent it';
    for my $said (grep { defined $last->{$_} } qw(failure_reason exit_code)) {
        is $show->{$said}, $last->{$said}, "  and its $said";
    }
    my $artifacts = $build->{artifacts} // {};
    for my $type (sort keys %$artifacts) {
        my $r = ci_builds({ json => 0 }, qw(build artifacts), $build->{id}, '--type', $type);
        ok $r->{out} eq $artifacts->{$type}, "  and its artifact of type $type";
    }
    return;
}

sub replay {
    my ($name, $exchanges, $infos) = @_;
    my $state = world_of($name, $exchanges);
    my $connect = sub { return connect_to($name eq 'upload-413' ? 'small' : 'main') };
    my $connection = $connect->();
    for my $at (0 .. $#$exchanges) {
        if ($at == $state->{cancel}) {
            cib(qw(build cancel), $state->{ids}[0]);
            $state->{builds}{ $state->{ids}[0] }{status} = 'canceled';
        }
        my $said = prepare($exchanges->[$at], $state, $infos);
        my $before = $said->{build} && $said->{build}{status};
        my $status = $expected{ $said->{act} }->($said, $state);
        $connection = $connect->() if $connection->{eof};
        $connection->send($said->{text}, until_answer => 1);
        my $r = $connection->response($said->{method}) // { status => 'no answer', body => '', headers => {} };
        is $r->{status}, $status, "$said->{method} $said->{path}: $status" or diag $r->{body};
        $connection = $connect->() if ($r->{headers}{connection} // '') eq 'close';
        remember($r->{json});
        handed_out($r->{json}, $state) if $r->{status} == 201 && $said->{act} eq 'ask';
        check_answer($said, $r, $before);
    }
    check_build($state->{builds}{$_}) for @{ $state->{ids} };
    cancel_all($state->{project});
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
