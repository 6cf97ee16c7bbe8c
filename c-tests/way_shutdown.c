/* shutdown(2) of both halves: a way of letting go, and a way of waking another thread.
 * Under the shim the read half is shut a moment later, so that a close() which follows can
 * linger; who waits to read must wake all the same. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "departure.h"
#include "expectation.h"
#include "loopback.h"
#include "threads.h"
#include "trap.h"

static void shut_and_close(int fd)
{
    require(shutdown(fd, SHUT_RDWR) == 0);
    require(close(fd) == 0);
}

static void shut_twice_and_close(int fd)
{
    require(shutdown(fd, SHUT_RDWR) == 0);
    require(shutdown(fd, SHUT_RDWR) == 0);
    require(close(fd) == 0);
}

static void shut_output_then_both_and_close(int fd)
{
    require(shutdown(fd, SHUT_WR) == 0);
    require(shutdown(fd, SHUT_RDWR) == 0);
    require(close(fd) == 0);
}

static const struct departure departures[] = {
    {"SHUT_RDWR, close()", shut_and_close, NULL},
    {"SHUT_RDWR twice, close()", shut_twice_and_close, NULL},
    {"SHUT_WR, SHUT_RDWR, close()", shut_output_then_both_and_close, NULL},
};

/* A thread that was preempted between the two, or had to wait for its interpreter. */
static void closing_a_moment_later_lingers_too(void **state)
{
    enum { AT_MOST_MS = 40, TRIES = 100 };

    (void)state;
    for (int i = 0; i < TRIES; i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        const int64_t start = now_ms();

        require(shutdown(pair.server, SHUT_RDWR) == 0);
        let_20ms_of_preemption_pass();
        require(close(pair.server) == 0);
        const int64_t gap = now_ms() - start;

        if (gap <= AT_MOST_MS) {
            require_context("%s mode, closed %lld ms later", test_mode_name(), (long long)gap);
            prove_fate(plain_close(), pair.client, &before);
            return;
        }
        require(close(pair.client) == 0);
    }
    fail_msg("20 ms never were less than %d in %d tries", AT_MOST_MS, TRIES);
}

static void wait_for_hang_up(struct line *parent, void *argument)
{
    const struct pair *pair = argument;
    char byte;

    require(close(pair->client) == 0);
    line_tell(parent, 'w');
    require(recv(pair->server, &byte, 1, 0) == 0);
    require(wait_for(pair->server, POLLIN, GENEROUS_MS) & POLLHUP);
}

/* Both halves are everybody's, unlike the number that is closed. */
static void shutdown_before_a_close_shuts_for_another_holder(void **state)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    struct child child;

    (void)state;
    child_start(&child, wait_for_hang_up, &pair);
    line_await(&child.line, 'w');
    require(shutdown(pair.server, SHUT_RDWR) == 0);
    require(close(pair.server) == 0);
    child_reap(&child);
    require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(pair.client) == 0);
    require_nothing_lingers();
}

struct waiter {
    struct blocker blocker;
    int fd;
    int result;
    int error;
    unsigned events;
    int64_t woke_at_ms;
};

static void *woke(struct waiter *waiter, int result)
{
    waiter->error = errno;
    waiter->result = result;
    waiter->woke_at_ms = now_ms();
    return NULL;
}

static void *wait_in_recv(void *argument)
{
    struct waiter *waiter = argument;
    char byte;

    blocker_here(&waiter->blocker);
    return woke(waiter, (int)recv(waiter->fd, &byte, 1, 0));
}

static void *wait_in_poll(void *argument)
{
    struct waiter *waiter = argument;
    struct pollfd watched = {.fd = waiter->fd, .events = POLLIN | POLLRDHUP};

    blocker_here(&waiter->blocker);
    const int ready = poll(&watched, 1, 2 * GENEROUS_MS);

    waiter->events = (unsigned short)watched.revents;
    return woke(waiter, ready);
}

static void *wait_in_epoll(struct waiter *waiter, unsigned flags)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | flags};
    const int epoll = epoll_create1(EPOLL_CLOEXEC);

    require(epoll >= 0);
    require(epoll_ctl(epoll, EPOLL_CTL_ADD, waiter->fd, &event) == 0);
    blocker_here(&waiter->blocker);
    const int ready = epoll_wait(epoll, &event, 1, 2 * GENEROUS_MS);

    waiter->events = event.events;
    woke(waiter, ready);
    require(close(epoll) == 0);
    return NULL;
}

static void *wait_in_level_triggered_epoll(void *argument)
{
    return wait_in_epoll(argument, 0);
}

static void *wait_in_edge_triggered_epoll(void *argument)
{
    return wait_in_epoll(argument, EPOLLET);
}

static void *wait_in_accept(void *argument)
{
    struct waiter *waiter = argument;

    blocker_here(&waiter->blocker);
    return woke(waiter, accept(waiter->fd, NULL, NULL));
}

struct wait {
    const char *name;
    void *(*body)(void *);
    bool for_events; /* else for bytes: EOF */
};

static const struct wait waits[] = {
    {"recv", wait_in_recv, false},
    {"poll", wait_in_poll, true},
    {"epoll_wait, level-triggered", wait_in_level_triggered_epoll, true},
    {"epoll_wait, edge-triggered", wait_in_edge_triggered_epoll, true},
};

static int64_t wake(struct waiter *waiter, void *(*body)(void *), int fd)
{
    *waiter = (struct waiter){.fd = fd};
    require(pthread_create(&waiter->blocker.thread, NULL, body, waiter) == 0);
    require_blocked(&waiter->blocker);
    const int64_t start = now_ms();

    require(shutdown(fd, SHUT_RDWR) == 0);
    require_ends(waiter->blocker.thread);
    return waiter->woke_at_ms - start;
}

