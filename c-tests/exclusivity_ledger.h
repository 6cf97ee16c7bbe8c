/*
 * What every process of the exclusivity stress knows at once: shared memory, made before
 * the first fork.
 *
 * A reference is counted before it exists and taken off before it is let go of, so a
 * client that sees FIN while one is still counted was cut off.
 */
#ifndef EXCLUSIVITY_LEDGER_H
#define EXCLUSIVITY_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "exclusivity_plan.h"

struct violation {
    unsigned round;
    int connection;
    int holder; /* NOBODY: the client saw it */
    int step;
    int error;
    const char *what;
};

enum { NOBODY = -1, MOST_VIOLATIONS = 32 };

struct ledger {
    atomic_int held[MOST_CONNECTIONS];
    atomic_int written[MOST_HOLDERS][MOST_CONNECTIONS];
    atomic_bool sent_number_closed[MOST_COURIERS];
    atomic_int reaped; /* of `processes` that end in this round */
    int processes;
    int bell[2];       /* a pipe: the number of a connection nobody holds any more */
    int courier[MOST_COURIERS][2]; /* socket pairs: in at 0, out at 1 */
    unsigned round;
    atomic_int violations;
    struct violation violation[MOST_VIOLATIONS];
};

struct ledger *ledger_open(void);
void ledger_close(struct ledger *ledger);

/* Everything that is counted anew in every round. */
void ledger_turn_page(struct ledger *ledger, const struct plan *plan);

void ledger_hold(struct ledger *ledger, int connection);
/* To be called before the reference is let go of. */
void ledger_let_go(struct ledger *ledger, int connection);

/* Waits until the senders of all these couriers have closed what they sent. */
void ledger_await_senders(struct ledger *ledger, unsigned couriers);

void ledger_accuse(struct ledger *ledger, struct violation violation);

#endif
