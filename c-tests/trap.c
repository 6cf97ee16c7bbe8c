#include "trap.h"

#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "netns.h"

/* No test comes near it; alarm(2) ends a program that hangs despite its deadlines. */
static const unsigned TEST_BOUND_S = 60;

/* A library may keep descriptors of its own from its first use on. They are part
 * of every later count only if they exist before the first one. */
static void meet_the_library(void)
{
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        require(way->let_go(pair.server) == 0);
        require(close(pair.client) == 0);
        require_nothing_lingers();
    }
}

int trap_program_setup(void **state)
{
    (void)state;
    require_jumps_here();
    signal(SIGPIPE, SIG_IGN);
    require_mode_is_true();
    enter_private_network();
    meet_the_library();
    return 0;
}

int trap_setup(void **state)
{
    (void)state;
    alarm(TEST_BOUND_S);
    fdtable_remember();
    return 0;
}

/* What a failed test left open must not linger into the next one, or be counted as
 * its leak: that would hide which of them failed. */
int trap_teardown(void **state)
{
    const bool as_before = fdtable_is_as_remembered();

    (void)state;
    fdtable_abandon_the_rest();
    require_nothing_lingers();
    require_context("descriptors after the test");
    require(as_before);
    alarm(0);
    return 0;
}
