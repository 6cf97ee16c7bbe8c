/* Running a program of traps under cmocka: its own network, a mode that is what it
 * claims to be, a bound on every test, and no descriptor left behind by any. */
#ifndef TRAP_H
#define TRAP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "require.h"

int trap_program_setup(void **state);
int trap_setup(void **state);
int trap_teardown(void **state);

#define trap(function) \
    cmocka_unit_test_setup_teardown(function, trap_setup, trap_teardown)

#define run_traps(traps) cmocka_run_group_tests(traps, trap_program_setup, NULL)

#endif
