/* Traps 3 and 4: a peer that resets in the middle of the drain, a peer that was
 * reset before it, and one that vanishes and acknowledges nothing. There is nothing
 * to save; the server must neither fail, nor wait, nor keep anything. The runner
 * sets LINGER_TIMEOUT_MS low, as the vanished peer is given up only by deadline. */
#include <poll.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static struct linger_stats stats_now(void)
{
    struct linger_stats stats = {.size = sizeof(stats)};

    if (linger_stats)
        require(linger_stats(&stats) == 0);
    return stats;
}

static bool lingers(const struct way *way)
{
    return way->saves;
}

static void peer_that_resets_mid_drain_ends_it(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct linger_stats before = stats_now();

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        if (linger_pending)
            require(linger_pending() == lingers(way));
        abort_connection(pair.client);
        require_nothing_lingers();
        const struct linger_stats after = stats_now();

        require(after.reset - before.reset == lingers(way));
        require(after.fin == before.fin);
    }
}

/* After a RST the first recv says ECONNRESET and the next 0, which is no FIN. */
static void peer_that_reset_before_close_is_no_fin(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct linger_stats before = stats_now();

        send_response(pair.server);
        abort_connection(pair.client);
        require(wait_for(pair.server, POLLHUP, GENEROUS_MS) & POLLHUP);
        require(way->let_go(pair.server) == 0);
        require_nothing_lingers();
        require(stats_now().fin == before.fin);
    }
}

/* Nothing of the response is acknowledged, so its silence is not idleness. */
static void peer_that_vanishes_is_given_up_at_the_deadline(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct linger_stats before = stats_now();

        make_peer_vanish(pair.client);
        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        require_nothing_lingers();
        const struct linger_stats after = stats_now();

        require(after.timeout - before.timeout == lingers(way));
        require(after.idle == before.idle);
        abort_connection(pair.client);
    }
}

static void hundred_vanished_peers_leave_nothing_behind(void **state)
{
    struct host host;
    int clients[100];

    (void)state;
    host_open(&host, FAMILY_IPV4);
    BY_EACH_WAY(way) {
        for (int i = 0; i < 100; i++) {
            clients[i] = host_connect(&host);
            const int server = host_accept(&host);

            make_peer_vanish(clients[i]);
            require(write(server, "bye", 3) == 3);
            require(way->let_go(server) == 0);
        }
        require_nothing_lingers();
        for (int i = 0; i < 100; i++)
            abort_connection(clients[i]);
    }
    host_close(&host);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(peer_that_resets_mid_drain_ends_it),
        trap(peer_that_reset_before_close_is_no_fin),
        trap(peer_that_vanishes_is_given_up_at_the_deadline),
        trap(hundred_vanished_peers_leave_nothing_behind),
    };

    return run_traps(traps);
}
