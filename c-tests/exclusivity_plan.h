/*
 * What the holders of one round of the exclusivity stress do, derived from a seed alone.
 *
 * A plan is one sequence of steps, legal in this order. Every holder performs its own
 * steps in that order and waits for nobody, except for a descriptor that is sent to it:
 * the interleaving is the scheduler's. Waits only go back in the sequence, so no two
 * holders wait for each other.
 *
 * What DESIGN leaves to the kernel is not planned:
 * - exit with a connection that has nothing to lose: who ends with one open has unread
 *   input there, more than all reads of the round together take;
 * - the plain close of a number that was sent with SCM_RIGHTS: it is never the last,
 *   because what came of it is held until that close has returned.
 */
#ifndef EXCLUSIVITY_PLAN_H
#define EXCLUSIVITY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    MOST_HOLDERS = 8, /* the parent is holder 0 */
    MOST_CONNECTIONS = 3,
    MOST_REFERENCES = 12, /* of one holder */
    MOST_COURIERS = 4,
    MOST_STEPS = 256,
};

enum deed {
    DEED_WRITE,
    DEED_READ,
    DEED_PAUSE,
    DEED_DUPLICATE, /* `other` becomes a second reference */
    DEED_REPLACE,   /* dup2(2) over `other`, which is a reference, too */
    DEED_CLOSE,
    DEED_FORK,    /* `other` is the child, with every reference of its parent */
    DEED_SEND,    /* SCM_RIGHTS, to the holder `other` */
    DEED_RECEIVE, /* what that courier brings becomes `reference` */
    DEED_END,     /* with whatever is still held */
};

struct step {
    enum deed deed;
    int holder;
    int reference;
    int connection; /* that `reference` is one to */
    int other;
    int courier;
    unsigned how;    /* which of several functions that do it */
    unsigned awaits; /* couriers, as bits, whose sender must have closed its number */
    long preempted_ns; /* after so long the holder loses its processor; 0: never */
};

struct connection_plan {
    bool unread;  /* a request that nobody reads to its end */
    bool large;   /* a response larger than the client's window, read only at the end */
    bool chatter; /* the client sends while the holders hold */
    int quiet_ms; /* between the last letting go and the client's next move */
};

struct plan {
    uint64_t seed;
    unsigned round;
    bool parent_ends;
    int connections;
    struct connection_plan connection[MOST_CONNECTIONS];
    int holders;
    int couriers;
    int steps;
    struct step step[MOST_STEPS];
};

struct plan plan_round(uint64_t seed, unsigned round);

#endif
