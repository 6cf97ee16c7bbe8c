#include "exclusivity_plan.h"

#include "require.h"

enum { NOWHERE = -1 };

/* What one holder may do, were every step before performed. */
struct model_reference {
    int connection; /* NOWHERE: free */
    int sent_with;  /* this courier, so its close is plain; or NOWHERE */
    unsigned brought_by; /* couriers, as bits */
};

struct model_holder {
    bool alive;
    struct model_reference reference[MOST_REFERENCES];
};

struct model {
    struct plan *plan;
    uint64_t random;
    unsigned closed_by_sender; /* couriers, as bits */
    struct model_holder holder[MOST_HOLDERS];
};

/* splitmix64: every seed is a good one, and the state is the seed. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

static int below(struct model *model, int bound)
{
    return (int)(next_random(&model->random) % (uint64_t)bound);
}

static bool one_in(struct model *model, int many)
{
    return below(model, many) == 0;
}

/* A random index of those that pass, or NOWHERE. */
#define PICK(model, count, index, passes)                             \
    ({                                                                \
        const int first_ = below((model), (count));                   \
        int picked_ = NOWHERE;                                        \
        for (int i_ = 0; i_ < (count) && picked_ == NOWHERE; i_++) {  \
            const int index = (first_ + i_) % (count);                \
            if (passes)                                               \
                picked_ = index;                                      \
        }                                                             \
        picked_;                                                      \
    })

static struct step *append(struct model *model, enum deed deed, int holder)
{
    struct plan *plan = model->plan;

    require(plan->steps < MOST_STEPS);
    struct step *step = &plan->step[plan->steps++];

    *step = (struct step){.deed = deed, .holder = holder, .reference = NOWHERE,
                          .connection = NOWHERE, .other = NOWHERE, .courier = NOWHERE,
                          .how = (unsigned)below(model, 1 << 16)};
    return step;
}

static struct step *append_with(struct model *model, enum deed deed, int holder, int reference)
{
    struct step *step = append(model, deed, holder);

    step->reference = reference;
    step->connection = model->holder[holder].reference[reference].connection;
    return step;
}

static int any_reference(struct model *model, int holder)
{
    const struct model_reference *references = model->holder[holder].reference;

    return PICK(model, MOST_REFERENCES, i, references[i].connection != NOWHERE);
}

static int any_unsent(struct model *model, int holder)
{
    const struct model_reference *references = model->holder[holder].reference;

    return PICK(model, MOST_REFERENCES, i,
                references[i].connection != NOWHERE && references[i].sent_with == NOWHERE);
}

static int free_reference(struct model *model, int holder)
{
    const struct model_reference *references = model->holder[holder].reference;

    return PICK(model, MOST_REFERENCES, i, references[i].connection == NOWHERE);
}

static bool may_let_go(const struct model *model, const struct model_reference *reference)
{
    return (reference->brought_by & ~model->closed_by_sender) == 0;
}

static void note_let_go(struct model *model, struct step *step, struct model_reference *reference)
{
    step->awaits |= reference->brought_by;
    if (one_in(model, 4))
        step->preempted_ns = 500 + 1000L * below(model, 150);
    reference->connection = NOWHERE;
}

static void plan_use(struct model *model, int holder, enum deed deed)
{
    const int reference = any_reference(model, holder);

    if (reference != NOWHERE)
        append_with(model, deed, holder, reference);
}

static void plan_duplicate(struct model *model, int holder)
{
    const int from = any_unsent(model, holder), to = free_reference(model, holder);

    if (from == NOWHERE || to == NOWHERE)
        return;
    append_with(model, DEED_DUPLICATE, holder, from)->other = to;
    model->holder[holder].reference[to] = model->holder[holder].reference[from];
}

static void plan_replace(struct model *model, int holder)
{
    struct model_reference *references = model->holder[holder].reference;
    const int from = any_unsent(model, holder), over = any_unsent(model, holder);

    if (from == NOWHERE || from == over || !may_let_go(model, &references[over]))
        return;
    struct step *step = append_with(model, DEED_REPLACE, holder, from);

    step->other = over;
    note_let_go(model, step, &references[over]);
    references[over] = references[from];
}

static void plan_close(struct model *model, int holder)
{
    struct model_reference *references = model->holder[holder].reference;
    const int reference = PICK(model, MOST_REFERENCES, i, references[i].connection != NOWHERE &&
                                                              may_let_go(model, &references[i]));

    if (reference == NOWHERE)
        return;
    struct step *step = append_with(model, DEED_CLOSE, holder, reference);

    step->courier = references[reference].sent_with;
    if (step->courier != NOWHERE)
        model->closed_by_sender |= 1u << step->courier;
    note_let_go(model, step, &references[reference]);
}

static bool holds_sent(const struct model_holder *holder)
{
    for (int i = 0; i < MOST_REFERENCES; i++)
        if (holder->reference[i].connection != NOWHERE &&
            holder->reference[i].sent_with != NOWHERE)
            return true;
    return false;
}

