#include "service.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "require.h"
#include "schedstate.h"

/* Above every number that is a destination. */
static const int OUT_OF_THE_WAY = 32;

struct start {
    const char *path;
    const char *name;
    int listener;   /* -1: none */
    int connection; /* -1: 0, 1 and 2 are the test's */
    bool activated; /* the environment says that systemd passed what is on 3 */
    const char *setting;
};

static void become(const struct start *start, const struct line *line)
{
    const int in = fcntl(line->in, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
    const int out = fcntl(line->out, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
    const int listener = fcntl(start->listener, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
    const int connection = fcntl(start->connection, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);

    close_range(SERVICE_LISTENER, ~0U, CLOSE_RANGE_CLOEXEC);
    dup2(in, SERVICE_IN);
    dup2(out, SERVICE_OUT);
    if (start->listener >= 0)
        dup2(listener, SERVICE_LISTENER);
    for (int fd = STDIN_FILENO; start->connection >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(connection, fd);
    if (start->activated) {
        char pid[16];

        snprintf(pid, sizeof(pid), "%d", getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "1", 1);
    }
    if (start->setting)
        putenv((char *)start->setting);
    bound_lifetime();
    execl(start->path, "service", start->name, (char *)NULL);
    _exit(127);
}

static void start_with_line(struct child *child, const struct start *start)
{
    int down[2], up[2];

    require(pipe2(down, O_CLOEXEC) == 0);
    require(pipe2(up, O_CLOEXEC) == 0);
    const struct line there = {.in = down[0], .out = up[1]};

    child->pid = fork();
    require(child->pid >= 0);
    if (child->pid == 0)
        become(start, &there);
    require(close(down[0]) == 0);
    require(close(up[1]) == 0);
    child->line = (struct line){.in = up[0], .out = down[1]};
}

void service_start(struct child *child, const char *name, const struct host *host,
                   const char *setting)
{
    const struct start start = {own_program(), name, host->listener, -1, false, setting};

    start_with_line(child, &start);
}

void service_start_on(struct child *child, const char *name, int connection)
{
    const struct start start = {own_program(), name, -1, connection, false, NULL};

    start_with_line(child, &start);
}

void service_start_activated(struct child *child, const char *name, int passed,
                             const char *setting)
{
    const struct start start = {own_program(), name, passed, -1, true, setting};

    start_with_line(child, &start);
}

void program_start(struct child *child, const char *path, const struct host *host,
                   const char *setting)
{
    const struct start start = {path, NULL, host->listener, -1, false, setting};

    start_with_line(child, &start);
}

int service_main(const struct service *services, char **arguments)
{
    /* They outlive main(), which some services leave by pthread_exit(3). */
    static const struct host host = {.listener = SERVICE_LISTENER};
    static const struct line parent = {.in = SERVICE_IN, .out = SERVICE_OUT};

    for (; services->name; services++)
        if (strcmp(services->name, arguments[1]) == 0)
            return services->run(&host, &parent);
    return 127;
}

int end_of(struct child *child)
{
    line_close(&child->line);
    return status_at_end(child->pid);
}

int accept_unread(const struct host *host)
{
    const int server = host_accept(host);

    require(wait_for(server, POLLIN, GENEROUS_MS) & POLLIN);
    return server;
}

int accept_and_answer(const struct host *host, const struct line *parent)
{
    const int server = accept_unread(host);

    send_response(server);
    line_tell(parent, 'e');
    return server;
}

/* Not by state 'Z': the first thread may end long before the process does. */
static bool has_ended(void *child)
{
    siginfo_t end = {0};
    const id_t pid = (id_t)((const struct child *)child)->pid;

    require(waitid(P_PID, pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0);
    return end.si_pid != 0;
}

static bool waits_or_has_ended(void *child)
{
    return has_ended(child) || schedstate_of(((const struct child *)child)->pid) == 'S';
}

void await_rest(struct child *child, bool must_end)
{
    require(becomes_true(must_end ? has_ended : waits_or_has_ended, child, GENEROUS_MS));
}

/* The client must not read before the end has come as far as it comes by itself: it
 * might otherwise have everything before an end that loses. */
void prove_ending(const char *name, const char *setting, bool saves, int status)
{
    struct host host;
    struct child child;

    require_context("%s mode, %s %s", test_mode_name(), name, setting ? setting : "");
    host_open(&host, FAMILY_IPV4);
    const int client = host_connect(&host);
    const struct netcounters before = netcounters_now();

    send_late_bytes(client);
    service_start(&child, name, &host, setting);
    line_await(&child.line, 'e');
    await_rest(&child, !saves);
    const struct harvest harvest = read_response(client);

    require_fate(saves, &harvest, &before);
    require(close(client) == 0);
    const int end = end_of(&child);

    require_note("wait status %#x", (unsigned)end);
    require(WIFEXITED(end));
    require(WEXITSTATUS(end) == status);
    host_close(&host);
}
