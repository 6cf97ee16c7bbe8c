/* What lingers is in a descriptor table of the drain thread's own: no child of the
 * program has it, and no stray write of the thread goes there. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "children.h"
#include "crowd.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

enum { TARGET_LENGTH = 128 };

/* pidfd_open(2): of a thread, and so with the thread's own table (Linux 6.9) */
enum { OF_A_THREAD = O_EXCL };

/* Clients are in the tables of children made without exec(3); they are not what lingers. */
static void require_none_in_own_table(const struct crowd *crowd)
{
    const struct fdtable table = fdtable_now();

    for (size_t i = 0; i < table.count; i++)
        require(!crowd_has(crowd, inode_of(table.fds[i])));
}

static void look_at_own_table(struct line *parent, void *crowd)
{
    require_none_in_own_table(crowd);
    /* and neither does a child of the child */
    const pid_t pid = fork();

    require(pid >= 0);
    if (pid == 0) {
        require_none_in_own_table(crowd);
        _exit(0);
    }
    require_exits_cleanly(pid);
    line_tell(parent, 'n');
}

static void children_see_nothing(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct crowd crowd;
        struct child child;

        crowd_let_linger(way, &crowd);
        require_none_in_own_table(&crowd);
        fflush(NULL);
        child_start(&child, look_at_own_table, &crowd);
        line_await(&child.line, 'n');
        child_reap(&child);
        crowd_send_home(&crowd);
    }
}

/* ---- the thread's own 0, 1 and 2 ---- */

static bool is_drain_thread(const char *tid)
{
    char path[64], name[32] = "";

    snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", tid);
    FILE *const file = fopen(path, "re");

    require(file != NULL);
    require(fgets(name, sizeof(name), file) != NULL);
    fclose(file);
    return strcmp(name, "linger\n") == 0;
}

/* Of the drain thread; false if there is none. */
static bool find_table(char *path, size_t size)
{
    DIR *const tasks = opendir("/proc/self/task");
    const struct dirent *task;
    bool found = false;

    require(tasks != NULL);
    while (!found && (task = readdir(tasks)) != NULL) {
        found = isdigit((unsigned char)task->d_name[0]) && is_drain_thread(task->d_name);
        if (found)
            snprintf(path, size, "/proc/self/task/%.16s/fd", task->d_name);
    }
    closedir(tasks);
    return found;
}

static bool target_of(const char *table, const char *number, char *target)
{
    char path[TARGET_LENGTH];

    snprintf(path, sizeof(path), "%.64s/%.16s", table, number);
    const ssize_t length = readlink(path, target, TARGET_LENGTH - 1);

    target[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* What the thread would write to its own `fd`, were there a stray write(2) in it: written
 * by us to the very same open file. */
static void require_stray_write_reaches_nobody(const char *table, int fd)
{
    const char *const tid = table + strlen("/proc/self/task/");
    const int thread = (int)syscall(SYS_pidfd_open, atoi(tid), OF_A_THREAD);

    if (thread < 0 && errno == EINVAL) {
        printf("# not written to the thread's %d: that needs Linux 6.9\n", fd);
        return;
    }
    require(thread >= 0);
    const int number = (int)syscall(SYS_pidfd_getfd, thread, fd, 0);

    require(number >= 0);
    /* as many bytes as an eventfd(2) takes, too */
    require(write(number, "straying", 8) == -1);
    require(errno == EINVAL);
    require(close(number) == 0);
    require(close(thread) == 0);
}

/* Its channel, and what lingers: the thread has arranged its table, and taken them over. */
static bool holds(void *count)
{
    char table[64], target[TARGET_LENGTH];
    const struct dirent *entry;
    int sockets = 0;

    if (!find_table(table, sizeof(table)))
        return false;
    DIR *const numbers = opendir(table);

    require(numbers != NULL);
    while ((entry = readdir(numbers)) != NULL)
        if (target_of(table, entry->d_name, target) && strncmp(target, "socket:", 7) == 0)
            sockets++;
    closedir(numbers);
    return sockets == *(const int *)count + 1;
}

static void require_inert_thread(const struct way *way, int lingering)
{
    char table[64], target[TARGET_LENGTH];

    /* bare, or by a close() that is libc's, there need not be one */
    if (!way->saves)
        return;
    require(becomes_true(holds, &lingering, GENEROUS_MS));
    require(find_table(table, sizeof(table)));
    for (int fd = 0; fd <= 2; fd++) {
        const char number[] = {(char)('0' + fd), '\0'};

        require(target_of(table, number, target));
        require_note("%s/%d is %s", table, fd, target);
        require(strcmp(target, "anon_inode:[eventpoll]") == 0);
        require_stray_write_reaches_nobody(table, fd);
    }
}

static void stray_writes_of_the_thread_reach_nobody(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct crowd crowd;

        crowd_let_linger(way, &crowd);
        require_context("%s mode, %s", test_mode_name(), way->name);
        require_inert_thread(way, CROWD_SIZE);
        crowd_send_home(&crowd);
    }
}

/* A daemon that has closed 0, 1 and 2, so that its connections get these numbers. */
static void serve_without_standard_descriptors(struct line *parent, void *argument)
{
    const struct way *way = argument;
    struct host host;

    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    host_open(&host, FAMILY_IPV4);
    const int client = host_connect(&host);
    const int server = host_accept(&host);

    require(host.listener <= STDERR_FILENO && server <= STDERR_FILENO);
    require(way->let_go(server) == 0);
    require_inert_thread(way, 1);
    close(client);
    require_nothing_lingers();
    line_tell(parent, 'n');
}

static void nor_where_connections_had_their_numbers(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct child child;

        fflush(NULL);
        child_start(&child, serve_without_standard_descriptors, (void *)(uintptr_t)way);
        line_await(&child.line, 'n');
        child_reap(&child);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(children_see_nothing),
        trap(stray_writes_of_the_thread_reach_nobody),
        trap(nor_where_connections_had_their_numbers),
    };

    return run_traps(traps);
}
