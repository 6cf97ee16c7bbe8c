#include "loopback.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "deadline.h"
#include "require.h"

static const int CLIENT_WINDOW = 32 * 1024;
/* net.core.wmem_max as Linux has it by default: more would need privilege. */
static const int SERVER_QUEUE = 212992;

static void set_option(int fd, int level, int option, int value)
{
    require(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

static socklen_t any_port(struct sockaddr_storage *address, enum family family)
{
    memset(address, 0, sizeof(*address));
    if (family == FAMILY_IPV4) {
        struct sockaddr_in *in = (struct sockaddr_in *)address;

        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;

    in6->sin6_family = AF_INET6;
    in6->sin6_addr = family == FAMILY_IPV6 ? in6addr_loopback : in6addr_any;
    return sizeof(*in6);
}

static void reach_by_ipv4(struct host *host)
{
    const in_port_t port = ((struct sockaddr_in6 *)&host->address)->sin6_port;

    host->length = any_port(&host->address, FAMILY_IPV4);
    ((struct sockaddr_in *)&host->address)->sin_port = port;
}

void host_open(struct host *host, enum family family)
{
    host->length = any_port(&host->address, family);
    host->listener = socket(host->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(host->listener >= 0);
    if (family == FAMILY_V4_MAPPED)
        set_option(host->listener, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    require(bind(host->listener, (struct sockaddr *)&host->address, host->length) == 0);
    require(listen(host->listener, SOMAXCONN) == 0);
    require(getsockname(host->listener, (struct sockaddr *)&host->address, &host->length) == 0);
    if (family == FAMILY_V4_MAPPED)
        reach_by_ipv4(host);
}

/* The window is agreed in the handshake: tcp(7) wants SO_RCVBUF before connect().
 * The segment size of real networks, as one of loopback's 64 KiB exceeds the window. */
int host_connect(const struct host *host)
{
    const int client = socket(host->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require(client >= 0);
    set_option(client, SOL_SOCKET, SO_RCVBUF, CLIENT_WINDOW);
    set_option(client, IPPROTO_TCP, TCP_MAXSEG, 1400);
    require(connect(client, (const struct sockaddr *)&host->address, host->length) == 0);
    return client;
}

int host_accept(const struct host *host)
{
    require(wait_for(host->listener, POLLIN, GENEROUS_MS) & POLLIN);
    const int server = accept(host->listener, NULL, NULL);

    require(server >= 0);
    set_option(server, SOL_SOCKET, SO_SNDBUF, SERVER_QUEUE);
    return server;
}

void host_close(struct host *host)
{
    require(close(host->listener) == 0);
    host->listener = -1;
}

struct pair pair_open(enum family family)
{
    struct host host;
    struct pair pair;

    host_open(&host, family);
    pair.client = host_connect(&host);
    pair.server = host_accept(&host);
    host_close(&host);
    return pair;
}

void ask_for_abort_on_close(int fd)
{
    const struct linger abort_now = {.l_onoff = 1, .l_linger = 0};

    require(setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now)) == 0);
}

void abort_connection(int fd)
{
    ask_for_abort_on_close(fd);
    require(close(fd) == 0);
}

void make_peer_vanish(int client)
{
    struct sock_filter accept_nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    const struct sock_fprog program = {.len = 1, .filter = accept_nothing};

    require(setsockopt(client, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
}

static void require_arrives(int from, int to, const char *word)
{
    const size_t length = strlen(word);
    char heard[16];

    require(send(from, word, length, MSG_NOSIGNAL) == (ssize_t)length);
    require(wait_for(to, POLLIN, GENEROUS_MS) & POLLIN);
    require(recv(to, heard, sizeof(heard), MSG_DONTWAIT) == (ssize_t)length);
    require(memcmp(heard, word, length) == 0);
}

void require_whole(const struct pair *pair, const char *why)
{
    require_context("connection whole after %s", why);
    require(wait_for(pair->client, POLLIN | POLLRDHUP, 0) == 0);
    require_arrives(pair->client, pair->server, "ping");
    require_arrives(pair->server, pair->client, "pong");
    require(wait_for(pair->client, POLLIN | POLLRDHUP, 0) == 0);
}
