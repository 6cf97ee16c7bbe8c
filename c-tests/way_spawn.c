/* Programs started while connections are open, and without FD_CLOEXEC, inherit them. The
 * connection stays whole in the parent; and when the parent lets go of it, whoever still
 * holds it is not cut off: FIN leaves when the last holder ends. */
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

extern char **environ;

/* sh(1) can only name single digits in its redirections. */
enum { HELD = 9, GO = 8 };

/* A program that holds what it inherited, answers on it when told to, and ends. */
static const char ANSWERS_LATE[] = "read go <&8; printf tail >&9";

static char *const shell_arguments[] = {(char *)"sh", (char *)"-c", (char *)ANSWERS_LATE, NULL};

struct started {
    pid_t pid;     /* 0: another than we waits for it */
    FILE *stream;  /* of popen() */
};

static struct started by_posix_spawn(void)
{
    struct started started = {0};

    require(posix_spawn(&started.pid, "/bin/sh", NULL, NULL, shell_arguments, environ) == 0);
    return started;
}

static struct started by_posix_spawnp(void)
{
    struct started started = {0};

    require(posix_spawnp(&started.pid, "sh", NULL, NULL, shell_arguments, environ) == 0);
    return started;
}

static struct started by_vfork(void)
{
    const pid_t pid = vfork();

    if (pid == 0) {
        execv("/bin/sh", shell_arguments);
        _exit(127);
    }
    require(pid > 0);
    return (struct started){.pid = pid};
}

static struct started by_fork(void)
{
    const pid_t pid = fork();

    if (pid == 0) {
        execv("/bin/sh", shell_arguments);
        _exit(127);
    }
    require(pid > 0);
    return (struct started){.pid = pid};
}

/* The command leaves a process behind, which nobody but init, or we, will wait for. */
static struct started by_system(void)
{
    char command[128];

    snprintf(command, sizeof(command), "(%s) &", ANSWERS_LATE);
    require(system(command) == 0);
    return (struct started){0};
}

static struct started by_popen(void)
{
    FILE *const stream = popen(ANSWERS_LATE, "w");

    require(stream != NULL);
    return (struct started){.stream = stream};
}

struct starter {
    const char *name;
    struct started (*start)(void);
};

static const struct starter starters[] = {
    {"posix_spawn()", by_posix_spawn}, {"posix_spawnp()", by_posix_spawnp},
    {"vfork() and exec", by_vfork},    {"fork() and exec", by_fork},
    {"system()", by_system},           {"popen()", by_popen},
};

enum { STARTERS = sizeof(starters) / sizeof(starters[0]) };

struct scene {
    struct pair pair;
    struct started started;
    int go;
};

static void put_at(int fd, int number)
{
    require(dup2(fd, number) == number);
    require(close(fd) == 0);
}

static void begin(struct scene *scene, const struct starter *starter)
{
    int go[2];

    require_context("%s mode, %s", test_mode_name(), starter->name);
    require(pipe2(go, O_CLOEXEC) == 0);
    scene->go = fcntl(go[1], F_DUPFD_CLOEXEC, HELD + 1);
    require(close(go[1]) == 0);
    put_at(go[0], GO);
    scene->pair = pair_open(FAMILY_IPV4);
    put_at(scene->pair.server, HELD);
    scene->pair.server = HELD;
    scene->started = starter->start();
    require(close(GO) == 0);
}

/* It answers and ends; the answer arrives. */
static void let_it_answer(struct scene *scene)
{
    char tail[5];

    require(write(scene->go, "go\n", 3) == 3);
    require(close(scene->go) == 0);
    require(wait_for(scene->pair.client, POLLIN, GENEROUS_MS) & POLLIN);
    require(recv(scene->pair.client, tail, 4, MSG_WAITALL) == 4);
    if (scene->started.stream)
        require(pclose(scene->started.stream) == 0);
    else if (scene->started.pid)
        require_exits_cleanly(scene->started.pid);
    else
        reap_adopted();
}

static void parent_keeps_its_connection_whole(const struct starter *starter)
{
    struct scene scene;

    begin(&scene, starter);
    require_whole(&scene.pair, "a program was started that holds it");
    let_it_answer(&scene);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require_whole(&scene.pair, "a program that held it ended");
    require_context("%s mode, close() after %s", test_mode_name(), starter->name);
    const struct netcounters before = netcounters_now();

    send_response(scene.pair.server);
    require(close(scene.pair.server) == 0);
    prove_fate(plain_close(), scene.pair.client, &before);
}

/* Not even by a shutdown() that a close() hides. */
static void program_keeps_what_its_parent_closes(const struct starter *starter)
{
    struct scene scene;

    begin(&scene, starter);
    require(close(scene.pair.server) == 0);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require(wait_for(scene.pair.client, POLLIN | POLLRDHUP, 0) == 0);
    require(send(scene.pair.client, "still there?", 12, MSG_NOSIGNAL) == 12);
    leave_time_for_a_wrong_shutdown();
    require(wait_for(scene.pair.client, POLLIN | POLLRDHUP, 0) == 0);
    let_it_answer(&scene);
    /* What it left unread makes its end a reset, which is its own affair. */
    require(wait_for(scene.pair.client, POLLRDHUP, GENEROUS_MS) != 0);
    require(close(scene.pair.client) == 0);
}

static void started_program_leaves_the_parent_whole(void **state)
{
    (void)state;
    adopt_orphans();
    for (size_t i = 0; i < STARTERS; i++)
        parent_keeps_its_connection_whole(&starters[i]);
}

static void started_program_is_never_cut_off(void **state)
{
    (void)state;
    adopt_orphans();
    for (size_t i = 0; i < STARTERS; i++)
        program_keeps_what_its_parent_closes(&starters[i]);
}

/* exit() lets go of everything at once, and waits for what lingers: not for this. */
static void end_with_a_program_running(struct line *parent, void *argument)
{
    (void)argument;
    line_await(parent, 'e');
    exit(EXIT_SUCCESS);
}

static void parents_exit_does_not_cut_it_off(void **state)
{
    struct scene scene;
    struct child child;

    (void)state;
    begin(&scene, &starters[0]);
    require(send(scene.pair.client, "unread", 6, MSG_NOSIGNAL) == 6);
    fflush(NULL);
    child_start(&child, end_with_a_program_running, NULL);
    require(close(scene.pair.server) == 0);
    line_tell(&child.line, 'e');
    child_reap(&child);
    leave_time_for_a_wrong_shutdown();
    require(wait_for(scene.pair.client, POLLIN | POLLRDHUP, 0) == 0);
    let_it_answer(&scene);
    require(wait_for(scene.pair.client, POLLRDHUP, GENEROUS_MS) != 0);
    require(close(scene.pair.client) == 0);
    require_nothing_lingers();
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(started_program_leaves_the_parent_whole),
        trap(started_program_is_never_cut_off),
        trap(parents_exit_does_not_cut_it_off),
    };

    return run_traps(traps);
}
