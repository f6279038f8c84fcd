# PATCH builds/:id/trace.txt: the trace as it grows, with the build's token.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);

sub running {
    my $id = build(project => $project, @_);
    my $build = claim($runner);
    $build->{id} == $id or die "claimed $build->{id}, not $id\n";
    return $build;
}

# append(BUILD, START, BYTES, options)
sub append {
    my ($build, $start, $bytes, %opt) = @_;
    my $end = $start =~ /^\d+$/ ? $start + length $bytes : 0;
    return http(
        PATCH => "builds/$build->{id}/trace.txt", type => 'text/plain', body => $bytes,
        headers => ['Build-Token' => $opt{token} // $build->{token}, 'Content-Range' => $opt{range} // "$start-$end"],
        map { $_ => $opt{$_} } grep { exists $opt{$_} } qw(vhost chunked)
    );
}

subtest 'it grows' => sub {
    my $build = running();
    my $r = append($build, 0, "one\n");
    is $r->{status}, 202, 'status 202';
    is $r->{headers}{range}, '0-4', 'Range says how much is there';
    is $r->{headers}{'build-status'}, 'running', 'Build-Status says running';
    is $r->{body}, '0-4', 'the body says the range too';
    like $r->{headers}{'content-type'}, qr{^text/plain}, '  as text';
    is trace_of($build->{id}), "one\n", 'it can be read';
    is append($build, 4, "two\xff\0\n")->{headers}{range}, '0-10', 'the next bytes, whatever they are';
    is append($build, 10, '')->{headers}{range}, '0-10', 'none at all';
    is append($build, 10, '')->{status}, 202, '  is fine';
    is append($build, 10, 'three', range => '10-14')->{headers}{range}, '0-15', 'an inclusive end';
    is append($build, 15, '!', range => '15-99999')->{headers}{range}, '0-16', 'a wrong end';
    is append($build, 16, 'chunked', chunked => [2])->{headers}{range}, '0-23', 'a chunked body';
    is trace_of($build->{id}), "one\ntwo\xff\0\nthree!chunked", 'all is there';
    is build_show($build->{id})->{trace_size}, 23, '  and counted';
    finish($runner, $build->{id});
};

subtest 'offsets' => sub {
    my $build = running();
    append($build, 0, '0123456789');
    for my $case ([5, 'inside'], [0, 'a repeated one'], [11, 'beyond'], ['9' x 30, 'far beyond']) {
        my ($start, $what) = @$case;
        my $r = append($build, $start, 'xyz', range => "$start-20");
        is $r->{status}, 416, "$what: 416";
        is $r->{headers}{range}, '0-10', '  with the length';
        like $r->{headers}{'content-type'}, qr{^text/plain}, '  as text';
        is $r->{body}, '416 Range Not Satisfiable', "  in GitLab's words";
    }
    is append($build, 5, '')->{status}, 416, 'no bytes at the wrong place';
    is append($build, 0, 'xyz', range => 'bytes 10-20')->{status}, 416, 'a start that is no number counts as 0';
    is append($build, 10, 'x', range => '10')->{status}, 202, 'no end';
    is trace_of($build->{id}), '0123456789x', 'nothing was stored but that';
    my $r = http(PATCH => "builds/$build->{id}/trace.txt", type => 'text/plain', body => 'x', headers => ['Build-Token' => $build->{token}]);
    is $r->{status}, 400, 'no Content-Range: 400';
    is $r->{body}, '400 Missing header Content-Range', "  in GitLab's words";
    finish($runner, $build->{id});
};

subtest 'who may' => sub {
    my $build = running();
    my $other = running();
    answers append($build, 0, 'x', token => 'x' x 40), 403, '403 Forbidden', 'a wrong token';
    answers append($build, 0, 'x', token => $other->{token}), 403, '403 Forbidden', "another build's";
    answers append($build, 0, 'x', token => $runner->{token}), 403, '403 Forbidden', "the runner's";
    answers append({ %$build, id => 999999999 }, 0, 'x'), 404, '404 Not Found', 'a build that is none';
    is append($build, 0, 'x', token => $project->{token})->{status}, 202, "the project's is as good as the build's";
    is http(
        PATCH => "builds/$build->{id}/trace.txt", type => 'text/plain', body => 'y', query => [token => $build->{token}],
        headers => ['Content-Range' => '1-2']
    )->{status}, 202, 'in the query';
    is http(
        PATCH => "builds/$build->{id}/trace.txt", type => 'text/plain', body => 'y', query => [token => 'x' x 40],
        headers => ['Content-Range' => '2-3', 'Build-Token' => $build->{token}]
    )->{status}, 403, 'a parameter beats the header';
    is trace_of($build->{id}), 'xy', 'only those arrived';
    my $r = http(GET => "builds/$build->{id}/trace.txt", headers => ['Build-Token' => $build->{token}]);
    answers $r, 405, undef, 'GET is not served';
    is $r->{headers}{allow}, 'PATCH', '  and Allow says what is';
    finish($runner, $_->{id}) for $build, $other;
};

subtest 'after the end' => sub {
    my $build = running(args => ['--secret', 'PASSWORD=s3cr3t-pass']);
    append($build, 0, 'running ');
    finish($runner, $build->{id}, 'success');
    my $r = append($build, 8, 'late');
    is $r->{status}, 202, 'a late PATCH: 202';
    is $r->{headers}{'build-status'}, 'success', '  with the status';
    is trace_of($build->{id}), 'running late', '  and kept, so soon after';
    append($build, 12, ': s3cr3t-pass');
    is trace_of($build->{id}), 'running late: ' . 'x' x 11, '  and masked';

    $build = running();
    append($build, 0, 'to be ');
    cib(qw(build cancel), $build->{id});
    $r = append($build, 6, 'canceled');
    is $r->{status}, 202, 'on a canceled build: 202';
    is $r->{headers}{'build-status'}, 'canceled', '  and the runner is told';
    $r = append($build, 14, '');
    is $r->{headers}{'build-status'}, 'canceled', '  also with an empty one';

    cib(qw(build erase), $build->{id});
    answers append($build, 0, 'x'), 403, '403 Forbidden  - Build has been erased!', 'on an erased one: 403';
    is trace_of($build->{id}), '', '  and nothing is there';
};

subtest 'masking' => sub {
    my $build = running(args => ['--secret', 'PASSWORD=s3cr3t-pass', '--secret', 'SHORT=s3cr3t7', '--secret', 'EIGHT=8s3cr3t8', '--variable', 'PUBLIC=open-to-all']);
    my %secret = (build => $build->{token}, project => $project->{token}, variable => 's3cr3t-pass');
    my $text = join '', map {"$_: $secret{$_}.\n"} sort keys %secret;
    my $masked = join '', map { "$_: " . 'x' x length($secret{$_}) . ".\n" } sort keys %secret;
    my $at = 0;
    my $send = sub { my ($bytes) = @_; my $r = append($build, $at, $bytes); $at += length $bytes; return $r };
    is $send->($text)->{headers}{range}, '0-' . length $text, 'secrets are counted as they are long';
    is trace_of($build->{id}), $masked, '  and masked';
    $send->("s3cr3t7 is too short, open-to-all is no secret, 8s3cr3t8 is one\n");
    $masked .= "s3cr3t7 is too short, open-to-all is no secret, xxxxxxxx is one\n";
    is trace_of($build->{id}), $masked, 'one of eight bytes too, a shorter one is left alone, and what is none';
    for my $name (sort keys %secret) {
        for my $cut (1, int(length($secret{$name}) / 2), length($secret{$name}) - 1) {
            $send->("split " . substr $secret{$name}, 0, $cut);
            is $send->(substr($secret{$name}, $cut) . "!\n")->{status}, 202, "the ${name}'s, split after $cut";
            $masked .= "split " . 'x' x length($secret{$name}) . "!\n";
        }
    }
    for my $byte (split //, "byte by byte $secret{variable} $secret{variable}$secret{variable}\n") { $send->($byte) }
    my $x = 'x' x length $secret{variable};
    $masked .= "byte by byte $x $x$x\n";
    $send->('ends in s3cr3t-pas');
    is trace_of($build->{id}), "${masked}ends in s3cr3t-pas", 'also where a secret is split over requests';
    is $send->('')->{headers}{range}, "0-$at", 'the lengths stay right';
    put($runner, $build->{id}, state => 'running', trace => "PUT $secret{build} $secret{variable}");
    is trace_of($build->{id}), 'PUT ' . 'x' x length($secret{build}) . " $x", 'and in the trace of a PUT';
    finish($runner, $build->{id});
};

subtest 'the limit' => sub {
    my $build = running();
    my $r = append($build, 0, 'a' x 60000, vhost => 'small');
    is $r->{headers}{range}, '0-60000', 'below it';
    $r = append($build, 60000, 'b' x 10000, vhost => 'small');
    is $r->{status}, 202, 'across it: no refusal';
    is $r->{headers}{range}, '0-70000', '  and Range speaks of what came';
    $r = append($build, 70000, 'c' x 10, vhost => 'small');
    is "$r->{status} $r->{headers}{range}", '202 0-70010', 'beyond it: the same';
    is append($build, 65536, 'd', vhost => 'small')->{status}, 416, 'offsets are those of what came';
    ok trace_of($build->{id}) eq 'a' x 60000 . 'b' x 5536, 'the limit is kept to the byte';
    $r = put($runner, $build->{id}, state => 'success', trace => 'p' x 100000, opt => { vhost => 'small' });
    is "$r->{status} $r->{body}", '200 true', 'a PUT beyond it: 200 and its state';
    ok trace_of($build->{id}) eq 'p' x 65536, '  and its trace cut';
    is build_show($build->{id})->{status}, 'success', '  a success';
};

subtest 'two at once' => sub {
    my $build = running();
    my @connections = map {
        my $connection = connect_to();
        $connection->send(request_text(
            PATCH => "$V1/builds/$build->{id}/trace.txt", type => 'text/plain', body => $_ x 5000, chunked => [1000],
            headers => ['Build-Token' => $build->{token}, 'Content-Range' => '0-5000']
        ));
        $connection;
    } 'a' .. 'f';
    my %status;
    $status{ $_->response->{status} }++ for @connections;
    is_deeply \%status, { 202 => 1, 416 => 5 }, 'one wins, the others are told where to go on';
    like trace_of($build->{id}), qr/^(\w)\1{4999}$/, 'and nothing is mixed';
    finish($runner, $build->{id});
};

done_testing;
