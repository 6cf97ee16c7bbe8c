/* Trap 19, sweeping: daemons close every number they did not open, one by one, with
 * closefrom(3) or close_range(2); some walk /proc/self/fd. What lingers goes on
 * lingering, what is closed later lingers too, and the program owns every number. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

struct service {
    const struct way *way;
    struct host host;
    void (*sweep)(void);
};

static void sweep_by_close(void)
{
    for (int fd = 3; fd < FDTABLE_MAX; fd++)
        close(fd);
}

static void sweep_by_closefrom(void)
{
    closefrom(3);
}

static void sweep_by_close_range(void)
{
    require(close_range(3, ~0U, 0) == 0);
}

/* A sweep leaves 0, 1 and 2: the line to the parent has to be there. */
static void keep_the_line(struct line *line)
{
    require(dup2(line->in, 0) == 0);
    require(dup2(line->out, 1) == 1);
    line_close(line);
    *line = (struct line){.in = 0, .out = 1};
}

static void serve_one(const struct service *service, const struct line *parent)
{
    const int server = host_accept(&service->host);

    send_response(server);
    require(service->way->let_go(server) == 0);
    line_tell(parent, 'c');
}

static void serve_sweep_serve(struct line *parent, void *argument)
{
    struct service *service = argument;

    keep_the_line(parent);
    serve_one(service, parent);
    service->sweep();
    line_tell(parent, 's');
    host_open(&service->host, FAMILY_IPV4);
    require(write(parent->out, &service->host, sizeof(service->host)) ==
            sizeof(service->host));
    serve_one(service, parent);
    finish_lingering(service->way);
}

static int connect_to_reopened(const struct child *child)
{
    struct host host;

    require(read(child->line.in, &host, sizeof(host)) == sizeof(host));
    return host_connect(&host);
}

static void prove_sweep(void (*sweep)(void))
{
    BY_EACH_WAY(way) {
        struct service service = {.way = way, .sweep = sweep};
        struct netcounters before = netcounters_now();
        struct child child;

        host_open(&service.host, FAMILY_IPV4);
        child_start(&child, serve_sweep_serve, &service);
        int client = host_connect(&service.host);

        line_await(&child.line, 'c');
        line_await(&child.line, 's');
        require_context("%s before the sweep", way->name);
        prove_fate(way, client, &before);
        client = connect_to_reopened(&child);
        before = netcounters_now();
        line_await(&child.line, 'c');
        require_context("%s after the sweep", way->name);
        prove_fate(way, client, &before);
        child_reap(&child);
        host_close(&service.host);
    }
}

static void sweep_by_close_stops_no_lingering(void **state)
{
    (void)state;
    prove_sweep(sweep_by_close);
}

static void sweep_by_closefrom_stops_no_lingering(void **state)
{
    (void)state;
    prove_sweep(sweep_by_closefrom);
}

static void sweep_by_close_range_stops_no_lingering(void **state)
{
    (void)state;
    prove_sweep(sweep_by_close_range);
}

static void prove_one_connection(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    prove_fate(way, pair.client, &before);
}

static bool is_dev_null(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && status.st_rdev == makedev(1, 3);
}

/* In a fresh process 0, 1 and 2 are the program's; nothing else is. */
static void program_that_closes_our_descriptors_still_lingers(const struct way *way)
{
    prove_one_connection(way);
    const struct fdtable table = fdtable_now();

    for (size_t i = 0; i < table.count; i++) {
        if (table.fds[i] <= STDERR_FILENO)
            continue;
        errno = 0;
        require(close(table.fds[i]) == 0 || errno == EBADF);
    }
    prove_one_connection(way);
    prove_one_connection(way);
}

static void program_that_dups_over_our_descriptors_gets_its_numbers(const struct way *way)
{
    prove_one_connection(way);
    const struct fdtable table = fdtable_now();
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (size_t i = 0; i < table.count; i++)
        if (table.fds[i] > STDERR_FILENO)
            require(dup2(null, table.fds[i]) == table.fds[i]);
    prove_one_connection(way);
    prove_one_connection(way);
    for (size_t i = 0; i < table.count; i++) {
        if (table.fds[i] <= STDERR_FILENO)
            continue;
        require(is_dev_null(table.fds[i]));
        require(close(table.fds[i]) == 0);
    }
    require(close(null) == 0);
    prove_one_connection(way);
}

static const struct scenario scenarios[] = {
    SCENARIO(program_that_closes_our_descriptors_still_lingers),
    SCENARIO(program_that_dups_over_our_descriptors_gets_its_numbers),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(sweep_by_close_stops_no_lingering),
        trap(sweep_by_closefrom_stops_no_lingering),
        trap(sweep_by_close_range_stops_no_lingering),
        fresh_trap(program_that_closes_our_descriptors_still_lingers, NULL),
        fresh_trap(program_that_dups_over_our_descriptors_gets_its_numbers, NULL),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
