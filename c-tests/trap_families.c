/* Trap 13: IPv4, IPv6, and an IPv4 client of an IPv6 socket are all TCP. */
#include <unistd.h>

#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static void prove_family(enum family family)
{
    BY_EACH_WAY(way) {
        const struct pair late = pair_open(family);
        struct netcounters before = netcounters_now();

        send_response(late.server);
        require(way->let_go(late.server) == 0);
        prove_fate(way, late.client, &before);

        const struct pair unread = pair_open(family);

        before = netcounters_now();
        send_unread_request(unread.client, unread.server);
        send_response(unread.server);
        require(way->let_go(unread.server) == 0);
        prove_fate(way, unread.client, &before);
    }
}

static void ipv4_lingers(void **state)
{
    (void)state;
    prove_family(FAMILY_IPV4);
}

static void ipv6_lingers(void **state)
{
    (void)state;
    prove_family(FAMILY_IPV6);
}

static void v4_mapped_lingers(void **state)
{
    (void)state;
    prove_family(FAMILY_V4_MAPPED);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(ipv4_lingers),
        trap(ipv6_lingers),
        trap(v4_mapped_lingers),
    };

    return run_traps(traps);
}
