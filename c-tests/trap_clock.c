/* Trap 22: deadlines as far away as an int reaches, and settings that are no numbers.
 * A sum that overflows lies in the past: the drain would end at once, and the late
 * bytes would meet a closed socket. The runner sets every LINGER_*_MS to INT_MAX. */
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "threads.h"
#include "trap.h"

static void prove_late_bytes(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    let_30ms_of_network_delay_pass();
    prove_fate(way, pair.client, &before);
}

static void settings_of_int_max_do_not_overflow(void **state)
{
    (void)state;
    BY_EACH_WAY(way)
        prove_late_bytes(way);
}

/* Acknowledged and quiet: the idle deadline is the one that runs, and only late
 * bytes show whether it has passed already. */
static void idle_of_int_max_does_not_overflow(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        require(send(pair.server, "bye", 3, 0) == 3);
        require(way->let_go(pair.server) == 0);
        leave_time_for_a_wrong_shutdown();
        send_late_bytes(pair.client);
        leave_time_for_a_wrong_shutdown();
        require((resets_since(&before) > 0) == !way->saves);
        require(close(pair.client) == 0);
        require_nothing_lingers();
    }
}

static void settings_that_are_no_numbers_do_no_harm(void **state)
{
    static const char *const settings[] = {
        "LINGER_TIMEOUT_MS=99999999999999999999", "LINGER_TIMEOUT_MS=2147483648",
        "LINGER_TIMEOUT_MS=-5", "LINGER_TIMEOUT_MS=soon", "LINGER_TIMEOUT_MS=",
        "LINGER_IDLE_MS=18446744073709551616", "LINGER_MAX_MS=-2147483648",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        run_fresh("prove_late_bytes", settings[i]);
}

static int by_linger_close_int_max(int fd)
{
    return linger_close(fd, INT_MAX);
}

static void timeout_of_int_max_does_not_overflow(void **state)
{
    static const struct way forever = {"linger_close(INT_MAX)", by_linger_close_int_max, true};

    (void)state;
    if (linger_close)
        prove_late_bytes(&forever);
}

static void *read_all_then_close(void *argument)
{
    const struct pair *pair = argument;

    let_30ms_of_network_delay_pass();
    send_late_bytes(pair->client);
    require(read_response(pair->client).bytes == RESPONSE_BYTES);
    require(close(pair->client) == 0);
    return NULL;
}

static void waiting_up_to_int_max_ends_with_the_peer(void **state)
{
    (void)state;
    if (linger_close_wait == NULL)
        return;
    struct pair pair = pair_open(FAMILY_IPV4);
    pthread_t client;

    send_response(pair.server);
    require(pthread_create(&client, NULL, read_all_then_close, &pair) == 0);
    require(linger_close_wait(pair.server, INT_MAX) == LINGER_FIN);
    require_ends(client);
    require(linger_flush(INT_MAX) == 0);
}

static const struct scenario scenarios[] = {
    SCENARIO(prove_late_bytes),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(settings_of_int_max_do_not_overflow),
        trap(idle_of_int_max_does_not_overflow),
        trap(settings_that_are_no_numbers_do_no_harm),
        trap(timeout_of_int_max_does_not_overflow),
        trap(waiting_up_to_int_max_ends_with_the_peer),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
