/* Trap 23 after fork(2): the epoll set is shared with the child, and so is each registration
 * in it. A parent that closes its connection and its set leaves both to the child, also where it may not
 * see what the child has. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "nobody.h"
#include "trap.h"

enum { CONNECTION = 2, SETS = 3 };

struct inheritance {
    struct pair pair;
    bool secretive; /* the child's table is root's to read */
    int set[SETS];
    int sets;
};

static void await_input(int set)
{
    struct epoll_event event = {0};

    require(epoll_wait(set, &event, 1, GENEROUS_MS) == 1);
    require(event.data.u64 == CONNECTION);
    require(event.events == EPOLLIN);
}

/* It drains its own: whether its close would linger is not the subject. */
static void serve_from_the_sets(struct line *parent, void *argument)
{
    const struct inheritance *here = argument;
    const int server = here->pair.server;
    char request[64];

    require(close(here->pair.client) == 0);
    if (here->secretive)
        require(prctl(PR_SET_DUMPABLE, 0) == 0);
    line_tell(parent, 'r');
    line_await(parent, 's');
    for (int i = 0; i < here->sets; i++)
        await_input(here->set[i]);
    require(recv(server, request, sizeof(request), MSG_DONTWAIT) > 0);
    send_response(server);
    require(shutdown(server, SHUT_WR) == 0);
    require(wait_for(server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
}

static void watch_by_epoll_ctl(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = CONNECTION};

    require(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void watch_by_syscall(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = CONNECTION};

    require(syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void close_sets(const struct inheritance *here)
{
    for (int i = 0; i < here->sets; i++)
        require(close(here->set[i]) == 0);
}

static void prove_child_serves(void (*watch)(int set, int fd), int sets, bool sets_first, bool secretly)
{
    struct inheritance here = {.pair = pair_open(FAMILY_IPV4), .sets = sets, .secretive = secretly};
    struct child child;

    require_context("%s mode, %d sets, closed %s", test_mode_name(), sets,
                    sets_first ? "first" : "last");
    for (int i = 0; i < sets; i++) {
        here.set[i] = epoll_create1(EPOLL_CLOEXEC);
        watch(here.set[i], here.pair.server);
    }
    child_start(&child, serve_from_the_sets, &here);
    line_await(&child.line, 'r');
    if (sets_first)
        close_sets(&here);
    require(close(here.pair.server) == 0);
    if (!sets_first)
        close_sets(&here);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    send_late_bytes(here.pair.client);
    line_tell(&child.line, 's');
    const struct harvest harvest = read_response(here.pair.client);

    require_note("%zu bytes", harvest.bytes);
    require(harvest.bytes == RESPONSE_BYTES);
    require(harvest.error == 0);
    require(close(here.pair.client) == 0);
    child_reap(&child);
}

static void child_gets_its_events(void **state)
{
    (void)state;
    prove_child_serves(watch_by_epoll_ctl, 1, false, false);
    prove_child_serves(watch_by_epoll_ctl, 1, true, false);
}

static void child_gets_the_events_of_a_registration_by_syscall(void **state)
{
    (void)state;
    prove_child_serves(watch_by_syscall, 1, false, false);
}

static void child_gets_the_events_of_several_sets(void **state)
{
    (void)state;
    prove_child_serves(watch_by_epoll_ctl, SETS, false, false);
    prove_child_serves(watch_by_epoll_ctl, SETS, true, false);
}

static void prove_it_as_nobody(struct line *parent, void *argument)
{
    (void)parent;
    (void)argument;
    give_up_privilege();
    prove_child_serves(watch_by_epoll_ctl, 1, false, true);
}

static void secretive_child_gets_its_events(void **state)
{
    struct child server;

    (void)state;
    warn_unless_can_be_nobody();
    child_start(&server, prove_it_as_nobody, NULL);
    child_reap(&server);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(child_gets_its_events),
        trap(child_gets_the_events_of_a_registration_by_syscall),
        trap(child_gets_the_events_of_several_sets),
        trap(secretive_child_gets_its_events),
    };

    return run_traps(traps);
}
