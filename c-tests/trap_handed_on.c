/* Trap 16, descriptors: one open file description under several numbers, or in
 * another process's hands, or in nobody's table while it travels between two. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static void require_untouched(const struct pair *pair, const char *why)
{
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require_whole(pair, why);
}

/* Closes the original number, goes on under another, then lets that go too. */
static void prove_last_number_lingers(const struct way *way, struct pair pair, int other)
{
    const struct netcounters before = netcounters_now();

    require(close(pair.server) == 0);
    pair.server = other;
    require_untouched(&pair, "close of one of two numbers");
    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    prove_fate(way, pair.client, &before);
}

static void dup_in_the_same_process_keeps_the_connection(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        prove_last_number_lingers(way, pair, dup(pair.server));
    }
}

static void dup2_in_the_same_process_keeps_the_connection(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const int elsewhere = 200;

        require(dup2(pair.server, elsewhere) == elsewhere);
        prove_last_number_lingers(way, pair, elsewhere);
    }
}

static void fcntl_dupfd_in_the_same_process_keeps_the_connection(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        prove_last_number_lingers(way, pair, fcntl(pair.server, F_DUPFD_CLOEXEC, 100));
    }
}

/* socket.makefile(): one stream each way, each over a dup of its own. libc closes
 * their numbers inside fclose(3), not through the symbol. */
static void fdopen_of_a_dup_keeps_the_connection(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();
        FILE *reader = fdopen(dup(pair.server), "r");
        FILE *writer = fdopen(dup(pair.server), "w");

        require(reader && writer);
        require(fclose(reader) == 0);
        require_untouched(&pair, "fclose of the reading stream");
        require(fputs("pong", writer) >= 0 && fclose(writer) == 0);
        char pong[4];
        require(recv(pair.client, pong, sizeof(pong), MSG_WAITALL) == sizeof(pong));
        require_untouched(&pair, "fclose of the writing stream");
        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        prove_fate(way, pair.client, &before);
    }
}

/* unix(7): SCM_RIGHTS. */
static void send_descriptor(int over, int fd)
{
    char byte = 'd', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec body = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
    require(sendmsg(over, &message, 0) == 1);
}

static int receive_descriptor(int over)
{
    char byte, control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec body = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof(control)};
    int fd;

    require(wait_for(over, POLLIN, GENEROUS_MS) & POLLIN);
    require(recvmsg(over, &message, MSG_CMSG_CLOEXEC) == 1);
    require(CMSG_FIRSTHDR(&message) != NULL);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

struct courier {
    int ends[2];
};

/* A worker that is handed connections, and that drains its own as a good server
 * should: whether its close would linger is not what this is about. */
static void serve_what_is_handed_over(struct line *parent, void *argument)
{
    const struct courier *courier = argument;

    require(close(courier->ends[0]) == 0);
    line_await(parent, 'r');
    const int server = receive_descriptor(courier->ends[1]);

    line_tell(parent, 'g');
    line_await(parent, 's');
    send_response(server);
    require(shutdown(server, SHUT_WR) == 0);
    line_tell(parent, 'a');
    require(wait_for(server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(server) == 0);
}

static void require_child_serves(const struct child *child, int client)
{
    line_tell(&child->line, 's');
    line_await(&child->line, 'a');
    const struct harvest harvest = read_response(client);

    require(harvest.bytes == RESPONSE_BYTES);
    require(harvest.error == 0);
    require(close(client) == 0);
}

/* The worker starts before the connection exists, so it has no copy by fork. */
static void open_courier(struct courier *courier, struct child *child)
{
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, courier->ends) == 0);
    child_start(child, serve_what_is_handed_over, courier);
    require(close(courier->ends[1]) == 0);
}

static void require_no_fin(int client)
{
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require(wait_for(client, POLLIN | POLLRDHUP, 0) == 0);
}

static void descriptor_sent_to_another_process_is_not_cut_off(void **state)
{
    struct courier courier;
    struct child child;

    (void)state;
    open_courier(&courier, &child);
    const struct pair pair = pair_open(FAMILY_IPV4);

    send_descriptor(courier.ends[0], pair.server);
    line_tell(&child.line, 'r');
    line_await(&child.line, 'g');
    require(close(pair.server) == 0);
    require_no_fin(pair.client);
    require_child_serves(&child, pair.client);
    child_reap(&child);
    require(close(courier.ends[0]) == 0);
}

/* Between send and receive no process's table has it: a search for another holder
 * finds none, and still it must not be shut down. */
static void descriptor_in_flight_is_not_cut_off(void **state)
{
    struct courier courier;
    struct child child;

    (void)state;
    open_courier(&courier, &child);
    const struct pair pair = pair_open(FAMILY_IPV4);

    send_descriptor(courier.ends[0], pair.server);
    require(close(pair.server) == 0);
    require_no_fin(pair.client);
    line_tell(&child.line, 'r');
    line_await(&child.line, 'g');
    require_child_serves(&child, pair.client);
    child_reap(&child);
    require(close(courier.ends[0]) == 0);
}

/* Received and never forwarded: the last holder's close should linger like any. */
static void descriptor_sent_to_oneself_stays_whole(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct courier courier;
        struct pair pair = pair_open(FAMILY_IPV4);

        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, courier.ends) == 0);
        send_descriptor(courier.ends[0], pair.server);
        require(close(pair.server) == 0);
        require_no_fin(pair.client);
        pair.server = receive_descriptor(courier.ends[1]);
        require_untouched(&pair, "a descriptor's way through a socket pair");
        require(close(courier.ends[0]) == 0);
        require(close(courier.ends[1]) == 0);
        require(close(pair.client) == 0);
        require(wait_for(pair.server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
        require(way->let_go(pair.server) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(dup_in_the_same_process_keeps_the_connection),
        trap(dup2_in_the_same_process_keeps_the_connection),
        trap(fcntl_dupfd_in_the_same_process_keeps_the_connection),
        trap(fdopen_of_a_dup_keeps_the_connection),
        trap(descriptor_sent_to_another_process_is_not_cut_off),
        trap(descriptor_in_flight_is_not_cut_off),
        trap(descriptor_sent_to_oneself_stays_whole),
    };

    return run_traps(traps);
}
