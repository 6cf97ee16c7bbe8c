#!/usr/bin/perl
# A small HTTP server as people write them: keeps connections alive, takes pipelined requests one by
# one, and after 1 to 5 of them, at random, it has had enough and calls close. Nothing else.
#
#   random-close.pl SEED
#
# Prints "listening ADDRESS". GET /NAME/N is answered with N bytes that begin with NAME.
use strict;
use warnings;
use IO::Socket::INET;

srand(shift // 1);
$SIG{PIPE} = 'IGNORE';

my $listener = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp', Listen => 128,
) or die "cannot listen: $!";

$| = 1;
printf "listening %s:%d\n", $listener->sockhost, $listener->sockport;

while (my $client = $listener->accept) {
    my $requests = 1 + int rand 5;
    while ($requests-- > 0) {
        my $request = <$client>;
        last unless defined $request;
        while (my $header = <$client>) {
            last if $header =~ /^\r?$/;
        }
        respond($client, $request) or last;
    }
    close $client;
}

sub respond {
    my ($client, $request) = @_;
    my ($method, $name, $length) = $request =~ m{^(\w+) /([\w-]+)/(\d+) };
    return print $client "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" unless $length;
    print $client "HTTP/1.1 200 OK\r\nContent-Length: $length\r\n\r\n" or return;
    return 1 if $method eq 'HEAD';
    return print $client substr($name . ' ' . 'x' x $length, 0, $length);
}
