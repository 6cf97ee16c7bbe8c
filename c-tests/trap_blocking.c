/* Traps 5 and 8: whatever the peer does and however the socket is set, letting go
 * returns at once; and what belongs to the shared description is left as it was. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

/* Silent peers, windows full: only a deadline would end a close that waits. */
static void silent_peers_never_hold_up_the_server(void **state)
{
    struct host host;
    int clients[50];

    (void)state;
    host_open(&host, FAMILY_IPV4);
    BY_EACH_WAY(way) {
        const int64_t start = now_ms();

        for (int i = 0; i < 50; i++) {
            clients[i] = host_connect(&host);
            const int server = host_accept(&host);

            send_response(server);
            require(way->let_go(server) == 0);
        }
        require(now_ms() - start < GENEROUS_MS);
        for (int i = 0; i < 50; i++)
            abort_connection(clients[i]);
        require_nothing_lingers();
    }
    host_close(&host);
}

/* socket(7): SO_RCVTIMEO bounds a blocking recv; ours must not block to begin with. */
static void receive_timeout_of_the_socket_delays_nothing(void **state)
{
    const struct timeval a_minute = {.tv_sec = 60};

    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();
        const int64_t start = now_ms();

        require(setsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &a_minute,
                           sizeof(a_minute)) == 0);
        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        require(now_ms() - start < GENEROUS_MS);
        prove_fate(way, pair.client, &before);
        require(now_ms() - start < 2 * GENEROUS_MS);
    }
}

static void nonblocking_sockets_linger_too(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        require(fcntl(pair.server, F_SETFL, O_NONBLOCK) == 0);
        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        prove_fate(way, pair.client, &before);
    }
}

/* fcntl(2): O_NONBLOCK is of the open file description, seen through every number. */
static void blocking_mode_is_left_alone(void **state)
{
    const int flags[] = {0, O_NONBLOCK};

    (void)state;
    BY_EACH_WAY(way) {
        for (int i = 0; i < 2; i++) {
            const struct pair pair = pair_open(FAMILY_IPV4);
            const int witness = dup(pair.server);

            require(fcntl(witness, F_SETFL, flags[i]) == 0);
            require(way->let_go(pair.server) == 0);
            leave_time_for_a_wrong_shutdown();
            require((fcntl(witness, F_GETFL) & O_NONBLOCK) == flags[i]);
            require(close(pair.client) == 0);
            require(close(witness) == 0);
            require_nothing_lingers();
        }
    }
}

static volatile sig_atomic_t interruptions;

static void count_interruption(int signal_number)
{
    (void)signal_number;
    interruptions++;
}

/* No SA_RESTART: every interruptible call under close() is interrupted for real. */
static timer_t start_interrupting(void)
{
    struct sigaction action = {.sa_handler = count_interruption};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    const struct itimerspec often = {{0, 100000}, {0, 100000}};
    timer_t timer;

    require(sigaction(SIGRTMIN, &action, NULL) == 0);
    require(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    require(timer_settime(timer, 0, &often, NULL) == 0);
    return timer;
}

static void block_interruptions(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    require(sigprocmask(how, &set, NULL) == 0);
}

static void signals_never_make_close_fail(void **state)
{
    struct host host;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    BY_EACH_WAY(way) {
        const struct netcounters before = netcounters_now();
        const timer_t timer = start_interrupting();

        interruptions = 0;
        block_interruptions(SIG_BLOCK);
        for (int round = 0; round < 100 || interruptions == 0; round++) {
            const int client = host_connect(&host), server = host_accept(&host);

            send_unread_request(client, server);
            block_interruptions(SIG_UNBLOCK);
            const int result = way->let_go(server);

            block_interruptions(SIG_BLOCK);
            require(result == 0);
            require(close(client) == 0);
        }
        timer_delete(timer);
        require_nothing_lingers();
        require((resets_since(&before) > 0) == !way->saves);
    }
    block_interruptions(SIG_UNBLOCK);
    host_close(&host);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(silent_peers_never_hold_up_the_server),
        trap(receive_timeout_of_the_socket_delays_nothing),
        trap(nonblocking_sockets_linger_too),
        trap(blocking_mode_is_left_alone),
        trap(signals_never_make_close_fail),
    };

    return run_traps(traps);
}
