/* Letting go in a thread that is being cancelled. (close() itself: trap_cancel.) fclose()
 * may be a cancellation point (pthreads(7)); under the shim the flush in it comes first. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "streamed.h"
#include "threads.h"
#include "trap.h"

struct closer {
    struct blocker blocker;
    FILE *stream;
    atomic_bool go;
};

/* Spins without a cancellation point, so that the request is pending at fclose(). */
static void *fclose_with_a_cancel_pending(void *argument)
{
    struct closer *closer = argument;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    while (!atomic_load(&closer->go))
        continue;
    require(fclose(closer->stream) == 0);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_testcancel();
    return NULL;
}

static void *fclose_that_blocks(void *argument)
{
    struct closer *closer = argument;

    blocker_here(&closer->blocker);
    fclose(closer->stream);
    return NULL;
}

static FILE *stream_with_response(int fd)
{
    FILE *stream = fdopen(fd, "w");

    require(stream != NULL);
    print_response_unflushed(stream);
    return stream;
}

static void fclose_with_cancellation_disabled_lingers(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();
    struct closer closer = {.stream = stream_with_response(pair.server)};

    (void)state;
    require_context("%s mode, fclose() with a cancel pending", test_mode_name());
    require(pthread_create(&closer.blocker.thread, NULL, fclose_with_a_cancel_pending,
                           &closer) == 0);
    require(pthread_cancel(closer.blocker.thread) == 0);
    atomic_store(&closer.go, true);
    require(require_ends(closer.blocker.thread) == PTHREAD_CANCELED);
    prove_fate(plain_close(), pair.client, &before);
}

static void fill_send_queue(int fd)
{
    static const char piece[65536];

    while (send(fd, piece, sizeof(piece), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        continue;
    require(errno == EAGAIN);
}

/* The next close lingers as if nothing had been. The stream is lost, as with libc. */
static void thread_cancelled_inside_fclose_ends(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4), next = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();
    struct closer closer = {.stream = stream_with_response(pair.server)};

    (void)state;
    require_context("%s mode, cancelled in fclose()", test_mode_name());
    fill_send_queue(pair.server);
    require(pthread_create(&closer.blocker.thread, NULL, fclose_that_blocks, &closer) == 0);
    require_blocked(&closer.blocker);
    require(pthread_cancel(closer.blocker.thread) == 0);
    require(require_ends(closer.blocker.thread) == PTHREAD_CANCELED);
    send_response(next.server);
    require(close(next.server) == 0);
    prove_fate(plain_close(), next.client, &before);
    abort_connection(pair.client);
    if (!is_free(pair.server))
        require(close(pair.server) == 0);
    require_nothing_lingers();
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(fclose_with_cancellation_disabled_lingers),
        trap(thread_cancelled_inside_fclose_ends),
    };

    return run_traps(traps);
}
