/* A library whose constructor already serves: it accepts a connection from the listener
 * on 3, answers, closes, and tells on 5 what close() was at that moment: 'l' where it
 * lingers, 'c' where it is libc's, '!' where anything failed. Stands on nothing but libc,
 * as it may run before every other constructor. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENER = 3, PARENT = 5, RESPONSE_BYTES = 256 * 1024, QUEUE = 212992 };

static unsigned char body[RESPONSE_BYTES];

static int close_lingers_already(void)
{
    int (*active)(void);

    *(void **)&active = dlsym(RTLD_DEFAULT, "linger_shim_active");
    return active != NULL && active();
}

/* The bytes that the test's client expects. */
static int answer(int fd)
{
    const int queue = QUEUE;

    for (int i = 0; i < RESPONSE_BYTES; i++)
        body[i] = (unsigned char)(i % 251);
    return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &queue, sizeof(queue)) == 0 &&
           send(fd, body, sizeof(body), MSG_NOSIGNAL | MSG_DONTWAIT) == RESPONSE_BYTES;
}

static int serve_one(void)
{
    const int fd = accept(LISTENER, NULL, NULL);
    const int right = fd >= 0 && answer(fd) && close(fd) == 0 &&
                      fcntl(fd, F_GETFD) == -1 && errno == EBADF;

    return right && close(fd) == -1 && errno == EBADF;
}

__attribute__((constructor)) static void serve_before_anybody(void)
{
    char word = '!';

    if (getenv("SERVE_IN_CONSTRUCTOR") == NULL)
        return;
    if (serve_one())
        word = close_lingers_already() ? 'l' : 'c';
    if (write(PARENT, &word, 1) != 1)
        abort();
}
