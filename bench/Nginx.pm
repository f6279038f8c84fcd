package Nginx;

# nginx with its dav module, for PUT; on the file system that our storage is on.

use strict;
use warnings;

use File::Path ();

use CIB::Place qw(am_root give_to httpd_user run);
use Machine;
use Server;

use constant PROGRAM => '/usr/sbin/nginx';

sub is_there { return -x PROGRAM }

# start(root => DIR, top => DIR)
sub start {
    my ($class, %self) = @_;
    my $self = bless { %self, dir => "$self{root}/nginx", port => Server::free_port() }, $class;
    my @dirs = map {"$self->{dir}/$_"} qw(files body);
    File::Path::make_path(@dirs);
    give_to(httpd_user(), @dirs);
    my %fill = (%$self, user => am_root() ? 'user ' . httpd_user() . ';' : '');
    my $text = Machine::slurp("$self->{top}/bench/nginx.conf.in") =~ s/\@(\w+)\@/$fill{$1}/gr;
    Bench::write_file("$self->{dir}/nginx.conf", $text);
    run(PROGRAM, '-q', '-c', "$self->{dir}/nginx.conf", '-p', $self->{dir}, '-e', "$self->{dir}/error_log");
    return $self;
}

sub url { return "http://127.0.0.1:$_[0]{port}$_[1]" }

sub stop {
    my ($self) = @_;
    chomp(my $pid = Machine::slurp("$self->{dir}/nginx.pid"));
    return unless $pid;
    kill TERM => $pid;
    select undef, undef, undef, 0.05 while kill 0 => $pid;
    return;
}

1;
