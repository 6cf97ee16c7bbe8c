/* Letting go by putting another descriptor in the connection's place: dup2(2) and
 * dup3(2) close what was there. If they fail they must have done nothing to it. And a
 * server under inetd(8), which has its connection without ever calling accept(). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "departure.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "service.h"
#include "trap.h"

static int open_null(void)
{
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    require(null >= 0);
    return null;
}

static void require_now_null(int fd)
{
    require(write(fd, "into the void", 13) == 13);
    require(close(fd) == 0);
}

static void by_dup2(int fd)
{
    const int null = open_null();

    require(dup2(null, fd) == fd);
    require(close(null) == 0);
    require_now_null(fd);
}

static void by_dup3(int fd)
{
    const int null = open_null();

    require(dup3(null, fd, O_CLOEXEC) == fd);
    require(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    require(close(null) == 0);
    require_now_null(fd);
}

/* The other is a connection, too: it lives on under both numbers. */
static void by_dup2_of_another_connection(int fd)
{
    struct pair other = pair_open(FAMILY_IPV4);

    require(dup2(other.server, fd) == fd);
    require(close(other.server) == 0);
    other.server = fd;
    leave_time_for_a_wrong_shutdown();
    require_whole(&other, "dup2() of it over another");
    require(close(other.client) == 0);
    require(close(fd) == 0);
}

static const struct departure departures[] = {
    {"dup2() of /dev/null", by_dup2, NULL},
    {"dup3() of /dev/null", by_dup3, NULL},
    {"dup2() of another connection", by_dup2_of_another_connection, NULL},
};

static void require_fails(int result, int error)
{
    require(result == -1);
    require(errno == error);
}

static int free_number(void)
{
    const int fd = open_null();

    require(close(fd) == 0);
    return fd;
}

static void fail_for_a_bad_old_number(int fd)
{
    const int free_fd = free_number();

    require_fails(dup2(free_fd, fd), EBADF);
    require_fails(dup3(free_fd, fd, O_CLOEXEC), EBADF);
    require_fails(dup2(-1, fd), EBADF);
    require_fails(dup3(-1, fd, 0), EBADF);
}

static void fail_for_bad_flags(int fd)
{
    const int null = open_null();

    require_fails(dup3(null, fd, O_NONBLOCK), EINVAL);
    require_fails(dup3(null, fd, -1), EINVAL);
    require(close(null) == 0);
}

/* dup(2): dup2() with the same number does nothing, dup3() says EINVAL. */
static void replace_by_itself(int fd)
{
    errno = EXDEV;
    require(dup2(fd, fd) == fd);
    require(errno == EXDEV);
    require_fails(dup3(fd, fd, 0), EINVAL);
    require_fails(dup3(fd, fd, O_CLOEXEC), EINVAL);
}

static void fail_for_a_bad_new_number(int fd)
{
    struct rlimit limit;

    require(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    require_fails(dup2(fd, -1), EBADF);
    require_fails(dup2(fd, (int)limit.rlim_cur), EBADF);
    require_fails(dup3(fd, (int)limit.rlim_cur, 0), EBADF);
}

struct failure {
    const char *name;
    void (*happen)(int fd);
};

static void failed_replacement_does_nothing(void **state)
{
    const struct failure *failure = *state;
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    failure->happen(pair.server);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require_whole(&pair, failure->name);
    require_context("%s mode, close() after %s", test_mode_name(), failure->name);
    send_response(pair.server);
    require(close(pair.server) == 0);
    prove_fate(plain_close(), pair.client, &before);
}

static const struct failure failures[] = {
    {"dup2() and dup3() of a bad number", fail_for_a_bad_old_number},
    {"dup3() with bad flags", fail_for_bad_flags},
    {"dup2() and dup3() of it onto itself", replace_by_itself},
    {"dup2() and dup3() to a bad number", fail_for_a_bad_new_number},
};

#define failure_trap(failure)                                                          \
    {                                                                                  \
        (failure)->name, failed_replacement_does_nothing, trap_setup, trap_teardown,   \
            (void *)(failure)                                                          \
    }

/* Under inetd: the client is on 0, 1 and 2 from the first instruction. The service lives
 * on until it is told, so that it is not its end that saves. */
static int answer_then(void (*let_go)(void), const struct line *parent)
{
    require(wait_for(STDIN_FILENO, POLLIN, GENEROUS_MS) & POLLIN);
    send_response(STDOUT_FILENO);
    let_go();
    line_tell(parent, 'c');
    line_await(parent, 'e');
    return EXIT_SUCCESS;
}

static void put_null_over_standard_streams(void)
{
    const int null = open_null();

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        require(dup2(null, fd) == fd);
    require(close(null) == 0);
}

static void close_standard_streams(void)
{
    for (int fd = STDERR_FILENO; fd >= STDIN_FILENO; fd--)
        require(close(fd) == 0);
}

static int inetd_service_that_replaces_its_streams(const struct host *host,
                                                   const struct line *parent)
{
    (void)host;
    return answer_then(put_null_over_standard_streams, parent);
}

static int inetd_service_that_closes_its_streams(const struct host *host,
                                                 const struct line *parent)
{
    (void)host;
    return answer_then(close_standard_streams, parent);
}

/* The most common of all: it returns from main(). */
static int inetd_service_that_just_ends(const struct host *host, const struct line *parent)
{
    (void)host;
    require(wait_for(STDIN_FILENO, POLLIN, GENEROUS_MS) & POLLIN);
    send_response(STDOUT_FILENO);
    line_tell(parent, 'c');
    return EXIT_SUCCESS;
}

static const struct service services[] = {
    SERVICE(inetd_service_that_replaces_its_streams),
    SERVICE(inetd_service_that_closes_its_streams),
    SERVICE(inetd_service_that_just_ends),
    {NULL, NULL},
};

/* This process is the inetd: it accepts, and closes its own copy at once. */
static void inetd_service_lingers(void **state)
{
    const struct service *service = *state;
    struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();
    struct child child;

    require_context("%s mode, %s", test_mode_name(), service->name);
    send_late_bytes(pair.client);
    service_start_on(&child, service->name, pair.server);
    require(close(pair.server) == 0);
    line_await(&child.line, 'c');
    if (service->run == inetd_service_that_just_ends)
        await_rest(&child, !plain_close()->saves);
    prove_fate(plain_close(), pair.client, &before);
    if (service->run != inetd_service_that_just_ends)
        line_tell(&child.line, 'e');
    require(end_of(&child) == 0);
}

#define inetd_trap(service)                                                        \
    {                                                                              \
        (service)->name, inetd_service_lingers, trap_setup, trap_teardown,         \
            (void *)(service)                                                      \
    }

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        departure_trap(&departures[0]), departure_trap(&departures[1]),
        departure_trap(&departures[2]), failure_trap(&failures[0]),
        failure_trap(&failures[1]),     failure_trap(&failures[2]),
        failure_trap(&failures[3]),     inetd_trap(&services[0]),
        inetd_trap(&services[1]),       inetd_trap(&services[2]),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
