/* Trap 16, threads: one that takes a descriptor table of its own (unshare(2), CLONE_FILES;
 * close_range(2), CLOSE_RANGE_UNSHARE) has a copy of every connection there. A close in the
 * one table must not cut off who uses the other, which no look through /proc shows. */
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "threads.h"
#include "trap.h"

/* No descriptor has such a number: nothing is closed. */
static const unsigned NOBODYS_NUMBER = 1 << 20;

static int by_unshare(void)
{
    return unshare(CLONE_FILES);
}

static int by_syscall_of_unshare(void)
{
    return (int)syscall(SYS_unshare, CLONE_FILES);
}

static int by_close_range(void)
{
    return close_range(NOBODYS_NUMBER, NOBODYS_NUMBER, CLOSE_RANGE_UNSHARE);
}

static int by_syscall_of_close_range(void)
{
    return (int)syscall(SYS_close_range, NOBODYS_NUMBER, NOBODYS_NUMBER, CLOSE_RANGE_UNSHARE);
}

struct separation {
    int (*take_own_table)(void);
    bool thread_closes; /* else the first thread does */
    struct pair pair;
    struct line thread, first;
};

static void *live_apart(void *argument)
{
    const struct separation *apart = argument;

    require(apart->take_own_table() == 0);
    if (apart->thread_closes)
        require(close(apart->pair.server) == 0);
    line_tell(&apart->thread, 'a');
    line_await(&apart->thread, 'c');
    if (!apart->thread_closes)
        require_whole(&apart->pair, "close in the other threads' table");
    return NULL;
}

static void open_line(struct line *one, struct line *other)
{
    int ends[2];

    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    *one = (struct line){ends[0], ends[0]};
    *other = (struct line){ends[1], ends[1]};
}

static void prove_other_table_is_left_whole(int (*take_own_table)(void), bool thread_closes)
{
    struct separation apart = {.take_own_table = take_own_table,
                               .thread_closes = thread_closes,
                               .pair = pair_open(FAMILY_IPV4)};
    pthread_t thread;

    open_line(&apart.first, &apart.thread);
    require(pthread_create(&thread, NULL, live_apart, &apart) == 0);
    line_await(&apart.first, 'a');
    if (!thread_closes)
        require(close(apart.pair.server) == 0);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    if (thread_closes)
        require_whole(&apart.pair, "close in a thread's own table");
    line_tell(&apart.first, 'c');
    require_ends(thread);
}

/* In a process of its own: nothing of it is as it was. linger_close() takes the caller's word that
 * nobody else has the connection. */
#define SEPARATION(name, take_own_table, thread_closes)                \
    static void name(const struct way *way)                            \
    {                                                                  \
        if (way == plain_close())                                      \
            prove_other_table_is_left_whole(take_own_table, thread_closes); \
    }

SEPARATION(unshare_then_the_others_close, by_unshare, false)
SEPARATION(unshare_then_its_own_close, by_unshare, true)
SEPARATION(unshare_by_syscall_then_the_others_close, by_syscall_of_unshare, false)
SEPARATION(unshare_by_syscall_then_its_own_close, by_syscall_of_unshare, true)
SEPARATION(close_range_then_the_others_close, by_close_range, false)
SEPARATION(close_range_then_its_own_close, by_close_range, true)
SEPARATION(close_range_by_syscall_then_the_others_close, by_syscall_of_close_range, false)
SEPARATION(close_range_by_syscall_then_its_own_close, by_syscall_of_close_range, true)

/* EINVAL, or a filter's EPERM: there is one table as before. */
static void refused_table_changes_nothing(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    require(unshare(CLONE_FILES | CLONE_PTRACE) == -1);
    require(syscall(SYS_unshare, CLONE_FILES | CLONE_PTRACE) == -1);
    require(close_range(NOBODYS_NUMBER, 0, CLOSE_RANGE_UNSHARE) == -1);
    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    prove_fate(way, pair.client, &before);
}

static const struct scenario scenarios[] = {
    SCENARIO(unshare_then_the_others_close),
    SCENARIO(unshare_then_its_own_close),
    SCENARIO(unshare_by_syscall_then_the_others_close),
    SCENARIO(unshare_by_syscall_then_its_own_close),
    SCENARIO(close_range_then_the_others_close),
    SCENARIO(close_range_then_its_own_close),
    SCENARIO(close_range_by_syscall_then_the_others_close),
    SCENARIO(close_range_by_syscall_then_its_own_close),
    SCENARIO(refused_table_changes_nothing),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        fresh_trap(unshare_then_the_others_close, NULL),
        fresh_trap(unshare_then_its_own_close, NULL),
        fresh_trap(unshare_by_syscall_then_the_others_close, NULL),
        fresh_trap(unshare_by_syscall_then_its_own_close, NULL),
        fresh_trap(close_range_then_the_others_close, NULL),
        fresh_trap(close_range_then_its_own_close, NULL),
        fresh_trap(close_range_by_syscall_then_the_others_close, NULL),
        fresh_trap(close_range_by_syscall_then_its_own_close, NULL),
        fresh_trap(refused_table_changes_nothing, NULL),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
