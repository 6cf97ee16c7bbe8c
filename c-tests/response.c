#include "response.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "require.h"

/* A period that is no power of two, so a lost or repeated segment cannot hide. */
static unsigned char byte_at(size_t offset)
{
    return (unsigned char)(offset % 251);
}

/* Static: programs short of memory answer too. */
void send_response(int server)
{
    static unsigned char body[RESPONSE_BYTES];

    for (size_t i = 0; i < RESPONSE_BYTES; i++)
        body[i] = byte_at(i);
    require(send(server, body, RESPONSE_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT) == RESPONSE_BYTES);
}

void send_unread_request(int client, int server)
{
    static const char request[] = "POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nbody";

    require(send(client, request, sizeof(request), MSG_NOSIGNAL) == sizeof(request));
    require(wait_for(server, POLLIN, GENEROUS_MS) & POLLIN);
}

void send_late_bytes(int client)
{
    static const char late[] = "GET /next HTTP/1.1\r\n\r\n";

    (void)!send(client, late, sizeof(late), MSG_NOSIGNAL);
}

static bool as_sent(const unsigned char *piece, size_t length, size_t offset)
{
    for (size_t i = 0; i < length; i++)
        if (piece[i] != byte_at(offset + i))
            return false;
    return true;
}

struct harvest read_response(int client)
{
    struct harvest harvest = {0};
    unsigned char piece[16384];

    for (;;) {
        require(wait_for(client, POLLIN, GENEROUS_MS) != 0);
        const ssize_t got = recv(client, piece, sizeof(piece), MSG_DONTWAIT);

        if (got == 0)
            return harvest;
        if (got < 0) {
            harvest.error = errno;
            return harvest;
        }
        require(as_sent(piece, (size_t)got, harvest.bytes));
        harvest.bytes += (size_t)got;
    }
}
