/* Never closing at all: the process ends, and the kernel closes what it held. Under the
 * shim that end waits for connections which have something to lose, LINGER_EXIT_MS at
 * most, and for no others; and the exit status is the program's in every case. */
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "service.h"
#include "streamed.h"
#include "threads.h"
#include "trap.h"

enum { STATUS = 7 };

/* Far beyond every deadline here: whoever waits so long has failed. */
static const char WAITS_LONG[] = "LINGER_EXIT_MS=120000";
static const char DOES_NOT_WAIT[] = "LINGER_EXIT_MS=0";

#define ENDING_SERVICE(name, ending)                                               \
    static int name(const struct host *host, const struct line *parent)            \
    {                                                                              \
        accept_and_answer(host, parent);                                           \
        ending;                                                                    \
        return STATUS;                                                             \
    }

ENDING_SERVICE(by_exit, exit(STATUS))
ENDING_SERVICE(by_return_from_main, (void)0)
ENDING_SERVICE(by__exit, _exit(STATUS))
ENDING_SERVICE(by__Exit, _Exit(STATUS))
ENDING_SERVICE(by_quick_exit, quick_exit(STATUS))
ENDING_SERVICE(by_syscall_exit_group, syscall(SYS_exit_group, STATUS))

struct exiting {
    const struct host *host;
    const struct line *parent;
};

static void *answer_and_exit(void *argument)
{
    const struct exiting *exiting = argument;

    accept_and_answer(exiting->host, exiting->parent);
    exit(STATUS);
}

static int by_exit_in_a_thread(const struct host *host, const struct line *parent)
{
    struct exiting exiting = {host, parent};
    pthread_t thread;

    require(pthread_create(&thread, NULL, answer_and_exit, &exiting) == 0);
    pause();
    return EXIT_FAILURE;
}

/* pthread_exit(3) in main(): the last thread's end is exit(0). */
static void *answer_and_return(void *argument)
{
    const struct exiting *exiting = argument;

    accept_and_answer(exiting->host, exiting->parent);
    return NULL;
}

static int by_return_of_the_last_thread(const struct host *host, const struct line *parent)
{
    static struct exiting exiting;
    pthread_t thread;

    exiting = (struct exiting){host, parent};
    require(pthread_create(&thread, NULL, answer_and_return, &exiting) == 0);
    pthread_exit(NULL);
}

static int by_exit_with_a_stream_unflushed(const struct host *host, const struct line *parent)
{
    FILE *stream = fdopen(accept_unread(host), "r+");

    require(stream != NULL);
    print_response_unflushed(stream);
    line_tell(parent, 'e');
    exit(STATUS);
}

static int by_exit_with_standard_output_unflushed(const struct host *host,
                                                  const struct line *parent)
{
    const int server = accept_unread(host);

    require(dup2(server, STDOUT_FILENO) == STDOUT_FILENO);
    require(close(server) == 0);
    print_response_unflushed(stdout);
    line_tell(parent, 'e');
    return STATUS;
}

static void process_that_just_ends_lingers(void **state)
{
    const struct service *service = *state;

    prove_ending(service->name, NULL, plain_close()->saves,
                 service->run == by_return_of_the_last_thread ? EXIT_SUCCESS : STATUS);
}

/* As if there were no shim: the client reads only after the end, and it is too late. */
static void exit_that_may_not_wait_loses(void **state)
{
    (void)state;
    prove_ending("by_exit", DOES_NOT_WAIT, false, STATUS);
    prove_ending("by__exit", DOES_NOT_WAIT, false, STATUS);
}

/* What ends the wait is the client's close, not the time. */
static void exit_waits_for_the_client(void **state)
{
    struct host host;
    struct child child;

    (void)state;
    if (!plain_close()->saves)
        return;
    host_open(&host, FAMILY_IPV4);
    const int client = host_connect(&host);

    send_late_bytes(client);
    service_start(&child, "by_exit", &host, WAITS_LONG);
    line_await(&child.line, 'e');
    require(read_response(client).bytes == RESPONSE_BYTES);
    leave_time_for_a_wrong_shutdown();
    require(waitpid(child.pid, NULL, WNOHANG) == 0);
    require(close(client) == 0);
    const int end = end_of(&child);

    require(WIFEXITED(end) && WEXITSTATUS(end) == STATUS);
    host_close(&host);
}

static bool is_acknowledged(void *fd)
{
    int queued = -1;

    require(ioctl(*(int *)fd, SIOCOUTQ, &queued) == 0);
    return queued == 0;
}

