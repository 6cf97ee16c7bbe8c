/* Trap 24: what is no accepted TCP connection is closed as ever: the same result,
 * the same errno, and the same effect before close() returns. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

static void let_go_at_once(const struct way *way, int fd)
{
    errno = EXDEV;
    require(way->let_go(fd) == 0);
    require(errno == EXDEV);
    require(is_free(fd));
    if (linger_pending)
        require(linger_pending() == 0);
}

static void pipe_reader_sees_the_end_at_once(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        int ends[2];
        char byte;

        require(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
        let_go_at_once(way, ends[1]);
        require(read(ends[0], &byte, 1) == 0);
        let_go_at_once(way, ends[0]);
    }
}

static void unix_peer_sees_the_end_at_once(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        int ends[2];
        char byte;

        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        let_go_at_once(way, ends[1]);
        require(recv(ends[0], &byte, 1, MSG_DONTWAIT) == 0);
        let_go_at_once(way, ends[0]);
    }
}

/* unix_release_sock() in the kernel: the peer of unread input gets ECONNRESET. An
 * accepted connection, as that is what the shim takes note of. */
static void accepted_unix_connection_with_unread_input_still_resets(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const sa_family_t name = AF_UNIX; /* unix(7), autobind */
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);
        const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char byte;

        require(bind(listener, (struct sockaddr *)&name, sizeof(name)) == 0);
        require(listen(listener, 1) == 0);
        require(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
        require(connect(client, (struct sockaddr *)&address, length) == 0);
        const int server = accept(listener, NULL, NULL);

        require(send(client, "unread", 6, 0) == 6);
        let_go_at_once(way, server);
        require(recv(client, &byte, 1, MSG_DONTWAIT) == -1 && errno == ECONNRESET);
        let_go_at_once(way, client);
        let_go_at_once(way, listener);
    }
}

/* dlsym(3) in libc alone: past every hook, as a program's own system call is. */
static void close_past_the_hooks(int fd)
{
    void *const libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    int (*real_close)(int);

    require(libc != NULL);
    *(void **)&real_close = dlsym(libc, "close");
    require(real_close != NULL);
    require(real_close(fd) == 0);
    require(dlclose(libc) == 0);
}

/* What was known of the TCP listener that had the number does not stand for a Unix one. */
static void unix_listener_under_a_tcp_listeners_number_stays_unix(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct sockaddr_un nameless = {.sun_family = AF_UNIX};
        socklen_t length = sizeof(nameless);
        struct host host;

        host_open(&host, FAMILY_IPV4);
        const int first = host_connect(&host);

        require(close(host_accept(&host)) == 0);
        require(close(first) == 0);
        require_nothing_lingers();
        close_past_the_hooks(host.listener);
        const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        require(listener == host.listener);
        /* unix(7), "Autobind feature". */
        require(bind(listener, (struct sockaddr *)&nameless, sizeof(sa_family_t)) == 0);
        require(getsockname(listener, (struct sockaddr *)&nameless, &length) == 0);
        require(listen(listener, 1) == 0);
        require(connect(client, (struct sockaddr *)&nameless, length) == 0);
        let_go_at_once(way, accept(listener, NULL, NULL));
        errno = 0;
        require(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
        let_go_at_once(way, client);
        let_go_at_once(way, listener);
    }
}

static void listener_refuses_at_once(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct host host;
        const int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        host_open(&host, FAMILY_IPV4);
        let_go_at_once(way, host.listener);
        require(connect(late, (struct sockaddr *)&host.address, host.length) == -1);
        require(errno == ECONNREFUSED);
        let_go_at_once(way, late);
    }
}

/* Never accepted, so nobody's to linger for: inet_csk_listen_stop() resets it. */
static void connection_never_accepted_is_reset_with_its_listener(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct host host;
        char byte;

        host_open(&host, FAMILY_IPV4);
        const int client = host_connect(&host);

        require(wait_for(host.listener, POLLIN, GENEROUS_MS) & POLLIN);
        let_go_at_once(way, host.listener);
        require(wait_for(client, POLLIN, GENEROUS_MS) != 0);
        require(recv(client, &byte, 1, MSG_DONTWAIT) == -1 && errno == ECONNRESET);
        require(close(client) == 0);
    }
}

static void udp_port_is_free_at_once(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct sockaddr_in name = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof(name);
        const int first = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const int second = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        require(bind(first, (struct sockaddr *)&name, sizeof(name)) == 0);
        require(getsockname(first, (struct sockaddr *)&name, &length) == 0);
        require(connect(second, (struct sockaddr *)&name, length) == 0);
        require(send(second, "unread", 6, 0) == 6);
        let_go_at_once(way, first);
        let_go_at_once(way, second);
        const int third = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        require(bind(third, (struct sockaddr *)&name, sizeof(name)) == 0);
        let_go_at_once(way, third);
    }
}

/* flock(2) ends with the last reference to the open file description. */
static void lock_on_a_file_is_released_at_once(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        char path[] = "/tmp/linger-lock-XXXXXX";
        const int holder = mkostemp(path, O_CLOEXEC), rival = open(path, O_RDWR | O_CLOEXEC);

        require(holder >= 0 && rival >= 0);
        require(flock(holder, LOCK_EX) == 0);
        require(flock(rival, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
        let_go_at_once(way, holder);
        require(flock(rival, LOCK_EX | LOCK_NB) == 0);
        let_go_at_once(way, rival);
        require(unlink(path) == 0);
    }
}

static void every_other_kind_of_descriptor_closes(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const int others[] = {
            eventfd(0, EFD_CLOEXEC),
            epoll_create1(EPOLL_CLOEXEC),
            timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
            memfd_create("linger", MFD_CLOEXEC),
            open("/", O_PATH | O_CLOEXEC),
            open("/proc/self/fd", O_DIRECTORY | O_CLOEXEC),
            socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
            socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0),
            socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0),
        };

        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            require(others[i] >= 0);
            let_go_at_once(way, others[i]);
        }
    }
}

/* A client that hangs up on what it did not read wants the sender to stop: by
 * close(); linger_close() on a client is its author's choice. */
static void client_with_unread_input_still_resets(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    (void)state;
    send_response(pair.server);
    require(wait_for(pair.client, POLLIN, GENEROUS_MS) & POLLIN);
    let_go_at_once(plain_close(), pair.client);
    require(resets_since(&before) > 0);
    require(netcounters_now().abort_on_close - before.abort_on_close == 1);
    require(wait_for(pair.server, POLLHUP, GENEROUS_MS) & POLLHUP);
    require(close(pair.server) == 0);
}

static void numbers_that_are_not_open_are_ebadf(void **state)
{
    const int numbers[] = {-1, -100, 999, 1 << 20, 0x7fffffff};

    (void)state;
    BY_EACH_WAY(way) {
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            errno = 0;
            require(way->let_go(numbers[i]) == -1);
            require(errno == EBADF);
        }
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(pipe_reader_sees_the_end_at_once),
        trap(unix_peer_sees_the_end_at_once),
        trap(accepted_unix_connection_with_unread_input_still_resets),
        trap(unix_listener_under_a_tcp_listeners_number_stays_unix),
        trap(listener_refuses_at_once),
        trap(connection_never_accepted_is_reset_with_its_listener),
        trap(udp_port_is_free_at_once),
        trap(lock_on_a_file_is_released_at_once),
        trap(every_other_kind_of_descriptor_closes),
        trap(client_with_unread_input_still_resets),
        trap(numbers_that_are_not_open_are_ebadf),
    };

    return run_traps(traps);
}
