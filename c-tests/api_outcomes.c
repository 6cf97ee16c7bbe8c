/* How a lingering close can end, as linger_close_wait() tells and linger_stats()
 * counts. The runner sets LINGER_IDLE_MS low, as it is waited for. */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "threads.h"
#include "trap.h"

static struct linger_stats stats_now(void)
{
    struct linger_stats stats = {.size = sizeof(stats)};

    require(linger_stats(&stats) == 0);
    return stats;
}

struct client {
    int fd;
    void (*behave)(int fd);
};

/* Once the server's FIN is here, the server waits. */
static void *run_client(void *argument)
{
    const struct client *client = argument;

    require(wait_for(client->fd, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    client->behave(client->fd);
    return NULL;
}

static int outcome_with(void (*behave)(int fd), int timeout_ms)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    struct client client = {.fd = pair.client, .behave = behave};
    pthread_t thread;

    require(send(pair.server, "bye", 3, 0) == 3);
    require(pthread_create(&thread, NULL, run_client, &client) == 0);
    const int outcome = linger_close_wait(pair.server, timeout_ms);

    require(is_free(pair.server));
    require_ends(thread);
    require(linger_pending() == 0);
    if (!is_free(pair.client))
        require(close(pair.client) == 0);
    return outcome;
}

static void read_and_close(int fd)
{
    char word[16];

    require(recv(fd, word, sizeof(word), 0) == 3);
    send_late_bytes(fd);
    require(close(fd) == 0);
}

static void stay_silent(int fd)
{
    (void)fd;
}

static void peers_fin_is_fin(void **state)
{
    const struct linger_stats before = stats_now();

    (void)state;
    require(outcome_with(read_and_close, LINGER_DEFAULT) == LINGER_FIN);
    const struct linger_stats after = stats_now();

    require(after.fin == before.fin + 1);
    require(after.bytes_discarded > before.bytes_discarded);
    require(after.pending == 0);
}

static void peers_rst_is_reset(void **state)
{
    const struct linger_stats before = stats_now();

    (void)state;
    require(outcome_with(abort_connection, LINGER_DEFAULT) == LINGER_RESET);
    require(stats_now().reset == before.reset + 1);
    require(stats_now().fin == before.fin);
}

static void silence_after_the_last_acknowledgement_is_idle(void **state)
{
    const struct linger_stats before = stats_now();

    (void)state;
    require(outcome_with(stay_silent, LINGER_DEFAULT) == LINGER_IDLE);
    require(stats_now().idle == before.idle + 1);
}

static void deadline_before_anything_else_is_timeout(void **state)
{
    const struct linger_stats before = stats_now();

    (void)state;
    require(outcome_with(stay_silent, 100) == LINGER_TIMEOUT);
    require(stats_now().timeout == before.timeout + 1);
}

/* The client's window is full and stays full: not idle, as not acknowledged. */
static void response_never_acknowledged_is_timeout_not_idle(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    (void)state;
    send_response(pair.server);
    require(linger_close_wait(pair.server, 1000) == LINGER_TIMEOUT);
    abort_connection(pair.client);
}

static void vanished_peer_is_timeout_not_idle(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    (void)state;
    make_peer_vanish(pair.client);
    require(send(pair.server, "bye", 3, 0) == 3);
    require(linger_close_wait(pair.server, 1000) == LINGER_TIMEOUT);
    abort_connection(pair.client);
}

static void *take_a_little_at_a_time(void *argument)
{
    const int fd = *(int *)argument;
    char piece[4096];

    for (int turn = 0; turn < 40; turn++) {
        let_30ms_of_network_delay_pass();
        (void)!recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
    }
    return NULL;
}

/* Only the default deadline waits for a peer that is still taking the response. */
static void deadline_of_the_call_is_never_extended(void **state)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    pthread_t client;

    (void)state;
    send_response(pair.server);
    require(pthread_create(&client, NULL, take_a_little_at_a_time, &pair.client) == 0);
    require(linger_close_wait(pair.server, 500) == LINGER_TIMEOUT);
    require_ends(client);
    require(close(pair.client) == 0);
}

