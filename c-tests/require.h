/*
 * A check that works wherever a scenario runs.
 *
 * cmocka's asserts jump back into the test runner. That is right in the main
 * thread of the test process and wrong everywhere else: a forked child would go
 * on running the remaining tests, another thread would jump across stacks.
 * There, require() prints the same line and ends the process instead.
 */
#ifndef REQUIRE_H
#define REQUIRE_H

#define require(condition) \
    ((condition) ? (void)0 : require_failed(#condition, __FILE__, __LINE__))

/* Why a scenario is about to be checked ("close, IPv6"): printed on failure. */
void require_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What was measured, printed below a failure; forgotten with the next context. */
void require_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

void require_failed(const char *condition, const char *file, int line);

/* The calling process runs cmocka: from now on its main thread may jump. */
void require_jumps_here(void);

#endif
