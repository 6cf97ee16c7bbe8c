/* SO_LINGER is something else than a lingering close, but programs set it, and what
 * they asked for counts: an abort is an abort. A time to linger is not: it would make
 * the final close block, and saves nothing from late data. socket(7). */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static void set_linger_seconds(int fd, int seconds)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = seconds};

    require(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
}

static void abort_the_program_asked_for_is_kept(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        ask_for_abort_on_close(pair.server);
        require(way->let_go(pair.server) == 0);
        if (linger_pending)
            require(linger_pending() == 0);
        const struct harvest harvest = harvest_expecting(false, pair.client);

        require(harvest.error == ECONNRESET);
        require(harvest.bytes < RESPONSE_BYTES);
        require(resets_since(&before) > 0);
        require(close(pair.client) == 0);
    }
}

static void abort_with_unread_input_is_kept(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        send_unread_request(pair.client, pair.server);
        send_response(pair.server);
        ask_for_abort_on_close(pair.server);
        require(way->let_go(pair.server) == 0);
        require(harvest_expecting(false, pair.client).error == ECONNRESET);
        require(close(pair.client) == 0);
    }
}

static void response_is_saved_despite_a_time_to_linger(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_unread_request(pair.client, pair.server);
        send_response(pair.server);
        set_linger_seconds(pair.server, 5);
        require(way->let_go(pair.server) == 0);
        prove_fate(way, pair.client, &before);
    }
}

/* Bare, close() blocks for the whole time, as the silent client leaves the response
 * unacknowledged: one second is enough to see that, and a minute would be seen. */
static void time_to_linger_does_not_block_the_server(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        set_linger_seconds(pair.server, way->saves ? 60 : 1);
        const int64_t start = now_ms();

        require(way->let_go(pair.server) == 0);
        if (way->saves)
            require(now_ms() - start < GENEROUS_MS);
        else
            require(now_ms() - start >= 900);
        prove_fate(way, pair.client, &before);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(abort_the_program_asked_for_is_kept),
        trap(abort_with_unread_input_is_kept),
        trap(response_is_saved_despite_a_time_to_linger),
        trap(time_to_linger_does_not_block_the_server),
    };

    return run_traps(traps);
}
