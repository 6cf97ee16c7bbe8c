/* Trap 16 where the first thread of a process has ended (pthread_exit(3) in main()): its
 * /proc/PID/fd is then empty, and still its workers hold what they hold. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "service.h"
#include "threads.h"
#include "trap.h"

static const struct line *parent_of_workers;

static void *close_one_of_two_numbers(void *unused)
{
    (void)unused;
    await_end_of_first_thread(getpid());
    struct pair pair = pair_open(FAMILY_IPV4);
    const int other = dup(pair.server);

    require(close(pair.server) == 0);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    pair.server = other;
    require_whole(&pair, "close of one of two numbers");
    line_tell(parent_of_workers, 'w');
    _exit(EXIT_SUCCESS);
}

static int leave_closing_to_a_worker(const struct host *host, const struct line *parent)
{
    pthread_t worker;

    (void)host;
    parent_of_workers = parent;
    require(pthread_create(&worker, NULL, close_one_of_two_numbers, NULL) == 0);
    pthread_exit(NULL);
}

/* By close() alone: linger_close() takes the caller's word that nobody else has it. */
static void dup_in_such_a_process_keeps_the_connection(void **state)
{
    struct host host;
    struct child child;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    service_start(&child, "leave_closing_to_a_worker", &host, NULL);
    line_await(&child.line, 'w');
    child_reap(&child);
    host_close(&host);
}

struct inherited {
    struct pair pair;
    struct line parent;
};

/* It drains its own: whether its close would linger is not the subject. */
static void *serve_what_was_inherited(void *argument)
{
    const struct inherited *inherited = argument;
    const int server = inherited->pair.server;

    line_await(&inherited->parent, 's');
    send_response(server);
    require(shutdown(server, SHUT_WR) == 0);
    require(wait_for(server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    _exit(EXIT_SUCCESS);
}

static void leave_what_was_inherited_to_a_worker(struct line *parent, void *argument)
{
    static struct inherited inherited;
    pthread_t worker;

    inherited = (struct inherited){*(const struct pair *)argument, *parent};
    require(close(inherited.pair.client) == 0);
    require(pthread_create(&worker, NULL, serve_what_was_inherited, &inherited) == 0);
    pthread_exit(NULL);
}

static void child_that_is_such_a_process_keeps_the_connection(void **state)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    struct child child;

    (void)state;
    fflush(NULL);
    child_start(&child, leave_what_was_inherited_to_a_worker, &pair);
    await_end_of_first_thread(child.pid);
    require_context("%s mode, closed by the parent", test_mode_name());
    require(close(pair.server) == 0);
    require_nothing_lingers();
    leave_time_for_a_wrong_shutdown();
    require(wait_for(pair.client, POLLIN | POLLRDHUP, 0) == 0);
    line_tell(&child.line, 's');
    const struct harvest harvest = read_response(pair.client);

    require(harvest.bytes == RESPONSE_BYTES);
    require(harvest.error == 0);
    require(close(pair.client) == 0);
    child_reap(&child);
}

static const struct service services[] = {
    SERVICE(leave_closing_to_a_worker),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(dup_in_such_a_process_keeps_the_connection),
        trap(child_that_is_such_a_process_keeps_the_connection),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
