/* A server that stops without cutting anybody off: it takes no new connections, finishes the request it is at, and waits
 * for the connections that linger, for they are in the process and end with it.
 *
 * graceful_stop [--plain-close] [--no-flush]: serves until SIGTERM or SIGINT. */
#define _GNU_SOURCE /* accept4() */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linger.h>

#include "web.h"

/* What the service manager gives us: systemd sends SIGKILL after TimeoutStopSec. */
enum { STOP_MS = 5000 };

static int listener;
static bool plain_close;

static void *serve(void *nothing)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        if (web_read_head(fd))
            web_write_answer(fd);
        if (plain_close)
            close(fd);
        else
            linger_close(fd, LINGER_DEFAULT);
    }
    return nothing;
}

static void await_signal(const sigset_t *signals)
{
    int number;

    sigwait(signals, &number);
}

int main(int count, char **arguments)
{
    sigset_t signals;
    pthread_t server;

    plain_close = web_asked_for("--plain-close", count, arguments);
    listener = web_listen(0);
    /* Blocked in every thread, and taken by sigwait(): no handler, and nothing that it must not call. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    web_require(pthread_create(&server, NULL, serve, NULL) == 0, "pthread_create");
    await_signal(&signals);

    /* 1. Nobody new: accept4() fails now. 2. The request that is being served gets its answer. */
    shutdown(listener, SHUT_RD);
    pthread_join(server, NULL);
    printf("stopping: %d linger\n", linger_pending());
    fflush(stdout);
    if (web_asked_for("--no-flush", count, arguments))
        return EXIT_SUCCESS;

    /* 3. What lingers ends by itself as soon as its client has read everything and closes. A client that never does must
     * not hold us up for longer than we have. */
    const int left = linger_flush(STOP_MS);

    if (left > 0)
        fprintf(stderr, "%d connections had not ended after %d ms\n", left, STOP_MS);
    return EXIT_SUCCESS;
}
