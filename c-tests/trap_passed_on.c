/* Trap 16: a master accepts and sends the connection to a worker by SCM_RIGHTS, but keeps its
 * own number until the worker is done. Then the master's close is the last one, and what the
 * client sends afterwards must not cost it the response. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "post.h"
#include "trap.h"

struct courier {
    const struct post *post;
    int ends[2];
    bool leaves; /* the worker ends when it has served; else it stays */
};

static void serve_what_is_passed_on(struct line *parent, void *argument)
{
    const struct courier *courier = argument;

    require(close(courier->ends[0]) == 0);
    const int server = receive_descriptor_by(courier->post, courier->ends[1]);

    send_response(server);
    require(close(server) == 0);
    require_nothing_lingers();
    if (courier->leaves)
        _exit(0);
    line_tell(parent, 's');
    line_await(parent, 'e');
}

static int accept_from(const struct host *host, int *client)
{
    *client = host_connect(host);
    return host_accept(host);
}

/* The worker starts before the connection exists, so it has no copy by fork(2). */
static void prove_last_close_is_the_masters(const struct way *way, const struct post *post,
                                            bool leaves)
{
    struct courier courier = {.post = post, .leaves = leaves};
    struct child child;
    struct host host;
    int client;

    host_open(&host, FAMILY_IPV4);
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, courier.ends) == 0);
    child_start(&child, serve_what_is_passed_on, &courier);
    require(close(courier.ends[1]) == 0);
    const int server = accept_from(&host, &client);

    send_descriptor_by(post, courier.ends[0], server);
    if (leaves)
        child_reap(&child);
    else
        line_await(&child.line, 's');
    const struct netcounters before = netcounters_now();

    require_context("%s mode, %s after %s, worker %s", test_mode_name(), way->name, post->name,
                    leaves ? "gone" : "there");
    require(way->let_go(server) == 0);
    prove_fate(way, client, &before);
    require(close(courier.ends[0]) == 0);
    host_close(&host);
    if (leaves)
        return;
    line_tell(&child.line, 'e');
    child_reap(&child);
}

static void prove_by_each_post(bool leaves)
{
    BY_EACH_WAY(way)
        for (size_t i = 0; i < POSTS; i++)
            prove_last_close_is_the_masters(way, &posts[i], leaves);
}

/* The master has connections already when it starts the worker. */
static void while_others_are_served(bool leaves)
{
    const struct pair other = pair_open(FAMILY_IPV4);

    prove_by_each_post(leaves);
    require_whole(&other, "serving others");
    require(close(other.client) == 0);
    require(wait_for(other.server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(other.server) == 0);
}

static void master_closes_after_its_worker(void **state)
{
    (void)state;
    while_others_are_served(false);
}

static void master_closes_after_its_worker_has_ended(void **state)
{
    (void)state;
    while_others_are_served(true);
}

/* A worker that is started before anybody was accepted. In a process of its own: one that has had both
 * connections and children is not the same any more. */
static void master_of_early_workers(const struct way *way)
{
    for (size_t i = 0; i < POSTS; i++)
        prove_last_close_is_the_masters(way, &posts[i], false);
}

static const struct scenario scenarios[] = {
    SCENARIO(master_of_early_workers),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        fresh_trap(master_of_early_workers, NULL),
        trap(master_closes_after_its_worker),
        trap(master_closes_after_its_worker_has_ended),
    };

    if (count > 1)
        return run_scenario(scenarios, arguments);
    return run_traps(traps);
}
