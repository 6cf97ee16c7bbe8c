// linger.hpp: who owns the descriptor when, also after errors; what durations become; what may throw.
// Includes <sys/socket.h> first, whose struct linger no namespace may be named after.
#include <sys/socket.h>

#include <linger.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>

namespace {

using liblinger::outcome;
using liblinger::timeout;
using namespace std::chrono_literals;
using connection = liblinger::socket;

static_assert(!std::is_copy_constructible_v<connection> && !std::is_copy_assignable_v<connection>);
static_assert(std::is_nothrow_move_constructible_v<connection> && std::is_nothrow_move_assignable_v<connection>);
static_assert(std::is_nothrow_destructible_v<connection> && std::is_nothrow_swappable_v<connection>);
static_assert(!std::is_convertible_v<int, connection>, "no descriptor is adopted by accident");
static_assert(!std::is_convertible_v<int, timeout>, "a number has no unit");
static_assert(noexcept(std::declval<connection &>().release()));
static_assert(noexcept(std::declval<connection &>().close({}, std::declval<std::error_code &>())));
static_assert(!noexcept(std::declval<connection &>().close()));
static_assert(noexcept(liblinger::flush()) && noexcept(liblinger::stats()) && noexcept(liblinger::pending()));

static_assert(timeout{}.milliseconds() == LINGER_DEFAULT);
static_assert(timeout{0s}.milliseconds() == 0 && timeout{-1ms}.milliseconds() == 0);
static_assert(timeout{1ns}.milliseconds() == 1 && timeout{1001us}.milliseconds() == 2);
static_assert(timeout{30s}.milliseconds() == 30000 && timeout{30'000'000'000ns}.milliseconds() == 30000);
static_assert(timeout{0.5s}.milliseconds() == 500 && timeout{2.5min}.milliseconds() == 150000);
static_assert(timeout{std::chrono::hours::max()}.milliseconds() == std::numeric_limits<int>::max());
static_assert(timeout{std::chrono::nanoseconds::min()}.milliseconds() == 0);

void require(bool holds, const char *what)
{
    if (!holds) {
        std::fprintf(stderr, "owner: not so: %s\n", what);
        std::exit(EXIT_FAILURE);
    }
}

#define REQUIRE(what) require(what, #what)

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

struct pair {
    connection client, server;
};

pair connect_pair()
{
    sockaddr_in name{};
    socklen_t length = sizeof(name);
    const connection listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr *>(&name), length) == 0);
    REQUIRE(listen(listener.get(), 1) == 0);
    REQUIRE(getsockname(listener.get(), reinterpret_cast<sockaddr *>(&name), &length) == 0);
    connection client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    REQUIRE(connect(client.get(), reinterpret_cast<sockaddr *>(&name), length) == 0);
    return {std::move(client), connection{accept(listener.get(), nullptr, nullptr)}};
}

void a_descriptor_has_one_owner()
{
    const connection nothing{-1};
    REQUIRE(!nothing && nothing.get() == -1);

    connection one = connect_pair().server;
    const int fd = one.get();
    connection other{std::move(one)};
    REQUIRE(!one && other.get() == fd && is_open(fd)); // NOLINT: what is left of it is the question
    swap(one, other);
    REQUIRE(one.get() == fd && !other);
    REQUIRE(one.release() == fd && !one && is_open(fd));
    { const connection last{fd}; }
    REQUIRE(!is_open(fd));
}

void assignment_lets_go_of_what_was_there()
{
    pair one = connect_pair(), other = connect_pair();
    const int before = one.server.get(), after = other.server.get();

    one.server = std::move(other.server);
    REQUIRE(one.server.get() == after && is_open(after) && !is_open(before));
    connection &same = one.server;
    one.server = std::move(same);
    REQUIRE(one.server.get() == after && is_open(after));
}

void a_destructor_lingers_and_keeps_errno()
{
    const auto before = liblinger::stats();
    {
        pair both = connect_pair();
        both.server.set_timeout(60s);
        { const connection gone{std::move(both.server)}; }
        REQUIRE(liblinger::stats().lingered == before.lingered + 1);
        REQUIRE(liblinger::pending() >= 1);
        errno = ENOTTY;
    }
    REQUIRE(errno == ENOTTY);
    REQUIRE(liblinger::flush(60s) == 0);
}

void errors_leave_nothing_owned()
{
    std::error_code error;
    connection empty;
    empty.close({}, error);
    REQUIRE(error == std::errc::bad_file_descriptor);

    pair both = connect_pair();
    both.server.close(0s, error);
    REQUIRE(!error && !both.server);

    connection stale{connect_pair().server.release()};
    const int fd = stale.get();
    ::close(fd);
    try {
        stale.close_wait();
        require(false, "closing twice is an error");
    } catch (const std::system_error &thrown) {
        REQUIRE(thrown.code() == std::errc::bad_file_descriptor && !stale);
    }
}

void waiting_says_how_it_ended()
{
    std::error_code error = std::make_error_code(std::errc::io_error);
    pair both = connect_pair();
    REQUIRE(both.server.close_wait(1ms, error) == outcome::timeout && !error);

    both = connect_pair();
    both.client.close();
    REQUIRE(both.server.close_wait() == outcome::fin);

    connection file{open("/dev/null", O_RDONLY | O_CLOEXEC)};
    REQUIRE(file.close_wait() == outcome::closed);
}

void no_number_is_no_time()
{
    const std::chrono::duration<double> nothing{std::numeric_limits<double>::quiet_NaN()};
    REQUIRE(timeout{nothing}.milliseconds() == 0);
}

} // namespace

int main()
{
    no_number_is_no_time();
    a_descriptor_has_one_owner();
    assignment_lets_go_of_what_was_there();
    a_destructor_lingers_and_keeps_errno();
    errors_leave_nothing_owned();
    waiting_says_how_it_ended();
}
