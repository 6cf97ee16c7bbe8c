/* A program that systemd starts for one connection (Accept=yes) and hands it on 3, or for
 * a listener (Accept=no): sd_listen_fds(3). It calls accept(2) for neither, or for its own. */
#include <stdlib.h>
#include <unistd.h>

#include "expectation.h"
#include "loopback.h"
#include "service.h"
#include "trap.h"

static int answer_on_the_passed_one(const struct host *host, const struct line *parent)
{
    line_await(parent, 'g');
    send_response(host->listener);
    require(close(host->listener) == 0);
    line_tell(parent, 'c');
    line_await(parent, 'e');
    return EXIT_SUCCESS;
}

static int accept_from_the_passed_one(const struct host *host, const struct line *parent)
{
    const int server = host_accept(host);

    send_response(server);
    require(close(server) == 0);
    line_tell(parent, 'c');
    line_await(parent, 'e');
    return EXIT_SUCCESS;
}

static void prove_end(struct child *child, const struct way *way, int client,
                      const struct netcounters *before)
{
    line_await(&child->line, 'c');
    prove_fate(way, client, before);
    line_tell(&child->line, 'e');
    require(end_of(child) == EXIT_SUCCESS);
}

/* This process's close comes first, and must be over: it might else be the last. */
static void pass_on(struct child *child, int server, const char *setting)
{
    service_start_activated(child, "answer_on_the_passed_one", server, setting);
    require(close(server) == 0);
    require_nothing_lingers();
    line_tell(&child->line, 'g');
}

static void connection_passed_by_systemd_lingers(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();
    struct child child;

    (void)state;
    require_context("%s mode, a connection on 3", test_mode_name());
    pass_on(&child, pair.server, NULL);
    prove_end(&child, plain_close(), pair.client, &before);
}

static void listener_passed_by_systemd_is_one(void **state)
{
    struct host host;
    struct child child;

    (void)state;
    require_context("%s mode, a listener on 3", test_mode_name());
    host_open(&host, FAMILY_IPV4);
    const int client = host_connect(&host);
    const struct netcounters before = netcounters_now();

    service_start_activated(&child, "accept_from_the_passed_one", host.listener, NULL);
    host_close(&host);
    prove_end(&child, plain_close(), client, &before);
}

/* The environment of a process it was forked from: what is on 3 may be anything. */
static void what_was_passed_to_another_process_is_left_alone(void **state)
{
    static const struct way loses = {.name = "close()", .let_go = close, .saves = false};
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();
    struct child child;

    (void)state;
    require_context("%s mode, a connection on 3 for process 1", test_mode_name());
    pass_on(&child, pair.server, "LISTEN_PID=1");
    prove_end(&child, &loses, pair.client, &before);
}

static const struct service services[] = {
    SERVICE(answer_on_the_passed_one),
    SERVICE(accept_from_the_passed_one),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(connection_passed_by_systemd_lingers),
        trap(listener_passed_by_systemd_is_one),
        trap(what_was_passed_to_another_process_is_left_alone),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
