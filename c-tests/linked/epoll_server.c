/* An event-driven server as its author would write it with linger.h: one epoll set,
 * answers as soon as a request begins, and lets go with its body unread.
 *
 * epoll_server linger|close: prints its port, serves until its input ends. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linger.h>

enum { RESPONSE_BYTES = 128 * 1024, REQUEST_LINE = 16 };

static int set, listener, by_linger_close;

static void check(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    check(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

static void listen_anywhere(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(name);

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0, "socket");
    check(bind(listener, (struct sockaddr *)&name, length) == 0, "bind");
    check(listen(listener, SOMAXCONN) == 0, "listen");
    check(getsockname(listener, (struct sockaddr *)&name, &length) == 0, "getsockname");
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
}

static void take_connection(void)
{
    const int queue = 4 * RESPONSE_BYTES;
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    check(fd >= 0, "accept4");
    check(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &queue, sizeof(queue)) == 0, "SO_SNDBUF");
    watch(fd);
}

/* linger.h: who holds a connection in epoll sets removes it before handing it over. */
static void let_go(int fd)
{
    if (by_linger_close) {
        check(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL) == 0, "epoll_ctl");
        check(linger_close(fd, LINGER_DEFAULT) == 0, "linger_close");
    } else {
        check(close(fd) == 0, "close");
    }
}

static void answer(int fd)
{
    static char body[RESPONSE_BYTES], line[REQUEST_LINE];

    if (read(fd, line, sizeof(line)) > 0) {
        memset(body, 'x', sizeof(body));
        check(write(fd, body, sizeof(body)) == sizeof(body), "write");
    }
    let_go(fd);
}

static int input_ended(void)
{
    char byte;

    return read(STDIN_FILENO, &byte, 1) <= 0;
}

int main(int count, char **arguments)
{
    struct epoll_event event;

    check(count == 2, "usage: epoll_server linger|close");
    by_linger_close = strcmp(arguments[1], "linger") == 0;
    set = epoll_create1(EPOLL_CLOEXEC);
    check(set >= 0, "epoll_create1");
    listen_anywhere();
    watch(listener);
    watch(STDIN_FILENO);
    for (;;) {
        check(epoll_wait(set, &event, 1, -1) == 1, "epoll_wait");
        if (event.data.fd == listener)
            take_connection();
        else if (event.data.fd != STDIN_FILENO)
            answer(event.data.fd);
        else if (input_ended())
            return linger_flush(10000) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
}
