/* A process whose threads can have no descriptor table of their own, as a filter refuses close_range(2) and unshare(2): there
 * will be no drain thread. What is unread at a close is discarded then and there, and costs no response. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

static const struct sock_filter refusing[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void refuse_tables(void)
{
    const struct sock_fprog program = {.len = sizeof(refusing) / sizeof(refusing[0]),
                                       .filter = (struct sock_filter *)refusing};

    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
}

static void close_with_input_unread(const struct way *way, int round)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    require_context("%s mode, %s without a table, round %d", test_mode_name(), way->name, round);
    send_unread_request(pair.client, pair.server);
    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    require(is_free(pair.server));
    const struct harvest harvest = harvest_expecting(way->saves, pair.client);

    require_fate(way->saves, &harvest, &before);
    require(close(pair.client) == 0);
}

static bool a_second_has_passed(void *since)
{
    return now_ms() > *(int64_t *)since + 1000;
}

/* After a second a thread that was refused might be tried again. */
static void close_six_with_input_unread(const struct way *way)
{
    int64_t now = now_ms();

    require(syscall(SYS_close_range, ~0U, ~0U, 0) == -1 && errno == EPERM);
    for (int round = 0; round < 3; round++)
        close_with_input_unread(way, round);
    require(becomes_true(a_second_has_passed, &now, GENEROUS_MS));
    for (int round = 3; round < 6; round++)
        close_with_input_unread(way, round);
    require_nothing_lingers();
}

/* As a container's profile refuses them: before the program begins. The shim retires where a program confines itself. */
static void refused_from_the_beginning(const struct way *way)
{
    char *const arguments[] = {(char *)"fresh", (char *)"close_six_with_input_unread", (char *)way->name, NULL};

    refuse_tables();
    execv(own_program(), arguments);
    require(!"exec");
}

static void refused_by_the_program(const struct way *way)
{
    if (test_mode() == MODE_PRELOAD)
        return;
    refuse_tables();
    close_six_with_input_unread(way);
}

static const struct scenario scenarios[] = {
    SCENARIO(refused_from_the_beginning),
    SCENARIO(refused_by_the_program),
    SCENARIO(close_six_with_input_unread),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        fresh_trap(refused_from_the_beginning, NULL),
        fresh_trap(refused_by_the_program, NULL),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
