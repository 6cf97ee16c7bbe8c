/* A server with one client, which is in the same process and has said nothing: lets go of the connection and says how
 * many linger then, or "absent" where there is no liblinger to ask. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int (*pending)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "linger_pending");
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    int server;

    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &length) ||
        connect(client, (struct sockaddr *)&address, length) || (server = accept(listener, NULL, NULL)) < 0) {
        perror("connect");
        return 1;
    }
    close(server);
    if (pending)
        printf("%d\n", pending());
    else
        puts("absent");
    /* So that our own end has nothing to wait for. */
    close(client);
    return 0;
}
