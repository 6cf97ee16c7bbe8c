/* Trap 23: a registration belongs to the open file description (epoll(7), "Will
 * closing a file descriptor ..."). Servers close without EPOLL_CTL_DEL and free what
 * the event's pointer points to: while the description lingers, no event may come. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "threads.h"
#include "trap.h"

enum { WITNESS = 1, CONNECTION = 2, REUSED = 3 };

static void watch(int set, int fd, uint32_t events, uint64_t name)
{
    struct epoll_event event = {.events = events, .data.u64 = name};

    require(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* The witness is another connection in the same set. Its event was caused after
 * everything that could have caused a ghost, so a ghost would be there by then. */
static void require_only_the_witness(int set, const struct pair *witness)
{
    struct epoll_event events[8];
    char byte;

    require(send(witness->client, "w", 1, 0) == 1);
    require(epoll_wait(set, events, 8, GENEROUS_MS) == 1);
    require(events[0].data.u64 == WITNESS);
    require(recv(witness->server, &byte, 1, MSG_DONTWAIT) == 1);
}

/* Input, the end of input, and the end of output are what epoll reports. */
static void stir(int client)
{
    send_late_bytes(client);
    let_30ms_of_network_delay_pass();
}

/* EPOLLOUT wherever it may be: after SHUT_WR a socket counts as writable for ever
 * (tcp_poll() in the kernel), while input is gone as soon as it is drained. */
static void prove_no_ghost(uint32_t events, int sets)
{
    BY_EACH_WAY(way) {
        const struct pair witness = pair_open(FAMILY_IPV4);
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();
        int set[4];

        for (int i = 0; i < sets; i++) {
            set[i] = epoll_create1(EPOLL_CLOEXEC);
            watch(set[i], witness.server, EPOLLIN, WITNESS);
            watch(set[i], pair.server, events, CONNECTION);
        }
        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        for (int i = 0; i < sets; i++)
            require_only_the_witness(set[i], &witness);
        stir(pair.client);
        for (int i = 0; i < sets; i++)
            require_only_the_witness(set[i], &witness);
        prove_fate(way, pair.client, &before);
        for (int i = 0; i < sets; i++) {
            require_only_the_witness(set[i], &witness);
            require(close(set[i]) == 0);
        }
        require(close(witness.client) == 0);
        require(close(witness.server) == 0);
        require_nothing_lingers();
    }
}

static void level_triggered_set_sees_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost(EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
}

static void edge_triggered_set_sees_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1);
}

static void exclusive_registration_sees_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost(EPOLLIN | EPOLLOUT | EPOLLEXCLUSIVE, 1);
}

static void oneshot_registration_sees_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost(EPOLLIN | EPOLLOUT | EPOLLONESHOT, 1);
}

/* EPOLLHUP and EPOLLERR come whether asked for or not. */
static void registration_for_nothing_sees_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost(0, 1);
}

static void several_sets_see_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost(EPOLLIN | EPOLLOUT | EPOLLRDHUP, 4);
}

/* A set that has the witness and the connection, where it is reached in the end. */
struct made {
    int set;
    int to_close; /* or -1 */
};

static void prove_no_ghost_in(struct made (*make)(int witness, int connection))
{
    BY_EACH_WAY(way) {
        const struct pair witness = pair_open(FAMILY_IPV4), pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();
        const struct made made = make(witness.server, pair.server);

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        stir(pair.client);
        require_only_the_witness(made.set, &witness);
        prove_fate(way, pair.client, &before);
        require_only_the_witness(made.set, &witness);
        require(close(made.set) == 0);
        require(made.to_close < 0 || close(made.to_close) == 0);
        require(close(witness.client) == 0);
        require(close(witness.server) == 0);
        require_nothing_lingers();
    }
}

/* Event loops that want a call their libc did not have yet make it themselves. */
static struct made made_by_syscall(int witness, int connection)
{
    const int set = (int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP,
                                .data.u64 = CONNECTION};

    require(set >= 0);
    watch(set, witness, EPOLLIN, WITNESS);
    require(syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, connection, &event) == 0);
    return (struct made){.set = set, .to_close = -1};
}

static void registration_by_syscall_sees_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost_in(made_by_syscall);
}

/* The set is reached through another number than the one it was registered by. */
static struct made moved(int witness, int connection)
{
    const int set = epoll_create1(EPOLL_CLOEXEC);
    const int other = fcntl(set, F_DUPFD_CLOEXEC, 0);

    watch(set, witness, EPOLLIN, WITNESS);
    watch(set, connection, EPOLLIN | EPOLLOUT | EPOLLRDHUP, CONNECTION);
    require(close(set) == 0);
    return (struct made){.set = other, .to_close = -1};
}

