/* Trap 18, cancelled threads: accept() and close() are cancellation points
 * (pthreads(7)). A thread cancelled inside them must unwind through its cleanup
 * handlers as ever, and never take the process down. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "threads.h"
#include "trap.h"

struct victim {
    struct blocker blocker;
    const struct way *way;
    int fd;
    atomic_bool go;
    atomic_bool cleaned_up;
};

static void note_cleanup(void *argument)
{
    atomic_store(&((struct victim *)argument)->cleaned_up, true);
}

static void require_cancelled(struct victim *victim)
{
    require(require_ends(victim->blocker.thread) == PTHREAD_CANCELED);
    require(atomic_load(&victim->cleaned_up));
}

static void *block_in_accept(void *argument)
{
    struct victim *victim = argument;

    pthread_cleanup_push(note_cleanup, victim);
    blocker_here(&victim->blocker);
    accept(victim->fd, NULL, NULL);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *block_in_accept4(void *argument)
{
    struct victim *victim = argument;

    pthread_cleanup_push(note_cleanup, victim);
    blocker_here(&victim->blocker);
    accept4(victim->fd, NULL, NULL, SOCK_CLOEXEC);
    pthread_cleanup_pop(0);
    return NULL;
}

/* The listener works on afterwards: nothing was left locked or half done. */
static void cancel_in(void *(*body)(void *))
{
    BY_EACH_WAY(way) {
        struct host host;

        host_open(&host, FAMILY_IPV4);
        struct victim victim = {.way = way, .fd = host.listener};

        require(pthread_create(&victim.blocker.thread, NULL, body, &victim) == 0);
        require_blocked(&victim.blocker);
        require(pthread_cancel(victim.blocker.thread) == 0);
        require_cancelled(&victim);

        const struct pair pair = {.client = host_connect(&host), .server = host_accept(&host)};
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        prove_fate(way, pair.client, &before);
        host_close(&host);
    }
}

static void thread_cancelled_in_accept_unwinds(void **state)
{
    (void)state;
    cancel_in(block_in_accept);
}

static void thread_cancelled_in_accept4_unwinds(void **state)
{
    (void)state;
    cancel_in(block_in_accept4);
}

/* Spins without a cancellation point, so that the request is pending at close(). */
static void *close_with_a_cancel_pending(void *argument)
{
    struct victim *victim = argument;

    pthread_cleanup_push(note_cleanup, victim);
    while (!atomic_load(&victim->go))
        continue;
    victim->way->let_go(victim->fd);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

/* Whether close() acted before the cancellation is open (close(2) leaves it so, and
 * glibc cancels first): what is left of the descriptor is whole, and closed here. */
static void thread_cancelled_in_close_unwinds(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        for (int round = 0; round < 20; round++) {
            const struct pair pair = pair_open(FAMILY_IPV4);
            struct victim victim = {.way = way, .fd = pair.server};

            send_unread_request(pair.client, pair.server);
            require(pthread_create(&victim.blocker.thread, NULL,
                                   close_with_a_cancel_pending, &victim) == 0);
            require(pthread_cancel(victim.blocker.thread) == 0);
            atomic_store(&victim.go, true);
            require_cancelled(&victim);
            if (!is_free(pair.server)) {
                char request[4096];

                require(recv(pair.server, request, sizeof(request), MSG_DONTWAIT) > 0);
                require_whole(&pair, "a close() that was cancelled");
                require(way->let_go(pair.server) == 0);
            }
            require(is_free(pair.server));
            require(close(pair.client) == 0);
        }
        require_nothing_lingers();
    }
}

static void *close_with_cancellation_disabled(void *argument)
{
    struct victim *victim = argument;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    while (!atomic_load(&victim->go))
        continue;
    pthread_cleanup_push(note_cleanup, victim);
    require(victim->way->let_go(victim->fd) == 0);
    require(is_free(victim->fd));
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

/* A disabled request waits; the close itself must then do all of its work. */
static void pending_cancel_does_not_spoil_a_close_that_has_it_disabled(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();
        struct victim victim = {.way = way, .fd = pair.server};

        send_response(pair.server);
        require(pthread_create(&victim.blocker.thread, NULL,
                               close_with_cancellation_disabled, &victim) == 0);
        require(pthread_cancel(victim.blocker.thread) == 0);
        atomic_store(&victim.go, true);
        require_cancelled(&victim);
        prove_fate(way, pair.client, &before);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(thread_cancelled_in_accept_unwinds),
        trap(thread_cancelled_in_accept4_unwinds),
        trap(thread_cancelled_in_close_unwinds),
        trap(pending_cancel_does_not_spoil_a_close_that_has_it_disabled),
    };

    return run_traps(traps);
}
