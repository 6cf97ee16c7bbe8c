/* Letting go of many at once: close_range(2), closefrom(3). Every connection in the
 * range lingers, nothing else does, and what only marks numbers closes none. Daemons
 * sweep so at their start, before they have anything, and some again later. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "service.h"
#include "trap.h"

typedef int close_range_function(unsigned first, unsigned last, int flags);

static int by_libc(unsigned first, unsigned last, int flags)
{
    return close_range(first, last, flags);
}

static int by_syscall(unsigned first, unsigned last, int flags)
{
    return (int)syscall(SYS_close_range, first, last, flags);
}

static close_range_function *const both[] = {by_libc, by_syscall};

enum { MANY = 4 };

struct crowd {
    struct pair pairs[MANY];
    struct netcounters before;
};

/* Numbers in a row, with nothing of the test's own between. */
static void gather(struct crowd *crowd, int first_number)
{
    for (int i = 0; i < MANY; i++) {
        struct pair *pair = &crowd->pairs[i];
        const int server = first_number + i;

        *pair = pair_open(FAMILY_IPV4);
        require(dup2(pair->server, server) == server);
        require(close(pair->server) == 0);
        pair->server = server;
        send_response(server);
    }
    crowd->before = netcounters_now();
}

/* One after the other, or the resets of one client would count against the next. */
static void prove_crowd(struct crowd *crowd, const char *what)
{
    for (int i = 0; i < MANY; i++) {
        require_context("%s mode, %s, connection %d", test_mode_name(), what, i);
        require(is_free(crowd->pairs[i].server));
        crowd->before = netcounters_now();
        send_late_bytes(crowd->pairs[i].client);
        const struct harvest harvest = read_response(crowd->pairs[i].client);

        require_fate(plain_close()->saves, &harvest, &crowd->before);
        require(close(crowd->pairs[i].client) == 0);
    }
    require_nothing_lingers();
}

/* Far above what the test, and the library, hold. */
static const int ROW = 600;

static void every_connection_of_a_range_lingers(void **state)
{
    struct crowd crowd;

    (void)state;
    for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
        gather(&crowd, ROW);
        require(both[i]((unsigned)ROW, (unsigned)ROW + MANY - 1, 0) == 0);
        prove_crowd(&crowd, i ? "syscall(SYS_close_range)" : "close_range()");
    }
}

static void every_connection_above_closefrom_lingers(void **state)
{
    struct crowd crowd;

    (void)state;
    gather(&crowd, ROW);
    closefrom(ROW);
    prove_crowd(&crowd, "closefrom()");
}

/* close_range(2), CLOSE_RANGE_CLOEXEC: not a close. */
static void marking_a_range_closes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        require(fcntl(pair.server, F_GETFD) == 0);
        require(both[i](3, ~0U, CLOSE_RANGE_CLOEXEC) == 0);
        require(fcntl(pair.server, F_GETFD) == FD_CLOEXEC);
        require_nothing_lingers();
        leave_time_for_a_wrong_shutdown();
        require_whole(&pair, "CLOSE_RANGE_CLOEXEC");
        const struct netcounters before = netcounters_now();

        require_context("%s mode, close() after CLOSE_RANGE_CLOEXEC", test_mode_name());
        send_response(pair.server);
        require(close(pair.server) == 0);
        prove_fate(plain_close(), pair.client, &before);
    }
}

static void range_that_is_refused_closes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const unsigned fd = (unsigned)pair.server;

        errno = 0;
        require(both[i](fd + 1, fd, 0) == -1 && errno == EINVAL);
        errno = 0;
        require(both[i](fd, fd, 1 << 20) == -1 && errno == EINVAL);
        require_nothing_lingers();
        leave_time_for_a_wrong_shutdown();
        require_whole(&pair, "a close_range() that was refused");
        require(close(pair.client) == 0);
        require(close(pair.server) == 0);
        require_nothing_lingers();
    }
}

