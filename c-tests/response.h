/* A response too large for the client's window, and what of it the client got. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include <stddef.h>

enum { RESPONSE_BYTES = 256 * 1024 };

struct harvest {
    size_t bytes;
    int error; /* 0: the body ended with FIN. Otherwise recv's errno. */
};

/* Queues the whole response with one write; most of it cannot leave yet. */
void send_response(int server);

/* A request the server will not read, delivered when this returns. */
void send_unread_request(int client, int server);

/* Bytes that arrive after the server let go. The client goes on regardless:
 * send()'s error is its own, what counts is what it can still read. */
void send_late_bytes(int client);

/* Reads to FIN or error, and checks that no byte is wrong or missing between. */
struct harvest read_response(int client);

#endif
