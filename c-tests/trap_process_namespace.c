/* Trap 16 across process namespaces (pid_namespaces(7)): a child that is the first process of one, with a /proc of its
 * own, does not see its relatives there, and its number may be its parent's. What it closes, or
 * ends with, leaves the parent's connections alone; its own linger. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

struct family_of_two {
    const struct way *way;
    struct pair pair;
};

/* For the children to come; this process stays where it is. Not even its mounts are anybody else's. */
static void take_namespace_for_children(void)
{
    require(unshare(CLONE_NEWPID | CLONE_NEWNS) == 0);
    require(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

/* user_namespaces(7): whoever is root by right may do all of this. */
static bool is_root_by_right(void)
{
    FILE *const file = fopen("/proc/self/uid_map", "re");
    unsigned long first = 1, outside = 1, count = 0;

    require(file != NULL);
    require(fscanf(file, "%lu %lu %lu", &first, &outside, &count) == 3);
    fclose(file);
    return geteuid() == 0 && first == 0 && outside == 0 && count == 0xffffffff;
}

/* alarm(2) does not end the first process of a namespace: its parent's end does. */
static void begin_first_process(void)
{
    require(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    require(getpid() == 1);
    if (mount("proc", "/proc", "proc", 0, NULL) == 0)
        return;
    require(errno == EPERM);
    require(!is_root_by_right());
    dprintf(STDERR_FILENO, "No /proc of its own for a user namespace here: its parent's stays. "
                           "Run the tests as root for both.\n");
}

static void close_in_namespace(struct line *parent, void *argument)
{
    const struct family_of_two *family = argument;

    begin_first_process();
    require(close(family->pair.client) == 0);
    require(close(family->pair.server) == 0);
    require_nothing_lingers();
    line_tell(parent, 'c');
    line_await(parent, 'e');
}

/* linger_close() takes the caller's word that nobody else has it. */
static void child_in_a_namespace_closes(const struct way *way)
{
    struct family_of_two family = {way, pair_open(FAMILY_IPV4)};
    struct child child;

    if (way != plain_close())
        return;
    take_namespace_for_children();
    child_start(&child, close_in_namespace, &family);
    line_await(&child.line, 'c');
    leave_time_for_a_wrong_shutdown();
    require_whole(&family.pair, "close in another process namespace");
    line_tell(&child.line, 'e');
    child_reap(&child);
    require_whole(&family.pair, "end of another process namespace");
}

static void exit_in_namespace(struct line *parent, void *argument)
{
    const struct family_of_two *family = argument;

    (void)parent;
    begin_first_process();
    require(close(family->pair.client) == 0);
    exit(EXIT_SUCCESS);
}

/* It may wait for minutes (LINGER_EXIT_MS), and has unread input before it: but not of its own. */
static void child_in_a_namespace_exits(const struct way *way)
{
    struct family_of_two family = {way, pair_open(FAMILY_IPV4)};
    char request[256];
    struct child child;

    take_namespace_for_children();
    send_unread_request(family.pair.client, family.pair.server);
    child_start(&child, exit_in_namespace, &family);
    child_reap(&child);
    leave_time_for_a_wrong_shutdown();
    require(recv(family.pair.server, request, sizeof(request), MSG_DONTWAIT) > 0);
    require_whole(&family.pair, "exit in another process namespace");
}

/* What lingers is the parent's; what this one accepts is its own. */
static void serve_as_namesake(struct line *parent, void *argument)
{
    const struct way *way = ((const struct family_of_two *)argument)->way;

    begin_first_process();
    if (linger_pending) {
        require(linger_pending() == 0);
        require(linger_flush(0) == 0);
    }
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    prove_fate(way, pair.client, &before);
    line_tell(parent, 's');
    exit(EXIT_SUCCESS);
}

/* The first of a namespace, as its own child will be: both are number 1. */
static void linger_as_first(struct line *parent, void *argument)
{
    struct family_of_two *family = argument;
    struct child child;

    (void)parent;
    begin_first_process();
    family->pair = pair_open(FAMILY_IPV4);
    require(family->way->let_go(family->pair.server) == 0);
    if (linger_pending)
        require(linger_pending() == family->way->saves);
    take_namespace_for_children();
    child_start(&child, serve_as_namesake, family);
    line_await(&child.line, 's');
    child_reap(&child);
    if (linger_pending)
        require(linger_pending() == family->way->saves);
    require(close(family->pair.client) == 0);
    require_nothing_lingers();
}

static void child_has_its_parents_number(const struct way *way)
{
    struct family_of_two family = {.way = way};
    struct child child;

    take_namespace_for_children();
    child_start(&child, linger_as_first, &family);
    child_reap(&child);
}

static const struct scenario scenarios[] = {
    SCENARIO(child_in_a_namespace_closes),
    SCENARIO(child_in_a_namespace_exits),
    SCENARIO(child_has_its_parents_number),
    {NULL, NULL},
};

static const char WAITS_LONG[] = "LINGER_EXIT_MS=120000";

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        fresh_trap(child_in_a_namespace_closes, WAITS_LONG),
        fresh_trap(child_in_a_namespace_exits, WAITS_LONG),
        fresh_trap(child_has_its_parents_number, WAITS_LONG),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
