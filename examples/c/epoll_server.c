/* An event loop over epoll(7), with a signalfd(2) that ends it.
 *
 * epoll_server [--plain-close]: serves until SIGTERM or SIGINT. */
#define _GNU_SOURCE /* accept4() */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linger.h>

#include "web.h"

struct connection {
    int fd;
    size_t got, sent;
    char head[WEB_HEAD_BYTES];
};

static int set;
static bool plain_close;

static void watch(int operation, int fd, uint32_t events, void *what)
{
    struct epoll_event event = {.events = events, .data.ptr = what};

    web_require(epoll_ctl(set, operation, fd, &event) == 0, "epoll_ctl");
}

/* First out of the epoll set, then let go. A registration belongs to the connection, not to the number, and the
 * connection lives on in the library for a while: the set would report events of it with a pointer that we are about
 * to free, and EPOLL_CTL_DEL would be EBADF by then. liblinger.so would do this for us, liblinger.a cannot. */
static void let_go(struct connection *connection)
{
    if (plain_close) {
        close(connection->fd);
    } else {
        watch(EPOLL_CTL_DEL, connection->fd, 0, NULL);
        linger_close(connection->fd, LINGER_DEFAULT);
    }
    free(connection);
}

static void take_connection(int listener)
{
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    struct connection *connection = calloc(1, sizeof(*connection));
    web_require(connection != NULL, "calloc");
    connection->fd = fd;
    watch(EPOLL_CTL_ADD, fd, EPOLLIN, connection);
}

/* Each of these two answers whether the connection goes on. */
static bool read_some(struct connection *connection)
{
    const ssize_t more = read(connection->fd, connection->head + connection->got,
                              sizeof(connection->head) - connection->got);

    if (more <= 0)
        return more < 0 && (errno == EAGAIN || errno == EINTR);
    connection->got += (size_t)more;
    if (web_head_ends(connection->head, connection->got))
        watch(EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
    return true;
}

static bool write_some(struct connection *connection)
{
    const struct web_answer answer = web_answer();
    const ssize_t more = send(connection->fd, answer.bytes + connection->sent,
                              answer.size - connection->sent, MSG_NOSIGNAL);

    if (more < 0)
        return errno == EAGAIN || errno == EINTR;
    connection->sent += (size_t)more;
    /* The kernel has the last of it, the client does not: that is what linger_close() is for. */
    return connection->sent < answer.size;
}

static void handle(struct connection *connection, uint32_t events)
{
    if (!(events & EPOLLOUT ? write_some(connection) : read_some(connection)))
        let_go(connection);
}

static int catch_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    /* Before the first linger_close(): its thread has all signals blocked, whatever ours are. */
    web_require(sigprocmask(SIG_BLOCK, &signals, NULL) == 0, "sigprocmask");
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

int main(int count, char **arguments)
{
    plain_close = web_asked_for("--plain-close", count, arguments);
    set = epoll_create1(EPOLL_CLOEXEC);
    web_require(set >= 0, "epoll_create1");

    int signals = catch_signals(), listener = web_listen(SOCK_NONBLOCK);
    watch(EPOLL_CTL_ADD, signals, EPOLLIN, &signals);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
    for (;;) {
        struct epoll_event event;

        if (epoll_wait(set, &event, 1, -1) != 1)
            continue;
        if (event.data.ptr == &signals)
            break;
        if (event.data.ptr == &listener)
            take_connection(listener);
        else
            handle(event.data.ptr, event.events);
    }
    close(listener);
    linger_flush(5000);
    return EXIT_SUCCESS;
}
