/* Trap 16, processes: whoever lets go first must not cut off the others, and the
 * last one to let go is the one whose close lingers. */
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

struct shared {
    const struct way *way;
    struct pair pair;
};

static struct shared share_new_pair(const struct way *way)
{
    return (struct shared){.way = way, .pair = pair_open(FAMILY_IPV4)};
}

/* The worker of a fork-per-connection server, after its parent's close. */
static void serve_and_close(struct line *parent, void *argument)
{
    const struct shared *shared = argument;

    require(close(shared->pair.client) == 0);
    line_await(parent, 'p');
    send_response(shared->pair.server);
    require(shared->way->let_go(shared->pair.server) == 0);
    line_tell(parent, 'c');
    finish_lingering(shared->way);
}

static void parent_closes_first_then_child_lingers(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct shared shared = share_new_pair(way);
        const struct netcounters before = netcounters_now();
        struct child child;

        child_start(&child, serve_and_close, &shared);
        require(close(shared.pair.server) == 0);
        line_tell(&child.line, 'p');
        line_await(&child.line, 'c');
        prove_fate(way, shared.pair.client, &before);
        child_reap(&child);
    }
}

static void close_the_copy(struct line *parent, void *argument)
{
    const struct shared *shared = argument;

    require(close(shared->pair.client) == 0);
    require(close(shared->pair.server) == 0);
    line_tell(parent, 'c');
    line_await(parent, 'e');
}

static void child_closes_first_then_parent_lingers(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct shared shared = share_new_pair(way);
        const struct netcounters before = netcounters_now();
        struct child child;

        child_start(&child, close_the_copy, &shared);
        line_await(&child.line, 'c');
        leave_time_for_a_wrong_shutdown();
        require_whole(&shared.pair, "the child closed its copy");
        line_tell(&child.line, 'e');
        child_reap(&child);
        require_whole(&shared.pair, "the child ended");
        send_response(shared.pair.server);
        require(way->let_go(shared.pair.server) == 0);
        prove_fate(way, shared.pair.client, &before);
    }
}

static void end_by__exit(struct line *parent, void *argument)
{
    (void)parent;
    require(close(((const struct shared *)argument)->pair.client) == 0);
    _exit(EXIT_SUCCESS);
}

/* Without the parent's atexit handlers and stdio buffers, but with exit()'s. */
static void end_by_quick_exit(struct line *parent, void *argument)
{
    (void)parent;
    require(close(((const struct shared *)argument)->pair.client) == 0);
    quick_exit(EXIT_SUCCESS);
}

/* Unread input at exit is what an exit has reason to linger for; but not here. */
static void child_exit_with_unread_input_leaves_the_parent_whole(void **state)
{
    void (*const ends[])(struct line *, void *) = {end_by__exit, end_by_quick_exit};

    (void)state;
    BY_EACH_WAY(way) {
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
            struct shared shared = share_new_pair(way);
            char request[256];
            struct child child;

            send_unread_request(shared.pair.client, shared.pair.server);
            child_start(&child, ends[i], &shared);
            child_reap(&child);
            leave_time_for_a_wrong_shutdown();
            require(recv(shared.pair.server, request, sizeof(request), MSG_DONTWAIT) > 0);
            require_whole(&shared.pair, "a child's exit");
            require(close(shared.pair.client) == 0);
            require(way->let_go(shared.pair.server) == 0);
        }
    }
}

static void fork_once_more_and_leave(struct line *parent, void *argument)
{
    const struct shared *shared = argument;

    if (fork() == 0) {
        bound_lifetime();
        serve_and_close(parent, argument);
        _exit(EXIT_SUCCESS);
    }
    require(close(shared->pair.client) == 0);
    require(close(shared->pair.server) == 0);
}

