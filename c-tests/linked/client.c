/* A client with a small window that still has something to send when the answer
 * comes. client PORT BYTES: says what it got; status 0 if that is BYTES and FIN. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEADLINE_MS = 10000 };

static void check(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

/* tcp(7): SO_RCVBUF bounds the window if it is set before connect(2). */
static int connect_to(in_port_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = port,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int window = 16 * 1024, segment = 1400;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    check(fd >= 0, "socket");
    check(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)) == 0, "SO_RCVBUF");
    check(setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment)) == 0,
          "TCP_MAXSEG");
    check(connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0, "connect");
    return fd;
}

static void await_input(int fd)
{
    struct pollfd watched = {.fd = fd, .events = POLLIN};

    check(poll(&watched, 1, DEADLINE_MS) == 1, "poll: no answer");
}

/* Far more than the server reads, and again when its answer has begun: the server
 * has let go by then, or does with this unread. A send that fails takes the socket's
 * error with it, and recv would say FIN (tcp_recvmsg() in the kernel). */
static int send_more_than_is_read(int fd)
{
    char request[1024];

    memset(request, 'r', sizeof(request));
    check(send(fd, request, sizeof(request), MSG_NOSIGNAL) == sizeof(request), "send");
    await_input(fd);
    return send(fd, request, sizeof(request), MSG_NOSIGNAL) < 0 ? errno : 0;
}

static long read_to_the_end(int fd, int *error)
{
    static char piece[4096];
    long bytes = 0;
    ssize_t got;

    while (await_input(fd), (got = recv(fd, piece, sizeof(piece), 0)) > 0)
        bytes += got;
    if (got < 0)
        *error = errno;
    return bytes;
}

int main(int count, char **arguments)
{
    check(count == 3, "usage: client PORT BYTES");
    const int fd = connect_to(htons((in_port_t)atoi(arguments[1])));
    int error = send_more_than_is_read(fd);
    const long bytes = read_to_the_end(fd, &error);

    printf("%ld bytes, then %s\n", bytes, error ? strerror(error) : "FIN");
    return bytes == atol(arguments[2]) && error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
