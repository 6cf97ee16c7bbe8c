/* Trap 17: children made by vfork, posix_spawn, system and popen close what they
 * inherited, or keep it. The parent's connections stay whole, its own close lingers
 * afterwards as if no child had been, and a CGI that holds on is not cut off. */
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

extern char **environ;

static void prove_nothing_happened(void (*make_child)(const struct pair *pair), const char *what)
{
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        make_child(&pair);
        require_nothing_lingers();
        leave_time_for_a_wrong_shutdown();
        require_whole(&pair, what);
        require_context("%s after %s", way->name, what);
        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        prove_fate(way, pair.client, &before);
    }
}

/* vfork(2): the child runs in the parent's memory. Whatever a hook notes down about
 * the closed number, it would note down for the parent. */
static void vfork_close_exec(const struct pair *pair)
{
    const pid_t pid = vfork();

    if (pid == 0) {
        close(pair->server);
        close(pair->client);
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    require(pid > 0);
    require_exits_cleanly(pid);
}

static void vfork_close_exit(const struct pair *pair)
{
    const pid_t pid = vfork();

    if (pid == 0) {
        close(pair->server);
        _exit(0);
    }
    require(pid > 0);
    require_exits_cleanly(pid);
}

/* dup2(2) over the inherited number closes it just as well. */
static void vfork_dup2_exec(const struct pair *pair)
{
    const pid_t pid = vfork();

    if (pid == 0) {
        dup2(pair->client, pair->server);
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    require(pid > 0);
    require_exits_cleanly(pid);
}

static void posix_spawn_close(const struct pair *pair)
{
    char *const arguments[] = {(char *)"true", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;

    require(posix_spawn_file_actions_init(&actions) == 0);
    require(posix_spawn_file_actions_addclose(&actions, pair->server) == 0);
    require(posix_spawn_file_actions_addclosefrom_np(&actions, 3) == 0);
    require(posix_spawn(&pid, "/bin/true", &actions, NULL, arguments, environ) == 0);
    require(posix_spawn_file_actions_destroy(&actions) == 0);
    require_exits_cleanly(pid);
}

static void system_inherits(const struct pair *pair)
{
    char command[64];

    require(system(":") == 0);
    snprintf(command, sizeof(command), "exec %d>&-", pair->server);
    require(system(command) == 0);
}

static void popen_inherits(const struct pair *pair)
{
    FILE *output = popen("echo done", "r");

    (void)pair;
    require(output != NULL);
    while (fgetc(output) != EOF)
        continue;
    require(pclose(output) == 0);
}

static void vfork_child_that_closes_and_execs_leaves_the_parent_whole(void **state)
{
    (void)state;
    prove_nothing_happened(vfork_close_exec, "vfork, close, exec");
}

static void vfork_child_that_closes_and_exits_leaves_the_parent_whole(void **state)
{
    (void)state;
    prove_nothing_happened(vfork_close_exit, "vfork, close, _exit");
}

static void vfork_child_that_dups_over_it_leaves_the_parent_whole(void **state)
{
    (void)state;
    prove_nothing_happened(vfork_dup2_exec, "vfork, dup2, exec");
}

static void posix_spawn_with_file_actions_leaves_the_parent_whole(void **state)
{
    (void)state;
    prove_nothing_happened(posix_spawn_close, "posix_spawn with addclose");
}

static void system_leaves_the_parent_whole(void **state)
{
    (void)state;
    prove_nothing_happened(system_inherits, "system()");
}

static void popen_leaves_the_parent_whole(void **state)
{
    (void)state;
    prove_nothing_happened(popen_inherits, "popen()");
}

/* A CGI script: the server starts it with the connection as its output, closes its
 * own number at once, and leaves the answering to it. */
static pid_t start_cgi(int connection, int go)
{
    char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)"read go; printf tail", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;

    require(posix_spawn_file_actions_init(&actions) == 0);
    require(posix_spawn_file_actions_adddup2(&actions, go, STDIN_FILENO) == 0);
    require(posix_spawn_file_actions_adddup2(&actions, connection, STDOUT_FILENO) == 0);
    require(posix_spawn_file_actions_addclosefrom_np(&actions, 3) == 0);
    require(posix_spawn(&pid, "/bin/sh", &actions, NULL, arguments, environ) == 0);
    require(posix_spawn_file_actions_destroy(&actions) == 0);
    return pid;
}

static void program_started_on_the_connection_keeps_it(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    int go[2];
    char tail[5];

    (void)state;
    require(pipe(go) == 0);
    const pid_t cgi = start_cgi(pair.server, go[0]);

    require(close(pair.server) == 0);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require(wait_for(pair.client, POLLIN | POLLRDHUP, 0) == 0);
    require(write(go[1], "go\n", 3) == 3);
    require(wait_for(pair.client, POLLIN, GENEROUS_MS) & POLLIN);
    require(recv(pair.client, tail, 4, MSG_WAITALL) == 4);
    require_exits_cleanly(cgi);
    require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(pair.client) == 0);
    require(close(go[0]) == 0);
    require(close(go[1]) == 0);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(vfork_child_that_closes_and_execs_leaves_the_parent_whole),
        trap(vfork_child_that_closes_and_exits_leaves_the_parent_whole),
        trap(vfork_child_that_dups_over_it_leaves_the_parent_whole),
        trap(posix_spawn_with_file_actions_leaves_the_parent_whole),
        trap(system_leaves_the_parent_whole),
        trap(popen_leaves_the_parent_whole),
        trap(program_started_on_the_connection_keeps_it),
    };

    return run_traps(traps);
}
