#include "expectation.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deadline.h"
#include "require.h"

/* Not close itself: its address may be a PLT slot, its name is what is hooked. */
static int by_close(int fd)
{
    return close(fd);
}

static int by_linger_close(int fd)
{
    return linger_close(fd, LINGER_DEFAULT);
}

static const struct way close_that_loses = {"close()", by_close, false};
static const struct way close_that_saves = {"close()", by_close, true};
static const struct way call_that_saves = {"linger_close()", by_linger_close, true};

const char *test_mode_name(void)
{
    const char *name = getenv("LINGER_TEST_MODE");

    return name ? name : "bare";
}

enum mode test_mode(void)
{
    const char *name = test_mode_name();

    if (strcmp(name, "preload") == 0)
        return MODE_PRELOAD;
    if (strcmp(name, "linked") == 0)
        return MODE_LINKED;
    require(strcmp(name, "bare") == 0);
    return MODE_BARE;
}

const struct way *plain_close(void)
{
    return test_mode() == MODE_PRELOAD ? &close_that_saves : &close_that_loses;
}

static const struct way *way_after(const struct way *way)
{
    if (way == NULL)
        return plain_close();
    if (way != &call_that_saves && test_mode() != MODE_BARE)
        return &call_that_saves;
    return NULL;
}

const struct way *next_way(const struct way *way)
{
    const struct way *next = way_after(way);

    if (next)
        require_context("%s mode, %s", test_mode_name(), next->name);
    return next;
}

void require_mode_is_true(void)
{
    const enum mode mode = test_mode();

    require_context("LINGER_TEST_MODE=%s", test_mode_name());
    require((linger_shim_active != NULL) == (mode != MODE_BARE));
    if (mode != MODE_BARE)
        require(linger_shim_active() == (mode == MODE_PRELOAD));
}

void require_nothing_lingers(void)
{
    if (linger_flush == NULL)
        return;
    require(linger_flush(GENEROUS_MS) == 0);
    require(linger_pending() == 0);
}

void finish_lingering(const struct way *way)
{
    if (way->saves && way->let_go == by_linger_close)
        require(linger_flush(GENEROUS_MS) == 0);
}

struct harvest harvest_expecting(bool saved, int client)
{
    if (!saved)
        require(wait_for(client, 0, GENEROUS_MS) & POLLHUP);
    return read_response(client);
}

void require_fate(bool saved, const struct harvest *harvest, const struct netcounters *before)
{
    const struct netcounters now = netcounters_now();
    const long resets = now.estab_resets - before->estab_resets;
    const long unread_at_close = now.abort_on_close - before->abort_on_close;
    const long data_after_close = now.abort_on_data - before->abort_on_data;

    errno = harvest->error;
    require_note("%zu of %d bytes; %ld reset, %ld unread at close, %ld data after close",
                 harvest->bytes, RESPONSE_BYTES, resets, unread_at_close, data_after_close);
    if (saved) {
        require(harvest->bytes == RESPONSE_BYTES);
        require(harvest->error == 0);
        require(resets == 0 && unread_at_close == 0 && data_after_close == 0);
    } else {
        require(harvest->bytes < RESPONSE_BYTES);
        require(resets > 0);
    }
}

void prove_fate(const struct way *way, int client, const struct netcounters *before)
{
    send_late_bytes(client);
    const struct harvest harvest = harvest_expecting(way->saves, client);

    require_fate(way->saves, &harvest, before);
    require(close(client) == 0);
    require_nothing_lingers();
}
