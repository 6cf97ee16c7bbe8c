/* Letting go through stdio: libc closes the descriptor inside, past the symbol, after it
 * has written what the stream still held. That must leave before the FIN does. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "departure.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "streamed.h"
#include "trap.h"

static FILE *stream_over(int fd, const char *mode)
{
    FILE *stream = fdopen(fd, mode);

    require(stream != NULL);
    return stream;
}

static void by_fclose_with_output_unflushed(int fd)
{
    FILE *stream = stream_over(fd, "r+");

    print_response_unflushed(stream);
    require(fclose(stream) == 0);
}

static void by_freopen_with_output_unflushed(int fd)
{
    FILE *stream = stream_over(fd, "w");

    print_response_unflushed(stream);
    require(freopen("/dev/null", "w", stream) == stream);
    require(fputs("for nobody", stream) >= 0);
    require(fclose(stream) == 0);
}

/* The number is free for the file that is opened in its place. */
static void by_freopen_that_cannot_open(int fd)
{
    FILE *stream = stream_over(fd, "w");

    print_response_unflushed(stream);
    errno = 0;
    require(freopen("/nonexistent/file", "w", stream) == NULL);
    require(errno == ENOENT);
}

/* stdio(3) has one position for both directions, so servers open two streams. */
static void by_fclose_of_a_pair_input_first(int fd)
{
    FILE *input = stream_over(fd, "r");
    FILE *output = stream_over(dup(fd), "w");
    const int second = fileno(output);

    require(fclose(input) == 0);
    require(is_free(fd));
    print_response_unflushed(output);
    require(fclose(output) == 0);
    require(is_free(second));
}

static void by_fclose_of_a_pair_output_first(int fd)
{
    FILE *input = stream_over(fd, "r");
    FILE *output = stream_over(dup(fd), "w");
    const int second = fileno(output);

    print_response_unflushed(output);
    require(fclose(output) == 0);
    require(is_free(second));
    require(fclose(input) == 0);
}

static const struct departure departures[] = {
    {"fclose(), output unflushed", by_fclose_with_output_unflushed, answers_on_leaving},
    {"freopen(), output unflushed", by_freopen_with_output_unflushed, answers_on_leaving},
    {"freopen() that cannot open", by_freopen_that_cannot_open, answers_on_leaving},
    {"fclose() of a pair, input first", by_fclose_of_a_pair_input_first, answers_on_leaving},
    {"fclose() of a pair, output first", by_fclose_of_a_pair_output_first, answers_on_leaving},
};

/* The first fclose() of a pair is not the end of the connection. */
static void first_fclose_of_a_pair_leaves_the_connection_whole(void **state)
{
    (void)state;
    for (int input_first = 0; input_first <= 1; input_first++) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        FILE *input = stream_over(pair.server, "r");
        FILE *output = stream_over(dup(pair.server), "w");
        FILE *first = input_first ? input : output;
        FILE *last = input_first ? output : input;
        const struct pair left = {.client = pair.client, .server = fileno(last)};

        require(fclose(first) == 0);
        require_nothing_lingers();
        leave_time_for_a_wrong_shutdown();
        require_whole(&left, "the first fclose() of a pair");
        require(fclose(last) == 0);
        require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
        require(close(pair.client) == 0);
        require_nothing_lingers();
    }
}

/* Nothing that was known of the number is left: whatever gets it next is closed as what it
 * is. A Unix socket whose peer lingered would still be written to. */
