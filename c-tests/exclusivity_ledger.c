#include "exclusivity_ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "require.h"

struct ledger *ledger_open(void)
{
    struct ledger *ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    require(ledger != MAP_FAILED);
    require(pipe2(ledger->bell, O_CLOEXEC) == 0);
    for (int i = 0; i < MOST_COURIERS; i++)
        require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ledger->courier[i]) == 0);
    return ledger;
}

void ledger_close(struct ledger *ledger)
{
    for (int end = 0; end < 2; end++) {
        require(close(ledger->bell[end]) == 0);
        for (int i = 0; i < MOST_COURIERS; i++)
            require(close(ledger->courier[i][end]) == 0);
    }
    munmap(ledger, sizeof(*ledger));
}

void ledger_turn_page(struct ledger *ledger, const struct plan *plan)
{
    ledger->round = plan->round;
    atomic_store(&ledger->reaped, 0);
    for (int i = 0; i < MOST_COURIERS; i++)
        atomic_store(&ledger->sent_number_closed[i], false);
    for (int i = 0; i < MOST_CONNECTIONS; i++)
        atomic_store(&ledger->held[i], i < plan->connections ? 1 : 0);
    for (int i = 0; i < MOST_HOLDERS; i++)
        for (int j = 0; j < MOST_CONNECTIONS; j++)
            atomic_store(&ledger->written[i][j], 0);
}

void ledger_hold(struct ledger *ledger, int connection)
{
    require(atomic_fetch_add(&ledger->held[connection], 1) > 0);
}

void ledger_let_go(struct ledger *ledger, int connection)
{
    const char number = (char)connection;
    const int before = atomic_fetch_sub(&ledger->held[connection], 1);

    require(before > 0);
    if (before == 1)
        require(write(ledger->bell[1], &number, 1) == 1);
}

struct senders {
    struct ledger *ledger;
    unsigned couriers;
};

static bool have_closed(void *argument)
{
    const struct senders *senders = argument;

    for (int i = 0; i < MOST_COURIERS; i++)
        if (senders->couriers >> i & 1 && !atomic_load(&senders->ledger->sent_number_closed[i]))
            return false;
    return true;
}

void ledger_await_senders(struct ledger *ledger, unsigned couriers)
{
    struct senders senders = {ledger, couriers};

    require(becomes_true(have_closed, &senders, GENEROUS_MS));
}

void ledger_accuse(struct ledger *ledger, struct violation violation)
{
    const int place = atomic_fetch_add(&ledger->violations, 1);

    violation.round = ledger->round;
    if (place < MOST_VIOLATIONS)
        ledger->violation[place] = violation;
}
