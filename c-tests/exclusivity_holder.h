/* The processes of the exclusivity stress that hold connections. */
#ifndef EXCLUSIVITY_HOLDER_H
#define EXCLUSIVITY_HOLDER_H

#include <stdint.h>

#include "exclusivity_ledger.h"
#include "exclusivity_plan.h"

/* Precedes everything a holder writes, so that the client knows whose it was. */
struct tag {
    uint32_t sequence; /* of this holder, on this connection */
    uint32_t length;   /* of the body that follows */
    uint16_t connection;
    uint16_t holder;
};

/* More than all reads of a round take. */
enum { REQUEST_BYTES = 12 * 1024, MOST_READ = 32 };
_Static_assert(MOST_READ * MOST_STEPS < REQUEST_BYTES, "exits have something to lose");

unsigned char body_byte(const struct tag *tag, uint32_t offset);

/* Performs what the plan has for holder 0, which has just accepted `servers`, and for
 * what it forks. Does not return where the plan ends the parent; never in a child. */
void hold(struct ledger *ledger, const struct plan *plan, const int *servers);

#endif
