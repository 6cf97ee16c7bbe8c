/*
 * linger.h - lingering close for TCP servers (liblinger)
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Generated from src/ffi.rs by `make header`; do not edit.
 *
 * A server that calls close() while its client is still sending makes the kernel answer with RST, and the response
 * in flight is lost. linger_close() sends FIN, reads and discards until the client's FIN or a deadline, and only then
 * closes (RFC 9112 section 9.6). It is not SO_LINGER.
 *
 * Before you hand a connection over:
 *   - nobody else may use it: no duplicate of the descriptor, no other process;
 *   - remove it from your epoll sets (EPOLL_CTL_DEL): the library keeps the open file description a while, and a
 *     registration lives as long as that does. Where liblinger.so, not liblinger.a, is used, it does this itself.
 *
 * Before you exit: linger_flush(), or what still lingers is reset.
 */

#ifndef LINGER_H
#define LINGER_H

#include <stddef.h>
#include <stdint.h>


/**
 * Version of the library this header belongs to.
 */
#define LINGER_VERSION_MAJOR 0

/**
 * Version of the library this header belongs to.
 */
#define LINGER_VERSION_MINOR 1

/**
 * Version of the library this header belongs to.
 */
#define LINGER_VERSION_PATCH 0

/**
 * For `timeout_ms`: the configured deadline (`LINGER_TIMEOUT_MS`, 30000), which is extended up to
 * `LINGER_MAX_MS` while the peer is still taking the response.
 */
#define LINGER_DEFAULT -1

/**
 * Outcome: there was nothing to linger for; closed as close() does.
 */
#define LINGER_CLOSED 0

/**
 * Outcome: the peer closed its side (FIN). All it sent was read, so no RST follows.
 */
#define LINGER_FIN 1

/**
 * Outcome: the peer reset the connection, or it failed otherwise.
 */
#define LINGER_RESET 2

/**
 * Outcome: the peer acknowledged everything and then sent nothing for `LINGER_IDLE_MS`.
 */
#define LINGER_IDLE 3

/**
 * Outcome: the deadline.
 */
#define LINGER_TIMEOUT 4

/**
 * Outcome: `LINGER_MAX_BYTES` were discarded.
 */
#define LINGER_BYTES 5

/**
 * Outcome: more than `LINGER_MAX` connections lingered, and this one went first.
 */
#define LINGER_EVICTED 6

/**
 * For `when`: connections linger whenever the peer may still send (the default).
 */
#define LINGER_WHEN_OPEN 0

/**
 * For `when`: only those with unread input at the moment of the close.
 */
#define LINGER_WHEN_UNREAD 1

/**
 * For `side`: connections the program accepted (the default).
 */
#define LINGER_SIDE_SERVER 0

/**
 * For `side`: those it opened with connect(), too. Matters to the preloaded library only.
 */
#define LINGER_SIDE_BOTH 1

/**
 * For `log`: silent (the default).
 */
#define LINGER_LOG_OFF 0

/**
 * For `log`: one line on stderr at start.
 */
#define LINGER_LOG_INFO 1

/**
 * For `log`: one line for every outcome, too.
 */
#define LINGER_LOG_DEBUG 2

/**
 * Counters since the process started (or was forked). Set `size` before the call.
 */
struct linger_stats {
    /**
     * In: sizeof(struct linger_stats). Out: how many of those bytes this library filled.
     */
    size_t size;
    /**
     * Connections handed to the drain thread.
     */
    uint64_t lingered;
    /**
     * Of these, how many linger now.
     */
    uint64_t pending;
    /**
     * Ended by the peer's FIN, at once or while lingering.
     */
    uint64_t fin;
    /**
     * Ended by the peer's RST or another error.
     */
    uint64_t reset;
    /**
     * Ended quiet and acknowledged.
     */
    uint64_t idle;
    /**
     * Ended by their deadline.
     */
    uint64_t timeout;
    /**
     * Ended by the limit on discarded bytes.
     */
    uint64_t bytes;
    /**
     * Ended by eviction.
     */
    uint64_t evicted;
    /**
     * Half-closed, discarded what was there, and closed without waiting.
     */
    uint64_t closed;
    /**
     * Left alone, because somebody else still held the socket.
     */
    uint64_t shared;
    /**
     * Should have lingered but could not (no thread, no memory, queue full): part of `closed`.
     */
    uint64_t fallbacks;
    /**
     * Bytes received and thrown away.
     */
    uint64_t bytes_discarded;
};

/**
 * Settings, as the `LINGER_*` variables of the environment have them. A negative field keeps what the environment
 * or the default says; begin with `LINGER_CONFIG_INIT`.
 */
