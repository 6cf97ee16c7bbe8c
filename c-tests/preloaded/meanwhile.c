/* A library between the shim and libc that stops inside a call: between what the kernel
 * does and what the shim's hook does before or after it, `meanwhile` runs, as another
 * thread might. A test finds it with dlsym(3) and sets it. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

void (*meanwhile)(void);

static void run_meanwhile(void)
{
    void (*const once)(void) = meanwhile;

    meanwhile = NULL;
    if (once)
        once();
}

/* Past the shim: what it hooks must not see a call twice. */
#define NEXT(function)                                                          \
    __typeof__(&(function)) next;                                               \
    *(void **)&next = dlsym(RTLD_NEXT, #function)

int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    NEXT(epoll_ctl);
    const int result = next(set, operation, fd, event);

    run_meanwhile();
    return result;
}

int dup(int old)
{
    NEXT(dup);
    const int result = next(old);

    run_meanwhile();
    return result;
}

int dup2(int old, int new)
{
    NEXT(dup2);
    const int result = next(old, new);

    run_meanwhile();
    return result;
}

int dup3(int old, int new, int flags)
{
    NEXT(dup3);
    const int result = next(old, new, flags);

    run_meanwhile();
    return result;
}

/* Of the commands only those that take an int, or nothing, are used here. */
int fcntl(int fd, int command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    const int argument = va_arg(arguments, int);

    va_end(arguments);
    NEXT(fcntl);
    const int result = next(fd, command, argument);

    run_meanwhile();
    return result;
}
