/* What the system calls of a lingering close cost here: cc -O2 -o floor floor.c && ./floor. See floor.md. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CALLS 20000
#define ROUNDS 15
#define BATCH 32

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

/* The best of several rounds: what is left when nobody disturbs. */
#define MEASURE(name, call)                                          \
    do {                                                             \
        double best = 1e18;                                          \
        for (int round = 0; round < ROUNDS; round++) {               \
            const double begin = now_ns();                           \
            for (int i = 0; i < CALLS; i++) {                        \
                call;                                                \
            }                                                        \
            const double each = (now_ns() - begin) / CALLS;          \
            best = each < best ? each : best;                        \
        }                                                            \
        printf("%-40s %6.0f ns\n", name, best);                      \
    } while (0)

static int channel;

static void pass(int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0}, payload[12] = {0};
    struct iovec part = {payload, sizeof(payload)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int take(int *fds, int count)
{
    static char controls[BATCH][CMSG_SPACE(sizeof(int))], payloads[BATCH][12];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    memset(messages, 0, sizeof(messages));
    for (int i = 0; i < count; i++) {
        parts[i] = (struct iovec){payloads[i], sizeof(payloads[i])};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i],
                                              .msg_iovlen = 1,
                                              .msg_control = controls[i],
                                              .msg_controllen = sizeof(controls[i])};
    }
    const int received = recvmmsg(channel, messages, count, MSG_DONTWAIT, NULL);
    for (int i = 0; i < received; i++)
        memcpy(&fds[i], CMSG_DATA(CMSG_FIRSTHDR(&messages[i].msg_hdr)), sizeof(int));
    return received;
}

static void measure_passing(int fd, int batch)
{
    double send = 1e18, receive = 1e18, ending = 1e18;
    for (int round = 0; round < 3000; round++) {
        int fds[BATCH];
        const double begin = now_ns();
        for (int i = 0; i < BATCH; i++)
            pass(fd);
        const double sent = now_ns();
        for (int i = 0; i < BATCH; i += batch)
            take(fds + i, batch);
        const double received = now_ns();
        for (int i = 0; i < BATCH; i++)
            close(fds[i]);
        const double closed = now_ns();
        send = sent - begin < send ? sent - begin : send;
        receive = received - sent < receive ? received - sent : receive;
        ending = closed - received < ending ? closed - received : ending;
    }
    printf("passing, %2d a call: sendmsg %.0f ns, recvmmsg %.0f ns each, close of a copy %.0f ns\n", batch,
           send / BATCH, receive / BATCH, ending / BATCH);
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&address, sizeof(address));
    listen(listener, 1);
    getsockname(listener, (struct sockaddr *)&address, &length);
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&address, sizeof(address)) != 0)
        return perror("connect"), 1;
    const int server = accept(listener, NULL, NULL), epoll = epoll_create1(0);

    struct sockaddr_un name = {.sun_family = AF_UNIX};
    channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    bind(channel, (struct sockaddr *)&name, sizeof(sa_family_t));
    length = sizeof(name);
    getsockname(channel, (struct sockaddr *)&name, &length);
    connect(channel, (struct sockaddr *)&name, length);

    char state;
    int bytes;
    struct linger linger;
    struct stat status;
    struct epoll_event event = {.events = EPOLLIN};
    MEASURE("getpid", syscall(SYS_getpid));
    MEASURE("getsockopt TCP_INFO, one byte", (length = 1, getsockopt(server, IPPROTO_TCP, TCP_INFO, &state, &length)));
    MEASURE("recv that finds nothing", recv(server, NULL, 65536, MSG_TRUNC | MSG_DONTWAIT));
    MEASURE("getsockopt SO_LINGER", (length = sizeof(linger), getsockopt(server, SOL_SOCKET, SO_LINGER, &linger, &length)));
    MEASURE("fstat of the channel", fstat(channel, &status));
    MEASURE("ioctl SIOCOUTQ", ioctl(server, TIOCOUTQ, &bytes));
    MEASURE("epoll_ctl ADD and DEL", (epoll_ctl(epoll, EPOLL_CTL_ADD, server, &event), epoll_ctl(epoll, EPOLL_CTL_DEL, server, &event)));
    MEASURE("dup to a high number, and close", close(fcntl(server, F_DUPFD_CLOEXEC, 1000)));
    measure_passing(server, 1);
    measure_passing(server, BATCH);
    return 0;
}
