/* Clients that have everything and stay, so that the server's ends of their connections
 * go on lingering. */
#ifndef CROWD_H
#define CROWD_H

#include <stdbool.h>
#include <sys/types.h>

struct way;

enum { CROWD_SIZE = 20 };

struct crowd {
    int clients[CROWD_SIZE];
    ino_t inodes[CROWD_SIZE]; /* of the server's ends */
};

/* Where the way saves, all of them linger when this returns. */
void crowd_let_linger(const struct way *way, struct crowd *crowd);

/* Nothing lingers any more when this returns. */
void crowd_send_home(struct crowd *crowd);

/* A server's end has this inode number. */
bool crowd_has(const struct crowd *crowd, ino_t inode);

ino_t inode_of(int fd);

#endif
