#include "exclusivity_report.h"

#include <stdio.h>
#include <string.h>

void report_plan(const struct plan *plan)
{
    static const char *const names[] = {"write", "read", "pause", "duplicate", "replace",
                                        "close", "fork", "send", "receive", "end"};

    fprintf(stderr, "plan of STRESS_SEED=%llu STRESS_ROUND=%u:\n",
            (unsigned long long)plan->seed, plan->round);
    for (int i = 0; i < plan->connections; i++)
        fprintf(stderr, "  connection %d:%s%s%s quiet %d ms\n", i,
                plan->connection[i].unread ? " unread" : "",
                plan->connection[i].large ? " large" : "",
                plan->connection[i].chatter ? " chatter" : "", plan->connection[i].quiet_ms);
    for (int i = 0; i < plan->steps; i++) {
        const struct step *step = &plan->step[i];

        fprintf(stderr, "  %3d holder %d %-9s connection %d, reference %d, other %d, courier %d, "
                        "how %u, awaits %#x, preempted after %ld ns\n",
                i, step->holder, names[step->deed], step->connection, step->reference,
                step->other, step->courier, step->how, step->awaits, step->preempted_ns);
    }
}

void report_violations(struct ledger *ledger)
{
    const int count = atomic_load(&ledger->violations);

    for (int i = 0; i < count && i < MOST_VIOLATIONS; i++) {
        const struct violation *seen = &ledger->violation[i];

        fprintf(stderr, "round %u, connection %d, %s %d, step %d: %s (%s)\n", seen->round,
                seen->connection, seen->holder == NOBODY ? "client" : "holder", seen->holder,
                seen->step, seen->what, strerror(seen->error));
    }
}
