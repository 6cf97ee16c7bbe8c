// linger.hpp: a connection is an object, and what lets go of it is its destructor, also when an exception ends the request.
//
// raii_server [--plain-close]: a thread for each client, until SIGTERM or SIGINT.
#include <linger.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

using namespace std::chrono_literals;

namespace {

bool plain_close = false;

int check(int result, const char *what)
{
    if (result < 0)
        throw std::system_error(errno, std::generic_category(), what);
    return result;
}

liblinger::socket listen_on_any_port()
{
    sockaddr_in name{};
    socklen_t length = sizeof(name);
    // A listening socket is no connection: its destructor simply closes it.
    liblinger::socket listener{check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")};

    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(bind(listener.get(), reinterpret_cast<sockaddr *>(&name), length), "bind");
    check(listen(listener.get(), SOMAXCONN), "listen");
    check(getsockname(listener.get(), reinterpret_cast<sockaddr *>(&name), &length), "getsockname");
    std::cout << "listening on 127.0.0.1:" << ntohs(name.sin_port) << std::endl;
    return listener;
}

void read_head(int fd)
{
    std::string head(4096, '\0');
    std::size_t got = 0;

    while (std::string_view(head).substr(0, got).find("\r\n\r\n") == std::string_view::npos) {
        const int more = check(static_cast<int>(read(fd, head.data() + got, head.size() - got)), "read");
        if (more == 0)
            throw std::runtime_error("no request");
        got += static_cast<std::size_t>(more);
    }
}

void write_all(int fd, std::string_view bytes)
{
    while (!bytes.empty()) {
        const auto sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        check(sent < 0 ? -1 : 0, "send");
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

// The connection belongs to this function. However it is left, by its end, a return or an exception, the destructor of
// `connection` sends FIN and hands it to the library, without waiting, and what was written arrives.
void serve(liblinger::socket connection)
{
    const std::string page(256 * 1024, 'x');

    connection.set_timeout(30s); // in place of LINGER_TIMEOUT_MS
    read_head(connection.get());
    write_all(connection.get(), "HTTP/1.1 413 Content Too Large\r\nContent-Length: " + std::to_string(page.size()) +
                                    "\r\nConnection: close\r\n\r\n" + page);
    if (plain_close)
        ::close(connection.release()); // the way it was: the descriptor is ours again
    throw std::length_error("request too long");
}

void accept_for_ever(int listener)
{
    for (;;) {
        liblinger::socket connection{accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)};
        if (!connection)
            return;
        std::thread([taken = std::move(connection)]() mutable {
            try {
                serve(std::move(taken));
            } catch (const std::exception &error) {
                std::cerr << error.what() << '\n';
            }
        }).detach();
    }
}

} // namespace

int main(int count, char **arguments)
{
    sigset_t signals;
    int number;

    plain_close = count > 1 && std::strcmp(arguments[1], "--plain-close") == 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr); // before the first thread, so that only sigwait() takes them

    const liblinger::socket listener = listen_on_any_port();
    std::thread acceptor(accept_for_ever, listener.get());
    sigwait(&signals, &number);

    shutdown(listener.get(), SHUT_RD); // accept4() fails now
    acceptor.join();
    if (const int left = liblinger::flush(5s))
        std::cerr << left << " connections had not ended\n";
}
