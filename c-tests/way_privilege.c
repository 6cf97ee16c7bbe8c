/* A process that gives up its privilege with setuid(2), which reaches every thread, ours
 * too; or its root directory with chroot(2), where there is no /proc. It goes on lingering. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static const unsigned NOBODY = 65534;

struct service {
    struct host host;
    void (*give_up)(void);
    bool lingers; /* at that moment; else the first linger comes after */
    bool forks;   /* after the accept: who else holds it is then looked up in /proc */
};

/* In a user namespace with one id there is nobody else to become. */
static unsigned id_to_become(void)
{
    char map[256];
    FILE *const file = fopen("/proc/self/uid_map", "re");
    unsigned first, outside, count;

    require(file != NULL);
    require(fgets(map, sizeof(map), file) != NULL);
    fclose(file);
    require(sscanf(map, "%u %u %u", &first, &outside, &count) == 3);
    return NOBODY - first < count ? NOBODY : getuid();
}

/* proc(5), /proc/PID/status: real, effective, saved set and file system id. */
static bool runs_as(const char *tid, unsigned id)
{
    char path[64], line[256];
    unsigned ids[4] = {~0U, ~0U, ~0U, ~0U};

    snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", tid);
    FILE *const file = fopen(path, "re");

    require(file != NULL);
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "Uid: %u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) == 4)
            break;
    fclose(file);
    return ids[0] == id && ids[1] == id && ids[2] == id && ids[3] == id;
}

static int threads_that_run_as(unsigned id)
{
    DIR *const tasks = opendir("/proc/self/task");
    const struct dirent *task;
    int threads = 0;

    require(tasks != NULL);
    while ((task = readdir(tasks)) != NULL) {
        if (!isdigit((unsigned char)task->d_name[0]))
            continue;
        require(runs_as(task->d_name, id));
        threads++;
    }
    closedir(tasks);
    return threads;
}

static void give_up_privilege(void)
{
    const unsigned id = id_to_become();
    const int threads = threads_that_run_as(getuid());

    require(setuid(id) == 0);
    require(threads_that_run_as(id) == threads);
}

static void give_up_the_root(void)
{
    char empty[] = "/tmp/emptyXXXXXX";

    require(mkdtemp(empty) != NULL);
    require(chdir(empty) == 0);
    require(rmdir(empty) == 0);
    require(chroot(".") == 0);
    require(access("/proc", F_OK) != 0);
}

static void fork_a_child_that_ends(void)
{
    const pid_t pid = fork();

    if (pid == 0)
        _exit(EXIT_SUCCESS);
    require(pid > 0);
    require(waitpid(pid, NULL, 0) == pid);
}

static void serve_one(const struct service *service, const struct line *parent)
{
    const int server = host_accept(&service->host);

    send_response(server);
    if (service->forks)
        fork_a_child_that_ends();
    require(close(server) == 0);
    line_tell(parent, 'c');
}

static void serve_having_given_up(struct line *parent, void *argument)
{
    const struct service *service = argument;

    if (service->lingers)
        serve_one(service, parent);
    service->give_up();
    line_tell(parent, 'g');
    serve_one(service, parent);
    line_await(parent, 'e');
}

static void prove_next(const struct service *service, const struct child *child)
{
    const int client = host_connect(&service->host);

    line_await(&child->line, 'c');
    const struct netcounters before = netcounters_now();

    require_context("%s mode, let go afterwards", test_mode_name());
    prove_fate(plain_close(), client, &before);
}

/* The connection that lingers at that moment is proved after it, not before. */
static void prove_service(struct service *service)
{
    const struct netcounters before = netcounters_now();
    struct child child;
    int client = -1;

    host_open(&service->host, FAMILY_IPV4);
    if (service->lingers)
        client = host_connect(&service->host);
    fflush(NULL);
    child_start(&child, serve_having_given_up, service);
    if (service->lingers)
        line_await(&child.line, 'c');
    line_await(&child.line, 'g');
    if (service->lingers) {
        require_context("%s mode, lingering at that moment", test_mode_name());
        prove_fate(plain_close(), client, &before);
    }
    prove_next(service, &child);
    line_tell(&child.line, 'e');
    child_reap(&child);
    host_close(&service->host);
}

static void setuid_before_the_first_linger(void **state)
{
    struct service service = {.give_up = give_up_privilege};

    (void)state;
    prove_service(&service);
}

static void setuid_while_one_lingers(void **state)
{
    struct service service = {.give_up = give_up_privilege, .lingers = true};

    (void)state;
    prove_service(&service);
}

static void chroot_before_the_first_linger(void **state)
{
    struct service service = {.give_up = give_up_the_root};

    (void)state;
    prove_service(&service);
}

static void chroot_while_one_lingers(void **state)
{
    struct service service = {.give_up = give_up_the_root, .lingers = true};

    (void)state;
    prove_service(&service);
}

/* A server that forked since its accept(2): /proc must have been opened in time. */
static void chroot_of_a_server_that_forks(void **state)
{
    struct service first = {.give_up = give_up_the_root, .forks = true};
    struct service later = {.give_up = give_up_the_root, .lingers = true, .forks = true};

    (void)state;
    prove_service(&later);
    prove_service(&first);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(setuid_before_the_first_linger),
        trap(setuid_while_one_lingers),
        trap(chroot_before_the_first_linger),
        trap(chroot_while_one_lingers),
        trap(chroot_of_a_server_that_forks),
    };

    return run_traps(traps);
}
