#!/usr/bin/perl
# HTTP::Daemon with a process for every connection: GET /N is answered with N bytes of the pattern.
#
#   forking.pl HOST PORT child     the child answers and closes; the parent has closed its copy
#   forking.pl HOST PORT gives-up  the same, but the child gives up its privilege
#   forking.pl HOST PORT departs   so, too, and exits with the connection open
#   forking.pl HOST PORT exits     the child answers and exits with the connection open
#   forking.pl HOST PORT parent    the parent answers and closes; a child that has the connection, too, has exited
#   forking.pl HOST PORT unreaped  the same, but the parent has not waited for the child yet
use strict;
use warnings;
use HTTP::Daemon;
use HTTP::Response;
use POSIX ();

my ($host, $port, $who) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my $daemon = HTTP::Daemon->new(LocalAddr => $host, LocalPort => $port, ReuseAddr => 1, Listen => 128)
    or die "cannot listen: $!";

while (my $client = $daemon->accept) {
    1 while waitpid(-1, POSIX::WNOHANG) > 0;
    pipe my $end_of_child, my $held_by_child or die "no pipe: $!";
    my $child = fork // die "cannot fork: $!";
    if ($who eq 'parent' || $who eq 'unreaped') {
        exit if !$child;
        close $held_by_child;
        readline $end_of_child;
        waitpid $child, 0 if $who eq 'parent';
        answer($client);
        close $client;
    } elsif ($child) {
        close $client;
    } else {
        give_up_privilege() if $who eq 'gives-up' || $who eq 'departs';
        answer($client);
        close $client if $who eq 'child' || $who eq 'gives-up';
        POSIX::_exit(0);
    }
}

sub give_up_privilege {
    my ($user, $group) = (getpwnam 'daemon')[2, 3];
    POSIX::setgid($group) && POSIX::setuid($user) or die "cannot be daemon: $!";
}

sub answer {
    my ($client) = @_;
    my $request = $client->get_request or return;
    my ($length) = $request->uri->path =~ m{^/(\d+)$};
    my $body = join '', map { chr } 0 .. 250;
    $body = substr $body x (1 + $length / 251), 0, $length;
    $client->send_response(HTTP::Response->new(200, 'OK', ['Content-Length' => $length], $body));
}
