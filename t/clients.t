# The ten mistakes that a server makes most easily with real runners, one by one.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);
my $id = build(project => $project, args => ['--secret', 'PASSWORD=0123456789']);
my $claimed = poll($runner);
my $build = $claimed->{json};
my @token = ('Build-Token' => $build->{token});

sub append {
    my ($range, $bytes) = @_;
    return http(PATCH => "builds/$id/trace.txt", type => 'text/plain', body => $bytes, headers => [@token, 'Content-Range' => $range]);
}

subtest '1. the type of a 201 is exactly application/json' => sub {
    is $claimed->{headers}{'content-type'}, 'application/json', 'a build';
    my $r = http(POST => 'runners/register.json', json => { token => $project->{token} });
    is $r->{headers}{'content-type'}, 'application/json', 'a runner';
};

subtest '2. JSON types are strict' => sub {
    like $claimed->{body}, qr/"(?:id|project_id|timeout)": ?\d+[,}]/, 'integers';
    for my $name (qw(id project_id timeout)) {
        unlike $claimed->{body}, qr/"$name": ?(?:"|\d+\.)/, "$name is no string and no fraction";
    }
    for my $name (qw(ref sha before_sha commands repo_url token name stage)) {
        like $claimed->{body}, qr/"$name": ?"/, "$name is a string";
    }
    like $claimed->{body}, qr/"$_": ?(?:true|false)/, "$_ is a boolean" for qw(tag allow_git_fetch public);
    cmp_ok length $build->{sha}, '>=', 8, 'sha has at least eight characters';
    is ref $build->{options}, 'HASH', 'options is an object';
    is ref $build->{variables}, 'ARRAY', 'variables is a list';
    unlike $claimed->{body}, qr/"token": ?null/, 'no token is null';
};

subtest '3. PATCH: 202, Range, Build-Status; 416 always with Range' => sub {
    my $r = append('0-5', 'hello');
    is $r->{status}, 202, 'status 202';
    is $r->{headers}{range}, '0-5', 'Range';
    is $r->{headers}{'build-status'}, 'running', 'Build-Status';
    for my $start (0, 3, 6, 100) {
        $r = append("$start-200", 'x');
        is "$r->{status} $r->{headers}{range}", '416 0-5', "from $start";
    }
};

subtest '4. only the start of Content-Range counts' => sub {
    is append('5-10', 'abcde')->{headers}{range}, '0-10', 'an exclusive end';
    is append('10-14', 'fghij')->{headers}{range}, '0-15', 'an inclusive end';
};

subtest '5. an empty PATCH keeps alive and brings the status' => sub {
    my $r = append('15-15', '');
    is "$r->{status} $r->{headers}{range} $r->{headers}{'build-status'}", '202 0-15 running', '202 as usual';
};

subtest '6. never more bytes than were sent' => sub {
    my $text = "\xe2\x82\xac\r\n0123456789\xff";
    my $end = 15 + length $text;
    is append("15-$end", $text)->{headers}{range}, "0-$end", 'bytes are counted, not characters; nothing is converted or added';
    is length trace_of($id), $end, '  nor when it is stored';
};

subtest '7. the final PUT replaces the trace' => sub {
    my $again = build(project => $project);
    claim($runner);
    my $r = put($runner, $again, state => 'success', trace => "short builds say nothing before\n");
    is $r->{status}, 200, 'without a PATCH before';
    is trace_of($again), "short builds say nothing before\n", '  all is there';
    put($runner, $id, state => 'running', trace => 'whole');
    is trace_of($id), 'whole', 'after PATCHes it replaces them';
    is append('5-6', '!')->{headers}{range}, '0-6', '  and PATCHes go on from there';
};

subtest '8. which token where' => sub {
    is http(PUT => "builds/$id.json", json => { token => $build->{token}, state => 'running' })->{status}, 403, 'PUT: not the build token';
    is append('6-7', '?')->{status}, 202, 'PATCH: the build token in Build-Token';
    is http(PATCH => "builds/$id/trace.txt", type => 'text/plain', body => '.', headers => ['BUILD-TOKEN' => $build->{token}, 'Content-Range' => '7-8'])
        ->{status}, 202, '  or BUILD-TOKEN';
};

subtest '9. exact codes' => sub {
    is http(POST => 'runners/register.json', json => { token => $project->{token} })->{status}, 201, 'register 201';
    is $claimed->{status}, 201, 'a build 201';
    is poll($runner)->{status}, 204, 'no build 204';
    is put($runner, $id, state => 'running')->{status}, 200, 'PUT 200';
    is upload($build, 'x')->{status}, 201, 'upload 201';
    is http(GET => "builds/$id/artifacts", headers => \@token)->{status}, 200, 'download 200';
    is http(DELETE => "builds/$id/artifacts", headers => \@token)->{status}, 200, 'delete 200';
    is http(PUT => 'builds/-1', json => { token => $runner->{token} })->{status}, 404, 'verify 404';
    my $gone = runner(project => $project);
    is http(DELETE => 'runners/delete', json => { token => $gone->{token} })->{status}, 200, 'unregister 200';
    is http(PUT => 'builds/-1', json => { token => $gone->{token} })->{status}, 403, 'verify 403';
};

subtest '10. uploads are chunked, and the URL may end in "?"' => sub {
    is upload($build, 'y' x 100000, suffix => '?', chunked => [176, 670, 68])->{status}, 201, 'status 201';
    is http(GET => "builds/$id/artifacts", headers => \@token)->{body}, 'y' x 100000, '  and whole';
};

finish($runner, $id);
done_testing;
