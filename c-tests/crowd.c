#include "crowd.h"

#include <sys/stat.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "require.h"

ino_t inode_of(int fd)
{
    struct stat status;

    require(fstat(fd, &status) == 0);
    return status.st_ino;
}

static bool all_linger(void *unused)
{
    (void)unused;
    return linger_pending() == CROWD_SIZE;
}

void crowd_let_linger(const struct way *way, struct crowd *crowd)
{
    for (int i = 0; i < CROWD_SIZE; i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        crowd->clients[i] = pair.client;
        crowd->inodes[i] = inode_of(pair.server);
        require(way->let_go(pair.server) == 0);
    }
    if (way->saves)
        require(becomes_true(all_linger, NULL, GENEROUS_MS));
}

void crowd_send_home(struct crowd *crowd)
{
    for (int i = 0; i < CROWD_SIZE; i++)
        require(close(crowd->clients[i]) == 0);
    require_nothing_lingers();
}

bool crowd_has(const struct crowd *crowd, ino_t inode)
{
    for (int i = 0; i < CROWD_SIZE; i++)
        if (crowd->inodes[i] == inode)
            return true;
    return false;
}
