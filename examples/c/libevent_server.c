/* libevent: a bufferevent gives its socket away instead of closing it.
 *
 * libevent_server [--plain-close]: serves until SIGTERM or SIGINT. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linger.h>

#include "web.h"

static bool plain_close;

/* BEV_OPT_CLOSE_ON_FREE would close the socket for us. Without it the socket is ours to let go of: bufferevent_free() has
 * removed it from libevent's epoll set by the time it returns, because no callback holds a reference here
 * (BEV_OPT_DEFER_CALLBACKS and BEV_OPT_THREADSAFE are not set). */
static void let_go(struct bufferevent *stream)
{
    const evutil_socket_t fd = bufferevent_getfd(stream);

    bufferevent_disable(stream, EV_READ | EV_WRITE);
    bufferevent_free(stream);
    if (plain_close)
        evutil_closesocket(fd);
    else
        linger_close(fd, LINGER_DEFAULT);
}

/* The output buffer is empty: the kernel has the last of the answer, the client does not. */
static void written(struct bufferevent *stream, void *nothing)
{
    (void)nothing;
    let_go(stream);
}

static void failed(struct bufferevent *stream, short events, void *nothing)
{
    (void)events;
    (void)nothing;
    let_go(stream);
}

static void readable(struct bufferevent *stream, void *nothing)
{
    struct evbuffer *input = bufferevent_get_input(stream);
    const struct web_answer answer = web_answer();

    (void)nothing;
    if (evbuffer_search(input, "\r\n\r\n", 4, NULL).pos < 0 && evbuffer_get_length(input) < WEB_HEAD_BYTES)
        return;
    bufferevent_disable(stream, EV_READ);
    bufferevent_setcb(stream, NULL, written, failed, NULL);
    bufferevent_write(stream, answer.bytes, answer.size);
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *name, int length, void *base)
{
    struct bufferevent *stream = bufferevent_socket_new(base, fd, 0);

    (void)listener;
    (void)name;
    (void)length;
    if (stream == NULL) {
        linger_close(fd, LINGER_DEFAULT);
        return;
    }
    bufferevent_setcb(stream, readable, NULL, failed, NULL);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void stop(evutil_socket_t number, short events, void *base)
{
    (void)number;
    (void)events;
    event_base_loopbreak(base);
}

int main(int count, char **arguments)
{
    struct event_base *base = event_base_new();

    web_require(base != NULL, "event_base_new");
    plain_close = web_asked_for("--plain-close", count, arguments);

    struct event *term = evsignal_new(base, SIGTERM, stop, base), *interrupt = evsignal_new(base, SIGINT, stop, base);
    struct evconnlistener *listener =
        evconnlistener_new(base, accepted, base, LEV_OPT_CLOSE_ON_FREE, 0, web_listen(SOCK_NONBLOCK));

    web_require(listener != NULL && term != NULL && interrupt != NULL, "libevent");
    event_add(term, NULL);
    event_add(interrupt, NULL);
    event_base_dispatch(base);

    evconnlistener_free(listener);
    event_free(term);
    event_free(interrupt);
    event_base_free(base);
    linger_flush(5000);
    return EXIT_SUCCESS;
}
