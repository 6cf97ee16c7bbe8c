/* What lingers is in a descriptor table of the drain thread's own: no child, no program
 * started by exec(3) and no stray write ever meets it. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

extern char **environ;

enum { LINGERING = 20, LIST_LENGTH = 4096, TARGET_LENGTH = 128 };

/* ---- programs that are started, and list what they inherited ---- */

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

static struct list started_by(const struct starter *starter)
{
    struct list list;

    starter->start();
    FILE *const file = fopen(list_path, "re");

    require(file != NULL);
    keep_names_only(&list, file);
    require(fclose(file) == 0);
    /* ls has at least its standard output and the directory it reads */
    require(strstr(list.text, "1 -> ") && strstr(list.text, "/proc/"));
    require_no_socket(&list);
    return list;
}

/* ---- connections that linger ---- */

struct crowd {
    int clients[LINGERING];
    ino_t inodes[LINGERING];
};

static ino_t inode_of(int fd)
{
    struct stat status;

    require(fstat(fd, &status) == 0);
    return status.st_ino;
}

static bool so_many_linger(void *count)
{
    return linger_pending() == *(const int *)count;
}

static void require_lingering(const struct way *way, int count)
{
    if (way->saves)
        require(becomes_true(so_many_linger, &count, GENEROUS_MS));
}

/* Their clients have everything and stay, so that they go on lingering. */
static void let_linger(const struct way *way, struct crowd *crowd)
{
    for (int i = 0; i < LINGERING; i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        crowd->clients[i] = pair.client;
        crowd->inodes[i] = inode_of(pair.server);
        require(way->let_go(pair.server) == 0);
    }
    require_lingering(way, LINGERING);
}

static void send_home(struct crowd *crowd)
{
    for (int i = 0; i < LINGERING; i++)
        require(close(crowd->clients[i]) == 0);
    require_nothing_lingers();
}

static bool is_one_of(const struct crowd *crowd, ino_t inode)
{
    for (int i = 0; i < LINGERING; i++)
        if (crowd->inodes[i] == inode)
            return true;
    return false;
}

/* Clients are in the tables of children made without exec(3); they are not what lingers. */
static void require_none_in_own_table(const struct crowd *crowd)
{
    const struct fdtable table = fdtable_now();

    for (size_t i = 0; i < table.count; i++)
        require(!is_one_of(crowd, inode_of(table.fds[i])));
}

static void started_programs_see_nothing(void **state)
{
    const int file = mkstemp(list_path);

    (void)state;
    require(file >= 0);
    require(close(file) == 0);
    snprintf(list_command, sizeof(list_command), "exec ls -l /proc/self/fd > %s", list_path);
    BY_EACH_WAY(way) {
        struct list before[STARTERS];
        struct crowd crowd;

        for (size_t i = 0; i < STARTERS; i++)
            before[i] = started_by(&starters[i]);
        let_linger(way, &crowd);
        /* what they may inherit: the clients, which are the test's own */
        for (int i = 0; i < LINGERING; i++)
            require(fcntl(crowd.clients[i], F_SETFD, FD_CLOEXEC) == 0);
        for (size_t i = 0; i < STARTERS; i++) {
            require_context("%s mode, %s, %s", test_mode_name(), way->name, starters[i].name);
            const struct list after = started_by(&starters[i]);

            require_note("before:\n%safter:\n%s", before[i].text, after.text);
            require(strcmp(before[i].text, after.text) == 0);
        }
        send_home(&crowd);
    }
    require(unlink(list_path) == 0);
    strcpy(strrchr(list_path, '-'), "-XXXXXX");
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

        let_linger(way, &crowd);
        require_none_in_own_table(&crowd);
        fflush(NULL);
        child_start(&child, look_at_own_table, &crowd);
        line_await(&child.line, 'n');
        child_reap(&child);
        send_home(&crowd);
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
        /* write(2) to an epoll set is EINVAL, read(2) too: nobody is told anything */
        require(strcmp(target, "anon_inode:[eventpoll]") == 0);
    }
}

static void stray_writes_of_the_thread_reach_nobody(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct crowd crowd;

        let_linger(way, &crowd);
        require_context("%s mode, %s", test_mode_name(), way->name);
        require_inert_thread(way, LINGERING);
        send_home(&crowd);
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
        trap(started_programs_see_nothing),
        trap(children_see_nothing),
        trap(stray_writes_of_the_thread_reach_nobody),
        trap(nor_where_connections_had_their_numbers),
    };

    return run_traps(traps);
}
