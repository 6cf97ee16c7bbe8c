/* A way of letting go of a connection other than close(), and the proof of what it
 * does: saves under the shim, loses without. */
#ifndef DEPARTURE_H
#define DEPARTURE_H

#include "trap.h"

struct departure {
    const char *name;
    void (*let_go)(int fd); /* afterwards the number is free */
    void (*answer)(int fd); /* NULL: send_response() */
};

/* For departures that answer themselves. */
void answers_on_leaving(int fd);

void connection_let_go_lingers(void **state);

#define departure_trap(departure)                                                    \
    {                                                                                \
        (departure)->name, connection_let_go_lingers, trap_setup, trap_teardown,     \
            (void *)(departure)                                                      \
    }

#endif
