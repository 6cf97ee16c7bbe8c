/* Trap 1: the server closes with nothing unread, and the peer's next bytes are still
 * on their way. RFC 9112 section 9.6 describes the reset that follows. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static void bytes_30ms_after_close_do_not_reset(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        let_30ms_of_network_delay_pass();
        prove_fate(way, pair.client, &before);
    }
}

static void bytes_right_after_close_do_not_reset(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        prove_fate(way, pair.client, &before);
    }
}

static void bytes_unread_at_close_do_not_reset(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_unread_request(pair.client, pair.server);
        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        prove_fate(way, pair.client, &before);
    }
}

/* Sixty URLs asked for on one connection, the server done after the first. */
static void pipelined_requests_after_close_do_not_reset(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        for (int url = 0; url < 60; url++)
            send_late_bytes(pair.client);
        prove_fate(way, pair.client, &before);
    }
}

/* The response fits the window, so the client has it: the reset shows only in the
 * kernel's counters and in the client's next send, which then fails. */
static void short_answer_then_late_bytes_do_not_reset(void **state)
{
    char bye[3];

    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        require(write(pair.server, "bye", 3) == 3);
        require(way->let_go(pair.server) == 0);
        require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
        require(recv(pair.client, bye, sizeof(bye), 0) == sizeof(bye));
        let_30ms_of_network_delay_pass();
        send_late_bytes(pair.client);
        let_30ms_of_network_delay_pass();
        send_late_bytes(pair.client);
        require((resets_since(&before) > 0) == !way->saves);
        require(close(pair.client) == 0);
        require_nothing_lingers();
        require((resets_since(&before) > 0) == !way->saves);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(bytes_30ms_after_close_do_not_reset),
        trap(bytes_right_after_close_do_not_reset),
        trap(bytes_unread_at_close_do_not_reset),
        trap(pipelined_requests_after_close_do_not_reset),
        trap(short_answer_then_late_bytes_do_not_reset),
    };

    return run_traps(traps);
}
