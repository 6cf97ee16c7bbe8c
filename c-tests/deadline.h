/* Waiting for events, never for time: every wait has a deadline that only a
 * broken program reaches. */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/* Long enough for a loaded machine; reaching it always means failure. */
#define GENEROUS_MS 10000

int64_t now_ms(void);

/* poll(2) for one descriptor; the events that came, 0 at the deadline. */
short wait_for(int fd, short events, int timeout_ms);

/* Polls a condition for which the kernel offers no event (a state shown in /proc). */
bool becomes_true(bool (*condition)(void *argument), void *argument, int timeout_ms);

/* The subject of trap 1: bytes that were still travelling when the server closed. */
void let_30ms_of_network_delay_pass(void);

/* A thread between two calls is kept from its processor, or waits for a lock. */
void let_20ms_of_preemption_pass(void);

/* What must NOT happen has no event to wait for. Called after the last event that
 * could cause it, so that a late and wrong action has had time to happen. */
void leave_time_for_a_wrong_shutdown(void);

#endif
