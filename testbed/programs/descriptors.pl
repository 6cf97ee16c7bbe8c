# Everything a program does with descriptors that is not a TCP server's: pipes, Unix sockets on both sides, UDP,
# duplicates, streams, and a TCP connection of its own, to the port that is its only argument.
use strict;
use warnings;
use Socket;

my ($byte, $port) = ('', @ARGV);

pipe(my $out, my $in) or die;
syswrite $in, 'x';
sysread $out, $byte, 1;
close $in;
close $out;

socketpair(my $left, my $right, AF_UNIX, SOCK_STREAM, 0) or die;
syswrite $left, 'x';
sysread $right, $byte, 1;
close $left;
close $right;

my $name = pack_sockaddr_un('socket');
socket(my $unix_listener, AF_UNIX, SOCK_STREAM, 0) or die;
bind($unix_listener, $name) or die;
listen($unix_listener, 1) or die;
for (1 .. 3) {
    socket(my $client, AF_UNIX, SOCK_STREAM, 0) or die;
    connect($client, $name) or die;
    accept(my $server, $unix_listener) or die;
    syswrite $client, 'unread';
    shutdown $server, 2;
    close $server;
    close $client;
}
close $unix_listener;
unlink 'socket';

socket(my $udp, AF_INET, SOCK_DGRAM, 0) or die;
connect($udp, pack_sockaddr_in(9, INADDR_LOOPBACK)) or die;
close $udp;

socket(my $tcp, AF_INET, SOCK_STREAM, 0) or die;
connect($tcp, pack_sockaddr_in($port, INADDR_LOOPBACK)) or die;
syswrite $tcp, 'x';
shutdown $tcp, 1;
sysread $tcp, $byte, 1;
close $tcp;

open(my $copy, '>&', \*STDOUT) or die;
close $copy;
open(my $file, '<', $0) or die;
my $line = <$file>;
close $file;
