/* The smallest change to a server that blocks: linger_close() where close() was.
 *
 * It refuses an upload: reads the head of a request, answers at once, and lets go while the client is still sending. With
 * close() the client's next bytes meet a socket that is gone, the kernel answers them with RST, and what was left of the
 * answer is thrown away, here and at the client.
 *
 * blocking_server [--plain-close]: serves one client after another until it is ended. */
#define _GNU_SOURCE /* accept4() */
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linger.h>

#include "web.h"

static bool plain_close;

static void let_go(int fd)
{
    if (plain_close) {
        close(fd);
        return;
    }
    /* Sends FIN, and returns at once: a thread of the library reads and discards what the client still sends, and closes the
     * connection when the client has closed its side, or after LINGER_TIMEOUT_MS. The number `fd` is free, as after
     * close(). It may be called for anything: what is no TCP connection is simply closed. */
    if (linger_close(fd, LINGER_DEFAULT) != 0)
        perror("linger_close"); /* EBADF: a mistake of ours, as with close() */
}

int main(int count, char **arguments)
{
    const int listener = web_listen(0);

    plain_close = web_asked_for("--plain-close", count, arguments);
    for (;;) {
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        web_require(fd >= 0, "accept4");
        if (web_read_head(fd))
            web_write_answer(fd);
        /* On every path: who failed half-way may have an error page on its way. */
        let_go(fd);
    }
    /* A server that ends by itself waits for what lingers before: see graceful_stop.c. */
}
