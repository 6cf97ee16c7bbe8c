#include "departure.h"

#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"

void answers_on_leaving(int fd)
{
    (void)fd;
}

static void prove(const struct departure *departure, bool unread)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    require_context("%s mode, %s, bytes %s", test_mode_name(), departure->name,
                    unread ? "unread" : "late");
    if (unread)
        send_unread_request(pair.client, pair.server);
    if (departure->answer)
        departure->answer(pair.server);
    else
        send_response(pair.server);
    departure->let_go(pair.server);
    require(is_free(pair.server));
    prove_fate(plain_close(), pair.client, &before);
}

void connection_let_go_lingers(void **state)
{
    prove(*state, false);
    prove(*state, true);
}
