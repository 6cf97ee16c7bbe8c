/* Exclusivity under stress: a parent, children and grandchildren hold the same accepted
 * connections, duplicate them, send them to each other, write to them, close them and
 * exit with them, in an order that is planned at random and interleaved by the scheduler.
 * Nobody who still holds one is ever cut off, and the last to let go always lingers.
 *
 *   STRESS_S      seconds; 10 by default, where closing loses no more than 2
 *   STRESS_SEED   of all plans; by default of the clock, and always printed
 *   STRESS_ROUND  only this round, over and over
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "exclusivity_client.h"
#include "exclusivity_holder.h"
#include "exclusivity_ledger.h"
#include "exclusivity_plan.h"
#include "exclusivity_report.h"
#include "expectation.h"
#include "reset_witness.h"
#include "trap.h"

enum { SECONDS = 10, SECONDS_OF_LOSS = 2, TAIL_S = 40 };

struct stress {
    uint64_t seed;
    bool saves;
    struct host host;
    struct ledger *ledger;
    struct child parent;
    bool has_parent;
    struct netcounters before;
    int witness;
    struct client client[MOST_CONNECTIONS];
    unsigned rounds, connections, losses;
};

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value ? strtoull(value, NULL, 0) : otherwise;
}

/* The parent */

static void end_well(int status)
{
    require(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
}

static bool request_is_here(void *argument)
{
    int unread = 0;

    require(ioctl(*(const int *)argument, FIONREAD, &unread) == 0);
    return unread >= REQUEST_BYTES;
}

static void accept_all(const struct stress *stress, const struct plan *plan, int *servers)
{
    for (int i = 0; i < plan->connections; i++) {
        servers[i] = host_accept(&stress->host);
        if (plan->connection[i].unread)
            require(becomes_true(request_is_here, &servers[i], GENEROUS_MS));
    }
}

static void reap_own(struct ledger *ledger)
{
    int status;

    while (wait(&status) > 0) {
        end_well(status);
        atomic_fetch_add(&ledger->reaped, 1);
    }
}

/* One process for many rounds, until a plan ends it. */
static void be_a_parent(struct line *driver, void *argument)
{
    const struct stress *stress = argument;
    int servers[MOST_CONNECTIONS];

    while (wait_for(driver->in, POLLIN, GENEROUS_MS) & POLLIN) {
        line_await(driver, 'r');
        bound_lifetime();
        const struct plan plan = plan_round(stress->seed, stress->ledger->round);

        accept_all(stress, &plan, servers);
        hold(stress->ledger, &plan, servers);
        reap_own(stress->ledger);
        require_nothing_lingers();
        line_tell(driver, 'o');
    }
}

/* The driver */

static void need_parent(struct stress *stress)
{
    if (stress->has_parent)
        return;
    child_start(&stress->parent, be_a_parent, stress);
    stress->has_parent = true;
}

/* Those whose own parent has ended. */
static bool all_are_reaped(void *argument)
{
    struct ledger *ledger = argument;
    int status;

    while (waitpid(-1, &status, WNOHANG) > 0) {
        end_well(status);
        atomic_fetch_add(&ledger->reaped, 1);
    }
    return atomic_load(&ledger->reaped) == ledger->processes;
}

static void end_round(struct stress *stress, const struct plan *plan)
{
    stress->ledger->processes = plan->holders - !plan->parent_ends;
    if (!plan->parent_ends)
        line_await(&stress->parent.line, 'o');
    require(becomes_true(all_are_reaped, stress->ledger, 3 * GENEROUS_MS));
    if (plan->parent_ends) {
        line_close(&stress->parent.line);
        stress->has_parent = false;
    }
}

static void report_loss(const struct stress *stress, const struct plan *plan, long resets,
                        const struct netcounters *now)
{
    for (int i = 0; i < plan->connections; i++)
        if (stress->client[i].loss)
            fprintf(stderr, "round %u, connection %d: %s\n", plan->round, i,
                    stress->client[i].loss);
    fprintf(stderr, "round %u: %ld resets by the server (counted: %ld unread at close, "
                    "%ld data after close)\n",
            plan->round, resets,
            now->abort_on_close - stress->before.abort_on_close,
            now->abort_on_data - stress->before.abort_on_data);
}

/* Whether the round went as it must. */
static bool judge(struct stress *stress, const struct plan *plan)
{
    const struct netcounters now = netcounters_now();
    const long resets = reset_witness_count(stress->witness);
    bool lost = resets > 0 || now.abort_on_close != stress->before.abort_on_close ||
                now.abort_on_data != stress->before.abort_on_data;

    for (int i = 0; i < plan->connections; i++)
        lost |= stress->client[i].loss != NULL;
    stress->losses += lost;
    const bool cut_off = atomic_load(&stress->ledger->violations) > 0;
    const bool good = !cut_off && !(stress->saves && lost);

    if (!good) {
        report_plan(plan);
        report_violations(stress->ledger);
        report_loss(stress, plan, resets, &now);
    }
    stress->before = now;
    return good;
}

static bool run_round(struct stress *stress, unsigned round)
{
    const struct plan plan = plan_round(stress->seed, round);

    ledger_turn_page(stress->ledger, &plan);
    need_parent(stress);
    for (int i = 0; i < plan.connections; i++)
        client_open(&stress->client[i], i, &plan, &stress->host);
    line_tell(&stress->parent.line, 'r');
    clients_see_it_through(stress->client, plan.connections, stress->ledger);
    end_round(stress, &plan);
    stress->rounds++;
    stress->connections += (unsigned)plan.connections;
    return judge(stress, &plan);
}

static void nobody_is_cut_off_and_the_last_lingers(void **state)
{
    static struct stress stress;
    const bool saves = plain_close()->saves;
    const uint64_t seconds = number_of("STRESS_S", SECONDS);
    const uint64_t bound = saves || seconds < SECONDS_OF_LOSS ? seconds : SECONDS_OF_LOSS;
    const int64_t end = now_ms() + 1000 * (int64_t)bound;
    const unsigned only = (unsigned)number_of("STRESS_ROUND", UINT32_MAX);
    bool good = true;

    (void)state;
    alarm((unsigned)bound + TAIL_S);
    stress = (struct stress){.seed = number_of("STRESS_SEED", (uint64_t)now_ms()), .saves = saves};
    print_message("STRESS_SEED=%llu\n", (unsigned long long)stress.seed);
    fflush(NULL);
    adopt_orphans();
    host_open(&stress.host, FAMILY_IPV4);
    stress.witness = reset_witness_open(&stress.host);
    stress.ledger = ledger_open();
    stress.before = netcounters_now();
    for (unsigned i = 0; good && now_ms() < end; i++)
        good = run_round(&stress, only == UINT32_MAX ? i : only);
    print_message("%u rounds, %u connections, %u rounds with loss\n", stress.rounds,
                  stress.connections, stress.losses);
    if (stress.has_parent)
        child_reap(&stress.parent);
    ledger_close(stress.ledger);
    require(close(stress.witness) == 0);
    host_close(&stress.host);
    require_context("STRESS_SEED=%llu, %u rounds", (unsigned long long)stress.seed, stress.rounds);
    require(good);
    require(saves == (stress.losses == 0));
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(nobody_is_cut_off_and_the_last_lingers),
    };

    return run_traps(traps);
}
