/* Trap 2: the peer has already half-closed when the server closes with input unread.
 * Nothing more can arrive, so discarding what is here is all that is needed. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static struct pair pair_with_unread_request_and_fin(void)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    send_unread_request(pair.client, pair.server);
    require(shutdown(pair.client, SHUT_WR) == 0);
    require(wait_for(pair.server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    return pair;
}

static void unread_data_before_a_fin_does_not_reset(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_with_unread_request_and_fin();
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        const struct harvest harvest = harvest_expecting(way->saves, pair.client);

        require_fate(way->saves, &harvest, &before);
        require(close(pair.client) == 0);
    }
}

/* The client has not read a byte yet, and still nothing of ours waits for it: the
 * kernel delivers the send queue of a closed socket by itself. */
static void nothing_lingers_once_the_fin_is_here(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_with_unread_request_and_fin();

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        if (linger_pending)
            require(linger_pending() == 0);
        require(close(pair.client) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(unread_data_before_a_fin_does_not_reset),
        trap(nothing_lingers_once_the_fin_is_here),
    };

    return run_traps(traps);
}
