#include "children.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "require.h"

void line_tell(const struct line *line, char word)
{
    require(write(line->out, &word, 1) == 1);
}

void line_await(const struct line *line, char word)
{
    char heard = 0;

    require(wait_for(line->in, POLLIN, GENEROUS_MS) & POLLIN);
    require(read(line->in, &heard, 1) == 1);
    require(heard == word);
}

void line_close(struct line *line)
{
    require(close(line->in) == 0);
    require(close(line->out) == 0);
}

void bound_lifetime(void)
{
    alarm(3 * GENEROUS_MS / 1000);
}

void adopt_orphans(void)
{
    require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
}

static bool none_is_left(void *unused)
{
    int status;
    pid_t pid;

    (void)unused;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        require(WIFEXITED(status));
        require(WEXITSTATUS(status) == EXIT_SUCCESS);
    }
    return pid < 0 && errno == ECHILD;
}

void reap_adopted(void)
{
    require(becomes_true(none_is_left, NULL, 3 * GENEROUS_MS));
}

void child_start(struct child *child, void (*body)(struct line *parent, void *argument),
                 void *argument)
{
    int down[2], up[2];

    require(pipe(down) == 0);
    require(pipe(up) == 0);
    struct line here = {.in = up[0], .out = down[1]};
    struct line there = {.in = down[0], .out = up[1]};

    child->pid = fork();
    require(child->pid >= 0);
    if (child->pid == 0) {
        bound_lifetime();
        line_close(&here);
        body(&there, argument);
        _exit(EXIT_SUCCESS);
    }
    line_close(&there);
    child->line = here;
}

/* Not by a descriptor (pidfd_open(2)), which valgrind 3.19 does not know. */
static bool has_ended(void *pid)
{
    siginfo_t info = {.si_pid = 0};

    require(waitid(P_PID, (id_t)*(pid_t *)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
    return info.si_pid != 0;
}

int status_at_end(pid_t pid)
{
    const bool ended = becomes_true(has_ended, &pid, 3 * GENEROUS_MS);
    int status = 0;

    if (!ended)
        kill(pid, SIGKILL);
    require(waitpid(pid, &status, 0) == pid);
    require(ended);
    return status;
}

void require_exits_cleanly(pid_t pid)
{
    const int status = status_at_end(pid);

    require(WIFEXITED(status));
    require(WEXITSTATUS(status) == EXIT_SUCCESS);
}

void child_reap(struct child *child)
{
    line_close(&child->line);
    require_exits_cleanly(child->pid);
}

const char *own_program(void)
{
    static char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

    require(length > 0);
    path[length] = '\0';
    return path;
}

static void become_fresh(const char *scenario, const char *way, const char *setting)
{
    char *const arguments[] = {(char *)"fresh", (char *)scenario, (char *)way, NULL};

    bound_lifetime();
    if (setting)
        putenv((char *)setting);
    execv(own_program(), arguments);
    _exit(EXIT_FAILURE);
}

void run_fresh(const char *scenario, const char *setting)
{
    BY_EACH_WAY(way) {
        const pid_t pid = fork();

        require(pid >= 0);
        if (pid == 0)
            become_fresh(scenario, way->name, setting);
        require_context("%s by a fresh process, %s %s", way->name, scenario,
                        setting ? setting : "");
        require_exits_cleanly(pid);
    }
}

void run_fresh_trap(void **state)
{
    const struct fresh *fresh = *state;

    run_fresh(fresh->scenario, fresh->setting);
}

static const struct way *way_named(const char *name)
{
    BY_EACH_WAY(way) {
        if (strcmp(way->name, name) == 0)
            return way;
    }
    return NULL;
}

int run_scenario(const struct scenario *scenarios, char **arguments)
{
    const struct way *way = way_named(arguments[2]);

    signal(SIGPIPE, SIG_IGN);
    for (; scenarios->name; scenarios++) {
        if (strcmp(scenarios->name, arguments[1]) != 0)
            continue;
        scenarios->run(way);
        return EXIT_SUCCESS;
    }
    return EXIT_FAILURE;
}
