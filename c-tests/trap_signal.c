/* Trap 18, signal handlers: close() is async-signal-safe (signal-safety(7)) and must
 * stay so, wherever in the program, or in close() itself, the signal strikes. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

static const struct way *handlers_way;
static atomic_int for_the_handler = -1;
static volatile sig_atomic_t closed_by_handler, failed_in_handler;

static void close_what_is_offered(int signal_number)
{
    const int saved = errno;
    const int fd = atomic_exchange(&for_the_handler, -1);

    (void)signal_number;
    if (fd >= 0) {
        errno = EXDEV;
        if (handlers_way->let_go(fd) != 0 || errno != EXDEV)
            failed_in_handler++;
        closed_by_handler++;
    }
    errno = saved;
}

static void install_handler(const struct way *way, int signal_number)
{
    const struct sigaction action = {.sa_handler = close_what_is_offered,
                                     .sa_flags = SA_RESTART};

    handlers_way = way;
    closed_by_handler = 0;
    failed_in_handler = 0;
    require(sigaction(signal_number, &action, NULL) == 0);
}

static void close_in_a_signal_handler_lingers(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        install_handler(way, SIGUSR1);
        send_response(pair.server);
        atomic_store(&for_the_handler, pair.server);
        require(raise(SIGUSR1) == 0);
        require(closed_by_handler == 1);
        require(failed_in_handler == 0);
        prove_fate(way, pair.client, &before);
    }
}

static timer_t start_striking(int signal_number)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal_number};
    const struct itimerspec often = {{0, 200000}, {0, 200000}};
    timer_t timer;

    require(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    require(timer_settime(timer, 0, &often, NULL) == 0);
    return timer;
}

static int accept_with_unread_input(const struct host *host, int *client)
{
    *client = host_connect(host);
    const int server = host_accept(host);

    send_unread_request(*client, server);
    return server;
}

/* What a handler may interrupt: the allocator, and a close that is half way. */
static void close_and_allocate(const struct way *way, const struct host *host)
{
    int client;
    const int server = accept_with_unread_input(host, &client);
    void *volatile block = malloc(100000);

    free(block);
    require(way->let_go(server) == 0);
    require(close(client) == 0);
}

static bool was_taken(void *argument)
{
    (void)argument;
    return atomic_load(&for_the_handler) < 0;
}

/* A lock, an allocation or a once in the hook would hang here; alarm(2) would tell. */
static void handler_that_strikes_inside_close_never_hangs(void **state)
{
    struct host host;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    BY_EACH_WAY(way) {
        const struct netcounters before = netcounters_now();

        install_handler(way, SIGRTMIN);
        const timer_t timer = start_striking(SIGRTMIN);

        for (int round = 0; round < 100; round++) {
            int client;
            const int server = accept_with_unread_input(&host, &client);

            atomic_store(&for_the_handler, server);
            close_and_allocate(way, &host);
            require(becomes_true(was_taken, NULL, GENEROUS_MS));
            require(close(client) == 0);
        }
        timer_delete(timer);
        require(closed_by_handler == 100);
        require(failed_in_handler == 0);
        require_nothing_lingers();
        require((resets_since(&before) > 0) == !way->saves);
    }
    host_close(&host);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(close_in_a_signal_handler_lingers),
        trap(handler_that_strikes_inside_close_never_hangs),
    };

    return run_traps(traps);
}
