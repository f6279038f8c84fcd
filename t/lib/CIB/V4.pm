package CIB::V4;

# Runners that speak /api/v4.

use strict;
use warnings;

use CIB::Test;

use Exporter 'import';
our @EXPORT = qw($V4 append ask crc32 get_artifact info job job_of put_artifact update);

our $V4 = '/api/v4';

# What GitLab Runner says about itself.
sub info {
    my ($version) = @_;
    return {
        name => 'gitlab-runner', version => $version // '14.7.1', revision => 'local', platform => 'linux',
        architecture => 'amd64', executor => 'shell', shell => 'bash', config => { gpus => '' },
        features => { map { $_ => JSON::PP::true() } qw(variables artifacts cache shared refspecs masking trace_checksum trace_size) },
    };
}

# POST jobs/request; the whole answer.
sub ask {
    my ($runner, %opt) = @_;
    my $body = delete $opt{json} // {};
    return http(
        POST => "$V4/jobs/request", headers => ['User-Agent' => 'gitlab-runner 14.7.1 (14-7-stable; go1.19; linux/amd64)'],
        json => { token => $runner->{token}, info => info(), %$body }, %opt
    );
}

# Its job, or nothing.
sub job {
    my ($runner, %opt) = @_;
    my $r = ask($runner, %opt);
    return $r->{json} if $r->{status} == 201;
    die "no job but $r->{status}: $r->{body}\n" unless $r->{status} == 204;
    return;
}

# Add a build (what CIB::Test::build takes) and take it: the job.
sub job_of {
    my ($runner, %opt) = @_;
    my $id = build(%opt);
    my $job = job($runner, map { $_ => $opt{$_} } grep { exists $opt{$_} } 'vhost');
    $job && $job->{id} == $id or die 'claimed ', $job ? $job->{id} : 'nothing', ", not $id\n";
    return $job;
}

# PUT jobs/:id
sub update {
    my ($job, %json) = @_;
    my %opt = %{ delete $json{opt} // {} };
    return http(PUT => "$V4/jobs/$job->{id}", json => { token => $job->{token}, %json }, %opt);
}

# PATCH jobs/:id/trace; the end of the range as runners since 11.3 say it.
sub append {
    my ($job, $start, $bytes, %opt) = @_;
    my $range = $opt{range} // ($start . '-' . ($start + length($bytes) - 1));
    return http(
        PATCH => "$V4/jobs/$job->{id}/trace?debug_trace=false", type => 'text/plain', body => $bytes,
        headers => ['Job-Token' => $opt{token} // $job->{token}, 'Content-Range' => $range],
        map { $_ => $opt{$_} } grep { exists $opt{$_} } qw(vhost chunked)
    );
}

# POST jobs/:id/artifacts as runners since 11.2 do: an archive, or what else `query` says.
sub put_artifact {
    my ($job, $bytes, %opt) = @_;
    my %query = (artifact_format => 'zip', artifact_type => 'archive', %{ $opt{query} // {} });
    my $suffix = $opt{suffix} // '?' . CIB::HTTP::encode(map { $_ => $query{$_} } sort keys %query);
    return http(
        POST => "$V4/jobs/$job->{id}/artifacts$suffix", headers => ['Job-Token' => $opt{token} // $job->{token}],
        multipart => [part(name => 'file', filename => $opt{filename} // 'artifacts.zip', body => $bytes)],
        chunked   => $opt{chunked} // 1, map { $_ => $opt{$_} } grep { exists $opt{$_} } qw(vhost until_answer)
    );
}

# GET jobs/:id/artifacts
sub get_artifact {
    my ($job, %opt) = @_;
    my $suffix = $opt{suffix} // '?direct_download=true';
    return http(
        GET => "$V4/jobs/$job->{id}/artifacts$suffix", headers => ['Job-Token' => $opt{token} // $job->{token}],
        map { $_ => $opt{$_} } grep { exists $opt{$_} } qw(vhost)
    );
}

# "crc32:…" of bytes
sub crc32 {
    my ($bytes) = @_;
    require Compress::Zlib;
    return sprintf 'crc32:%08x', Compress::Zlib::crc32($bytes);
}

1;
