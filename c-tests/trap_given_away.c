/* Trap 16 under inetd(8): a service that gave up its privilege has the connection on 0, 1 and 2, but so has the privileged
 * program that started it, which goes on with it and whose descriptors the service must not read. */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "nobody.h"
#include "service.h"
#include "trap.h"

static int exit_without_privilege(const struct host *host, const struct line *parent)
{
    (void)host;
    give_up_privilege();
    line_tell(parent, 'g');
    return EXIT_SUCCESS;
}

static int close_without_privilege(const struct host *host, const struct line *parent)
{
    (void)host;
    give_up_privilege();
    line_tell(parent, 'g');
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        require(close(fd) == 0);
    require_nothing_lingers();
    return EXIT_SUCCESS;
}

/* Unread input is what an exit, or a close, has reason to linger for. */
static void prove_starter_is_left_whole(const char *service)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    char request[256];
    struct child child;

    warn_unless_can_be_nobody();
    require_context("%s mode, %s", test_mode_name(), service);
    send_unread_request(pair.client, pair.server);
    service_start_on(&child, service, pair.server);
    line_await(&child.line, 'g');
    child_reap(&child);
    leave_time_for_a_wrong_shutdown();
    require(recv(pair.server, request, sizeof(request), MSG_DONTWAIT) > 0);
    require_whole(&pair, service);
    require(close(pair.client) == 0);
    require(wait_for(pair.server, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
    require(close(pair.server) == 0);
}

static void service_that_exits_leaves_its_starter_whole(void **state)
{
    (void)state;
    prove_starter_is_left_whole("exit_without_privilege");
}

static void service_that_closes_leaves_its_starter_whole(void **state)
{
    (void)state;
    prove_starter_is_left_whole("close_without_privilege");
}

static const struct service services[] = {
    SERVICE(exit_without_privilege),
    SERVICE(close_without_privilege),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(service_that_exits_leaves_its_starter_whole),
        trap(service_that_closes_leaves_its_starter_whole),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
