#include "schedstate.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* /proc/TID exists for every thread, though no listing of /proc shows it. The state
 * follows the name in parentheses, which may itself hold any character. */
char schedstate_of(int pid_or_tid)
{
    char path[32], text[256] = {0};

    snprintf(path, sizeof(path), "/proc/%d/stat", pid_or_tid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    const ssize_t length = read(fd, text, sizeof(text) - 1);

    close(fd);
    const char *name_end = length > 0 ? strrchr(text, ')') : NULL;

    return name_end && name_end[1] == ' ' ? name_end[2] : 0;
}
