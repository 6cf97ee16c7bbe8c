/* What a failed round of the exclusivity stress leaves to read. */
#ifndef EXCLUSIVITY_REPORT_H
#define EXCLUSIVITY_REPORT_H

#include "exclusivity_ledger.h"
#include "exclusivity_plan.h"

void report_plan(const struct plan *plan);
void report_violations(struct ledger *ledger);

#endif
