/* Letting go where other code does not run: in signal handlers, at exit, in destructors.
 * (In other libraries' constructors: way_constructor.) */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "service.h"
#include "trap.h"

enum { STATUS = 7 };

static volatile sig_atomic_t for_the_handler, right_in_handler;

static void close_what_is_offered(int signal_number)
{
    const int saved = errno;

    (void)signal_number;
    errno = EXDEV;
    right_in_handler = close(for_the_handler) == 0 && errno == EXDEV;
    errno = saved;
}

static void install(int flags)
{
    const struct sigaction action = {.sa_handler = close_what_is_offered, .sa_flags = flags};

    require(sigaction(SIGUSR1, &action, NULL) == 0);
}

static void close_in_handler_of(int flags)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    require_context("%s mode, handler with flags %#x", test_mode_name(), (unsigned)flags);
    install(flags);
    send_response(pair.server);
    for_the_handler = pair.server;
    right_in_handler = 0;
    require(raise(SIGUSR1) == 0);
    require(right_in_handler);
    require(is_free(pair.server));
    prove_fate(plain_close(), pair.client, &before);
}

static void close_in_a_handler_lingers_whatever_its_flags(void **state)
{
    (void)state;
    close_in_handler_of(0);
    close_in_handler_of(SA_RESTART);
    close_in_handler_of(SA_NODEFER);
    close_in_handler_of(SA_RESETHAND);
}

/* What <signal.h> has called SIGSTKSZ for decades, and programs have compiled in; below
 * it a page that nothing may touch. */
static void use_a_small_alternate_stack(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 8192;
    char *const place = mmap(NULL, page + size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t stack = {.ss_sp = place + page, .ss_size = size};

    require(place != MAP_FAILED);
    require(mprotect(place, page, PROT_NONE) == 0);
    require(sigaltstack(&stack, NULL) == 0);
}

/* A handler cannot start the drain thread. */
static void lingering_has_begun(void)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    signal(SIGUSR1, SIG_DFL);
    require(close(pair.server) == 0);
    require(close(pair.client) == 0);
    require_nothing_lingers();
}

static void close_on_a_small_stack(struct line *parent, void *unused)
{
    (void)parent, (void)unused;
    lingering_has_begun();
    use_a_small_alternate_stack();
    close_in_handler_of(SA_ONSTACK);
    close_in_handler_of(SA_ONSTACK | SA_NODEFER);
}

static void close_on_a_small_alternate_stack_lingers(void **state)
{
    struct child child;

    (void)state;
    fflush(NULL);
    child_start(&child, close_on_a_small_stack, NULL);
    child_reap(&child);
}

/* No thread can be started there; that close may lose, those after it must not. */
static int first_close_of_all_in_a_handler(const struct host *host, const struct line *parent)
{
    for_the_handler = host_accept(host);
    install(0);
    require(raise(SIGUSR1) == 0);
    require(right_in_handler);
    line_tell(parent, 'h');
    const int server = host_accept(host);

    send_response(server);
    require(close(server) == 0);
    line_tell(parent, 'c');
    line_await(parent, 'e');
    return EXIT_SUCCESS;
}

static void first_close_in_a_handler_spoils_nothing(void **state)
{
    struct host host;
    struct child child;

    (void)state;
    require_context("%s mode, first close of all in a handler", test_mode_name());
    host_open(&host, FAMILY_IPV4);
    service_start(&child, "first_close_of_all_in_a_handler", &host, NULL);
    const int first = host_connect(&host);

    line_await(&child.line, 'h');
    require(wait_for(first, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(first) == 0);
    const int second = host_connect(&host);

    line_await(&child.line, 'c');
    const struct netcounters before = netcounters_now();

    prove_fate(plain_close(), second, &before);
    line_tell(&child.line, 'e');
    require(end_of(&child) == 0);
    host_close(&host);
}

static int for_the_end = -1;

static void close_at_the_end(void)
{
    if (for_the_end >= 0)
        require(close(for_the_end) == 0);
    for_the_end = -1;
}

static void close_on_exit(int status, void *unused)
{
    (void)status, (void)unused;
    close_at_the_end();
}

/* Of the program: it runs before those of libraries, and after atexit's. */
__attribute__((destructor)) static void close_in_the_destructor(void)
{
    close_at_the_end();
}

static int close_by_atexit(const struct host *host, const struct line *parent)
{
    require(atexit(close_at_the_end) == 0);
    for_the_end = accept_and_answer(host, parent);
    return STATUS;
}

static int close_by_on_exit(const struct host *host, const struct line *parent)
{
    require(on_exit(close_on_exit, NULL) == 0);
    for_the_end = accept_and_answer(host, parent);
    return STATUS;
}

static int close_by_at_quick_exit(const struct host *host, const struct line *parent)
{
    require(at_quick_exit(close_at_the_end) == 0);
    for_the_end = accept_and_answer(host, parent);
    quick_exit(STATUS);
}

static int close_by_destructor(const struct host *host, const struct line *parent)
{
    for_the_end = accept_and_answer(host, parent);
    return STATUS;
}

static void close_at_exit_lingers(void **state)
{
    (void)state;
    prove_ending("close_by_atexit", NULL, plain_close()->saves, STATUS);
    prove_ending("close_by_on_exit", NULL, plain_close()->saves, STATUS);
    prove_ending("close_by_at_quick_exit", NULL, plain_close()->saves, STATUS);
    prove_ending("close_by_destructor", NULL, plain_close()->saves, STATUS);
}

static const struct service services[] = {
    SERVICE(first_close_of_all_in_a_handler),
    SERVICE(close_by_atexit),
    SERVICE(close_by_on_exit),
    SERVICE(close_by_at_quick_exit),
    SERVICE(close_by_destructor),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(close_in_a_handler_lingers_whatever_its_flags),
        trap(close_on_a_small_alternate_stack_lingers),
        trap(first_close_in_a_handler_spoils_nothing),
        trap(close_at_exit_lingers),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
