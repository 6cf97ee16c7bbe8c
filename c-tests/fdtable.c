#include "fdtable.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "require.h"

static struct fdtable remembered;

struct fdtable fdtable_now(void)
{
    struct fdtable table = {0};
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;

    require(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            atoi(entry->d_name) == dirfd(directory))
            continue;
        require(table.count < FDTABLE_MAX);
        table.fds[table.count++] = atoi(entry->d_name);
    }
    closedir(directory);
    return table;
}

bool fdtable_has(const struct fdtable *table, int fd)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->fds[i] == fd)
            return true;
    return false;
}

void fdtable_remember(void)
{
    remembered = fdtable_now();
}

/* /proc/self/fd is listed in ascending order: fs/proc/fd.c, proc_readfd_common. */
bool fdtable_is_as_remembered(void)
{
    const struct fdtable now = fdtable_now();

    return now.count == remembered.count &&
           memcmp(now.fds, remembered.fds, now.count * sizeof(now.fds[0])) == 0;
}

void fdtable_abandon_the_rest(void)
{
    const struct linger abort_now = {.l_onoff = 1, .l_linger = 0};
    const struct fdtable now = fdtable_now();

    for (size_t i = 0; i < now.count; i++) {
        if (fdtable_has(&remembered, now.fds[i]))
            continue;
        setsockopt(now.fds[i], SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now));
        close(now.fds[i]);
    }
}

bool is_free(int fd)
{
    return fcntl(fd, F_GETFD) == -1 && errno == EBADF;
}
