/* Trap 4: a peer that vanished, and a deadline (LINGER_TIMEOUT_MS) far below the time after which a quiet peer is given up
 * (LINGER_IDLE_MS), which the runner sets to minutes. Only a peer that takes something extends the deadline. */
#include <unistd.h>

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

static void peer_that_takes_nothing_extends_nothing(void **state)
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

        require(after.timeout - before.timeout == way->saves);
        require(after.idle == before.idle);
        abort_connection(pair.client);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(peer_that_takes_nothing_extends_nothing),
    };

    return run_traps(traps);
}