static void grandchild_lingers_after_both_others_closed(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct shared shared = share_new_pair(way);
        const struct netcounters before = netcounters_now();
        struct child child;

        adopt_orphans();
        child_start(&child, fork_once_more_and_leave, &shared);
        require(close(shared.pair.server) == 0);
        require_exits_cleanly(child.pid);
        leave_time_for_a_wrong_shutdown();
        line_tell(&child.line, 'p');
        line_await(&child.line, 'c');
        prove_fate(way, shared.pair.client, &before);
        line_close(&child.line);
        reap_adopted();
    }
}

/* The parent's own close is the risky one: nothing but /proc says a child holds on. */
static void parents_close_leaves_an_idle_child_whole(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct shared shared = share_new_pair(way);
        struct child child;

        child_start(&child, serve_and_close, &shared);
        require(close(shared.pair.server) == 0);
        require_nothing_lingers();
        leave_time_for_a_wrong_shutdown();
        require(wait_for(shared.pair.client, POLLIN | POLLRDHUP, 0) == 0);
        const struct netcounters before = netcounters_now();

        line_tell(&child.line, 'p');
        line_await(&child.line, 'c');
        prove_fate(way, shared.pair.client, &before);
        child_reap(&child);
    }
}

struct race {
    struct shared shared;
    atomic_int ready;
};

static void close_when_both_are_ready(struct race *race)
{
    atomic_fetch_add(&race->ready, 1);
    while (atomic_load(&race->ready) < 2)
        continue;
    require(race->shared.way->let_go(race->shared.pair.server) == 0);
}

static void race_to_close(struct line *parent, void *argument)
{
    struct race *race = argument;

    require(close(race->shared.pair.client) == 0);
    close_when_both_are_ready(race);
    line_tell(parent, 'c');
}

static struct race *race_open(void)
{
    struct race *race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    require(race != MAP_FAILED);
    return race;
}

/* Each may find itself last; but not each find the other and leave it to it. */
static void two_holders_closing_together_still_linger(void **state)
{
    struct race *race = race_open();

    (void)state;
    for (int round = 0; round < 20; round++) {
        const struct way *way = plain_close();
        struct child child;

        race->shared = share_new_pair(way);
        atomic_store(&race->ready, 0);
        send_response(race->shared.pair.server);
        const struct netcounters before = netcounters_now();

        child_start(&child, race_to_close, race);
        close_when_both_are_ready(race);
        line_await(&child.line, 'c');
        require_context("%s, both at once, round %d", way->name, round);
        prove_fate(way, race->shared.pair.client, &before);
        child_reap(&child);
    }
    munmap(race, sizeof(*race));
}

/* The drain thread does not survive fork: the child must start one of its own, and
 * must not touch what its parent's still drains. */
static void child_of_a_lingering_parent_lingers_afresh(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct shared lingering = share_new_pair(way), fresh = share_new_pair(way);
        const struct netcounters before = netcounters_now();
        struct child child;

        send_response(lingering.pair.server);
        require(way->let_go(lingering.pair.server) == 0);
        child_start(&child, serve_and_close, &fresh);
        require(close(fresh.pair.server) == 0);
        line_tell(&child.line, 'p');
        line_await(&child.line, 'c');
        require_context("%s by the child", way->name);
        send_late_bytes(fresh.pair.client);
        const struct harvest harvest = harvest_expecting(way->saves, fresh.pair.client);

        require_fate(way->saves, &harvest, &before);
        require(close(fresh.pair.client) == 0);
        child_reap(&child);
        require_context("%s by the parent before fork", way->name);
        prove_fate(way, lingering.pair.client, &before);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(parent_closes_first_then_child_lingers),
        trap(child_closes_first_then_parent_lingers),
        trap(child_exit_with_unread_input_leaves_the_parent_whole),
        trap(grandchild_lingers_after_both_others_closed),
        trap(parents_close_leaves_an_idle_child_whole),
        trap(two_holders_closing_together_still_linger),
        trap(child_of_a_lingering_parent_lingers_afresh),
    };

    return run_traps(traps);
}
