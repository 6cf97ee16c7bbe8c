/* Trap 21: no descriptors left, no threads to be had, no memory for a stack. Letting
 * go never fails and never leaks; where nothing better can be had it is a plain
 * close. Each scenario is a fresh process: what counts is the library's first use. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

static struct rlimit roomy;

/* Fills every hole below the limit as well: the next open(2) says EMFILE. */
static void leave_free(int wanted)
{
    const struct fdtable table = fdtable_now();
    struct rlimit limit;
    int fd, filled[FDTABLE_MAX], count = 0;

    require(getrlimit(RLIMIT_NOFILE, &roomy) == 0);
    limit = roomy;
    limit.rlim_cur = (rlim_t)table.fds[table.count - 1] + 8;
    require(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0)
        filled[count++] = fd;
    require(errno == EMFILE);
    require(count >= wanted);
    while (wanted-- > 0)
        require(close(filled[--count]) == 0);
}

static void lift_the_limit(void)
{
    require(setrlimit(RLIMIT_NOFILE, &roomy) == 0);
}

static struct harvest let_go_and_read(const struct way *way, struct pair pair)
{
    send_response(pair.server);
    errno = 0;
    require(way->let_go(pair.server) == 0);
    require(is_free(pair.server));
    send_late_bytes(pair.client);
    const struct harvest harvest = harvest_expecting(way->saves, pair.client);

    require(close(pair.client) == 0);
    return harvest;
}

/* What holds however it degraded: success, the number free, the peer not left in
 * the dark. Bare, it lost as always. No counters: reading them takes a descriptor. */
static void require_let_go_somehow(const struct way *way, struct pair pair)
{
    const struct harvest harvest = let_go_and_read(way, pair);

    require(way->saves || harvest.bytes < RESPONSE_BYTES);
    require_nothing_lingers();
}

static void require_later_closes_leak_nothing(const struct way *way)
{
    size_t count = 0;

    for (int round = 0; round < 20; round++) {
        require_let_go_somehow(way, pair_open(FAMILY_IPV4));
        if (round == 0)
            count = fdtable_now().count;
    }
    require(fdtable_now().count == count);
}

/* memcached's case: the limit is what -c needs, and reached before anything has
 * lingered. What a close needs was reserved at the first accept. A program that only
 * links the library has shown it no accept before its first linger_close(). */
static void no_descriptor_left_at_the_first_close(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    leave_free(0);
    const struct harvest harvest = let_go_and_read(way, pair);

    require_nothing_lingers();
    lift_the_limit();
    if (test_mode() != MODE_LINKED)
        require_fate(way->saves, &harvest, &before);
    require_later_closes_leak_nothing(way);
}

/* One number free, and accept takes it: nothing can be reserved any more. */
static void no_descriptor_left_at_the_first_accept(const struct way *way)
{
    struct host host;
    struct pair pair;

    host_open(&host, FAMILY_IPV4);
    pair.client = host_connect(&host);
    leave_free(1);
    pair.server = host_accept(&host);
    require_let_go_somehow(way, pair);
    lift_the_limit();
    host_close(&host);
    require_later_closes_leak_nothing(way);
}

/* A server at its limit all the time: every accept takes the last number, and one
 * leaked descriptor would make the next accept fail. */
static void no_descriptor_left_at_any_close(const struct way *way)
{
    struct host host;

    host_open(&host, FAMILY_IPV4);
    leave_free(2);
    for (int round = 0; round < 50; round++) {
        struct pair pair = {.client = host_connect(&host)};

        pair.server = host_accept(&host);
        require_let_go_somehow(way, pair);
    }
    lift_the_limit();
    host_close(&host);
}

enum { CLOSES = 8 };

/* Each connection takes the last number, and its close finds none: more often than anybody would try. */
static void close_eight_without_a_descriptor(const struct way *way)
{
    struct host host;
    int clients[CLOSES];

    host_open(&host, FAMILY_IPV4);
    for (int i = 0; i < CLOSES; i++)
        clients[i] = host_connect(&host);
    leave_free(1);
    for (int i = 0; i < CLOSES; i++) {
        require_let_go_somehow(way, (struct pair){clients[i], host_accept(&host)});
        require(open("/dev/null", O_RDWR | O_CLOEXEC) >= 0);
    }
    lift_the_limit();
    host_close(&host);
}

