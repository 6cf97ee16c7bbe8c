#define _GNU_SOURCE /* memmem() */
#include "web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAGE_BYTES = 256 * 1024 };

void web_require(bool holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

bool web_asked_for(const char *option, int count, char **arguments)
{
    for (int i = 1; i < count; i++)
        if (strcmp(arguments[i], option) == 0)
            return true;
    return false;
}

int web_listen(int flags)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(name);
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    web_require(listener >= 0, "socket");
    web_require(bind(listener, (struct sockaddr *)&name, length) == 0, "bind");
    web_require(listen(listener, SOMAXCONN) == 0, "listen");
    web_require(getsockname(listener, (struct sockaddr *)&name, &length) == 0, "getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(name.sin_port));
    fflush(stdout);
    return listener;
}

bool web_head_ends(const char *head, size_t bytes)
{
    return bytes == WEB_HEAD_BYTES || memmem(head, bytes, "\r\n\r\n", 4) != NULL;
}

struct web_answer web_answer(void)
{
    static char answer[PAGE_BYTES + 256];
    static size_t size;

    if (size == 0) {
        const int head = snprintf(answer, sizeof(answer),
                                  "HTTP/1.1 413 Content Too Large\r\n"
                                  "Content-Length: %d\r\nConnection: close\r\n\r\n", PAGE_BYTES);

        memset(answer + head, 'x', PAGE_BYTES);
        size = (size_t)head + PAGE_BYTES;
    }
    return (struct web_answer){answer, size};
}

bool web_read_head(int fd)
{
    char head[WEB_HEAD_BYTES];
    size_t got = 0;

    while (!web_head_ends(head, got)) {
        const ssize_t more = read(fd, head + got, sizeof(head) - got);

        if (more == 0 || (more < 0 && errno != EINTR))
            return false;
        if (more > 0)
            got += (size_t)more;
    }
    return true;
}

bool web_write_answer(int fd)
{
    const struct web_answer answer = web_answer();
    size_t sent = 0;

    while (sent < answer.size) {
        const ssize_t more = send(fd, answer.bytes + sent, answer.size - sent, MSG_NOSIGNAL);

        if (more < 0 && errno != EINTR)
            return false;
        if (more > 0)
            sent += (size_t)more;
    }
    return true;
}
