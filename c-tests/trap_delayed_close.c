/* Trap 16, the moment between: a close is preempted after it has handed the connection
 * over and before its number is free. Who looks for other holders just then finds the
 * closer's own number, and must not take it for one. Where two holders close together,
 * each could take the other's for one, and both would leave it to the other. */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "nobody.h"
#include "trap.h"

enum { ROUNDS = 60 };

/* As long as a busy machine may keep a process from its processor. */
static void be_preempted(int signal_number)
{
    const struct timespec slice = {.tv_nsec = 20000000};

    (void)signal_number;
    nanosleep(&slice, NULL);
}

static timer_t open_preemption(void)
{
    const struct sigaction action = {.sa_handler = be_preempted, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    timer_t timer;

    require(sigaction(SIGRTMIN, &action, NULL) == 0);
    require(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    return timer;
}

/* Strikes a little later each round, so that some round strikes at the moment. */
static void close_with_preemption(timer_t timer, int fd, int round)
{
    const struct itimerspec soon = {.it_value.tv_nsec = 1000 + 1500L * round};

    require(timer_settime(timer, 0, &soon, NULL) == 0);
    require(close(fd) == 0);
}

static void let_the_timer_strike(timer_t timer)
{
    struct itimerspec left;

    do
        require(timer_gettime(timer, &left) == 0);
    while (left.it_value.tv_nsec != 0);
}

/* Once duplicated, a connection is not known for certain to be its last number's. */
static void preempted_close_of_the_last_number_still_lingers(void **state)
{
    const struct way *way = plain_close();
    const timer_t timer = open_preemption();

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        require(close(dup(pair.server)) == 0);
        send_response(pair.server);
        close_with_preemption(timer, pair.server, round);
        let_the_timer_strike(timer);
        require_context("%s, preempted, round %d", way->name, round);
        prove_fate(way, pair.client, &before);
    }
    timer_delete(timer);
}

struct race {
    struct pair pair;
    int round;
    bool blindly; /* the child may not see what its parent has */
    atomic_int ready;
};

static void close_when_both_are_ready(struct race *race, timer_t timer)
{
    atomic_fetch_add(&race->ready, 1);
    while (atomic_load(&race->ready) < 2)
        continue;
    close_with_preemption(timer, race->pair.server, race->round);
}

static void race_to_close(struct line *parent, void *argument)
{
    struct race *race = argument;

    require(close(race->pair.client) == 0);
    if (race->blindly)
        give_up_privilege();
    close_when_both_are_ready(race, open_preemption());
    line_tell(parent, 'c');
}

static void prove_one_of_both_lingers(bool blindly)
{
    const struct way *way = plain_close();
    const timer_t timer = open_preemption();
    struct race *race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    require(race != MAP_FAILED);
    for (int round = 0; round < ROUNDS; round++) {
        struct child child;

        *race = (struct race){.pair = pair_open(FAMILY_IPV4), .round = round, .blindly = blindly};
        send_response(race->pair.server);
        const struct netcounters before = netcounters_now();

        child_start(&child, race_to_close, race);
        close_when_both_are_ready(race, timer);
        line_await(&child.line, 'c');
        let_the_timer_strike(timer);
        require_context("%s by both, preempted, round %d", way->name, round);
        prove_fate(way, race->pair.client, &before);
        child_reap(&child);
    }
    timer_delete(timer);
    munmap(race, sizeof(*race));
}

static void preempted_closes_of_parent_and_child_still_linger(void **state)
{
    (void)state;
    prove_one_of_both_lingers(false);
}

static void preempted_closes_of_parent_and_blind_child_still_linger(void **state)
{
    (void)state;
    warn_unless_can_be_nobody();
    prove_one_of_both_lingers(true);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(preempted_close_of_the_last_number_still_lingers),
        trap(preempted_closes_of_parent_and_child_still_linger),
        trap(preempted_closes_of_parent_and_blind_child_still_linger),
    };

    return run_traps(traps);
}
