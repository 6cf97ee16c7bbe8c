/* Who else holds a connection is looked for in the tables of all processes. Where those have
 * very many numbers that takes long, and the FIN would wait for it: the connection is
 * closed plainly then. */
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "children.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

/* More than are read in one look (src/holders.rs), whatever the rest of the machine has. */
enum { NUMBERS = 1 << 17, EACH_AT_MOST = 1 << 15, CHILDREN_AT_MOST = 200, OWN_NUMBERS = 64 };

struct crowd {
    struct child children[CHILDREN_AT_MOST];
    int count;
    struct rlimit limit;
    int each;
};

static void have_many_numbers(struct line *parent, void *argument)
{
    const struct crowd *crowd = argument;
    const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

    require(file >= 0);
    require(setrlimit(RLIMIT_NOFILE, &crowd->limit) == 0);
    for (int i = 0; i < crowd->each; i++)
        require(dup(file) >= 0);
    line_tell(parent, 'm');
    line_await(parent, 'e');
}

static void crowd_start(struct crowd *crowd)
{
    require(getrlimit(RLIMIT_NOFILE, &crowd->limit) == 0);
    if (crowd->limit.rlim_max > EACH_AT_MOST)
        crowd->limit.rlim_max = EACH_AT_MOST;
    crowd->limit.rlim_cur = crowd->limit.rlim_max;
    crowd->each = (int)crowd->limit.rlim_cur - OWN_NUMBERS;
    crowd->count = NUMBERS / crowd->each + 1;
    require(crowd->count <= CHILDREN_AT_MOST);
    for (int i = 0; i < crowd->count; i++)
        child_start(&crowd->children[i], have_many_numbers, crowd);
    for (int i = 0; i < crowd->count; i++)
        line_await(&crowd->children[i].line, 'm');
}

static void crowd_end(struct crowd *crowd)
{
    for (int i = 0; i < crowd->count; i++)
        line_tell(&crowd->children[i].line, 'e');
    for (int i = 0; i < crowd->count; i++)
        child_reap(&crowd->children[i]);
}

/* Once duplicated, a connection is not known for certain to be its last number's. */
static void prove_fate_of_one_duplicated(const struct way *way)
{
    const struct pair pair = pair_open(FAMILY_IPV4);
    const struct netcounters before = netcounters_now();

    require(close(dup(pair.server)) == 0);
    send_response(pair.server);
    require(way->let_go(pair.server) == 0);
    prove_fate(way, pair.client, &before);
}

static void what_would_take_long_to_look_for_is_closed_plainly(void **state)
{
    static const struct way plainly = {.name = "close()", .let_go = close, .saves = false};
    static struct crowd crowd;

    (void)state;
    require_context("%s mode, alone", test_mode_name());
    prove_fate_of_one_duplicated(plain_close());
    crowd_start(&crowd);
    require_context("%s mode, beside %d processes with %d numbers each", test_mode_name(),
                    crowd.count, crowd.each);
    prove_fate_of_one_duplicated(&plainly);
    prove_fate_of_one_duplicated(&plainly);
    crowd_end(&crowd);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(what_would_take_long_to_look_for_is_closed_plainly),
    };

    return run_traps(traps);
}