static bool longer_than_a_second_ago(void *since)
{
    return now_ms() > *(const int64_t *)since + 1000;
}

static void no_descriptor_left_at_eight_closes(const struct way *way)
{
    close_eight_without_a_descriptor(way);
    int64_t since = now_ms();

    require(becomes_true(longer_than_a_second_ago, &since, GENEROUS_MS));
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    require_context("%s mode, %s, a descriptor can be had again", test_mode_name(), way->name);
    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    prove_fate(way, pair.client, &before);
}

static bool lingers_again(void *argument)
{
    const struct way *way = argument;
    const struct pair pair = pair_open(FAMILY_IPV4);

    require(way->let_go(pair.server) == 0);
    const bool lingers = linger_pending() == 1;

    require(close(pair.client) == 0);
    require_nothing_lingers();
    return lingers;
}

/* A busy server is never quiet for as long as a refusal counts. */
static void no_descriptor_left_for_a_while(const struct way *way)
{
    close_eight_without_a_descriptor(way);
    require_context("%s mode, %s, no quiet second", test_mode_name(), way->name);
    if (way->saves)
        require(becomes_true(lingers_again, (void *)(uintptr_t)way, GENEROUS_MS));
}

/* seccomp(2): clone and clone3 fail with EAGAIN, as at a limit of processes. */
static void refuse_new_threads(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = 5, .filter = filter};

    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void thread_refused_after_accept(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    refuse_new_threads();
    require_let_go_somehow(way, pair);
    require_later_closes_leak_nothing(way);
}

static void thread_refused_before_accept(const struct way *way)
{
    refuse_new_threads();
    require_later_closes_leak_nothing(way);
}

/* getrlimit(2): RLIMIT_NPROC binds neither root nor CAP_SYS_RESOURCE. A process that
 * changed its uid is not dumpable and could not read its own /proc/self/fd. */
static bool reach_the_limit_of_processes(void)
{
    const struct rlimit none = {1, 1};

    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
        return false;
    require(prctl(PR_SET_DUMPABLE, 1) == 0);
    require(setrlimit(RLIMIT_NPROC, &none) == 0);
    return true;
}

static void thread_refused_at_the_limit_of_processes(const struct way *way)
{
    const struct pair first = pair_open(FAMILY_IPV4), second = pair_open(FAMILY_IPV4);

    if (!reach_the_limit_of_processes())
        return; /* a user namespace with one uid: seccomp stands in for it above */
    require_let_go_somehow(way, first);
    const size_t count = fdtable_now().count;

    require_let_go_somehow(way, second);
    require(fdtable_now().count == count - 2);
}

/* Less than the smallest stack of a thread is left of the address space. */
static void no_memory_for_a_thread(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;

    require(file != NULL && fscanf(file, "%lu", &pages) == 1);
    require(fclose(file) == 0);
    const rlim_t now = pages * (rlim_t)sysconf(_SC_PAGESIZE);
    const struct rlimit tight = {now + 8192, now + 8192};

    require(setrlimit(RLIMIT_AS, &tight) == 0);
    require_let_go_somehow(way, pair);
    require_later_closes_leak_nothing(way);
}

static const struct scenario scenarios[] = {
    SCENARIO(no_descriptor_left_at_the_first_close),
    SCENARIO(no_descriptor_left_at_the_first_accept),
    SCENARIO(no_descriptor_left_at_any_close),
    SCENARIO(no_descriptor_left_at_eight_closes),
    SCENARIO(no_descriptor_left_for_a_while),
    SCENARIO(thread_refused_after_accept),
    SCENARIO(thread_refused_before_accept),
    SCENARIO(thread_refused_at_the_limit_of_processes),
    SCENARIO(no_memory_for_a_thread),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        fresh_trap(no_descriptor_left_at_the_first_close, NULL),
        fresh_trap(no_descriptor_left_at_the_first_accept, NULL),
        fresh_trap(no_descriptor_left_at_any_close, NULL),
        fresh_trap(no_descriptor_left_at_eight_closes, NULL),
        fresh_trap(no_descriptor_left_for_a_while, NULL),
        fresh_trap(thread_refused_after_accept, NULL),
        fresh_trap(thread_refused_before_accept, NULL),
        fresh_trap(thread_refused_at_the_limit_of_processes, NULL),
        fresh_trap(no_memory_for_a_thread, NULL),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
