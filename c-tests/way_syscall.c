/* Letting go through syscall(2), as libuv does. And everything else that goes through
 * syscall(): result, errno and all six arguments must be the kernel's. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "deadline.h"
#include "departure.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

static int open_null(void)
{
    const long null = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);

    require(null >= 0);
    return (int)null;
}

static void by_close(int fd)
{
    require(syscall(SYS_close, fd) == 0);
}

/* Only x86-64 and older have the system call. */
#ifdef SYS_dup2
static void by_dup2(int fd)
{
    const int null = open_null();

    require(syscall(SYS_dup2, null, fd) == fd);
    require(syscall(SYS_close, null) == 0);
    require(syscall(SYS_close, fd) == 0);
}
#endif

static void by_dup3(int fd)
{
    const int null = open_null();

    require(syscall(SYS_dup3, null, fd, O_CLOEXEC) == fd);
    require(syscall(SYS_close, null) == 0);
    require(syscall(SYS_close, fd) == 0);
}

static void by_shutdown_of_both(int fd)
{
    require(syscall(SYS_shutdown, fd, SHUT_RDWR) == 0);
    require(syscall(SYS_close, fd) == 0);
}

static const struct departure departures[] = {
    {"SYS_close", by_close, NULL},
    {"SYS_dup3 over it", by_dup3, NULL},
    {"SYS_shutdown, SYS_close", by_shutdown_of_both, NULL},
#ifdef SYS_dup2
    {"SYS_dup2 over it", by_dup2, NULL},
#endif
};

enum { DEPARTURES = sizeof(departures) / sizeof(departures[0]) };

static void connection_accepted_by_syscall_lingers(void **state)
{
    static const struct {
        const char *name;
        long number;
    } accepts[] = {{"SYS_accept", SYS_accept}, {"SYS_accept4", SYS_accept4}};

    (void)state;
    for (size_t i = 0; i < sizeof(accepts) / sizeof(accepts[0]); i++) {
        const int window = 212992;
        struct host host;

        require_context("%s mode, %s", test_mode_name(), accepts[i].name);
        host_open(&host, FAMILY_IPV4);
        const int client = host_connect(&host);
        const struct netcounters before = netcounters_now();
        const int server = (int)syscall(accepts[i].number, host.listener, NULL, NULL, SOCK_CLOEXEC);

        require(server >= 0);
        require(setsockopt(server, SOL_SOCKET, SO_SNDBUF, &window, sizeof(window)) == 0);
        send_response(server);
        require(syscall(SYS_close, server) == 0);
        prove_fate(plain_close(), client, &before);
        host_close(&host);
    }
}

static int duplicate(long number, int fd)
{
    const long copy = number == SYS_fcntl ? syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 100)
                                          : syscall(number, fd);

    require(copy >= (number == SYS_fcntl ? 100 : 0));
    return (int)copy;
}

/* A second number made here is as good as one made by dup(3). */
static void first_close_of_two_numbers_leaves_the_connection_whole(void **state)
{
    static const long duplicates[] = {SYS_dup, SYS_fcntl};

    (void)state;
    for (size_t i = 0; i < sizeof(duplicates) / sizeof(duplicates[0]); i++) {
        struct pair pair = pair_open(FAMILY_IPV4);
        const int first = pair.server;

        pair.server = duplicate(duplicates[i], first);
        require(syscall(SYS_close, first) == 0);
        require_nothing_lingers();
        leave_time_for_a_wrong_shutdown();
        require_whole(&pair, "the first of two closes");
        const struct netcounters before = netcounters_now();

        require_context("%s mode, last close of two", test_mode_name());
        send_response(pair.server);
        require(syscall(SYS_close, pair.server) == 0);
        prove_fate(plain_close(), pair.client, &before);
    }
}

/* What shut only one half, or failed, is the kernel's business alone. */
static void hooked_calls_that_fail_say_what_the_kernel_says(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const int null = open_null();

    (void)state;
    require(syscall(SYS_close, null) == 0);
    errno = 0;
    require(syscall(SYS_close, null) == -1 && errno == EBADF);
    require(syscall(SYS_close, -1) == -1 && errno == EBADF);
    errno = 0;
    require(syscall(SYS_dup3, null, pair.server, 0) == -1 && errno == EBADF);
    require(syscall(SYS_dup3, pair.client, pair.server, -1) == -1 && errno == EINVAL);
    require(syscall(SYS_fcntl, null, F_GETFD) == -1 && errno == EBADF);
    require(syscall(SYS_shutdown, null, SHUT_RDWR) == -1 && errno == EBADF);
    errno = 0;
    require(syscall(SYS_shutdown, pair.server, 17) == -1 && errno == EINVAL);
    require(syscall(SYS_accept4, pair.server, NULL, NULL, 0) == -1 && errno == EINVAL);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require_whole(&pair, "system calls that failed");
    require(close(pair.client) == 0);
    require(close(pair.server) == 0);
    require_nothing_lingers();
}

