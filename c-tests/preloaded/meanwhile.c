/* A library between the shim and libc that stops inside a call: before the kernel does its
 * part and after that, but after the shim's hook has begun and before it goes on, runs what
 * another thread might do then. A test finds the two variables with dlsym(3). */
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

void (*before_the_kernel)(void);
void (*after_the_kernel)(void);

static void run_once(void (**variable)(void))
{
    void (*const once)(void) = *variable;

    *variable = NULL;
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

    run_once(&after_the_kernel);
    return result;
}

int dup(int old)
{
    NEXT(dup);
    const int result = next(old);

    run_once(&after_the_kernel);
    return result;
}

int dup2(int old, int new)
{
    NEXT(dup2);
    const int result = next(old, new);

    run_once(&after_the_kernel);
    return result;
}

int dup3(int old, int new, int flags)
{
    NEXT(dup3);
    const int result = next(old, new, flags);

    run_once(&after_the_kernel);
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

    if (command == F_DUPFD_CLOEXEC)
        run_once(&after_the_kernel);
    return result;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const *arguments,
                char *const *environment)
{
    NEXT(posix_spawn);
    run_once(&before_the_kernel);
    const int result = next(pid, path, actions, attributes, arguments, environment);

    run_once(&after_the_kernel);
    return result;
}

/* For a libc that has none: what glibc 2.39 and later have. */
int pidfd_spawn(int *pidfd, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const *arguments,
                char *const *environment)
{
    pid_t pid;

    NEXT(posix_spawn);
    run_once(&before_the_kernel);
    const int result = next(&pid, path, actions, attributes, arguments, environment);

    if (result == 0)
        *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    run_once(&after_the_kernel);
    return result;
}
