/* A process that installs a seccomp(2) filter after it has started: the shim goes passive.
 * close() is plain from then on, and no system call of ours gets the process killed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Everything that is not allowed kills the process. */
struct rules {
    struct sock_filter code[64];
    unsigned short length;
};

static void allow_only(struct rules *rules, const int *calls, size_t count)
{
    static const struct sock_filter load =
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    static const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    static const struct sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_filter *next = rules->code;

    require(2 * count + 2 <= LENGTH(rules->code));
    *next++ = load;
    for (size_t i = 0; i < count; i++) {
        *next++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        *next++ = allow;
    }
    *next++ = kill;
    rules->length = (unsigned short)(next - rules->code);
}

/* What a confined worker needs to read, write, close and end. */
static const int worker_calls[] = {SYS_read,       SYS_write,        SYS_close,
                                   SYS_exit_group, SYS_rt_sigreturn, SYS_exit};

/* What serve_under_a_filter() calls: nothing of it may bring on another call. */
static const int server_calls[] = {
    SYS_read,    SYS_write,       SYS_close,      SYS_exit_group, SYS_rt_sigreturn,
    SYS_exit,    SYS_accept,      SYS_accept4,    SYS_dup,        SYS_dup3,
    SYS_fcntl,   SYS_shutdown,    SYS_setsockopt, SYS_epoll_ctl,  SYS_brk,
    SYS_mmap,    SYS_newfstatat,  SYS_fstat,      SYS_close_range,
#ifdef SYS_dup2
    SYS_dup2,
#endif
};

static void install_by_prctl(struct sock_fprog *program)
{
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0);
}

static void install_by_syscall_of_prctl(struct sock_fprog *program)
{
    require(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0);
}

static void install_by_syscall(struct sock_fprog *program)
{
    require(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) == 0);
}

static void install_for_all_threads(struct sock_fprog *program)
{
    require(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program) == 0);
}

/* Each by the function that is hooked. Not by require(): it would need more calls. */
static void serve_under_a_filter(int listener, int connection, int epoll)
{
    struct epoll_event event = {.events = EPOLLIN};
    const int second = dup(connection), zero = 0;
    const int third = fcntl(connection, F_DUPFD_CLOEXEC, 64);

    if (dup2(connection, second) != second || dup3(connection, third, O_CLOEXEC) != third)
        _exit(2);
    if (setsockopt(connection, SOL_SOCKET, SO_KEEPALIVE, &zero, sizeof(zero)) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event) != 0)
        _exit(3);
    if (close(second) != 0 || close_range((unsigned)third, (unsigned)third, 0) != 0)
        _exit(4);
    const int next = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (next < 0 || shutdown(next, SHUT_RDWR) != 0 || syscall(SYS_close, next) != 0)
        _exit(5);
    FILE *const stream = fdopen(accept(listener, NULL, NULL), "w");

    if (stream == NULL || fputs("bye", stream) < 0 || fclose(stream) != 0)
        _exit(6);
}

struct confinement {
    const char *name;
    void (*install)(struct sock_fprog *program);
    bool serves;  /* with server_calls; else worker_calls */
    bool lingers; /* a connection lingers at that moment, and the drain thread runs */
};

struct confined {
    const struct confinement *confinement;
    const struct host *host;
};

static void confine(const struct confinement *confinement)
{
    struct rules rules;

    if (confinement->serves)
        allow_only(&rules, server_calls, LENGTH(server_calls));
    else
        allow_only(&rules, worker_calls, LENGTH(worker_calls));
    struct sock_fprog program = {.len = rules.length, .filter = rules.code};

    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    confinement->install(&program);
}

static void live_confined(struct line *parent, void *argument)
{
    const struct confined *confined = argument;
    const struct confinement *confinement = confined->confinement;
    const int listener = confined->host->listener;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    const int server = host_accept(confined->host);
    char word;

    if (confinement->lingers) {
        const int lingering = host_accept(confined->host);

        send_response(lingering);
        require(close(lingering) == 0);
    }
    confine(confinement);
    if (confinement->serves)
        serve_under_a_filter(listener, server, epoll);
    if (close(server) != 0 || write(server, "", 1) != -1 || errno != EBADF)
        _exit(7);
    if (write(parent->out, "c", 1) != 1 || read(parent->in, &word, 1) != 1)
        _exit(8);
    exit(EXIT_SUCCESS);
}

/* FIN or RST: plain close() loses, and so may what lingered until then. */
static void require_over(int client)
{
    char piece[4096];

    while (wait_for(client, POLLIN, GENEROUS_MS) && recv(client, piece, sizeof(piece), 0) > 0)
        continue;
    require(wait_for(client, POLLRDHUP, 0) & POLLRDHUP);
    require(close(client) == 0);
}