struct linger_config {
    /**
     * sizeof(struct linger_config)
     */
    size_t size;
    /**
     * Milliseconds a connection lingers at most, by default (`LINGER_TIMEOUT_MS`, 30000).
     */
    int timeout_ms;
    /**
     * Milliseconds of silence, with everything acknowledged, that end it (`LINGER_IDLE_MS`, 5000; at least 1).
     */
    int idle_ms;
    /**
     * Milliseconds up to which the default deadline is extended while the response is being taken
     * (`LINGER_MAX_MS`, 120000).
     */
    int max_ms;
    /**
     * Milliseconds an exit may wait (`LINGER_EXIT_MS`, 2000; 0: not at all). Matters to the preloaded library only.
     */
    int exit_ms;
    /**
     * Bytes to discard of one connection at most (`LINGER_MAX_BYTES`; 0: no limit, the default).
     */
    int64_t max_bytes;
    /**
     * Bytes to discard of one connection in a second at most, on the average of its life (`LINGER_MAX_RATE`; 0: no limit, the
     * default). Beyond it the library stops reading, and the peer's window closes.
     */
    int64_t max_rate;
    /**
     * Connections that may linger at once (`LINGER_MAX`, 10000; at most 1000000; 0: none lingers).
     */
    int max_connections;
    /**
     * Connections of one address that may linger at once (`LINGER_MAX_PER_PEER`; 0: no limit, the default). Of IPv6 an
     * address is a /64.
     */
    int max_per_peer;
    /**
     * `LINGER_WHEN_*`
     */
    int when;
    /**
     * `LINGER_SIDE_*`
     */
    int side;
    /**
     * `LINGER_LOG_*`
     */
    int log;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Lets go of `fd` without losing the response that is still on its way: sends FIN at once, hands the connection to
 * a background thread that reads and discards what the peer still sends, and closes it at the peer's FIN or the
 * deadline (RFC 9112 section 9.6). Returns at once, whatever the peer does.
 *
 * `fd` is closed when the call returns, and its number is free. Anything but a connected TCP socket is closed as
 * close() does, so a server may call this everywhere. The caller vouches that nobody else uses the socket (no
 * duplicate, no forked process), and must have removed it from its epoll sets: the library holds the open file
 * description a while longer, and its registrations with it. (Where liblinger.so is preloaded it removes them.)
 *
 * `timeout_ms`: `LINGER_DEFAULT`; 0 to discard what has arrived and not wait; otherwise the deadline in
 * milliseconds, which is never extended.
 *
 * Returns 0, or -1 with `errno`: EBADF (`fd` is not open; nothing was done), EINVAL (`timeout_ms` below -1; `fd` is
 * untouched), or what close() reports for a descriptor that is not a connection. On a shortage of anything it
 * discards what has arrived and closes without waiting: never worse than close().
 *
 * Thread-safe. Not async-signal-safe: the first call starts the thread.
 */
int linger_close(int fd,
                 int timeout_ms);

/**
 * Like `linger_close`, but waits until the connection has ended and says how: one of `LINGER_CLOSED`,
 * `LINGER_FIN`, `LINGER_RESET`, `LINGER_IDLE`, `LINGER_TIMEOUT` and `LINGER_BYTES`, or -1 and `errno` as for
 * `linger_close`.
 *
 * Works in the calling thread: needs no background thread and no further descriptor. Signals do not cut it short.
 * Thread-safe and async-signal-safe.
 */
int linger_close_wait(int fd,
                      int timeout_ms);

/**
 * Waits until no connection of this process lingers, at most `timeout_ms` milliseconds (`LINGER_DEFAULT`: as long
 * as it takes, which the connections' own deadlines bound; 0: does not wait). For a graceful stop, before exit().
 *
 * Returns how many still linger, or -1 with EINVAL (`timeout_ms` below -1). Thread-safe and async-signal-safe.
 */
int linger_flush(int timeout_ms);

/**
 * How many connections of this process linger now. Thread-safe and async-signal-safe.
 */
int linger_pending(void);

/**
 * Fills in `out`, up to its `size`: a program built with an older header gets the fields it knows.
 *
 * Returns 0, or -1 with EINVAL: `out` is NULL or its `size` has no room for the first counter. Thread-safe and
 * async-signal-safe.
 *
 * # Safety
 * `out` is NULL or points to `out->size` writable bytes, aligned as the structure.
 */
int linger_stats(struct linger_stats *out);

/**
 * Sets what the environment can set, in its place. Call it before the first connection is let go of.
 *
 * Returns 0, or -1 with `errno`: EINVAL (`config` is NULL, its `size` is not this structure's, or a value is out of
 * range: nothing was changed), EBUSY (connections have already lingered). Thread-safe.
 *
 * # Safety
 * `config` is NULL or points to `config->size` readable bytes, aligned as the structure.
 */
int linger_configure(const struct linger_config *config);

/**
 * The version of the library that is loaded, such as "0.1.0": a static string. Compare with `LINGER_VERSION_*` of the
 * header. Thread-safe and async-signal-safe.
 */
const char *linger_version(void);

/**
 * 1 where liblinger.so is preloaded and close() itself lingers in this process, else 0. Thread-safe and
 * async-signal-safe.
 */
int linger_shim_active(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LINGER_H */

#define LINGER_VERSION_NUMBER (LINGER_VERSION_MAJOR * 10000 + LINGER_VERSION_MINOR * 100 + LINGER_VERSION_PATCH)

/* A struct linger_config that changes nothing. */
#define LINGER_CONFIG_INIT {sizeof(struct linger_config), -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}
