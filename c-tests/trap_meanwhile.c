/* What another thread does while a call of this one has taken effect in the kernel and has
 * not returned yet. A library preloaded behind the shim stops the call there. */
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "stacking.h"
#include "trap.h"

static const char STOPS_INSIDE_CALLS[] = "../preloaded/meanwhile.so";

static const struct way *let_go_by;
static int number;

static void let_go_of_number(void)
{
    require(let_go_by->let_go(number) == 0);
}

static void meanwhile(const char *when, void (*act)(void))
{
    void (**const variable)(void) = dlsym(RTLD_DEFAULT, when);

    require(variable != NULL);
    *variable = act;
}

static void meanwhile_let_go(const struct way *way, int fd)
{
    require_context("%s mode, %s meanwhile", test_mode_name(), way->name);
    let_go_by = way;
    number = fd;
    meanwhile("after_the_kernel", let_go_of_number);
}

/* An acceptor adds to a worker's set; the worker gets the event, answers and closes. */
static void closed_while_being_added_to_a_set(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();
    const int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP};

    send_response(pair.server);
    meanwhile_let_go(way, pair.server);
    require(epoll_ctl(set, EPOLL_CTL_ADD, pair.server, &event) == 0);
    send_late_bytes(pair.client);
    let_30ms_of_network_delay_pass();
    require(epoll_wait(set, &event, 1, 0) == 0);
    prove_fate(way, pair.client, &before);
    require(epoll_wait(set, &event, 1, 0) == 0);
    require(close(set) == 0);
}

enum { ELSEWHERE = 200 };

static int by_dup(int fd)
{
    return dup(fd);
}

static int by_dup2(int fd)
{
    return dup2(fd, ELSEWHERE);
}

static int by_dup3(int fd)
{
    return dup3(fd, ELSEWHERE, O_CLOEXEC);
}

static int by_fcntl(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, ELSEWHERE);
}

/* Whoever closes the old number must not take it for the only one. linger_close() is not
 * asked: its caller vouches for that. */
static void closed_while_being_duplicated(const struct way *way)
{
    static int (*const duplicates[])(int) = {by_dup, by_dup2, by_dup3, by_fcntl};

    if (way != plain_close())
        return;
    for (size_t i = 0; i < sizeof(duplicates) / sizeof(duplicates[0]); i++) {
        struct pair pair = pair_open(FAMILY_IPV4);

        meanwhile_let_go(way, pair.server);
        pair.server = duplicates[i](pair.server);
        require(pair.server >= 0);
        require_nothing_lingers();
        leave_time_for_a_wrong_shutdown();
        require_whole(&pair, "its old number was closed while it got a new one");
        require(close(pair.client) == 0);
        require(close(pair.server) == 0);
        require_nothing_lingers();
    }
}

static struct host host;

static void accept_number(void)
{
    require(accept(host.listener, NULL, NULL) == number);
}

/* Free numbers of one digit, which is all sh(1) can name. */
static int next_free_number(void)
{
    const int next = open("/dev/null", O_RDONLY);

    require(next >= 0 && next < 10);
    require(close(next) == 0);
    return next;
}

typedef int spawn(int *number, const char *path, const posix_spawn_file_actions_t *actions,
                  const posix_spawnattr_t *attributes, char *const *arguments,
                  char *const *environment);

/* pidfd_spawn() has a descriptor where this has a number of a process. */
static const char *const spawns[] = {"posix_spawn", "pidfd_spawn"};

enum { SPAWNS = sizeof(spawns) / sizeof(spawns[0]) };

/* A program that inherits `number` and answers on it when told to by a pipe. */
static int start_a_holder(const char *by)
{
    int pipe_ends[2], child = -1;
    char command[64];
    char *const arguments[] = {(char *)"sh", (char *)"-c", command, NULL};
    spawn *start;

    /* Not by its name: this machine's libc need not have it. */
    *(void **)&start = dlsym(RTLD_DEFAULT, by);
    require(start != NULL);
    require(pipe2(pipe_ends, O_CLOEXEC) == 0);
    require(fcntl(pipe_ends[0], F_SETFD, 0) == 0);
    number = next_free_number();
    snprintf(command, sizeof(command), "read go <&%d; printf tail >&%d", pipe_ends[0], number);
    require(start(&child, "/bin/sh", NULL, NULL, arguments, environ) == 0);
    require(child > 0);
    if (strcmp(by, "pidfd_spawn") == 0)
        require(close(child) == 0);
    require(close(pipe_ends[0]) == 0);
    return pipe_ends[1];
}

static void require_the_holder_answers(int go, int client)
{
    char tail[5];

    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require(wait_for(client, POLLIN | POLLRDHUP, 0) == 0);
    require(write(go, "go\n", 3) == 3);
    require(close(go) == 0);
    require(recv(client, tail, 4, MSG_WAITALL) == 4);
    reap_adopted();
    require(close(client) == 0);
}

static void start_a_program_meanwhile(const struct way *way, bool close_before_it_returns)
{
    for (size_t i = 0; way == plain_close() && i < SPAWNS; i++) {
        require_context("%s mode, %s()", test_mode_name(), spawns[i]);
        host_open(&host, FAMILY_IPV4);
        const int client = host_connect(&host);

        meanwhile("before_the_kernel", accept_number);
        let_go_by = way;
        if (close_before_it_returns)
            meanwhile("after_the_kernel", let_go_of_number);
        const int go = start_a_holder(spawns[i]);

        require(close_before_it_returns || close(number) == 0);
        require_the_holder_answers(go, client);
        host_close(&host);
    }
}

/* What fork and its kin count before the kernel copies the table is not yet true. */
static void accepted_while_a_program_is_started(const struct way *way)
{
    start_a_program_meanwhile(way, false);
}

/* The program runs, and the call that started it has not returned. */
static void closed_while_a_program_is_started(const struct way *way)
{
    start_a_program_meanwhile(way, true);
}

static struct setting stopping;

static void run_stopping(void **state)
{
    run_fresh(*state, stopping.text);
}

#define stopping_trap(function)                                                       \
    {                                                                                 \
        #function, run_stopping, trap_setup, trap_teardown, (void *)#function         \
    }

int main(int count, char **arguments)
{
    static const struct scenario scenarios[] = {
        SCENARIO(closed_while_being_added_to_a_set),
        SCENARIO(closed_while_being_duplicated),
        SCENARIO(accepted_while_a_program_is_started),
        SCENARIO(closed_while_a_program_is_started),
        {0},
    };
    const struct CMUnitTest traps[] = {
        stopping_trap(closed_while_being_added_to_a_set),
        stopping_trap(closed_while_being_duplicated),
        stopping_trap(accepted_while_a_program_is_started),
        stopping_trap(closed_while_a_program_is_started),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    stopping = preloading(NULL, beside_this_program(STOPS_INSIDE_CALLS).text);
    return run_traps(traps);
}
