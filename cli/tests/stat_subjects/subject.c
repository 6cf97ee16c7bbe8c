/* A server that does what it is told, a word and a number at a time, and answers each with a line. It lets go of
 * connections with close(), or with linger_close() where it is built with LINKED. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef LINKED
#include <linger.h>
#define LET_GO(fd) linger_close(fd, LINGER_DEFAULT)
#else
#define LET_GO(fd) close(fd)
#endif

static int held[1024];
static int count;

static void demand(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static int listen_anywhere(void) {
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    socklen_t length = sizeof any;
    int listener = socket(AF_INET6, SOCK_STREAM, 0), off = 0;
    demand(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0, "IPV6_V6ONLY");
    demand(bind(listener, (struct sockaddr *)&any, length) == 0 && listen(listener, 64) == 0, "listen");
    demand(getsockname(listener, (struct sockaddr *)&any, &length) == 0, "getsockname");
    printf("%d\n", ntohs(any.sin6_port));
    return listener;
}

/* Byte by byte: after a fork the other one reads on where this one stopped. */
static int read_command(char *command, size_t room) {
    size_t length = 0;
    while (length + 1 < room && read(0, command + length, 1) == 1 && command[length] != '\n')
        length++;
    command[length] = 0;
    return length > 0;
}

static void obey(int listener, const char *word, int number) {
    if (strcmp(word, "accept") == 0) {
        while (number-- > 0)
            demand((held[count++] = accept(listener, NULL, NULL)) >= 0, "accept");
    } else if (strcmp(word, "close") == 0) {
        while (number-- > 0)
            demand(LET_GO(held[--count]) == 0, "close");
    } else if (strcmp(word, "setuid") == 0) {
        demand(setuid((uid_t)number) == 0, "setuid");
    } else if (strcmp(word, "sweep") == 0) {
        demand(close_range((unsigned)listener + 1, ~0U, 0) == 0, "close_range");
    } else if (strcmp(word, "leave") == 0) {
        _exit(0);
    } else if (strcmp(word, "fork") == 0) {
        pid_t child = fork();
        demand(child >= 0, "fork");
        /* The child answers from now on, until it leaves. */
        if (child > 0)
            waitpid(child, NULL, 0);
    }
    printf("%d\n", getpid());
}

int main(void) {
    char command[64], word[32];
    setvbuf(stdout, NULL, _IOLBF, 0);
    int listener = listen_anywhere();
    while (read_command(command, sizeof command)) {
        int number = 0;
        if (sscanf(command, "%31s %d", word, &number) < 1)
            return 1;
        obey(listener, word, number);
    }
    return 0;
}
