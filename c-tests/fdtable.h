/* The process's descriptor table as /proc/self/fd shows it. */
#ifndef FDTABLE_H
#define FDTABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { FDTABLE_MAX = 1024 };

struct fdtable {
    size_t count;
    int fds[FDTABLE_MAX];
};

struct fdtable fdtable_now(void);
bool fdtable_has(const struct fdtable *table, int fd);

/* For leaks: remember the table, and ask later whether it is the same. */
void fdtable_remember(void);
bool fdtable_is_as_remembered(void);

/* Closes what is not remembered, connections with RST so that nobody waits for them. */
void fdtable_abandon_the_rest(void);

/* The number is free: fcntl says EBADF. */
bool is_free(int fd);

#endif
