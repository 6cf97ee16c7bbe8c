/* LINGER_SIDE=both: connections the program opened linger like those it accepted, unless
 * somebody else may hold them. What became of a socket between socket(2) and connect(2)
 * the shim cannot know. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static const char BOTH_SIDES[] = "LINGER_SIDE=both";

static void set_option(int fd, int level, int option, int value)
{
    require(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

/* pair_open() with the roles turned round: `opener` connects, has the large send queue,
 * and is what is let go of; the side that accepts has the small window. */
static struct pair pair_opened_by(int opener)
{
    struct host host;
    struct pair pair = {.server = opener};

    host_open(&host, FAMILY_IPV4);
    set_option(host.listener, SOL_SOCKET, SO_RCVBUF, 32 * 1024);
    set_option(host.listener, IPPROTO_TCP, TCP_MAXSEG, 1400);
    set_option(opener, SOL_SOCKET, SO_SNDBUF, 212992);
    require(connect(opener, (struct sockaddr *)&host.address, host.length) == 0);
    pair.client = host_accept(&host);
    host_close(&host);
    return pair;
}

static int new_socket(void)
{
    const int opener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require(opener >= 0);
    return opener;
}

static void an_opened_connection_lingers(const struct way *way)
{
    const struct pair pair = pair_opened_by(new_socket());
    const struct netcounters before = netcounters_now();

    send_unread_request(pair.client, pair.server);
    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    prove_fate(way, pair.client, &before);
}

/* linger_close() is not asked: its caller vouches that nobody else holds the connection. */
static void a_number_from_before_connect_keeps_the_connection(const struct way *way)
{
    if (way != plain_close())
        return;
    const int opener = new_socket();
    const int other = dup(opener);
    struct pair pair = pair_opened_by(opener);

    require(close(opener) == 0);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    pair.server = other;
    require_whole(&pair, "close of one of two numbers");
    require(close(pair.client) == 0);
    require(close(other) == 0);
}

static void hold(struct line *parent, void *argument)
{
    (void)argument;
    line_await(parent, 'e');
}

static void a_child_from_before_connect_keeps_the_connection(const struct way *way)
{
    if (way != plain_close())
        return;
    struct child child;
    const int opener = new_socket();

    child_start(&child, hold, NULL);
    const struct pair pair = pair_opened_by(opener);

    require(close(opener) == 0);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require(wait_for(pair.client, POLLIN | POLLRDHUP, 0) == 0);
    line_tell(&child.line, 'e');
    child_reap(&child);
    require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(pair.client) == 0);
}

/* UDP and Unix sockets connect, too: their close is the end at once. */
static void other_clients_are_left_alone(const struct way *way)
{
    struct sockaddr_storage address = {.ss_family = AF_INET}, own;
    socklen_t length = sizeof(struct sockaddr_in);
    const int peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    require(bind(peer, (struct sockaddr *)&address, length) == 0);
    require(getsockname(peer, (struct sockaddr *)&address, &length) == 0);
    require(connect(client, (struct sockaddr *)&address, length) == 0);
    require(getsockname(client, (struct sockaddr *)&own, &length) == 0);
    require(way->let_go(client) == 0);
    client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    require(bind(client, (struct sockaddr *)&own, length) == 0);
    require(close(client) == 0);
    require(close(peer) == 0);

    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address = (struct sockaddr_storage){.ss_family = AF_UNIX};
    /* unix(7), "Autobind feature". */
    require(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
    require(listen(listener, 1) == 0);
    length = sizeof(address);
    require(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(connect(client, (struct sockaddr *)&address, length) == 0);
    const int server = accept(listener, NULL, NULL);

    require(way->let_go(client) == 0);
    errno = 0;
    require(send(server, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    require(close(server) == 0);
    require(close(listener) == 0);
}

/* Without the setting it is left alone, and loses, by close(). */
static void by_default_it_is_left_alone(void **state)
{
    (void)state;
    const struct way bare = {.name = "close", .let_go = close, .saves = false};

    an_opened_connection_lingers(&bare);
}

int main(int count, char **arguments)
{
    static const struct scenario scenarios[] = {
        SCENARIO(an_opened_connection_lingers),
        SCENARIO(a_number_from_before_connect_keeps_the_connection),
        SCENARIO(a_child_from_before_connect_keeps_the_connection),
        SCENARIO(other_clients_are_left_alone),
        {0},
    };
    const struct CMUnitTest traps[] = {
        fresh_trap(an_opened_connection_lingers, BOTH_SIDES),
        fresh_trap(a_number_from_before_connect_keeps_the_connection, BOTH_SIDES),
        fresh_trap(a_child_from_before_connect_keeps_the_connection, BOTH_SIDES),
        fresh_trap(other_clients_are_left_alone, BOTH_SIDES),
        trap(by_default_it_is_left_alone),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
