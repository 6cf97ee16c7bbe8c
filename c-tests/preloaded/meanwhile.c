/* A library between the shim and libc that stops inside a call: between what the kernel
 * does and what the shim's hook does before or after it, `meanwhile` runs, as another
 * thread might. A test finds it with dlsym(3) and sets it. */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/epoll.h>

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