static void sweep_by_loop(void)
{
    for (int fd = SERVICE_FIRST_FREE; fd < FDTABLE_MAX; fd++)
        close(fd);
}

static void sweep_by_closefrom(void)
{
    closefrom(SERVICE_FIRST_FREE);
}

static void sweep_by_close_range(void)
{
    require(close_range(SERVICE_FIRST_FREE, ~0U, 0) == 0);
}

static void sweep_by_syscall(void)
{
    require(syscall(SYS_close_range, SERVICE_FIRST_FREE, ~0U, 0) == 0);
}

/* What a sweep closes that is no connection of a server: none of it may linger. */
static void sweep_what_never_lingers(void (*sweep)(void))
{
    struct host other;
    int ends[2];

    host_open(&other, FAMILY_IPV4);
    const int caller = host_connect(&other);
    const int datagrams = socket(AF_INET, SOCK_DGRAM, 0);

    require(datagrams >= 0);
    require(pipe(ends) == 0);
    require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    sweep();
    if (linger_pending)
        require(linger_pending() == 0);
    require(is_free(caller) && is_free(datagrams) && is_free(ends[0]));
    require(is_free(other.listener));
    const int late_caller = socket(AF_INET, SOCK_STREAM, 0);

    errno = 0;
    require(connect(late_caller, (struct sockaddr *)&other.address, other.length) == -1);
    require(errno == ECONNREFUSED);
    require(close(late_caller) == 0);
}

/* Sweeps first of all, then serves, sweeps with one connection open, and serves. */
static int sweep_and_serve(void (*sweep)(void), const struct host *host,
                           const struct line *parent)
{
    sweep();
    sweep_what_never_lingers(sweep);
    for (int round = 0; round < 3; round++) {
        const int server = host_accept(host);

        send_response(server);
        if (round == 1)
            sweep();
        else
            require(close(server) == 0);
        require(is_free(server));
        line_tell(parent, 'c');
    }
    line_await(parent, 'e');
    return EXIT_SUCCESS;
}

#define SWEEPING_SERVICE(how)                                                              \
    static int daemon_that_sweeps_by_##how(const struct host *host,                        \
                                           const struct line *parent)                      \
    {                                                                                      \
        return sweep_and_serve(sweep_by_##how, host, parent);                              \
    }

SWEEPING_SERVICE(loop)
SWEEPING_SERVICE(closefrom)
SWEEPING_SERVICE(close_range)
SWEEPING_SERVICE(syscall)

static const struct service services[] = {
    SERVICE(daemon_that_sweeps_by_loop),
    SERVICE(daemon_that_sweeps_by_closefrom),
    SERVICE(daemon_that_sweeps_by_close_range),
    SERVICE(daemon_that_sweeps_by_syscall),
    {NULL, NULL},
};

static const char *const rounds[] = {"after the first sweep", "swept", "after the second sweep"};

static void daemon_that_sweeps_lingers(void **state)
{
    const struct service *service = *state;
    struct host host;
    struct child child;

    host_open(&host, FAMILY_IPV4);
    service_start(&child, service->name, &host, NULL);
    for (int round = 0; round < 3; round++) {
        const int client = host_connect(&host);

        line_await(&child.line, 'c');
        const struct netcounters before = netcounters_now();

        require_context("%s mode, %s, %s", test_mode_name(), service->name, rounds[round]);
        prove_fate(plain_close(), client, &before);
    }
    line_tell(&child.line, 'e');
    require(end_of(&child) == 0);
    host_close(&host);
}

#define daemon_trap(service)                                                            \
    {                                                                                   \
        (service)->name, daemon_that_sweeps_lingers, trap_setup, trap_teardown,         \
            (void *)(service)                                                           \
    }

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(every_connection_of_a_range_lingers),
        trap(every_connection_above_closefrom_lingers),
        trap(marking_a_range_closes_nothing),
        trap(range_that_is_refused_closes_nothing),
        daemon_trap(&services[0]),
        daemon_trap(&services[1]),
        daemon_trap(&services[2]),
        daemon_trap(&services[3]),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
