/* Who sent resets. The kernel's counter of them is per network namespace, and a client
 * that is through sends some, too: where its last acknowledgements overtake each other
 * between processors, the server's TIME_WAIT answers the late one, and that answer finds
 * the client's connection gone. Nobody loses anything by it. */
#ifndef RESET_WITNESS_H
#define RESET_WITNESS_H

#include "loopback.h"

/* A packet(7) socket that sees the resets sent from the port of `host`, an IPv4 one. */
int reset_witness_open(const struct host *host);

/* How many came since it was last asked. */
long reset_witness_count(int witness);

#endif
