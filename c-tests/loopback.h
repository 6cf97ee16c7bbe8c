/*
 * Connections over the loopback device, on ports the kernel picks.
 *
 * The client's receive window is small and the server's send buffer large, so a
 * whole response fits into one write() and yet most of it is still in the server's
 * send queue when the server closes: what a Linux client already has in its receive
 * queue survives a reset, so only the send queue can show a loss.
 */
#ifndef LOOPBACK_H
#define LOOPBACK_H

#include <sys/socket.h>

enum family {
    FAMILY_IPV4,
    FAMILY_IPV6,
    FAMILY_V4_MAPPED, /* an IPv4 client of an AF_INET6 listener: ipv6(7), IPV6_V6ONLY */
};

struct host {
    int listener;
    struct sockaddr_storage address; /* where clients connect to */
    socklen_t length;
};

struct pair {
    int client;
    int server;
};

void host_open(struct host *host, enum family family);
int host_connect(const struct host *host);
int host_accept(const struct host *host);
void host_close(struct host *host);

/* A connected pair, its listener already closed. */
struct pair pair_open(enum family family);

/* Makes the next close(2) of this end send RST: socket(7), SO_LINGER. */
void ask_for_abort_on_close(int fd);
void abort_connection(int fd);

/* The peer vanishes: a filter drops every segment before TCP sees it, so nothing
 * is acknowledged and nothing is answered. A socket that is really gone would
 * make its kernel answer with RST. socket(7), SO_ATTACH_FILTER. */
void make_peer_vanish(int client);

/* Both directions still work and no FIN came; `why` is what happened before. */
void require_whole(const struct pair *pair, const char *why);

#endif
