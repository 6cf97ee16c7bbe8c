/* A process that installs a seccomp(2) filter while thousands of its connections linger: giving
 * all of them up takes a while, and nothing of it may be a call when the filter is there. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

/* Below LINGER_MAX, so that none is evicted. */
enum { CROWD = 9200, SPARE = 64 };

static int clients[CROWD];

static void make_room(void)
{
    struct rlimit limit;

    require(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < CROWD + SPARE)
        limit.rlim_max = CROWD + SPARE;
    limit.rlim_cur = limit.rlim_max;
    require_context("a limit of %d descriptors is needed (ulimit -Hn)", CROWD + SPARE);
    require(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static bool all_linger(void *unused)
{
    (void)unused;
    return linger_pending() == CROWD;
}

static void let_a_crowd_linger(const struct way *way)
{
    static const char response[100];
    struct host host;

    make_room();
    require_context("%s mode, %s, %d connections", test_mode_name(), way->name, CROWD);
    host_open(&host, FAMILY_IPV4);
    for (int i = 0; i < CROWD; i++) {
        clients[i] = host_connect(&host);
        const int server = host_accept(&host);

        require(write(server, response, sizeof(response)) == sizeof(response));
        require(way->let_go(server) == 0);
    }
    host_close(&host);
    if (way->saves)
        require(becomes_true(all_linger, NULL, GENEROUS_MS));
}

/* What a drain thread does all the time is death from now on. */
static const struct sock_filter forbidding[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvfrom, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_ctl, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static const struct sock_fprog forbidden = {.len = sizeof(forbidding) / sizeof(forbidding[0]),
                                            .filter = (struct sock_filter *)forbidding};

/* Every client speaks: a thread that still listens would be woken for each. */
static void live_on(void)
{
    for (int i = 0; i < CROWD; i++)
        send_late_bytes(clients[i]);
    leave_time_for_a_wrong_shutdown();
    for (int i = 0; i < CROWD; i++)
        require(close(clients[i]) == 0);
}

/* Who links the library knows of its thread, and allows what that needs. */
static bool expects_a_filter(const struct way *way)
{
    return test_mode() != MODE_LINKED || !way->saves;
}

static void filter_for_all_threads(const struct way *way)
{
    if (!expects_a_filter(way))
        return;
    let_a_crowd_linger(way);
    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    require(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &forbidden) ==
            0);
    live_on();
}

static void filter_by_prctl(const struct way *way)
{
    if (!expects_a_filter(way))
        return;
    let_a_crowd_linger(way);
    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &forbidden, 0, 0) == 0);
    live_on();
}

static const struct scenario scenarios[] = {
    SCENARIO(filter_for_all_threads),
    SCENARIO(filter_by_prctl),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        fresh_trap(filter_for_all_threads, NULL),
        fresh_trap(filter_by_prctl, NULL),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
