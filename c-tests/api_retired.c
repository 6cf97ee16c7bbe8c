/* What the interface says once the process has confined itself with seccomp(2). Under the shim nothing lingers any
 * more, nothing is waited for, and linger_close() is close(). Who links the library allows what it needs, and all goes on. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

/* It forbids nothing: what is not done is not done of our own accord. */
static void confine(void)
{
    static const struct sock_filter allowing[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog program = {.len = 1, .filter = (struct sock_filter *)allowing};

    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
}

static struct pair let_one_linger(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    require(way->let_go(pair.server) == 0);
    require(linger_pending() == way->saves);
    return pair;
}

/* A wait without end ends, for there is nothing to wait for. */
static void flush_waits_for_what_lingers(const struct way *way)
{
    const struct pair pair = let_one_linger(way);

    confine();
    if (test_mode() == MODE_PRELOAD)
        require(linger_flush(-1) == 0);
    else
        require(linger_flush(0) == way->saves);
    require(linger_pending() == (test_mode() == MODE_LINKED && way->saves));
    require(close(pair.client) == 0);
    require_nothing_lingers();
}

static void call_lingers(void)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    send_response(pair.server);
    require(linger_close(pair.server, LINGER_DEFAULT) == 0);
    require(linger_pending() > 0);
    send_late_bytes(pair.client);
    const struct harvest harvest = read_response(pair.client);

    require_fate(true, &harvest, &before);
    require(close(pair.client) == 0);
}

static void call_makes_no_descriptor(void)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const size_t before = fdtable_now().count;

    require(linger_close(pair.server, LINGER_DEFAULT) == 0);
    require_note("%zu descriptors before, %zu after", before, fdtable_now().count);
    require(fdtable_now().count == before - 1);
    require(linger_pending() == 0);
    require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(pair.client) == 0);
}

static void call_thrice(void)
{
    for (int i = 0; i < 3; i++)
        if (test_mode() == MODE_PRELOAD)
            call_makes_no_descriptor();
        else
            call_lingers();
}

static void call_after_one_that_lingered(const struct way *way)
{
    const struct pair pair = let_one_linger(way);

    confine();
    call_thrice();
    require(close(pair.client) == 0);
}

/* Nothing is there yet: nothing is made any more. */
static void first_call_of_all(const struct way *way)
{
    (void)way;
    confine();
    call_thrice();
    require_nothing_lingers();
}

static const struct scenario scenarios[] = {
    SCENARIO(flush_waits_for_what_lingers),
    SCENARIO(call_after_one_that_lingered),
    SCENARIO(first_call_of_all),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        fresh_trap(flush_waits_for_what_lingers, NULL),
        fresh_trap(call_after_one_that_lingered, NULL),
        fresh_trap(first_call_of_all, NULL),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
