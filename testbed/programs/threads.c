/* Threads one after the other, each with files, pipes and sockets of its own, none of them a TCP connection. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void demand(int condition)
{
    if (!condition)
        abort();
}

static void *work(void *argument)
{
    int ends[2], pair[2];
    char byte = 'x';
    int file = open("file-1", O_RDONLY | O_CLOEXEC);
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    FILE *stream = fopen("file-2", "re");

    (void)argument;
    demand(file >= 0 && datagrams >= 0 && stream && fgetc(stream) != EOF);
    demand(pipe(ends) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    demand(write(ends[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1);
    demand(send(pair[0], &byte, 1, 0) == 1 && recv(pair[1], &byte, 1, 0) == 1);
    demand(dup2(file, ends[0]) == ends[0] && shutdown(pair[0], SHUT_RDWR) == 0);
    demand(fclose(stream) == 0 && close(file) == 0 && close(datagrams) == 0);
    demand(close(ends[0]) == 0 && close(ends[1]) == 0 && close(pair[0]) == 0 && close(pair[1]) == 0);
    return NULL;
}

int main(void)
{
    for (int i = 0; i < 3; i++) {
        pthread_t thread;

        demand(pthread_create(&thread, NULL, work, NULL) == 0);
        demand(pthread_join(thread, NULL) == 0);
    }
    return 0;
}