static void fin_already_here_needs_no_waiting(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    (void)state;
    send_unread_request(pair.client, pair.server);
    require(shutdown(pair.client, SHUT_WR) == 0);
    require(wait_for(pair.server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    const int outcome = linger_close_wait(pair.server, LINGER_DEFAULT);

    require(outcome == LINGER_CLOSED || outcome == LINGER_FIN);
    require(close(pair.client) == 0);
}

/* Enough where nothing more comes: no reset, and nothing is left to wait for. */
static void timeout_zero_discards_what_is_here(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    (void)state;
    send_unread_request(pair.client, pair.server);
    send_response(pair.server);
    require(linger_close(pair.server, 0) == 0);
    require(linger_pending() == 0);
    const struct harvest harvest = read_response(pair.client);

    require_fate(true, &harvest, &before);
    require(close(pair.client) == 0);
}

static void *send_without_end(void *argument)
{
    static const char piece[16384];

    while (send(*(int *)argument, piece, sizeof(piece), MSG_NOSIGNAL) > 0)
        continue;
    return NULL;
}

static void sender_without_end_is_cut_at_max_bytes(const struct way *way)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    pthread_t client;

    (void)way;
    require(pthread_create(&client, NULL, send_without_end, &pair.client) == 0);
    require(linger_close_wait(pair.server, GENEROUS_MS) == LINGER_BYTES);
    require_ends(client);
    require(stats_now().bytes == 1);
    require(stats_now().bytes_discarded >= 100000);
}

static bool one_was_evicted(void *unused)
{
    const struct linger_stats stats = stats_now();

    (void)unused;
    return stats.evicted == 1 && stats.pending == 2;
}

static bool one_was_evicted_of_four(void *unused)
{
    const struct linger_stats stats = stats_now();

    (void)unused;
    return stats.evicted == 1 && stats.pending == 3;
}

static void more_than_may_linger_evicts_one(const struct way *way)
{
    struct pair pairs[3];

    (void)way;
    for (int i = 0; i < 3; i++) {
        pairs[i] = pair_open(FAMILY_IPV4);
        require(linger_close(pairs[i].server, GENEROUS_MS) == 0);
    }
    require(becomes_true(one_was_evicted, NULL, GENEROUS_MS));
    for (int i = 0; i < 3; i++)
        require(close(pairs[i].client) == 0);
    require_nothing_lingers();
    require(stats_now().fin == 2);
}

/* In a second and a half a sender is good for hundreds of megabytes; what is in the queues at the end comes on top. */
#define SLOW_SENDER_MS 1500
#define MOST_OF_A_SLOW_SENDER (32 << 20)

static void sender_is_held_to_max_rate(const struct way *way)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    pthread_t client;

    (void)way;
    require(pthread_create(&client, NULL, send_without_end, &pair.client) == 0);
    require(linger_close(pair.server, SLOW_SENDER_MS) == 0);
    require_nothing_lingers();
    require_ends(client);
    require(stats_now().timeout == 1);
    require(stats_now().bytes_discarded >= 100000);
    require(stats_now().bytes_discarded < MOST_OF_A_SLOW_SENDER);
}

static void sender_is_held_to_max_rate_by_who_waits(const struct way *way)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    pthread_t client;

    (void)way;
    require(pthread_create(&client, NULL, send_without_end, &pair.client) == 0);
    require(linger_close_wait(pair.server, SLOW_SENDER_MS) == LINGER_TIMEOUT);
    require_ends(client);
    require(stats_now().bytes_discarded < MOST_OF_A_SLOW_SENDER);
}

static void fin_behind_what_the_rate_holds_back_ends_it(const struct way *way)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    char bytes[100000] = {0};

    (void)way;
    require(send(pair.client, bytes, sizeof(bytes), 0) == sizeof(bytes));
    require(linger_close(pair.server, GENEROUS_MS) == 0);
    require(linger_pending() == 1);
    require(close(pair.client) == 0);
    require_nothing_lingers();
    require(stats_now().fin == 1);
    require(stats_now().bytes_discarded == sizeof(bytes));
}

