/* Trap 16, descriptors: one open file description under several numbers, or in
 * another process's hands, or in nobody's table while it travels between two. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "post.h"
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

static void send_descriptor(int over, int fd)
{
    send_descriptor_by(&posts[0], over, fd);
}

static int receive_descriptor(int over)
{
    return receive_descriptor_by(&posts[0], over);
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

struct master {
    struct host host;
    struct courier courier;
};

static void send_a_duplicate_and_exit(struct line *parent, void *argument)
{
    struct master *const master = argument;
    const int server = host_accept(&master->host);
    const int duplicate = dup(server);

    require(wait_for(server, POLLIN, GENEROUS_MS) & POLLIN);
    send_descriptor(master->courier.ends[0], duplicate);
    require(close(duplicate) == 0);
    line_tell(parent, 'd');
}

/* The process that ends lets go of all its numbers, but not of what it sent by one of them. */
static void connection_sent_by_a_duplicate_outlives_its_sender(void **state)
{
    struct master master;
    struct child worker, sender;

    (void)state;
    open_courier(&master.courier, &worker);
    host_open(&master.host, FAMILY_IPV4);
    const int client = host_connect(&master.host);

    send_late_bytes(client);
    child_start(&sender, send_a_duplicate_and_exit, &master);
    line_await(&sender.line, 'd');
    line_tell(&worker.line, 'r');
    line_await(&worker.line, 'g');
    child_reap(&sender);
    require_no_fin(client);
    require_child_serves(&worker, client);
    child_reap(&worker);
    require(close(master.courier.ends[0]) == 0);
    host_close(&master.host);
}

/* Between send and receive no process's table has it: a search for another holder
 * finds none, and still it must not be shut down. */
static void stay_whole_in_flight(const struct post *post)
{
    struct courier courier;
    struct child child;

    open_courier(&courier, &child);
    const struct pair pair = pair_open(FAMILY_IPV4);

    require_context("%s mode, in flight by %s", test_mode_name(), post->name);
    send_descriptor_by(post, courier.ends[0], pair.server);
    require(close(pair.server) == 0);
    require_no_fin(pair.client);
    line_tell(&child.line, 'r');
    line_await(&child.line, 'g');
    require_child_serves(&child, pair.client);
    child_reap(&child);
    require(close(courier.ends[0]) == 0);
}

static void descriptor_in_flight_is_not_cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < POSTS; i++)
        stay_whole_in_flight(&posts[i]);
}

/* Whichever call received it, it is a server's connection from then on. */
static void received_descriptor_lingers(void **state)
{
    (void)state;
    for (size_t i = 0; i < POSTS; i++) {
        struct courier courier;
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        require_context("%s mode, received after %s", test_mode_name(), posts[i].name);
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, courier.ends) == 0);
        send_descriptor_by(&posts[i], courier.ends[0], pair.server);
        require(close(pair.server) == 0);
        const int received = receive_descriptor_by(&posts[i], courier.ends[1]);

        send_response(received);
        require(close(received) == 0);
        prove_fate(plain_close(), pair.client, &before);
        require(close(courier.ends[0]) == 0);
        require(close(courier.ends[1]) == 0);
    }
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

/* The queue is full, or nobody listens: the connection has not gone anywhere, and the
 * program that falls back to serving it itself must not lose its response. */
static void descriptor_that_could_not_be_sent_lingers(void **state)
{
    (void)state;
    for (size_t i = 0; i < POSTS; i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();
        int ends[2];

        require_context("%s mode, %s could not send it", test_mode_name(), posts[i].name);
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        require(close(ends[1]) == 0);
        errno = 0;
        require(try_to_send_descriptor(&posts[i], ends[0], pair.server, MSG_NOSIGNAL) == -1);
        require(errno == EPIPE);
        require(close(ends[0]) == 0);
        send_response(pair.server);
        require(close(pair.server) == 0);
        prove_fate(plain_close(), pair.client, &before);
    }
}

struct malformed {
    size_t length;
    size_t space;
};

/* Control data the kernel refuses, or does not look at: it is asked, and answers. Behind it lies a
 * page that cannot be read. */
static void control_data_that_does_not_fit_is_refused(void **state)
{
    static const struct malformed malformations[] = {
        {(size_t)1 << 40, CMSG_SPACE(sizeof(int))},
        {SIZE_MAX, CMSG_SPACE(sizeof(int))},
        {CMSG_SPACE(sizeof(int)) + 1, CMSG_SPACE(sizeof(int))},
        {sizeof(struct cmsghdr) - 1, CMSG_SPACE(sizeof(int))},
        {0, CMSG_SPACE(sizeof(int))},
    };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *const place = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int ends[2];

    (void)state;
    require(place != MAP_FAILED);
    require(mprotect(place + page, page, PROT_NONE) == 0);
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    for (size_t i = 0; i < sizeof(malformations) / sizeof(malformations[0]); i++)
        for (size_t j = 0; j < POSTS; j++) {
            const struct malformed *const malformed = &malformations[i];
            struct parcel parcel;
            struct cmsghdr *const rights = (struct cmsghdr *)(place + page - malformed->space);

            require_context("%s mode, %s, cmsg_len %zx", test_mode_name(), posts[j].name,
                            malformed->length);
            open_parcel(&parcel);
            parcel.message.msg_hdr.msg_control = rights;
            parcel.message.msg_hdr.msg_controllen = malformed->space;
            *rights = (struct cmsghdr){.cmsg_len = malformed->length,
                                       .cmsg_level = SOL_SOCKET,
                                       .cmsg_type = SCM_RIGHTS};
            errno = 0;
            require(posts[j].send(ends[0], &parcel.message, 0) == -1 && errno == EINVAL);
        }
    require(munmap(place, 2 * page) == 0);
    require(close(ends[0]) == 0);
    require(close(ends[1]) == 0);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(dup_in_the_same_process_keeps_the_connection),
        trap(dup2_in_the_same_process_keeps_the_connection),
        trap(fcntl_dupfd_in_the_same_process_keeps_the_connection),
        trap(fdopen_of_a_dup_keeps_the_connection),
        trap(descriptor_sent_to_another_process_is_not_cut_off),
        trap(connection_sent_by_a_duplicate_outlives_its_sender),
        trap(descriptor_in_flight_is_not_cut_off),
        trap(received_descriptor_lingers),
        trap(descriptor_that_could_not_be_sent_lingers),
        trap(control_data_that_does_not_fit_is_refused),
        trap(descriptor_sent_to_oneself_stays_whole),
    };

    return run_traps(traps);
}