/* poll(2) and epoll(7): both halves shut is POLLHUP, which cannot be left unasked. */
static void shutdown_of_both_wakes_who_waits(void **state)
{
    const struct wait *wait = *state;
    const struct pair pair = pair_open(FAMILY_IPV4);
    struct waiter waiter;

    require_context("%s mode, a thread in %s", test_mode_name(), wait->name);
    const int64_t delay = wake(&waiter, wait->body, pair.server);

    print_message("%s mode, %s woke after %lld ms\n", test_mode_name(), wait->name,
                  (long long)delay);
    if (wait->for_events) {
        require(waiter.result == 1);
        require(waiter.events & POLLHUP);
        require(waiter.events & POLLIN);
        require(waiter.events & POLLRDHUP);
    } else {
        require(waiter.result == 0);
    }
    require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(pair.server) == 0);
    require(close(pair.client) == 0);
    require_nothing_lingers();
}

#define wait_trap(wait)                                                                \
    {                                                                                  \
        (wait)->name, shutdown_of_both_wakes_who_waits, trap_setup, trap_teardown,     \
            (void *)(wait)                                                             \
    }

/* Linux: how a listening thread is told to stop. */
static void shutdown_of_a_listener_wakes_accept(void **state)
{
    struct waiter waiter;
    struct host host;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    const int64_t delay = wake(&waiter, wait_in_accept, host.listener);

    print_message("%s mode, accept woke after %lld ms\n", test_mode_name(), (long long)delay);
    require(waiter.result == -1);
    require(waiter.error == EINVAL);
    host_close(&host);
}

/* Linux gives what arrives later even so; and the peer is told nothing. */
static void shutdown_of_input_alone_is_the_kernels(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    char byte;

    (void)state;
    require(shutdown(pair.server, SHUT_RD) == 0);
    require(recv(pair.server, &byte, 1, 0) == 0);
    require(wait_for(pair.server, POLLIN | POLLRDHUP, 0) == (POLLIN | POLLRDHUP));
    leave_time_for_a_wrong_shutdown();
    require(wait_for(pair.client, POLLIN | POLLRDHUP, 0) == 0);
    require_whole(&pair, "SHUT_RD");
    require(close(pair.client) == 0);
    require(close(pair.server) == 0);
    require_nothing_lingers();
}

static void shutdown_of_output_alone_is_the_kernels(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    char byte;

    (void)state;
    require(shutdown(pair.server, SHUT_WR) == 0);
    require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(recv(pair.client, &byte, 1, 0) == 0);
    leave_time_for_a_wrong_shutdown();
    require(wait_for(pair.server, POLLIN | POLLRDHUP, 0) == 0);
    require(send(pair.client, "x", 1, MSG_NOSIGNAL) == 1);
    require(wait_for(pair.server, POLLIN, GENEROUS_MS) == POLLIN);
    require(recv(pair.server, &byte, 1, 0) == 1 && byte == 'x');
    errno = 0;
    require(send(pair.server, "y", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    require(close(pair.client) == 0);
    require(close(pair.server) == 0);
    require_nothing_lingers();
}

/* Never closed afterwards: both halves are shut before long, and stay so. */
static void shutdown_of_both_without_close_shuts_both(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    char byte;

    (void)state;
    require(shutdown(pair.server, SHUT_RDWR) == 0);
    errno = 0;
    require(send(pair.server, "y", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(wait_for(pair.server, POLLIN | POLLRDHUP, GENEROUS_MS) ==
            (POLLIN | POLLRDHUP | POLLHUP));
    require(recv(pair.server, &byte, 1, 0) == 0);
    require(shutdown(pair.server, SHUT_RDWR) == 0);
    require(close(pair.server) == 0);
    require(close(pair.client) == 0);
    require_nothing_lingers();
}

static void require_refused(int fd, int how, int error)
{
    errno = 0;
    require(shutdown(fd, how) == -1);
    require(errno == error);
}

static void shutdown_that_fails_says_what_the_kernel_says(void **state)
{
    const int unconnected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct pair pair = pair_open(FAMILY_IPV4);
    int ends[2];

    (void)state;
    require(unconnected >= 0);
    require(pipe(ends) == 0);
    require_refused(unconnected, SHUT_RDWR, ENOTCONN);
    require_refused(ends[0], SHUT_RDWR, ENOTSOCK);
    require_refused(-1, SHUT_RDWR, EBADF);
    require_refused(pair.server, 3, EINVAL);
    require_refused(pair.server, -1, EINVAL);
    leave_time_for_a_wrong_shutdown();
    require_whole(&pair, "a shutdown() that was refused");
    abort_connection(pair.client);
    require(wait_for(pair.server, POLLIN, GENEROUS_MS) & POLLHUP);
    require_refused(pair.server, SHUT_RDWR, ENOTCONN);
    require(close(pair.server) == 0);
    require(close(unconnected) == 0);
    require(close(ends[0]) == 0);
    require(close(ends[1]) == 0);
    require_nothing_lingers();
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        departure_trap(&departures[0]),
        departure_trap(&departures[1]),
        departure_trap(&departures[2]),
        trap(closing_a_moment_later_lingers_too),
        trap(shutdown_before_a_close_shuts_for_another_holder),
        wait_trap(&waits[0]),
        wait_trap(&waits[1]),
        wait_trap(&waits[2]),
        wait_trap(&waits[3]),
        trap(shutdown_of_a_listener_wakes_accept),
        trap(shutdown_of_input_alone_is_the_kernels),
        trap(shutdown_of_output_alone_is_the_kernels),
        trap(shutdown_of_both_without_close_shuts_both),
        trap(shutdown_that_fails_says_what_the_kernel_says),
    };

    return run_traps(traps);
}
