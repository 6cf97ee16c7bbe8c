/* The clients of the exclusivity stress: they never close first, and know what every
 * holder wrote. */
#ifndef EXCLUSIVITY_CLIENT_H
#define EXCLUSIVITY_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "exclusivity_ledger.h"
#include "exclusivity_plan.h"
#include "loopback.h"

enum { HARVEST_BYTES = 384 * 1024 };

struct client {
    int fd;
    int number;
    struct connection_plan plan;
    enum { CLIENT_WAITS, CLIENT_IS_QUIET, CLIENT_FINISHES, CLIENT_IS_DONE } state;
    int64_t quiet_until_ms;
    int chatter_left;
    bool bell_has_rung; /* nobody holds the connection any more */
    const char *loss; /* what closing has cost it, or NULL */
    size_t bytes;
    unsigned char harvest[HARVEST_BYTES];
};

void client_open(struct client *client, int number, const struct plan *plan,
                 const struct host *host);

/* Until every client has seen the end of its connection and closed its side. */
void clients_see_it_through(struct client *clients, int count, struct ledger *ledger);

#endif
