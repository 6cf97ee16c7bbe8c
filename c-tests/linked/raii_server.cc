// A C++ server whose connections are objects: what lets go is a destructor, also when
// an exception ends the request. linger.h from C++, which must need no wrapping of it.
//
// raii_server linger|close: prints its port, serves until its input ends.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linger.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

constexpr int response_bytes = 128 * 1024;

using Release = int (*)(int fd);

int by_linger_close(int fd) { return linger_close(fd, LINGER_DEFAULT); }
int by_close(int fd) { return ::close(fd); }

// Owns a socket and lets go of it in its own way.
class Socket {
public:
    Socket(int fd, Release release) : fd_(fd), release_(release)
    {
        if (fd < 0)
            throw std::runtime_error(std::strerror(errno));
    }
    Socket(Socket &&other) noexcept
        : fd_(std::exchange(other.fd_, -1)), release_(other.release_) {}
    Socket(const Socket &) = delete;
    Socket &operator=(const Socket &) = delete;
    Socket &operator=(Socket &&) = delete;
    ~Socket()
    {
        if (fd_ >= 0)
            release_(fd_);
    }
    int fd() const { return fd_; }

private:
    int fd_;
    Release release_;
};

Socket listen_anywhere(Release release)
{
    sockaddr_in name{};
    socklen_t length = sizeof(name);
    Socket listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), release);

    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener.fd(), reinterpret_cast<sockaddr *>(&name), length) != 0 ||
        listen(listener.fd(), SOMAXCONN) != 0 ||
        getsockname(listener.fd(), reinterpret_cast<sockaddr *>(&name), &length) != 0)
        throw std::runtime_error(std::strerror(errno));
    std::printf("%d\n", ntohs(name.sin_port));
    std::fflush(stdout);
    return listener;
}

// Answers what it has read so little of that it gives up on it.
void serve(const Socket &connection)
{
    const std::string response(response_bytes, 'x');
    const int queue = 4 * response_bytes;
    char line[16];

    setsockopt(connection.fd(), SOL_SOCKET, SO_SNDBUF, &queue, sizeof(queue));
    if (read(connection.fd(), line, sizeof(line)) <= 0)
        return;
    if (write(connection.fd(), response.data(), response.size()) != response_bytes)
        throw std::runtime_error("short write");
    throw std::length_error("request too long");
}

void serve_until_input_ends(const Socket &listener, Release release)
{
    pollfd watched[] = {{STDIN_FILENO, POLLIN, 0}, {listener.fd(), POLLIN, 0}};

    while (poll(watched, 2, -1) > 0 && watched[0].revents == 0) {
        const Socket connection(accept(listener.fd(), nullptr, nullptr), release);

        try {
            serve(connection);
        } catch (const std::length_error &) {
        }
    }
}

} // namespace

int main(int count, char **arguments)
{
    if (count != 2)
        return EXIT_FAILURE;
    const Release release =
        std::strcmp(arguments[1], "linger") == 0 ? by_linger_close : by_close;

    serve_until_input_ends(listen_anywhere(release), release);
    return linger_flush(10000) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
