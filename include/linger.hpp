/*
 * linger.hpp - C++17 over linger.h: sockets that let go of their connection without losing the response
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The namespace is `liblinger`, for <sys/socket.h> has taken `linger`: it is the structure of SO_LINGER.
 *
 *     liblinger::socket connection{accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)};
 *     if (!connection)
 *         ...
 *     respond(connection.get());      // may throw: the response so far still arrives
 *                                     // the destructor lets go, and returns at once
 *
 * and `liblinger::flush(std::chrono::seconds{5})` before the program ends.
 *
 * Before a socket is let go of, by its destructor or otherwise:
 *   - nobody else may use the connection: no duplicate of the descriptor, no other process;
 *   - remove it from your epoll sets (EPOLL_CTL_DEL), unless you link liblinger.so, which does so itself. A guard that does
 *     it in its own destructor must be declared after the socket, so that it goes first.
 *
 * Threads: the free functions may be called from anywhere. A `socket` is like any object: one thread at a time.
 * Signals: only what linger.h says is safe in a handler; no member of `socket` is.
 */
#ifndef LINGER_HPP
#define LINGER_HPP

#include <linger.h>

#include <cerrno>
#include <chrono>
#include <limits>
#include <system_error>
#include <utility>

namespace liblinger {

/// How lingering ended: the `LINGER_*` outcomes of linger.h.
enum class outcome : int {
    closed = LINGER_CLOSED,   ///< there was nothing to linger for
    fin = LINGER_FIN,         ///< the peer's FIN: it has everything
    reset = LINGER_RESET,     ///< the peer's RST, or another error of the connection
    idle = LINGER_IDLE,       ///< everything acknowledged, then silence
    timeout = LINGER_TIMEOUT, ///< the deadline
    bytes = LINGER_BYTES,     ///< enough was discarded
    evicted = LINGER_EVICTED, ///< too many connections lingered
};

/// A deadline: made from any std::chrono duration, or from nothing for the configured one.
///
/// A duration is rounded up to whole milliseconds, so that a short one never becomes "do not wait". One that is zero or
/// negative (a deadline that has passed) does not wait; what is longer than 24 days counts as 24 days.
class timeout {
public:
    /// The configured deadline (LINGER_TIMEOUT_MS), extended while the peer is still taking the response.
    constexpr timeout() noexcept = default;

    /// Exactly so long; never extended.
    template <class Rep, class Period>
    constexpr timeout(std::chrono::duration<Rep, Period> limit) noexcept // NOLINT: implicit, as its purpose is
        : milliseconds_(round_up(std::chrono::duration<double, std::milli>(limit).count()))
    {
    }

    /// As linger.h has it: LINGER_DEFAULT, or a number of milliseconds.
    constexpr int milliseconds() const noexcept { return milliseconds_; }

private:
    static constexpr int round_up(double milliseconds) noexcept
    {
        if (!(milliseconds > 0))
            return 0;
        if (milliseconds >= std::numeric_limits<int>::max())
            return std::numeric_limits<int>::max();
        const int whole = static_cast<int>(milliseconds);
        return whole < milliseconds ? whole + 1 : whole;
    }

    int milliseconds_ = LINGER_DEFAULT;
};

/// Owns a descriptor and lets go of it with linger_close(). Anything but a connected TCP socket is closed as by close().
///
/// Movable, not copyable. `errno` is left as it was by everything that succeeds, and by the destructor always.
class socket {
public:
    /// Owns nothing.
    constexpr socket() noexcept = default;

    /// Owns `fd`; a negative one, such as a failed accept() returns, is nothing. `limit` is the deadline of the destructor.
    explicit constexpr socket(int fd, timeout limit = {}) noexcept : fd_(fd < 0 ? -1 : fd), limit_(limit) {}

    /// Takes over the descriptor of `other`, which then owns nothing.
    socket(socket &&other) noexcept : fd_(std::exchange(other.fd_, -1)), limit_(other.limit_) {}

    /// Lets go of its own descriptor as the destructor does, then takes over that of `other`.
    socket &operator=(socket &&other) noexcept
    {
        if (this != &other) {
            let_go();
            fd_ = std::exchange(other.fd_, -1);
            limit_ = other.limit_;
        }
        return *this;
    }

    socket(const socket &) = delete;
    socket &operator=(const socket &) = delete;

    /// Lets go of the descriptor, if there is one. Never waits, and errors are lost: call close() where they matter.
    ~socket() { let_go(); }

    /// The descriptor, or -1. It stays this object's.
    constexpr int get() const noexcept { return fd_; }

    /// Whether there is a descriptor.
    constexpr explicit operator bool() const noexcept { return fd_ >= 0; }

    /// The deadline the destructor uses.
    constexpr void set_timeout(timeout limit) noexcept { limit_ = limit; }

    /// Gives the descriptor away: the caller closes it. -1 if there is none.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

    /// Lets go of the descriptor and returns at once (linger_close(3)).
    ///
    /// Throws std::system_error: EBADF where there is no descriptor, or not an open one; otherwise what close() says of
    /// something that is not a connection. This object owns nothing afterwards, also if it throws.
    void close(timeout limit = {})
    {
        std::error_code error;
        close(limit, error);
        if (error)
            throw std::system_error(error, "linger_close");
    }

    /// The same, with the error in `error`, which is cleared on success.
    void close(timeout limit, std::error_code &error) noexcept
    {
        check(linger_close(release(), limit.milliseconds()), error);
    }

    /// Lets go of the descriptor in this thread, **waits** for the end, and says how it ended (linger_close_wait(3)).
    ///
    /// Throws, and leaves this object, as close() does.
    outcome close_wait(timeout limit = {})
    {
        std::error_code error;
        const outcome ended = close_wait(limit, error);
        if (error)
            throw std::system_error(error, "linger_close_wait");
        return ended;
    }

    /// The same, with the error in `error`, which is cleared on success. On error the result is `outcome::closed`.
    outcome close_wait(timeout limit, std::error_code &error) noexcept
    {
        const int ended = check(linger_close_wait(release(), limit.milliseconds()), error);
        return ended < 0 ? outcome::closed : static_cast<outcome>(ended);
    }

    friend void swap(socket &one, socket &other) noexcept
    {
        std::swap(one.fd_, other.fd_);
        std::swap(one.limit_, other.limit_);
    }

private:
    static int check(int result, std::error_code &error) noexcept
    {
        if (result < 0)
            error.assign(errno, std::generic_category());
        else
            error.clear();
        return result;
    }

    void let_go() noexcept
    {
        if (fd_ < 0)
            return;
        const int before = errno;
        linger_close(release(), limit_.milliseconds());
        errno = before;
    }

    int fd_ = -1;
    timeout limit_;
};

/// Waits until no connection of this process lingers, at most `limit` (by default as long as it takes), and returns how
/// many still do. For a graceful stop: the kernel closes what lingers when the program ends.
inline int flush(timeout limit = {}) noexcept { return linger_flush(limit.milliseconds()); }

/// How many connections of this process linger now.
inline int pending() noexcept { return linger_pending(); }

/// The counters of linger_stats(3): linger.h says what each counts.
using counters = struct ::linger_stats;

/// The counters of this process. Those that the loaded library does not know yet are zero.
inline counters stats() noexcept
{
    counters now{};
    now.size = sizeof(now);
    ::linger_stats(&now);
    return now;
}

} // namespace liblinger

#endif /* LINGER_HPP */
