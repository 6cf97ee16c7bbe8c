/* Trap 15: another thread is blocked in recv on the connection being closed. Linux
 * leaves it there (close(2), NOTES); the peer's end must still wake it. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "threads.h"
#include "trap.h"

struct reader {
    struct blocker blocker;
    int fd;
};

static void *read_to_the_end(void *argument)
{
    struct reader *reader = argument;
    char byte[256];

    blocker_here(&reader->blocker);
    while (recv(reader->fd, byte, sizeof(byte), 0) > 0)
        continue;
    return NULL;
}

static void start_reading(struct reader *reader, int fd)
{
    *reader = (struct reader){.fd = fd};
    require(pthread_create(&reader->blocker.thread, NULL, read_to_the_end, reader) == 0);
    require_blocked(&reader->blocker);
}

static void reader_wakes_when_the_peer_closes(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const int64_t start = now_ms();
        struct reader reader;

        start_reading(&reader, pair.server);
        require(way->let_go(pair.server) == 0);
        require(now_ms() - start < GENEROUS_MS);
        require(close(pair.client) == 0);
        require_ends(reader.blocker.thread);
        require_nothing_lingers();
    }
}

static void reader_wakes_when_the_peer_resets(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        struct reader reader;

        start_reading(&reader, pair.server);
        require(way->let_go(pair.server) == 0);
        abort_connection(pair.client);
        require_ends(reader.blocker.thread);
        require_nothing_lingers();
    }
}

/* Bare: the blocked recv holds the socket until the first late bytes end it; then
 * the close happens, and the next bytes meet a closed socket. */
static void response_survives_bytes_that_wake_the_reader(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();
        struct reader reader;

        send_response(pair.server);
        start_reading(&reader, pair.server);
        require(way->let_go(pair.server) == 0);
        send_late_bytes(pair.client);
        if (!way->saves)
            require_ends(reader.blocker.thread);
        prove_fate(way, pair.client, &before);
        if (way->saves)
            require_ends(reader.blocker.thread);
    }
}

/* SHUT_RDWR is how a program wakes such a reader on purpose: shutdown(2). */
static void shutdown_of_both_halves_wakes_the_reader(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        struct reader reader;

        start_reading(&reader, pair.server);
        require(shutdown(pair.server, SHUT_RDWR) == 0);
        require_ends(reader.blocker.thread);
        require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
        require(way->let_go(pair.server) == 0);
        require(close(pair.client) == 0);
        require_nothing_lingers();
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(reader_wakes_when_the_peer_closes),
        trap(reader_wakes_when_the_peer_resets),
        trap(response_survives_bytes_that_wake_the_reader),
        trap(shutdown_of_both_halves_wakes_the_reader),
    };

    return run_traps(traps);
}