static void set_under_another_number_sees_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost_in(moved);
}

/* The set lives on under another number; its own is another set's, which may even have the
 * same connection. */
static struct made replaced(int witness, int connection)
{
    struct made made = moved(witness, connection);

    made.to_close = epoll_create1(EPOLL_CLOEXEC);
    require(made.to_close >= 0 && made.to_close < made.set);
    return made;
}

static struct made replaced_by_one_like_it(int witness, int connection)
{
    const struct made made = replaced(witness, connection);

    watch(made.to_close, connection, EPOLLIN, CONNECTION);
    return made;
}

static void set_whose_number_is_reused_sees_no_ghost(void **state)
{
    (void)state;
    prove_no_ghost_in(replaced);
    prove_no_ghost_in(replaced_by_one_like_it);
}

static void change(int set, int operation, int fd, int expected_errno)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = REUSED};

    errno = 0;
    require((epoll_ctl(set, operation, fd, &event) == 0) == (expected_errno == 0));
    require(errno == expected_errno);
}

/* What epoll_ctl(2) says of a closed number, of its next use, and after that. */
static void reused_number_starts_clean_in_the_same_set(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct host host;
        struct epoll_event event;
        const int set = epoll_create1(EPOLL_CLOEXEC);

        host_open(&host, FAMILY_IPV4);
        const int old_client = host_connect(&host), new_client = host_connect(&host);
        const int old = host_accept(&host);

        watch(set, old, EPOLLIN | EPOLLOUT | EPOLLRDHUP, CONNECTION);
        send_response(old);
        require(way->let_go(old) == 0);
        change(set, EPOLL_CTL_MOD, old, EBADF);
        change(set, EPOLL_CTL_DEL, old, EBADF);

        const int reused = host_accept(&host);

        require(reused == old);
        change(set, EPOLL_CTL_MOD, reused, ENOENT);
        change(set, EPOLL_CTL_ADD, reused, 0);
        change(set, EPOLL_CTL_ADD, reused, EEXIST);
        stir(old_client);
        require(epoll_wait(set, &event, 1, 0) == 0);
        require(send(new_client, "n", 1, 0) == 1);
        require(epoll_wait(set, &event, 1, GENEROUS_MS) == 1);
        require(event.data.u64 == REUSED);
        change(set, EPOLL_CTL_DEL, reused, 0);

        require(close(new_client) == 0);
        require(way->let_go(reused) == 0);
        require(close(old_client) == 0);
        require(close(set) == 0);
        host_close(&host);
        require_nothing_lingers();
    }
}

struct waiter {
    struct blocker blocker;
    int set;
    struct epoll_event event;
};

static void *wait_in_epoll(void *argument)
{
    struct waiter *waiter = argument;

    blocker_here(&waiter->blocker);
    require(epoll_wait(waiter->set, &waiter->event, 1, GENEROUS_MS) == 1);
    return NULL;
}

static void thread_waiting_in_epoll_is_not_woken_by_a_ghost(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair witness = pair_open(FAMILY_IPV4), pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();
        struct waiter waiter = {.set = epoll_create1(EPOLL_CLOEXEC)};

        watch(waiter.set, witness.server, EPOLLIN, WITNESS);
        watch(waiter.set, pair.server, EPOLLIN | EPOLLRDHUP | EPOLLET, CONNECTION);
        require(pthread_create(&waiter.blocker.thread, NULL, wait_in_epoll, &waiter) == 0);
        require_blocked(&waiter.blocker);
        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        stir(pair.client);
        prove_fate(way, pair.client, &before);
        require(send(witness.client, "w", 1, 0) == 1);
        require_ends(waiter.blocker.thread);
        require(waiter.event.data.u64 == WITNESS);
        require(close(waiter.set) == 0);
        require(close(witness.client) == 0);
        require(close(witness.server) == 0);
        require_nothing_lingers();
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(level_triggered_set_sees_no_ghost),
        trap(edge_triggered_set_sees_no_ghost),
        trap(exclusive_registration_sees_no_ghost),
        trap(oneshot_registration_sees_no_ghost),
        trap(registration_for_nothing_sees_no_ghost),
        trap(several_sets_see_no_ghost),
        trap(registration_by_syscall_sees_no_ghost),
        trap(set_under_another_number_sees_no_ghost),
        trap(set_whose_number_is_reused_sees_no_ghost),
        trap(reused_number_starts_clean_in_the_same_set),
        trap(thread_waiting_in_epoll_is_not_woken_by_a_ghost),
    };

    return run_traps(traps);
}
