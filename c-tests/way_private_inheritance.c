/* What lingers, and the way to it, is inherited by no program that is started, however
 * it is started. */
#include <ctype.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "children.h"
#include "crowd.h"
#include "expectation.h"
#include "trap.h"

extern char **environ;

enum { LIST_LENGTH = 4096 };

static char list_path[] = "/tmp/linger-descriptors-XXXXXX";
static char list_command[128];
static char *const list_arguments[] = {(char *)"sh", (char *)"-c", list_command, NULL};

static void by_posix_spawn(void)
{
    pid_t pid;

    require(posix_spawn(&pid, "/bin/sh", NULL, NULL, list_arguments, environ) == 0);
    require_exits_cleanly(pid);
}

static void by_posix_spawnp(void)
{
    pid_t pid;

    require(posix_spawnp(&pid, "sh", NULL, NULL, list_arguments, environ) == 0);
    require_exits_cleanly(pid);
}

static void by_vfork(void)
{
    const pid_t pid = vfork();

    if (pid == 0) {
        execv("/bin/sh", list_arguments);
        _exit(127);
    }
    require(pid > 0);
    require_exits_cleanly(pid);
}

static void by_fork(void)
{
    const pid_t pid = fork();

    if (pid == 0) {
        execv("/bin/sh", list_arguments);
        _exit(127);
    }
    require(pid > 0);
    require_exits_cleanly(pid);
}

static void by_system(void)
{
    require(system(list_command) == 0);
}

static void by_popen(void)
{
    FILE *const stream = popen(list_command, "r");

    require(stream != NULL);
    require(pclose(stream) == 0);
}

struct starter {
    const char *name;
    void (*start)(void);
};

static const struct starter starters[] = {
    {"posix_spawn()", by_posix_spawn}, {"posix_spawnp()", by_posix_spawnp},
    {"vfork() and exec", by_vfork},    {"fork() and exec", by_fork},
    {"system()", by_system},           {"popen()", by_popen},
};

static const struct starter by_fork_and_exec = {"fork() and exec", by_fork};

enum { STARTERS = sizeof(starters) / sizeof(starters[0]) };

struct list {
    char text[LIST_LENGTH];
};

/* Lines of "0 -> /dev/null", sockets, pipes and processes without their numbers. */
static void keep_names_only(struct list *list, FILE *file)
{
    char line[512];
    size_t length = 0;

    while (fgets(line, sizeof(line), file)) {
        char *arrow = strstr(line, " -> ");

        if (!arrow)
            continue;
        char *number = arrow;
        while (number > line && isdigit((unsigned char)number[-1]))
            number--;
        for (char *c = number; *c; c++)
            if (c < arrow || !isdigit((unsigned char)*c))
                list->text[length++] = *c;
        require(length < LIST_LENGTH - sizeof(line));
    }
    list->text[length] = '\0';
}

/* 0, 1 and 2 are those of whoever runs the tests; above them a program gets no socket,
 * neither a connection nor what leads to the drain thread. */
static void require_no_socket(const struct list *list)
{
    const char *socket = list->text;

    while ((socket = strstr(socket, " -> socket:")) != NULL) {
        const bool standard = strchr("012", socket[-1]) &&
                              (socket - 1 == list->text || socket[-2] == '\n');

        require_note("%s", list->text);
        require(standard);
        socket++;
    }
}

static struct list listed(void)
{
    struct list list;
    FILE *const file = fopen(list_path, "re");

    require(file != NULL);
    keep_names_only(&list, file);
    require(fclose(file) == 0);
    /* ls has at least its standard output and the directory it reads */
    require(strstr(list.text, "1 -> ") && strstr(list.text, "/proc/"));
    require_no_socket(&list);
    return list;
}

static struct list started_by(const struct starter *starter)
{
    starter->start();
    return listed();
}

static void begin_list(void)
{
    const int file = mkstemp(list_path);

    require(file >= 0);
    require(close(file) == 0);
    snprintf(list_command, sizeof(list_command), "exec ls -l /proc/self/fd > %s", list_path);
}

static void end_list(void)
{
    require(unlink(list_path) == 0);
    strcpy(strrchr(list_path, '-'), "-XXXXXX");
}

static void started_programs_see_nothing(void **state)
{
    (void)state;
    begin_list();
    BY_EACH_WAY(way) {
        struct list before[STARTERS];
        struct crowd crowd;

        for (size_t i = 0; i < STARTERS; i++)
            before[i] = started_by(&starters[i]);
        crowd_let_linger(way, &crowd);
        /* what they may inherit: the clients, which are the test's own */
        for (int i = 0; i < CROWD_SIZE; i++)
            require(fcntl(crowd.clients[i], F_SETFD, FD_CLOEXEC) == 0);
        for (size_t i = 0; i < STARTERS; i++) {
            require_context("%s mode, %s, %s", test_mode_name(), way->name, starters[i].name);
            const struct list after = started_by(&starters[i]);

            require_note("before:\n%safter:\n%s", before[i].text, after.text);
            require(strcmp(before[i].text, after.text) == 0);
        }
        crowd_send_home(&crowd);
    }
    end_list();
}

/* A server that replaces itself, as for an upgrade, while connections linger. */
static void become_the_list(struct line *parent, void *argument)
{
    const struct way *way = argument;
    struct crowd crowd;

    crowd_let_linger(way, &crowd);
    for (int i = 0; i < CROWD_SIZE; i++)
        require(fcntl(crowd.clients[i], F_SETFD, FD_CLOEXEC) == 0);
    require(fcntl(parent->in, F_SETFD, FD_CLOEXEC) == 0);
    require(fcntl(parent->out, F_SETFD, FD_CLOEXEC) == 0);
    execv("/bin/sh", list_arguments);
    _exit(127);
}

static void nor_does_the_program_itself_after_exec(void **state)
{
    (void)state;
    begin_list();
    BY_EACH_WAY(way) {
        require_context("%s mode, %s", test_mode_name(), way->name);
        const struct list before = started_by(&by_fork_and_exec);
        struct child child;

        fflush(NULL);
        child_start(&child, become_the_list, (void *)(uintptr_t)way);
        child_reap(&child);
        const struct list after = listed();

        require_note("before:\n%safter:\n%s", before.text, after.text);
        require(strcmp(before.text, after.text) == 0);
    }
    end_list();
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(started_programs_see_nothing),
        trap(nor_does_the_program_itself_after_exec),
    };

    return run_traps(traps);
}
