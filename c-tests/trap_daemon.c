/* Trap 19, daemonizing: by two forks of one's own, or by daemon(3), whose fork no
 * symbol shows. The daemon has no drain thread yet, whatever its ancestor had. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

struct service {
    const struct way *way;
    struct host host;
    bool lingers_before; /* the engine has run before the process daemonizes */
    void (*daemonize)(void);
};

static void leave_parent_behind(void)
{
    const pid_t pid = fork();

    require(pid >= 0);
    if (pid > 0)
        _exit(EXIT_SUCCESS);
}

static void point_standard_streams_at_null(void)
{
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    require(null >= 0);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        require(dup2(null, fd) == fd);
    require(close(null) == 0);
}

/* daemon(7), "SysV daemons", steps 5 to 11. */
static void daemonize_by_two_forks(void)
{
    leave_parent_behind();
    require(setsid() >= 0);
    leave_parent_behind();
    point_standard_streams_at_null();
    umask(0);
    require(chdir("/") == 0);
}

static void daemonize_by_daemon3(void)
{
    require(daemon(0, 0) == 0);
}

static void serve_one(const struct service *service)
{
    const int server = host_accept(&service->host);

    send_response(server);
    require(service->way->let_go(server) == 0);
}

static void serve_as_daemon(struct line *parent, void *argument)
{
    const struct service *service = argument;

    if (service->lingers_before) {
        serve_one(service);
        line_tell(parent, 'c');
        line_await(parent, 'd');
    }
    service->daemonize();
    bound_lifetime();
    serve_one(service);
    line_tell(parent, 'c');
    finish_lingering(service->way);
}

static void prove_next_connection(const struct service *service, const struct child *child)
{
    const struct netcounters before = netcounters_now();
    const int client = host_connect(&service->host);

    line_await(&child->line, 'c');
    prove_fate(service->way, client, &before);
}

static void prove_daemon(void (*daemonize)(void), bool lingers_before)
{
    adopt_orphans();
    BY_EACH_WAY(way) {
        struct service service = {
            .way = way, .lingers_before = lingers_before, .daemonize = daemonize};
        struct child child;

        host_open(&service.host, FAMILY_IPV4);
        child_start(&child, serve_as_daemon, &service);
        if (lingers_before) {
            prove_next_connection(&service, &child);
            line_tell(&child.line, 'd');
        }
        require_exits_cleanly(child.pid);
        require_context("%s in the daemon", way->name);
        prove_next_connection(&service, &child);
        line_close(&child.line);
        reap_adopted();
        host_close(&service.host);
    }
}

static void daemon_by_two_forks_lingers(void **state)
{
    (void)state;
    prove_daemon(daemonize_by_two_forks, false);
}

static void daemon_by_daemon3_lingers(void **state)
{
    (void)state;
    prove_daemon(daemonize_by_daemon3, false);
}

static void daemon_by_two_forks_lingers_afresh(void **state)
{
    (void)state;
    prove_daemon(daemonize_by_two_forks, true);
}

static void daemon_by_daemon3_lingers_afresh(void **state)
{
    (void)state;
    prove_daemon(daemonize_by_daemon3, true);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(daemon_by_two_forks_lingers),
        trap(daemon_by_daemon3_lingers),
        trap(daemon_by_two_forks_lingers_afresh),
        trap(daemon_by_daemon3_lingers_afresh),
    };

    return run_traps(traps);
}