/* Its connection has nothing unread, and all it was sent is acknowledged. */
static int accept_idle(const struct host *host)
{
    int server = host_accept(host);

    require(write(server, "bye", 3) == 3);
    require(becomes_true(is_acknowledged, &server, GENEROUS_MS));
    return server;
}

static int with_nothing_to_lose(const struct host *host, const struct line *parent)
{
    accept_idle(host);
    line_tell(parent, 'e');
    return STATUS;
}

/* A worker that leaves its parent's connection alone, whatever it may have to lose. */
static int child_with_nothing_to_lose(const struct host *host, const struct line *parent)
{
    const int server = accept_idle(host);
    int status;
    const pid_t worker = fork();

    require(worker >= 0);
    if (worker == 0)
        exit(STATUS);
    require(waitpid(worker, &status, 0) == worker);
    require(WIFEXITED(status) && WEXITSTATUS(status) == STATUS);
    require(write(server, "eof", 3) == 3);
    require(becomes_true(is_acknowledged, &(int){server}, GENEROUS_MS));
    line_tell(parent, 'e');
    return STATUS;
}

/* LINGER_EXIT_MS would let it wait for minutes; it ends before the client closes. */
static void exit_with_nothing_to_lose_does_not_wait(void **state)
{
    static const char *const names[] = {"with_nothing_to_lose", "child_with_nothing_to_lose"};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct host host;
        struct child child;

        require_context("%s mode, %s", test_mode_name(), names[i]);
        host_open(&host, FAMILY_IPV4);
        const int client = host_connect(&host);

        service_start(&child, names[i], &host, WAITS_LONG);
        line_await(&child.line, 'e');
        const int end = end_of(&child);

        require(WIFEXITED(end) && WEXITSTATUS(end) == STATUS);
        require(wait_for(client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
        require(close(client) == 0);
        host_close(&host);
    }
}

struct writer {
    struct blocker blocker;
    int fd;
};

static void *write_for_ever(void *argument)
{
    static const char piece[65536];
    struct writer *writer = argument;

    blocker_here(&writer->blocker);
    while (write(writer->fd, piece, sizeof(piece)) > 0)
        continue;
    return NULL;
}

/* The half-close at exit must not turn into SIGPIPE for a thread that still writes. */
static int while_another_thread_writes(const struct host *host, const struct line *parent)
{
    struct writer writer = {.fd = accept_unread(host)};

    signal(SIGPIPE, SIG_DFL);
    require(pthread_create(&writer.blocker.thread, NULL, write_for_ever, &writer) == 0);
    require_blocked(&writer.blocker);
    line_tell(parent, 'e');
    exit(STATUS);
}

static void exit_status_survives_a_thread_that_still_writes(void **state)
{
    struct host host;
    struct child child;
    char piece[65536];

    (void)state;
    require_context("%s mode, SIGPIPE at exit", test_mode_name());
    host_open(&host, FAMILY_IPV4);
    const int client = host_connect(&host);

    send_late_bytes(client);
    service_start(&child, "while_another_thread_writes", &host, NULL);
    line_await(&child.line, 'e');
    await_rest(&child, !plain_close()->saves);
    while (wait_for(client, POLLIN, GENEROUS_MS) && recv(client, piece, sizeof(piece), 0) > 0)
        continue;
    require(close(client) == 0);
    const int end = end_of(&child);

    require_note("wait status %#x", (unsigned)end);
    require(WIFEXITED(end) && WEXITSTATUS(end) == STATUS);
    host_close(&host);
}

static const struct service services[] = {
    SERVICE(by_exit),
    SERVICE(by_return_from_main),
    SERVICE(by__exit),
    SERVICE(by__Exit),
    SERVICE(by_quick_exit),
    SERVICE(by_syscall_exit_group),
    SERVICE(by_exit_in_a_thread),
    SERVICE(by_return_of_the_last_thread),
    SERVICE(by_exit_with_a_stream_unflushed),
    SERVICE(by_exit_with_standard_output_unflushed),
    SERVICE(with_nothing_to_lose),
    SERVICE(child_with_nothing_to_lose),
    SERVICE(while_another_thread_writes),
    {NULL, NULL},
};

#define ending_trap(index)                                                              \
    {                                                                                   \
        services[index].name, process_that_just_ends_lingers, trap_setup,               \
            trap_teardown, (void *)&services[index]                                     \
    }

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        ending_trap(0), ending_trap(1), ending_trap(2), ending_trap(3), ending_trap(4),
        ending_trap(5), ending_trap(6), ending_trap(7), ending_trap(8), ending_trap(9),
        trap(exit_that_may_not_wait_loses),
        trap(exit_waits_for_the_client),
        trap(exit_with_nothing_to_lose_does_not_wait),
        trap(exit_status_survives_a_thread_that_still_writes),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
