# What every path has in common: the suffix, where parameters come from and which of two counts, and what
# bodies may be.

use strict;
use warnings;

use CIB::Test;

my $project = project();
my $runner = runner(project => $project);
my $id = build(project => $project);
my $build = claim($runner);
my $other_id = build(project => $project);
my $other = claim($runner);
my @token = ('Build-Token' => $build->{token});
my $artifacts = "builds/$id/artifacts";

sub file { my ($body) = @_; return part(name => 'file', filename => 'a.zip', body => $body) }
sub field { my ($name, $body) = @_; return part(name => $name, body => $body) }
sub form { my ($path, @pairs) = @_; return http(POST => $path, form => \@pairs) }

sub show { return scalar cib(qw(runner show), $_[0]{json}{id}) }

subtest 'the suffix' => sub {
    my $new = http(POST => 'runners/register.json', json => { token => $project->{token} });
    is $new->{status}, 201, 'runners/register.json';
    is http(DELETE => 'runners/delete.json', json => { token => $new->{json}{token} })->{status}, 200, 'runners/delete.json';
    is http(POST => 'builds/register.json', json => { token => $runner->{token} })->{status}, 404, 'builds/register.json';
    is put($runner, $id, trace => 'put')->{status}, 200, 'builds/:id.json';
    my $r = http(PATCH => "builds/$id/trace.txt.json", type => 'text/plain', body => '!', headers => [@token, 'Content-Range' => '3-4']);
    is $r->{status}, 202, 'builds/:id/trace.txt.json';
    is http(POST => "$artifacts/authorize.json", headers => \@token)->{status}, 200, 'builds/:id/artifacts/authorize.json';
    is http(POST => "$artifacts.json", headers => \@token, multipart => [file('suffix')])->{status}, 201, 'POST builds/:id/artifacts.json';
    is http(GET => "$artifacts.json", headers => \@token)->{body}, 'suffix', 'GET builds/:id/artifacts.json';
    is http(DELETE => "$artifacts.json", headers => \@token)->{status}, 200, 'DELETE builds/:id/artifacts.json';
    is http(GET => $artifacts, headers => \@token)->{status}, 404, '  deletes it';
};

subtest 'the first of a name counts' => sub {
    my ($good, $bad) = ($build->{token}, 'x' x 40);
    is http(GET => $artifacts, query => [token => $good, token => $bad])->{status}, 404, 'in the query';
    is http(GET => $artifacts, query => [token => $bad, token => $good])->{status}, 403, '  right or wrong';
    is form("$artifacts/authorize", token => $good, token => $bad)->{status}, 200, 'in a form';
    is form("$artifacts/authorize", token => $bad, token => $good)->{status}, 403, '  right or wrong';
    is http(POST => $artifacts, multipart => [field(token => $good), field(token => $bad), file('first')])->{status}, 201,
        'among multipart fields';
    is http(POST => $artifacts, multipart => [field(token => $bad), field(token => $good), file('second')])->{status}, 403,
        '  right or wrong';
    is http(POST => "$artifacts/authorize", query => [token => $good], form => [token => $bad])->{status}, 200, 'the query before a form';
    is http(POST => "$artifacts/authorize", query => [token => $bad], json => { token => $good })->{status}, 403, 'the query before JSON';
    is http(POST => $artifacts, query => [token => $good], multipart => [field(token => $bad), file('third')])->{status}, 201,
        'the query before multipart fields';
    is http(POST => "$artifacts/authorize", json => { token => undef }, query => [token => $good])->{status}, 200, 'null is as absent';
    is http(POST => "$artifacts/authorize", json => { token => undef }, headers => \@token)->{status}, 200, '  also before a header';
};

subtest 'the path before all others' => sub {
    http(POST => $artifacts, headers => \@token, multipart => [file('mine')]);
    is http(GET => $artifacts, headers => \@token, query => [id => $other_id])->{body}, 'mine', 'an id in the query';
    is http(POST => "$artifacts/authorize", json => { id => $other_id, token => $build->{token} })->{status}, 200, 'an id in JSON';
    is http(PUT => "builds/$id.json", json => { id => $other_id, token => $runner->{token}, trace => 'mine' })->{status}, 200, 'of a PUT';
    is trace_of($id), 'mine', '  which is about the build of the path';
    is trace_of($other_id), '', '  and no other';
};

subtest 'info' => sub {
    my @who = (token => $project->{token});
    my $named = show(form('runners/register', @who, 'info[name]' => 'form', 'info[version]' => '1.2.3'));
    is "$named->{name} $named->{version}", 'form 1.2.3', 'info[name] in a form';
    $named = show(http(POST => 'runners/register', query => [@who, 'info[name]' => 'query', 'info[platform]' => 'plan9']));
    is "$named->{name} $named->{platform}", 'query plan9', '  in the query';
    $named = show(http(POST => 'runners/register', multipart => [field(@who), field('info[name]' => 'multipart')]));
    is $named->{name}, 'multipart', '  in multipart';
    $named = show(http(POST => 'runners/register', json => { @who, info => { name => 'body', version => '1.2.3' } },
        query => ['info[name]' => 'query']));
    is "$named->{name} $named->{version}", 'query 1.2.3', 'one of the query and an object in the body are one';
};

subtest 'bodies' => sub {
    answers http(POST => 'builds/register', query => [token => $runner->{token}]), 404, '404 Not Found', 'no body and no type';
    answers http(POST => 'builds/register', query => [token => $runner->{token}], length => 0), 404, '404 Not Found', 'an empty one';
    for my $type ('application/json', 'application/x-www-form-urlencoded') {
        answers http(POST => 'builds/register', query => [token => $runner->{token}], type => $type, chunked => 1, body => ''), 404,
            '404 Not Found', "  also as $type, in chunks";
    }
    my %json = (query => [token => $runner->{token}], body => '{}');
    for my $case (['bytes without a type', %json], ['  in chunks', %json, chunked => 1], ['text/plain', %json, type => 'text/plain']) {
        my ($what, %opt) = @$case;
        my $r = http(POST => 'builds/register', %opt);
        is $r->{status}, 406, "$what: 406";
        my $type = $opt{type} // '';
        is $r->{json}{error}, "The requested content-type '$type' is not supported.", '  which says why';
        unlike $r->{body}, qr{\\/}, '  without escaped slashes';
    }
    my $length = build_show($id)->{trace_size};
    my $r = http(PATCH => "builds/$id/trace.txt", type => 'image/png', body => 'x', headers => [@token, 'Content-Range' => "$length-"]);
    is $r->{status}, 406, 'a trace of another type: 406';
    is $r->{json}{error}, "The requested content-type 'image/png' is not supported.", '  which says why';
    $r = http(PATCH => "builds/$id/trace.txt", body => 'x', headers => [@token, 'Content-Range' => "$length-"]);
    is $r->{status}, 202, 'a trace without a type is one';
    $r = http(PATCH => "builds/$id/trace.txt", type => 'Text/Plain; charset=utf-8', body => 'y',
        headers => [@token, 'Content-Range' => $length + 1 . '-']);
    is $r->{status}, 202, '  so is one with parameters';
    for my $body ('{"token":', '[]', '"text"', '12', 'null', 'true') {
        $r = http(POST => 'builds/register.json', type => 'application/json', body => $body);
        is $r->{status}, 400, "$body: 400";
        like $r->{json}{error} // '', qr/\S/, '  with {"error": …}';
        ok !exists $r->{json}{message}, '  and nothing else';
    }
};

finish($runner, $_) for $id, $other_id;

done_testing;
