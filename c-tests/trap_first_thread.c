/* A process whose first thread has ended, by pthread_exit(3) in main(), while others go on
 * serving. It ends with the last of its own threads, with all that an exit(3) does; nobody
 * of ours may keep it, and signals and whoever joins the first thread must notice nothing. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "service.h"
#include "threads.h"
#include "trap.h"

enum { STATUS = 7 };

static const char PRINTED[] = "served, left";

struct work {
    const struct host *host;
    const struct line *parent;
    const struct way *way;
    pthread_t first;
};

/* It outlives main(). */
static struct work work;

static void begin_work(const struct host *host, const struct line *parent, const struct way *way)
{
    /* One that does not end by itself is deaf to alarm(2), too. */
    require(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    work = (struct work){host, parent, way, pthread_self()};
}

static void serve_one(void)
{
    const int server = host_accept(work.host);

    send_response(server);
    require(work.way->let_go(server) == 0);
    line_tell(work.parent, 'c');
    line_await(work.parent, 'r');
}

/* So that the library has all it will ever have before the first thread ends. */
static void serve_somebody_else(void)
{
    const struct pair pair = pair_open(FAMILY_IPV4);

    require(work.way->let_go(pair.server) == 0);
    require(close(pair.client) == 0);
    require_nothing_lingers();
}

static void say_left(void)
{
    fputs("left", stdout);
}

/* Standard output is the line: what is printed stays in its buffer until the end. */
static void *serve_and_return(void *unused)
{
    (void)unused;
    await_end_of_first_thread(getpid());
    require(dup2(work.parent->out, STDOUT_FILENO) == STDOUT_FILENO);
    require(atexit(say_left) == 0);
    fputs("served, ", stdout);
    serve_one();
    return NULL;
}

static _Noreturn void leave_it_to(void *(*worker)(void *))
{
    pthread_t thread;

    require(pthread_create(&thread, NULL, worker, NULL) == 0);
    pthread_exit(NULL);
}

static void leave_serving_to_a_worker(void)
{
    leave_it_to(serve_and_return);
}

static void serve_and_leave_serving_to_a_worker(void)
{
    serve_somebody_else();
    leave_it_to(serve_and_return);
}

static void *serve_for_ever(void *unused)
{
    (void)unused;
    await_end_of_first_thread(getpid());
    serve_one();
    pause();
    return NULL;
}

static void leave_serving_for_ever_to_a_worker(void)
{
    leave_it_to(serve_for_ever);
}

static void *join_the_first_thread(void *unused)
{
    require_ends(work.first);
    return serve_and_return(unused);
}

static void leave_joining_to_a_worker(void)
{
    serve_somebody_else();
    leave_it_to(join_the_first_thread);
}

/* The library's own threads end then, and so must what waits for the process's end. */
static void *serve_and_confine_the_process(void *unused)
{
    static struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    static const struct sock_fprog program = {.len = 1, .filter = allow};

    await_end_of_first_thread(getpid());
    serve_one();
    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    return unused;
}

static void leave_confining_to_a_worker(void)
{
    serve_somebody_else();
    leave_it_to(serve_and_confine_the_process);
}

/* As much of the stack as the thread that calls exit(3) has by default. */
static void use_a_megabyte(void)
{
    volatile char room[1 << 20];

    for (size_t i = 0; i < sizeof(room); i += 512)
        room[i] = 1;
    fputs("left", stdout);
}

static void *serve_and_leave_much_to_do(void *unused)
{
    await_end_of_first_thread(getpid());
    require(dup2(work.parent->out, STDOUT_FILENO) == STDOUT_FILENO);
    require(atexit(use_a_megabyte) == 0);
    fputs("served, ", stdout);
    serve_one();
    return unused;
}

static void leave_much_to_do_to_a_worker(void)
{
    leave_it_to(serve_and_leave_much_to_do);
}

/* It shares the memory, in which it must not be taken for its parent. */
static void serve_after_a_child_ended_its_thread(void)
{
    if (vfork() == 0)
        syscall(SYS_exit, EXIT_FAILURE);
    serve_one();
    leave_time_for_a_wrong_shutdown();
    exit(STATUS);
}

/* Its only thread, and the C library is not asked. */
static void serve_and_end_the_thread(void)
{
    serve_one();
    syscall(SYS_exit, STATUS);
}

/* Each as a service by close(), and by linger_close() where it exists. */
#define SERVICE_BY_EACH_WAY(body)                                                        \
    static int body##_by_close(const struct host *host, const struct line *parent)       \
    {                                                                                    \
        begin_work(host, parent, plain_close());                                         \
        body();                                                                          \
        return EXIT_FAILURE;                                                             \
    }                                                                                    \
    static int body##_by_linger_close(const struct host *host, const struct line *parent) \
    {                                                                                    \
        begin_work(host, parent, next_way(plain_close()));                               \
        body();                                                                          \
        return EXIT_FAILURE;                                                             \
    }

SERVICE_BY_EACH_WAY(leave_serving_to_a_worker)
SERVICE_BY_EACH_WAY(serve_and_leave_serving_to_a_worker)
SERVICE_BY_EACH_WAY(leave_serving_for_ever_to_a_worker)
SERVICE_BY_EACH_WAY(leave_joining_to_a_worker)
SERVICE_BY_EACH_WAY(serve_and_end_the_thread)
SERVICE_BY_EACH_WAY(leave_confining_to_a_worker)
SERVICE_BY_EACH_WAY(leave_much_to_do_to_a_worker)
SERVICE_BY_EACH_WAY(serve_after_a_child_ended_its_thread)

#define SERVICES(body) SERVICE(body##_by_close), SERVICE(body##_by_linger_close)

static const struct service services[] = {
    SERVICES(leave_serving_to_a_worker),
    SERVICES(serve_and_leave_serving_to_a_worker),
    SERVICES(leave_serving_for_ever_to_a_worker),
    SERVICES(leave_joining_to_a_worker),
    SERVICES(serve_and_end_the_thread),
    SERVICES(leave_confining_to_a_worker),
    SERVICES(leave_much_to_do_to_a_worker),
    SERVICES(serve_after_a_child_ended_its_thread),
    {NULL, NULL},
};

static void start_by_way(struct child *child, const char *body, const struct way *way,
                         const struct host *host)
{
    char name[96];

    snprintf(name, sizeof(name), "%s_by_%s", body,
             way == plain_close() ? "close" : "linger_close");
    service_start(child, name, host, NULL);
    require_context("%s mode, %s", test_mode_name(), name);
}

/* What the service lets go of is saved or lost as ever; afterwards it goes on. */
static void prove_served(const struct child *child, const struct host *host,
                         const struct way *way)
{
    const int client = host_connect(host);

    line_await(&child->line, 'c');
    const struct netcounters before = netcounters_now();

    send_late_bytes(client);
    const struct harvest harvest = harvest_expecting(way->saves, client);

    require_fate(way->saves, &harvest, &before);
    require(close(client) == 0);
    line_tell(&child->line, 'r');
}

/* Up to the end of everything that could write to it. */
static void require_hears(const struct line *line, const char *text)
{
    char heard[64] = "";
    size_t length = 0;
    ssize_t got;

    do {
        require(wait_for(line->in, POLLIN, GENEROUS_MS) != 0);
        got = read(line->in, heard + length, sizeof(heard) - 1 - length);
        require(got >= 0);
        length += (size_t)got;
    } while (got > 0);
    require_note("heard \"%s\"", heard);
    require(strcmp(heard, text) == 0);
}

static void require_ends_with(struct child *child, int status)
{
    const int end = end_of(child);

    require_note("wait status %#x", (unsigned)end);
    require(WIFEXITED(end));
    require(WEXITSTATUS(end) == status);
}

static void prove_ends_by_itself(const char *body, const char *printed, int status)
{
    BY_EACH_WAY(way) {
        struct host host;
        struct child child;

        host_open(&host, FAMILY_IPV4);
        start_by_way(&child, body, way, &host);
        prove_served(&child, &host, way);
        require_hears(&child.line, printed);
        require_ends_with(&child, status);
        host_close(&host);
    }
}

static void process_ends_with_its_last_worker(void **state)
{
    (void)state;
    prove_ends_by_itself("leave_serving_to_a_worker", PRINTED, EXIT_SUCCESS);
}

static void process_that_served_before_ends_with_its_last_worker(void **state)
{
    (void)state;
    prove_ends_by_itself("serve_and_leave_serving_to_a_worker", PRINTED, EXIT_SUCCESS);
}

static void joiner_of_the_first_thread_is_not_kept_waiting(void **state)
{
    (void)state;
    prove_ends_by_itself("leave_joining_to_a_worker", PRINTED, EXIT_SUCCESS);
}

static void process_ended_by_its_only_threads_system_call_keeps_the_status(void **state)
{
    (void)state;
    prove_ends_by_itself("serve_and_end_the_thread", "", STATUS);
}

static void process_that_confines_itself_ends_with_its_last_worker(void **state)
{
    (void)state;
    prove_ends_by_itself("leave_confining_to_a_worker", "", EXIT_SUCCESS);
}

static void exit_handlers_have_room(void **state)
{
    (void)state;
    prove_ends_by_itself("leave_much_to_do_to_a_worker", PRINTED, EXIT_SUCCESS);
}

static void child_that_shares_memory_ends_for_itself(void **state)
{
    (void)state;
    prove_ends_by_itself("serve_after_a_child_ended_its_thread", "", STATUS);
}

static void signal_ends_a_process_whose_worker_lives(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct host host;
        struct child child;

        host_open(&host, FAMILY_IPV4);
        start_by_way(&child, "leave_serving_for_ever_to_a_worker", way, &host);
        prove_served(&child, &host, way);
        require(kill(child.pid, SIGTERM) == 0);
        const int end = end_of(&child);

        require_note("wait status %#x", (unsigned)end);
        require(WIFSIGNALED(end));
        require(WTERMSIG(end) == SIGTERM);
        host_close(&host);
    }
}

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(process_ends_with_its_last_worker),
        trap(process_that_served_before_ends_with_its_last_worker),
        trap(joiner_of_the_first_thread_is_not_kept_waiting),
        trap(process_ended_by_its_only_threads_system_call_keeps_the_status),
        trap(process_that_confines_itself_ends_with_its_last_worker),
        trap(exit_handlers_have_room),
        trap(child_that_shares_memory_ends_for_itself),
        trap(signal_ends_a_process_whose_worker_lives),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
