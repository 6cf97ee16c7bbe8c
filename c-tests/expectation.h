/*
 * What a run must show, derived from how it was started.
 *
 * LINGER_TEST_MODE, set by the runner:
 *   bare     no liblinger anywhere: close() must be seen to lose
 *   preload  LD_PRELOAD=liblinger.so: close() must be seen to save
 *   linked   built with -llinger: linger_close() saves, close() still loses
 *
 * A scenario is written once and run by every way of letting go of a connection
 * that its mode has; each way says what the client must then see.
 */
#ifndef EXPECTATION_H
#define EXPECTATION_H

#include <stdbool.h>

#include "linger.h"
#include "netcounters.h"
#include "response.h"

/* Weak, so that one binary runs bare (all NULL) and preloaded (all there). */
#pragma weak linger_close
#pragma weak linger_close_wait
#pragma weak linger_flush
#pragma weak linger_pending
#pragma weak linger_stats
#pragma weak linger_configure
#pragma weak linger_version
#pragma weak linger_shim_active

enum mode { MODE_BARE, MODE_PRELOAD, MODE_LINKED };

struct way {
    const char *name;
    int (*let_go)(int fd);
    bool saves;
};

enum mode test_mode(void);
const char *test_mode_name(void);

/* close() itself: exists in every mode, saves only under the shim. */
const struct way *plain_close(void);

/* NULL-terminated iteration over plain_close() and, where present, linger_close(). */
const struct way *next_way(const struct way *way);
#define BY_EACH_WAY(way) \
    for (const struct way *way = next_way(NULL); way; way = next_way(way))

/* The library is there and agrees with the mode about whether close() is hooked. */
void require_mode_is_true(void);

/* Nothing lingers any more; true at once where there is no library. */
void require_nothing_lingers(void);

/* Before a process of ours ends: linger_close() alone does not delay exit. */
void finish_lingering(const struct way *way);

/* Reads what the client gets. Where it is to lose, not before its reset is here: the
 * reset may be slower than a client that reads everything meanwhile. */
struct harvest harvest_expecting(bool saved, int client);

/* The client's side of "saved": the whole body, FIN, no connection ended by a reset.
 * Of "lost": a short body, and the kernel counted a reset. */
void require_fate(bool saved, const struct harvest *harvest, const struct netcounters *before);

/* The usual end of a scenario, after the server let go of `client`'s connection:
 * late bytes, read everything, check, close the client, wait until nothing lingers. */
void prove_fate(const struct way *way, int client, const struct netcounters *before);

#endif
