/* linger_pending(), linger_flush() and linger_configure(): how many linger, waiting
 * until none does, and settings that count only before the first use. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "threads.h"
#include "trap.h"

static void pending_counts_what_lingers(void **state)
{
    struct pair pairs[3];

    (void)state;
    require(linger_pending() == 0);
    for (int i = 0; i < 3; i++) {
        pairs[i] = pair_open(FAMILY_IPV4);
        require(linger_close(pairs[i].server, LINGER_DEFAULT) == 0);
        require(linger_pending() == i + 1);
    }
    for (int i = 0; i < 3; i++)
        require(close(pairs[i].client) == 0);
    require_nothing_lingers();
}

static void flush_with_nothing_pending_returns_at_once(void **state)
{
    (void)state;
    require(linger_flush(0) == 0);
    require(linger_flush(GENEROUS_MS) == 0);
}

static void flush_gives_up_at_its_deadline_and_says_how_many(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    (void)state;
    require(linger_close(pair.server, LINGER_DEFAULT) == 0);
    require(linger_flush(0) == 1);
    require(linger_flush(100) == 1);
    require(linger_pending() == 1);
    require(close(pair.client) == 0);
    require(linger_flush(GENEROUS_MS) == 0);
}

struct waiter {
    struct blocker blocker;
    int left;
};

static void *flush_everything(void *argument)
{
    struct waiter *waiter = argument;

    blocker_here(&waiter->blocker);
    waiter->left = linger_flush(GENEROUS_MS);
    return NULL;
}

static void flush_ends_when_the_last_peer_does(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    struct waiter waiter = {.left = -1};

    (void)state;
    require(linger_close(pair.server, LINGER_DEFAULT) == 0);
    require(pthread_create(&waiter.blocker.thread, NULL, flush_everything, &waiter) == 0);
    require_blocked(&waiter.blocker);
    require(close(pair.client) == 0);
    require_ends(waiter.blocker.thread);
    require(waiter.left == 0);
}

struct closer {
    struct blocker blocker;
    int connection;
    int outcome;
};

static void *close_and_wait(void *argument)
{
    struct closer *closer = argument;

    blocker_here(&closer->blocker);
    closer->outcome = linger_close_wait(closer->connection, GENEROUS_MS);
    return NULL;
}

static void watch(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.fd = fd};

    require(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* Of two connections only the other one is there, which can be written to from the beginning. */
static void require_only(int set, int other)
{
    struct epoll_event events[4];

    require(epoll_wait(set, events, 4, GENEROUS_MS) == 1);
    require(events[0].data.fd == other);
}

/* Its number is as good as closed for the program while another thread waits: trap 23. */
static void epoll_hears_nothing_of_what_is_waited_for(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4), other = pair_open(FAMILY_IPV4);
    struct closer closer = {.connection = pair.server, .outcome = -1};
    const int set = epoll_create1(EPOLL_CLOEXEC);

    (void)state;
    watch(set, pair.server);
    watch(set, other.server);
    require(pthread_create(&closer.blocker.thread, NULL, close_and_wait, &closer) == 0);
    require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require_blocked(&closer.blocker);
    for (int i = 0; i < 5; i++) {
        send_late_bytes(pair.client);
        require_only(set, other.server);
        let_30ms_of_network_delay_pass();
        require_only(set, other.server);
    }
    require(close(pair.client) == 0);
    require_ends(closer.blocker.thread);
    require(closer.outcome == LINGER_FIN);
    require_only(set, other.server);
    require(close(set) == 0);
    require(close(other.client) == 0);
    require(wait_for(other.server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(other.server) == 0);
}

/* Many threads hand over, wait, look and flush at the same time. */
static void *close_many(void *argument)
{
    const struct host *host = argument;

    for (int round = 0; round < 50; round++) {
        struct linger_stats stats = {.size = sizeof(stats)};
        const int client = host_connect(host), server = host_accept(host);

        require(linger_close(server, LINGER_DEFAULT) == 0);
        require(linger_stats(&stats) == 0);
        require(linger_pending() >= 0);
        require(close(client) == 0);
    }
    return NULL;
}

static void every_call_may_come_from_any_thread(void **state)
{
    pthread_t threads[4];
    struct host host[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        host_open(&host[i], FAMILY_IPV4);
        require(pthread_create(&threads[i], NULL, close_many, &host[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        require_ends(threads[i]);
        host_close(&host[i]);
    }
    require_nothing_lingers();
}

/* Negative fields keep what the environment or the default says. */
static struct linger_config nothing_changed(void)
{
    return (struct linger_config){.size = sizeof(struct linger_config), .timeout_ms = -1,
                                  .idle_ms = -1, .max_ms = -1, .exit_ms = -1, .max_bytes = -1,
                                  .max_rate = -1, .max_connections = -1, .max_per_peer = -1, .when = -1, .side = -1, .log = -1};
}

static void require_configure_refused(const struct linger_config *config, int error)
{
    errno = 0;
    require(linger_configure(config) == -1);
    require(errno == error);
}

static void configure_refuses_nonsense(const struct way *way)
{
    struct linger_config config = nothing_changed();

    (void)way;
    require_configure_refused(NULL, EINVAL);
    config.size = 0;
    require_configure_refused(&config, EINVAL);
    config.size = sizeof(config.size) - 1;
    require_configure_refused(&config, EINVAL);
    config = nothing_changed();
    config.when = 77;
    require_configure_refused(&config, EINVAL);
    config = nothing_changed();
    config.side = 77;
    require_configure_refused(&config, EINVAL);
}

static int outcome_with_a_silent_client(void)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const int outcome = linger_close_wait(pair.server, LINGER_DEFAULT);

    require(close(pair.client) == 0);
    return outcome;
}

/* The environment's idle time is a minute here: only the configured one can end the
 * wait before the alarm(2) that bounds this process does. */
static void configure_before_first_use_counts(const struct way *way)
{
    struct linger_config config = nothing_changed();

    (void)way;
    config.idle_ms = 100;
    require(linger_configure(&config) == 0);
    require(outcome_with_a_silent_client() == LINGER_IDLE);
    require_configure_refused(&config, EBUSY);
}

static void configure_after_first_use_is_ebusy(const struct way *way)
{
    const struct linger_config config = nothing_changed();
    const struct pair pair = pair_open(FAMILY_IPV4);

    (void)way;
    require(linger_close(pair.server, LINGER_DEFAULT) == 0);
    require_configure_refused(&config, EBUSY);
    require(close(pair.client) == 0);
}

static const struct scenario scenarios[] = {
    SCENARIO(configure_refuses_nonsense),
    SCENARIO(configure_before_first_use_counts),
    SCENARIO(configure_after_first_use_is_ebusy),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(pending_counts_what_lingers),
        trap(flush_with_nothing_pending_returns_at_once),
        trap(flush_gives_up_at_its_deadline_and_says_how_many),
        trap(flush_ends_when_the_last_peer_does),
        trap(epoll_hears_nothing_of_what_is_waited_for),
        trap(every_call_may_come_from_any_thread),
        fresh_trap(configure_refuses_nonsense, "LINGER_IDLE_MS=60000"),
        fresh_trap(configure_before_first_use_counts, "LINGER_IDLE_MS=60000"),
        fresh_trap(configure_after_first_use_is_ebusy, "LINGER_IDLE_MS=60000"),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
