#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "require.h"

static void write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);

    require(fd >= 0);
    require(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* user_namespaces(7): setgroups must be denied before an unprivileged gid_map. */
static void become_root_in_a_user_namespace(uid_t uid, gid_t gid)
{
    char map[64];

    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
    write_file("/proc/self/gid_map", map);
}

static void bring_loopback_up(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    require(fd >= 0);
    require(ioctl(fd, SIOCGIFFLAGS, &lo) == 0);
    lo.ifr_flags |= IFF_UP | IFF_RUNNING;
    require(ioctl(fd, SIOCSIFFLAGS, &lo) == 0);
    close(fd);
}

void enter_private_network(void)
{
    const uid_t uid = getuid();
    const gid_t gid = getgid();

    if (unshare(CLONE_NEWNET) < 0) {
        require(errno == EPERM);
        require(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
        /* As an ordinary program is: its relatives may see what it holds. */
        require(prctl(PR_SET_DUMPABLE, 1) == 0);
        /* Who started it is in another user namespace, and may not be looked into. */
        setsid();
        become_root_in_a_user_namespace(uid, gid);
    }
    bring_loopback_up();
}