static void require_number_is_forgotten(int number)
{
    enum { ENDS = 6 };
    int end[ENDS], given = 0;

    require(is_free(number));
    for (int i = 0; i < ENDS; i += 2)
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end + i) == 0);
    while (end[given] != number)
        require(++given < ENDS);
    require(close(number) == 0);
    errno = 0;
    require(send(end[given ^ 1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    for (int i = 0; i < ENDS; i++)
        require(i == given || close(end[i]) == 0);
}

/* What the peer cannot take any more is an error of fclose(), as ever. */
static void fclose_that_cannot_flush_says_so(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    FILE *stream = stream_over(pair.server, "w");

    (void)state;
    print_response_unflushed(stream);
    abort_connection(pair.client);
    require(wait_for(pair.server, POLLIN, GENEROUS_MS) & POLLERR);
    errno = 0;
    require(fclose(stream) == EOF);
    require(errno == ECONNRESET);
    require_number_is_forgotten(pair.server);
    require_nothing_lingers();
}

/* freopen(3) without a name changes the mode, by opening what is open once more; a socket
 * cannot be opened, and glibc closes it. */
static void freopen_that_cannot_reopen_forgets_the_number(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    /* Closed, but not freed, and not to be closed again: freopen(3p). Not a leak for valgrind. */
    static FILE *volatile stream;

    (void)state;
    stream = stream_over(pair.server, "w");
    errno = 0;
    require(freopen(NULL, "r", stream) == NULL);
    require(errno != 0);
    require_number_is_forgotten(pair.server);
    require(close(pair.client) == 0);
    require_nothing_lingers();
}

/* A Unix listener under the number of a TCP listener that went with its stream. */
static void fclose_of_a_listener_forgets_what_it_listened_for(void **state)
{
    struct sockaddr_un nameless = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(nameless);
    struct host host;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    const int first = host_connect(&host);

    require(close(host_accept(&host)) == 0);
    require(fclose(stream_over(host.listener, "r")) == 0);
    require(close(first) == 0);
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require(listener == host.listener);
    /* unix(7), autobind. */
    require(bind(listener, (struct sockaddr *)&nameless, sizeof(sa_family_t)) == 0);
    require(listen(listener, 1) == 0);
    require(getsockname(listener, (struct sockaddr *)&nameless, &length) == 0);
    require(connect(client, (struct sockaddr *)&nameless, length) == 0);
    require(close(accept(listener, NULL, NULL)) == 0);
    errno = 0;
    require(send(client, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    require(close(client) == 0);
    require(close(listener) == 0);
    require_nothing_lingers();
}

static void fclose_of_a_stream_whose_number_is_gone_says_so(void **state)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    FILE *stream = stream_over(pair.server, "w");

    (void)state;
    require(close(pair.server) == 0);
    errno = 0;
    require(fclose(stream) == EOF);
    require(errno == EBADF);
    require(close(pair.client) == 0);
    require_nothing_lingers();
}

static void print_to_standard_output_and_close_it(struct line *parent, void *argument)
{
    const struct pair *pair = argument;

    require(close(pair->client) == 0);
    require(dup2(pair->server, STDOUT_FILENO) == STDOUT_FILENO);
    require(close(pair->server) == 0);
    line_await(parent, 'p');
    print_response_unflushed(stdout);
    require(fclose(stdout) == 0);
    line_tell(parent, 'c');
    line_await(parent, 'e');
}

/* No fdopen() introduced this stream. The process lives on: its end saves nothing. */
static void fclose_of_standard_output_lingers(void **state)
{
    struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();
    struct child child;

    (void)state;
    require_context("%s mode, fclose(stdout)", test_mode_name());
    fflush(NULL);
    child_start(&child, print_to_standard_output_and_close_it, &pair);
    require(close(pair.server) == 0);
    line_tell(&child.line, 'p');
    line_await(&child.line, 'c');
    prove_fate(plain_close(), pair.client, &before);
    line_tell(&child.line, 'e');
    child_reap(&child);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        departure_trap(&departures[0]),
        departure_trap(&departures[1]),
        departure_trap(&departures[2]),
        departure_trap(&departures[3]),
        departure_trap(&departures[4]),
        trap(first_fclose_of_a_pair_leaves_the_connection_whole),
        trap(fclose_that_cannot_flush_says_so),
        trap(freopen_that_cannot_reopen_forgets_the_number),
        trap(fclose_of_a_listener_forgets_what_it_listened_for),
        trap(fclose_of_a_stream_whose_number_is_gone_says_so),
        trap(fclose_of_standard_output_lingers),
    };

    return run_traps(traps);
}
