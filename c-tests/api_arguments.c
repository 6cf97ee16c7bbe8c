/* The C interface and its arguments: what is refused is refused with the errno the
 * header promises, and leaves the descriptor to its caller; what is no connection is
 * closed as close() does. Where there is no library there is nothing to ask. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

#define require_refused(call, error)   \
    do {                               \
        errno = 0;                     \
        require((call) == -1);         \
        require(errno == (error));     \
    } while (0)

static void timeout_below_minus_one_is_einval_and_touches_nothing(void **state)
{
    const int timeouts[] = {-2, -1000, INT_MIN};

    (void)state;
    for (int i = 0; i < 3; i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        require_refused(linger_close(pair.server, timeouts[i]), EINVAL);
        require_refused(linger_close_wait(pair.server, timeouts[i]), EINVAL);
        require_nothing_lingers();
        require_whole(&pair, "a refused linger_close()");
        require(close(pair.client) == 0);
        require(linger_close(pair.server, LINGER_DEFAULT) == 0);
    }
}

static void number_that_is_not_open_is_ebadf(void **state)
{
    const int numbers[] = {-1, INT_MIN, 999, INT_MAX};

    (void)state;
    for (int i = 0; i < 4; i++) {
        require_refused(linger_close(numbers[i], LINGER_DEFAULT), EBADF);
        require_refused(linger_close(numbers[i], 0), EBADF);
        require_refused(linger_close_wait(numbers[i], 100), EBADF);
    }
}

static void second_linger_close_is_ebadf(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    (void)state;
    require(linger_close(pair.server, LINGER_DEFAULT) == 0);
    require_refused(linger_close(pair.server, LINGER_DEFAULT), EBADF);
    require_refused(linger_close_wait(pair.server, LINGER_DEFAULT), EBADF);
    require(close(pair.client) == 0);
}

static void success_leaves_errno_alone(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    (void)state;
    errno = EXDEV;
    require(linger_close(pair.server, LINGER_DEFAULT) == 0);
    require(linger_pending() == 1);
    require(errno == EXDEV);
    require(close(pair.client) == 0);
    require(linger_flush(GENEROUS_MS) == 0);
    require(errno == EXDEV);
}

/* A server may call it for everything it closes. */
static void what_is_no_connection_is_closed_as_close_does(void **state)
{
    int pipes[2];

    (void)state;
    require(pipe2(pipes, O_CLOEXEC) == 0);
    const int others[] = {
        open("/dev/null", O_RDONLY | O_CLOEXEC),
        pipes[0],
        pipes[1],
        socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        require(linger_close(others[i], i % 2 ? LINGER_DEFAULT : 1000) == 0);
        require(is_free(others[i]));
        require(linger_pending() == 0);
    }
}

static void waiting_for_what_is_no_connection_says_closed(void **state)
{
    struct host host;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    require(linger_close_wait(host.listener, LINGER_DEFAULT) == LINGER_CLOSED);
    require(is_free(host.listener));

    const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

    require(linger_close_wait(file, 0) == LINGER_CLOSED);
    require(is_free(file));
}

/* The caller vouches for the socket: a connection it opened itself lingers too. */
static void connection_opened_by_the_caller_lingers(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    (void)state;
    require(linger_close(pair.client, LINGER_DEFAULT) == 0);
    require(linger_pending() == 1);
    require(close(pair.server) == 0);
    require_nothing_lingers();
}

static void stats_need_a_place_and_its_size(void **state)
{
    struct linger_stats stats = {.size = 0};

    (void)state;
    require_refused(linger_stats(NULL), EINVAL);
    require_refused(linger_stats(&stats), EINVAL);
    stats.size = sizeof(stats.size) - 1;
    require_refused(linger_stats(&stats), EINVAL);
    stats.size = sizeof(stats);
    require(linger_stats(&stats) == 0);
    require(stats.size == sizeof(stats));
}

/* A caller built against an older, shorter struct has nothing after it overwritten. */
static void stats_of_an_older_caller_stay_within_its_size(void **state)
{
    const size_t older = offsetof(struct linger_stats, fin);
    struct linger_stats stats, untouched;

    (void)state;
    memset(&stats, 0xA5, sizeof(stats));
    memset(&untouched, 0xA5, sizeof(untouched));
    stats.size = older;
    require(linger_stats(&stats) == 0);
    require(stats.size <= older);
    require(memcmp((char *)&stats + older, (char *)&untouched + older,
                   sizeof(stats) - older) == 0);
}

/* And one built against a longer struct learns how much of it was filled. */
static void stats_of_a_newer_caller_are_filled_as_far_as_known(void **state)
{
    struct {
        struct linger_stats known;
        unsigned char later[64];
    } stats;

    (void)state;
    memset(&stats, 0xA5, sizeof(stats));
    stats.known.size = sizeof(stats);
    require(linger_stats(&stats.known) == 0);
    for (size_t i = 0; i < sizeof(stats.later); i++)
        require(stats.later[i] == 0xA5 || stats.later[i] == 0);
}

static void version_agrees_with_its_macros(void **state)
{
    char expected[32];

    (void)state;
    snprintf(expected, sizeof(expected), "%d.%d.%d", LINGER_VERSION_MAJOR,
             LINGER_VERSION_MINOR, LINGER_VERSION_PATCH);
    require(strcmp(linger_version(), expected) == 0);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(timeout_below_minus_one_is_einval_and_touches_nothing),
        trap(number_that_is_not_open_is_ebadf),
        trap(second_linger_close_is_ebadf),
        trap(success_leaves_errno_alone),
        trap(what_is_no_connection_is_closed_as_close_does),
        trap(waiting_for_what_is_no_connection_says_closed),
        trap(connection_opened_by_the_caller_lingers),
        trap(stats_need_a_place_and_its_size),
        trap(stats_of_an_older_caller_stay_within_its_size),
        trap(stats_of_a_newer_caller_are_filled_as_far_as_known),
        trap(version_agrees_with_its_macros),
    };

    return run_traps(traps);
}
