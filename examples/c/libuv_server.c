/* libuv: uv_close() closes the socket itself, with no way to keep it. So a duplicate is taken before, and let go of
 * when libuv has closed its own.
 *
 * libuv_server [--plain-close]: serves until SIGTERM or SIGINT. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

#include <linger.h>

#include "web.h"

struct connection {
    uv_tcp_t stream;
    uv_write_t writing;
    int duplicate;
    size_t got;
    char head[WEB_HEAD_BYTES];
};

static bool plain_close;

/* libuv has closed its number and left its epoll set: the duplicate is the only one now, as linger_close() demands.
 * Without one (we are out of descriptors) libuv's close was the plain one, and linger_close(-1) would say EBADF. */
static void closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    if (connection->duplicate >= 0)
        linger_close(connection->duplicate, LINGER_DEFAULT);
    free(connection);
}

static void let_go(struct connection *connection)
{
    uv_os_fd_t fd;

    connection->duplicate = -1;
    if (!plain_close && uv_fileno((uv_handle_t *)&connection->stream, &fd) == 0)
        connection->duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    uv_close((uv_handle_t *)&connection->stream, closed);
}

/* The kernel has the last of the answer, or there was an error. */
static void written(uv_write_t *writing, int status)
{
    (void)status;
    let_go(writing->data);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct connection *connection = handle->data;

    (void)suggested;
    *room = uv_buf_init(connection->head + connection->got, (unsigned)(sizeof(connection->head) - connection->got));
}

static void readable(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *room)
{
    struct connection *connection = stream->data;
    const struct web_answer answer = web_answer();
    const uv_buf_t piece = uv_buf_init((char *)answer.bytes, (unsigned)answer.size);

    (void)room;
    if (bytes > 0)
        connection->got += (size_t)bytes;
    if (bytes >= 0 && !web_head_ends(connection->head, connection->got))
        return;
    uv_read_stop(stream);
    connection->writing.data = connection;
    if (bytes < 0 || uv_write(&connection->writing, stream, &piece, 1, written) != 0)
        let_go(connection);
}

static void accepted(uv_stream_t *listener, int status)
{
    struct connection *connection = status == 0 ? calloc(1, sizeof(*connection)) : NULL;

    if (connection == NULL)
        return;
    uv_tcp_init(listener->loop, &connection->stream);
    connection->stream.data = connection;
    if (uv_accept(listener, (uv_stream_t *)&connection->stream) != 0 ||
        uv_read_start((uv_stream_t *)&connection->stream, give_room, readable) != 0)
        let_go(connection);
}

static void stop(uv_signal_t *signal, int number)
{
    (void)number;
    uv_stop(signal->loop);
}

int main(int count, char **arguments)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_signal_t term, interrupt;

    plain_close = web_asked_for("--plain-close", count, arguments);
    uv_tcp_init(loop, &listener);
    web_require(uv_tcp_open(&listener, web_listen(SOCK_NONBLOCK)) == 0, "uv_tcp_open");
    web_require(uv_listen((uv_stream_t *)&listener, SOMAXCONN, accepted) == 0, "uv_listen");
    uv_signal_init(loop, &term);
    uv_signal_init(loop, &interrupt);
    uv_signal_start(&term, stop, SIGTERM);
    uv_signal_start(&interrupt, stop, SIGINT);
    uv_run(loop, UV_RUN_DEFAULT);

    /* One more turn: what is being closed is handed over in its callback. */
    uv_close((uv_handle_t *)&listener, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    linger_flush(5000);
    return EXIT_SUCCESS;
}