static void plan_fork(struct model *model, int holder)
{
    struct plan *plan = model->plan;

    if (plan->holders == MOST_HOLDERS || holds_sent(&model->holder[holder]))
        return;
    append(model, DEED_FORK, holder)->other = plan->holders;
    model->holder[plan->holders++] = model->holder[holder];
}

static void plan_send(struct model *model, int holder)
{
    const int reference = any_unsent(model, holder);
    const int receiver = PICK(model, MOST_HOLDERS, i, i != holder && model->holder[i].alive);

    if (model->plan->couriers == MOST_COURIERS || reference == NOWHERE || receiver == NOWHERE ||
        holds_sent(&model->holder[holder]))
        return;
    const int received = free_reference(model, receiver);

    if (received == NOWHERE)
        return;
    struct model_reference *sent = &model->holder[holder].reference[reference];
    const int courier = model->plan->couriers++;
    struct step *send = append_with(model, DEED_SEND, holder, reference);

    send->other = receiver;
    send->courier = courier;
    model->holder[receiver].reference[received] = (struct model_reference){
        .connection = sent->connection,
        .sent_with = NOWHERE,
        .brought_by = sent->brought_by | 1u << courier};
    sent->sent_with = courier;
    append_with(model, DEED_RECEIVE, receiver, received)->courier = courier;
}

static void plan_end(struct model *model, int number)
{
    struct model_holder *holder = &model->holder[number];
    unsigned awaits = 0;

    if (number == 0 && !model->plan->parent_ends)
        return;
    for (int i = 0; i < MOST_REFERENCES; i++) {
        const struct model_reference *reference = &holder->reference[i];

        if (reference->connection == NOWHERE)
            continue;
        if (reference->sent_with != NOWHERE || !may_let_go(model, reference) ||
            !model->plan->connection[reference->connection].unread)
            return;
        awaits |= reference->brought_by;
    }
    struct step *step = append(model, DEED_END, number);

    step->awaits = awaits;
    if (one_in(model, 3))
        step->preempted_ns = 500 + 1000L * below(model, 150);
    holder->alive = false;
}

static void plan_any_step(struct model *model)
{
    const int holder = PICK(model, MOST_HOLDERS, i, model->holder[i].alive);
    const int chance = below(model, 100);

    if (holder == NOWHERE)
        return;
    if (chance < 25)
        plan_use(model, holder, DEED_WRITE);
    else if (chance < 35)
        plan_use(model, holder, DEED_READ);
    else if (chance < 40)
        append(model, DEED_PAUSE, holder);
    else if (chance < 55)
        plan_duplicate(model, holder);
    else if (chance < 60)
        plan_replace(model, holder);
    else if (chance < 75)
        plan_close(model, holder);
    else if (chance < 87)
        plan_fork(model, holder);
    else if (chance < 95)
        plan_send(model, holder);
    else
        plan_end(model, holder);
}

static bool is_over(const struct model *model)
{
    for (int i = 0; i < MOST_HOLDERS; i++) {
        if (!model->holder[i].alive)
            continue;
        if (i > 0 || model->plan->parent_ends)
            return false;
        for (int j = 0; j < MOST_REFERENCES; j++)
            if (model->holder[i].reference[j].connection != NOWHERE)
                return false;
    }
    return true;
}

static void plan_letting_go(struct model *model)
{
    const int holder = PICK(model, MOST_HOLDERS, i, model->holder[i].alive);

    if (one_in(model, 3))
        plan_end(model, holder);
    else if (one_in(model, 8))
        plan_use(model, holder, DEED_WRITE);
    else
        plan_close(model, holder);
}

static void plan_connections(struct model *model)
{
    struct plan *plan = model->plan;

    plan->connections = 1 + below(model, MOST_CONNECTIONS);
    for (int i = 0; i < plan->connections; i++) {
        plan->connection[i] = (struct connection_plan){
            .unread = !one_in(model, 3),
            .large = one_in(model, 3),
            .chatter = one_in(model, 2),
            .quiet_ms = one_in(model, 2) ? below(model, 4) : 0,
        };
        model->holder[0].reference[i].connection = i;
    }
}

struct plan plan_round(uint64_t seed, unsigned round)
{
    struct plan plan = {.seed = seed, .round = round, .holders = 1};
    struct model model = {.plan = &plan, .random = seed};

    model.random = next_random(&model.random) + round;
    for (int i = 0; i < MOST_HOLDERS; i++)
        for (int j = 0; j < MOST_REFERENCES; j++)
            model.holder[i].reference[j] =
                (struct model_reference){.connection = NOWHERE, .sent_with = NOWHERE};
    model.holder[0].alive = true;
    plan.parent_ends = one_in(&model, 4);
    plan_connections(&model);
    plan_fork(&model, 0);
    for (int i = 10 + below(&model, 60); i > 0; i--)
        plan_any_step(&model);
    while (!is_over(&model))
        plan_letting_go(&model);
    return plan;
}