enum { CLIENTS = 4 };

/* A process that is killed breaks the line: line_await() fails, with what is printed here. */
static void confined_process_lives_and_closes(void **state)
{
    const struct confinement *confinement = *state;
    int clients[CLIENTS];
    struct host host;
    struct child child;

    require_context("%s mode, confined by %s", test_mode_name(), confinement->name);
    host_open(&host, FAMILY_IPV4);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = host_connect(&host);
    struct confined confined = {confinement, &host};

    fflush(NULL);
    child_start(&child, live_confined, &confined);
    line_await(&child.line, 'c');
    require_over(clients[0]);
    line_tell(&child.line, 'e');
    child_reap(&child);
    host_close(&host);
    for (int i = 1; i < CLIENTS; i++)
        require_over(clients[i]);
}

static const struct confinement confinements[] = {
    {"prctl(), a worker", install_by_prctl, false, false},
    {"prctl(), a worker, lingering", install_by_prctl, false, true},
    {"prctl(), a server", install_by_prctl, true, false},
    {"prctl(), a server, lingering", install_by_prctl, true, true},
    {"SYS_prctl, a worker, lingering", install_by_syscall_of_prctl, false, true},
    {"SYS_prctl, a server, lingering", install_by_syscall_of_prctl, true, true},
    {"seccomp(), a worker", install_by_syscall, false, false},
    {"seccomp(), a worker, lingering", install_by_syscall, false, true},
    {"seccomp(), a server, lingering", install_by_syscall, true, true},
    {"seccomp() with TSYNC, a worker", install_for_all_threads, false, false},
    {"seccomp() with TSYNC, a worker, lingering", install_for_all_threads, false, true},
    {"seccomp() with TSYNC, a server, lingering", install_for_all_threads, true, true},
};

/* What libseccomp and others do to learn what the kernel has: nobody is confined by it. */
static void ask_for_actions(void)
{
    unsigned action = SECCOMP_RET_ERRNO;
    struct seccomp_notif_sizes sizes;

    require(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0);
    require(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0);
}

static void ask_for_flags(void)
{
    require(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL) == -1);
    require(errno == EFAULT);
}

static void ask_for_filters(void)
{
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) == -1 && errno == EFAULT);
    require(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) == -1);
    require(errno == EFAULT);
}

static void close_one(void (*then)(void))
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    send_response(pair.server);
    require(close(pair.server) == 0);
    then();
    prove_fate(plain_close(), pair.client, &before);
}

static void nothing(void)
{
}

/* What lingers goes on, and so does the shim. In a process of its own: what goes passive stays so. */
static void close_around_a_question(void (*ask)(void))
{
    close_one(ask);
    close_one(nothing);
}

static void actions_are_asked_for(const struct way *way)
{
    (void)way;
    close_around_a_question(ask_for_actions);
}

static void flags_are_asked_for(const struct way *way)
{
    (void)way;
    close_around_a_question(ask_for_flags);
}

static void filters_are_asked_for(const struct way *way)
{
    (void)way;
    close_around_a_question(ask_for_filters);
}

/* seccomp(2): read(2), write(2), the return from a handler and SYS_exit are all there is. */
static void strictest_process_ends(const struct way *way)
{
    const pid_t child = fork();

    (void)way;
    require(child >= 0);
    if (child == 0) {
        require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
        syscall(SYS_exit, EXIT_SUCCESS);
    }
    require_exits_cleanly(child);
}

static const struct scenario scenarios[] = {
    SCENARIO(actions_are_asked_for),
    SCENARIO(flags_are_asked_for),
    SCENARIO(filters_are_asked_for),
    SCENARIO(strictest_process_ends),
    {0},
};

static const struct CMUnitTest questions[] = {
    fresh_trap(actions_are_asked_for, NULL),
    fresh_trap(flags_are_asked_for, NULL),
    fresh_trap(filters_are_asked_for, NULL),
    fresh_trap(strictest_process_ends, NULL),
};

int main(int count, char **arguments)
{
    struct CMUnitTest traps[LENGTH(confinements) + LENGTH(questions)];

    if (count > 1)
        return run_scenario(scenarios, arguments);

    for (size_t i = 0; i < LENGTH(confinements); i++)
        traps[i] = (struct CMUnitTest){.name = confinements[i].name,
                                       .test_func = confined_process_lives_and_closes,
                                       .setup_func = trap_setup,
                                       .teardown_func = trap_teardown,
                                       .initial_state = (void *)&confinements[i]};
    memcpy(traps + LENGTH(confinements), questions, sizeof(questions));
    return run_traps(traps);
}
