# Who is refused at every path of a build: who has no right to it, and whoever asks for one that was erased or
# whose project is going.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);
my $elsewhere = project();

sub claimed {
    my $id = build(project => $project);
    my $build = claim($runner);
    $build->{id} == $id or die "claimed $build->{id}, not $id\n";
    return $build;
}

# Each path below builds/:id that wants the build's token, asked with these headers and options.
sub ask_all {
    my ($build, %opt) = @_;
    my $path = "builds/$build->{id}";
    my @headers = @{ delete $opt{headers} // [] };
    my $file = part(name => 'file', filename => 'a.zip', body => 'evil');
    return (
        ['PATCH trace.txt', http(PATCH => "$path/trace.txt", type => 'text/plain', body => 'evil', headers => [@headers, 'Content-Range' => '0-4'], %opt)],
        ['POST artifacts/authorize', http(POST => "$path/artifacts/authorize", headers => \@headers, %opt)],
        ['POST artifacts', http(POST => "$path/artifacts", headers => \@headers, multipart => [$file], %opt)],
        ['GET artifacts', http(GET => "$path/artifacts", headers => \@headers, %opt)],
        ['DELETE artifacts', http(DELETE => "$path/artifacts", headers => \@headers, %opt)],
    );
}

sub files_of {
    my ($build) = @_;
    return grep { m{/(\d+)[-.][^/]*$} && $1 == $build->{id} } stored_files('artifacts'), stored_files('traces');
}

subtest 'tokens' => sub {
    my ($build, $other) = (claimed(), claimed());
    is upload($build, 'mine')->{status}, 201, 'who has the right may';
    my %wrong = (
        none                     => undef,
        'an empty one'           => '',
        "another build's"        => $other->{token},
        "another project's"      => $elsewhere->{token},
        "the runner's"           => $runner->{token},
        "the instance's"         => registration_token(),
        'the beginning of it'    => substr($build->{token}, 0, -1),
        'more than it'           => "$build->{token}0",
    );
    for my $what (sort keys %wrong) {
        my $token = $wrong{$what};
        my @asked = ask_all($build, defined $token ? (headers => ['BUILD-TOKEN' => $token]) : ());
        push @asked, ask_all($build, query => [token => $token]) if defined $token;
        answers $_->[1], 403, '403 Forbidden', "$_->[0]: $what" for @asked;
    }
    for my $token ($build->{token}, $project->{token}, $elsewhere->{token}, registration_token(), '') {
        answers put({ token => $token }, $build->{id}, state => 'failed', trace => 'evil'), 403, '403 Forbidden', 'PUT: no token of a runner';
    }
    is http(GET => "builds/$build->{id}/artifacts", headers => ['BUILD-TOKEN' => $project->{token}])->{body}, 'mine',
        "the project's token is good for any of its builds";
    is trace_of($build->{id}), '', 'nothing was written';
    is build_show($build->{id})->{status}, 'running', '  and nothing ended';
    finish($runner, $_->{id}) for $build, $other;
};

subtest 'an erased build' => sub {
    my $build = claimed();
    my $erased = '403 Forbidden  - Build has been erased!';
    finish($runner, $build->{id});
    cib(qw(build erase), $build->{id});
    answers $_->[1], 403, $erased, $_->[0] for ask_all($build, headers => ['BUILD-TOKEN' => $build->{token}]);
    answers put($runner, $build->{id}, state => 'success', trace => 'evil'), 403, $erased, 'PUT';
    answers put({ token => 'x' x 40 }, $build->{id}), 403, '403 Forbidden', '  which strangers are not told';
    answers $_->[1], 403, '403 Forbidden', "$_->[0]: nor here" for ask_all($build, headers => ['BUILD-TOKEN' => 'x' x 40]);
    is trace_of($build->{id}), '', 'nothing was written';
    is_deeply [files_of($build)], [], '  and no file is left';
};

subtest 'a project that is being removed' => sub {
    my $build = claimed();
    my $waiting = build(project => $project);
    my $gone = '403 Forbidden  - Project has been deleted!';
    upload($build, 'mine');
    sql("UPDATE projects SET removing = 1 WHERE id = $project->{id}");
    answers $_->[1], 403, $gone, $_->[0] for ask_all($build, headers => ['BUILD-TOKEN' => $build->{token}]);
    answers put($runner, $build->{id}, state => 'success', trace => 'evil'), 403, $gone, 'PUT';
    answers $_->[1], 403, '403 Forbidden', "$_->[0]: strangers are not told" for ask_all($build, headers => ['BUILD-TOKEN' => 'x' x 40]);
    answers http(POST => 'runners/register.json', json => { token => $project->{token} }), 403, '403 Forbidden', 'its token registers nobody';
    is claim($runner), undef, 'its builds are not handed out';
    is build_show($waiting)->{status}, 'pending', '  but wait for their end';
    cib(qw(project remove), $project->{id});
    answers http(GET => "builds/$build->{id}/artifacts", headers => ['BUILD-TOKEN' => $build->{token}]), 404, '404 Not Found', 'removed, it is not known';
    is_deeply [files_of($build)], [], '  and has left no file';
};

done_testing;