static void results_and_errno_are_the_kernels(void **state)
{
    (void)state;
    require(syscall(SYS_gettid) == gettid());
    require(syscall(SYS_getppid) == getppid());
    errno = 0;
    require(syscall(SYS_openat, AT_FDCWD, "/nonexistent", O_RDONLY, 0) == -1 && errno == ENOENT);
    require(syscall(99999) == -1 && errno == ENOSYS);
    errno = EXDEV;
    require(syscall(SYS_gettid) > 0 && errno == EXDEV);
}

static const char SECOND_PAGE[] = "the second page";

static int two_pages(long page)
{
    const long file = syscall(SYS_memfd_create, "pages", 0);

    require(file >= 0);
    require(syscall(SYS_ftruncate, (int)file, 2 * page) == 0);
    require(syscall(SYS_pwrite64, (int)file, SECOND_PAGE, sizeof(SECOND_PAGE), page) ==
            sizeof(SECOND_PAGE));
    return (int)file;
}

/* mmap(2): the sixth argument is the offset, the result a pointer. */
static void sixth_argument_of_mmap_arrives(void **state)
{
    const long page = sysconf(_SC_PAGESIZE);
    const int file = two_pages(page);
    char *const place = mmap(NULL, (size_t)page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    require(place != MAP_FAILED);
    require(syscall(SYS_mmap, place, page, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, page) ==
            (long)place);
    require(memcmp(place, SECOND_PAGE, sizeof(SECOND_PAGE)) == 0);
    errno = 0;
    require(syscall(SYS_mmap, NULL, page, PROT_READ, MAP_PRIVATE, file, 1L) == -1);
    require(errno == EINVAL);
    require(syscall(SYS_munmap, place, page) == 0);
    require(close(file) == 0);
}

/* futex(2), FUTEX_CMP_REQUEUE: the sixth is compared with the word. */
static void sixth_argument_of_futex_arrives(void **state)
{
    static atomic_uint word = 0x12345678, other;
    const unsigned right = 0x12345678, wrong = 0x12345679;

    (void)state;
    require(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, 1L, &other, right) == 0);
    errno = 0;
    require(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, 1L, &other, wrong) == -1);
    require(errno == EAGAIN);
    require(syscall(SYS_futex, &word, FUTEX_WAIT, wrong, NULL, NULL, 0) == -1);
    require(errno == EAGAIN);
}

/* Arguments and results wider than an int. */
static void wide_values_arrive_whole(void **state)
{
    const off_t far = (off_t)5 << 32;
    const long file = syscall(SYS_memfd_create, "far", 0);
    char byte = 'x';

    (void)state;
    require(file >= 0);
    require(syscall(SYS_pwrite64, (int)file, &byte, 1L, far) == 1);
    require(syscall(SYS_lseek, (int)file, 0L, SEEK_END) == far + 1);
    byte = 0;
    require(syscall(SYS_pread64, (int)file, &byte, 1L, far) == 1);
    require(byte == 'x');
    require(close((int)file) == 0);
}

int main(void)
{
    const struct CMUnitTest checks[] = {
        trap(connection_accepted_by_syscall_lingers),
        trap(first_close_of_two_numbers_leaves_the_connection_whole),
        trap(hooked_calls_that_fail_say_what_the_kernel_says),
        trap(results_and_errno_are_the_kernels),
        trap(sixth_argument_of_mmap_arrives),
        trap(sixth_argument_of_futex_arrives),
        trap(wide_values_arrive_whole),
    };
    struct CMUnitTest traps[DEPARTURES + sizeof(checks) / sizeof(checks[0])];

    for (size_t i = 0; i < DEPARTURES; i++)
        traps[i] = (struct CMUnitTest)departure_trap(&departures[i]);
    memcpy(traps + DEPARTURES, checks, sizeof(checks));
    return run_traps(traps);
}