static void reset_while_the_rate_holds_back_ends_it(const struct way *way)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    char bytes[100000] = {0};
    const struct linger abort_it = {1, 0};

    (void)way;
    require(send(pair.client, bytes, sizeof(bytes), 0) == sizeof(bytes));
    require(linger_close(pair.server, GENEROUS_MS) == 0);
    require(setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it)) == 0);
    require(close(pair.client) == 0);
    require_nothing_lingers();
    require(stats_now().reset == 1);
}

static void one_address_has_no_more_than_its_share(const struct way *way)
{
    struct pair pairs[4];

    (void)way;
    for (int i = 0; i < 4; i++) {
        pairs[i] = pair_open(i < 3 ? FAMILY_IPV4 : FAMILY_IPV6);
        require(linger_close(pairs[i].server, GENEROUS_MS) == 0);
    }
    require(becomes_true(one_was_evicted_of_four, NULL, GENEROUS_MS));
    require(linger_pending() == 3);
    for (int i = 0; i < 4; i++)
        require(close(pairs[i].client) == 0);
    require_nothing_lingers();
    require(stats_now().fin == 3);
}

static void who_is_refused_evicts_nobody(const struct way *way)
{
    struct pair stranger = pair_open(FAMILY_IPV6), pairs[2];
    struct linger_config config = LINGER_CONFIG_INIT;

    (void)way;
    config.max_connections = 2;
    require(linger_configure(&config) == 0);
    require(linger_close(stranger.server, GENEROUS_MS) == 0);
    for (int i = 0; i < 2; i++) {
        pairs[i] = pair_open(FAMILY_IPV4);
        require(linger_close(pairs[i].server, GENEROUS_MS) == 0);
    }
    require(becomes_true(one_was_evicted, NULL, GENEROUS_MS));
    require(close(stranger.client) == 0);
    require(close(pairs[0].client) == 0);
    require_nothing_lingers();
    require(stats_now().fin == 2);
    require(close(pairs[1].client) == 0);
}

static const struct scenario scenarios[] = {
    SCENARIO(who_is_refused_evicts_nobody),
    SCENARIO(sender_is_held_to_max_rate),
    SCENARIO(sender_is_held_to_max_rate_by_who_waits),
    SCENARIO(fin_behind_what_the_rate_holds_back_ends_it),
    SCENARIO(reset_while_the_rate_holds_back_ends_it),
    SCENARIO(one_address_has_no_more_than_its_share),
    SCENARIO(sender_without_end_is_cut_at_max_bytes),
    SCENARIO(more_than_may_linger_evicts_one),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(peers_fin_is_fin),
        trap(peers_rst_is_reset),
        trap(silence_after_the_last_acknowledgement_is_idle),
        trap(deadline_before_anything_else_is_timeout),
        trap(response_never_acknowledged_is_timeout_not_idle),
        trap(vanished_peer_is_timeout_not_idle),
        trap(deadline_of_the_call_is_never_extended),
        trap(fin_already_here_needs_no_waiting),
        trap(timeout_zero_discards_what_is_here),
        fresh_trap(sender_without_end_is_cut_at_max_bytes, "LINGER_MAX_BYTES=100000"),
        fresh_trap(more_than_may_linger_evicts_one, "LINGER_MAX=2"),
        fresh_trap(sender_is_held_to_max_rate, "LINGER_MAX_RATE=200000"),
        fresh_trap(sender_is_held_to_max_rate_by_who_waits, "LINGER_MAX_RATE=200000"),
        fresh_trap(fin_behind_what_the_rate_holds_back_ends_it, "LINGER_MAX_RATE=1000"),
        fresh_trap(reset_while_the_rate_holds_back_ends_it, "LINGER_MAX_RATE=1000"),
        fresh_trap(who_is_refused_evicts_nobody, "LINGER_MAX_PER_PEER=1"),
        fresh_trap(one_address_has_no_more_than_its_share, "LINGER_MAX_PER_PEER=2"),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
