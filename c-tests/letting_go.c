/* Every way a program lets go of a connection, other than close() itself. The shim
 * saves the response of each; a program that only links the library keeps all of
 * libc's behaviour, and loses it. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "schedstate.h"
#include "trap.h"

/* glibc's other name for close(), in its dynamic symbol table. */
extern int __close(int fd);

static void by___close(int fd)
{
    require(__close(fd) == 0);
}

/* libuv, and so Node: spares itself libc's cancellation point. */
static void by_syscall_close(int fd)
{
    require(syscall(SYS_close, fd) == 0);
}

static void by_syscall_close_range(int fd)
{
    require(syscall(SYS_close_range, fd, fd, 0) == 0);
}

static void by_close_range(int fd)
{
    require(close_range((unsigned)fd, (unsigned)fd, 0) == 0);
}

/* libc closes the number inside, past the symbol. */
static void by_fclose(int fd)
{
    FILE *stream = fdopen(fd, "r+");

    require(stream != NULL);
    require(fclose(stream) == 0);
}

static void by_freopen(int fd)
{
    FILE *stream = fdopen(fd, "r+");

    require(stream != NULL);
    require(freopen("/dev/null", "r", stream) == stream);
    require(fclose(stream) == 0);
}

/* The JVM's pre-close. */
static void by_dup2_over_it(int fd)
{
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    require(dup2(null, fd) == fd);
    require(close(fd) == 0);
    require(close(null) == 0);
}

static void by_dup3_over_it(int fd)
{
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    require(dup3(null, fd, O_CLOEXEC) == fd);
    require(close(fd) == 0);
    require(close(null) == 0);
}

/* HAProxy, Python's http.server. */
static void by_shutdown_of_output_then_close(int fd)
{
    require(shutdown(fd, SHUT_WR) == 0);
    require(close(fd) == 0);
}

/* Twisted, unicorn, php -S. */
static void by_shutdown_of_both_then_close(int fd)
{
    require(shutdown(fd, SHUT_RDWR) == 0);
    require(close(fd) == 0);
}

struct departure {
    const char *name;
    void (*let_go)(int fd_or_status);
};

static void connection_let_go_lingers(void **state)
{
    const struct departure *departure = *state;
    const struct way *way = plain_close();
    const struct pair late = pair_open(FAMILY_IPV4);
    struct netcounters before = netcounters_now();

    require_context("%s mode, %s, bytes late", test_mode_name(), departure->name);
    send_response(late.server);
    departure->let_go(late.server);
    require(is_free(late.server));
    prove_fate(way, late.client, &before);

    const struct pair unread = pair_open(FAMILY_IPV4);

    require_context("%s mode, %s, bytes unread", test_mode_name(), departure->name);
    before = netcounters_now();
    send_unread_request(unread.client, unread.server);
    send_response(unread.server);
    departure->let_go(unread.server);
    require(is_free(unread.server));
    prove_fate(way, unread.client, &before);
}

/* Programs that never close: inetd services, fork-per-connection children. */
struct ending {
    const struct departure *departure;
    const struct host *host;
    int client;
};

/* Unread input is what makes the end of the process a reset. */
static void accept_answer_and_end(struct line *parent, void *argument)
{
    const struct ending *ending = argument;
    const int server = host_accept(ending->host);

    require(close(ending->client) == 0);
    require(wait_for(server, POLLIN, GENEROUS_MS) & POLLIN);
    send_response(server);
    line_tell(parent, 'e');
    ending->departure->let_go(EXIT_SUCCESS);
}

static bool waits_or_has_ended(void *child)
{
    const char state = schedstate_of(((const struct child *)child)->pid);

    return state == 'S' || state == 'Z';
}

/* The client must not read before the end has come as far as it comes by itself: it
 * might otherwise have everything before an end that loses. */
static void process_that_just_ends_lingers(void **state)
{
    const bool saves = plain_close()->saves;
    struct host host;
    struct child child;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    struct ending ending = {.departure = *state, .host = &host, .client = host_connect(&host)};
    const struct netcounters before = netcounters_now();

    require_context("%s mode, %s", test_mode_name(), ending.departure->name);
    send_late_bytes(ending.client);
    fflush(NULL);
    child_start(&child, accept_answer_and_end, &ending);
    line_await(&child.line, 'e');
    require(becomes_true(waits_or_has_ended, &child, GENEROUS_MS));
    const struct harvest harvest = harvest_expecting(saves, ending.client);

    require_fate(saves, &harvest, &before);
    require(close(ending.client) == 0);
    child_reap(&child);
    host_close(&host);
}

/* The alarm(2) that bounds a child says when an end waits for ever. The client of
 * this one never reads: LINGER_EXIT_MS, not the peer, must end it. */
static void silent_client_does_not_keep_a_process_from_ending(void **state)
{
    const struct departure *departure = *state;
    struct host host;
    struct child child;

    host_open(&host, FAMILY_IPV4);
    struct ending ending = {.departure = departure, .host = &host, .client = host_connect(&host)};
    const int64_t start = now_ms();

    send_late_bytes(ending.client);
    fflush(NULL);
    child_start(&child, accept_answer_and_end, &ending);
    line_await(&child.line, 'e');
    child_reap(&child);
    require(now_ms() - start < GENEROUS_MS);
    abort_connection(ending.client);
    host_close(&host);
}

static const struct departure ways_to_close[] = {
    {"__close()", by___close},
    {"syscall(SYS_close)", by_syscall_close},
    {"syscall(SYS_close_range)", by_syscall_close_range},
    {"close_range()", by_close_range},
    {"fclose()", by_fclose},
    {"freopen()", by_freopen},
    {"dup2() over it", by_dup2_over_it},
    {"dup3() over it", by_dup3_over_it},
    {"shutdown(SHUT_WR), close()", by_shutdown_of_output_then_close},
    {"shutdown(SHUT_RDWR), close()", by_shutdown_of_both_then_close},
};

static const struct departure ways_to_end[] = {
    {"exit()", exit},
    {"_exit()", _exit},
    {"_Exit()", _Exit},
    {"quick_exit()", quick_exit},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static struct CMUnitTest named(const struct departure *departure, CMUnitTestFunction test)
{
    return (struct CMUnitTest){.name = departure->name,
                               .test_func = test,
                               .setup_func = trap_setup,
                               .teardown_func = trap_teardown,
                               .initial_state = (void *)departure};
}

int main(void)
{
    struct CMUnitTest traps[LENGTH(ways_to_close) + LENGTH(ways_to_end) + 1];
    size_t count = 0;

    for (size_t i = 0; i < LENGTH(ways_to_close); i++)
        traps[count++] = named(&ways_to_close[i], connection_let_go_lingers);
    for (size_t i = 0; i < LENGTH(ways_to_end); i++)
        traps[count++] = named(&ways_to_end[i], process_that_just_ends_lingers);
    traps[count] = named(&ways_to_end[1], silent_client_does_not_keep_a_process_from_ending);
    traps[count].name = "silent_client_does_not_keep_a_process_from_ending";
    return run_traps(traps);
}
