/* Trap 14: a number closed twice, and a number that another thread already reuses. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "fdtable.h"
#include "loopback.h"
#include "trap.h"

static void second_close_is_ebadf(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        const struct netcounters before = netcounters_now();

        send_response(pair.server);
        require(way->let_go(pair.server) == 0);
        errno = 0;
        require(way->let_go(pair.server) == -1);
        require(errno == EBADF);
        errno = 0;
        require(close(pair.server) == -1);
        require(errno == EBADF);
        prove_fate(way, pair.client, &before);
    }
}

static void errno_survives_a_close_that_succeeds(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        const struct pair pair = pair_open(FAMILY_IPV4);

        send_unread_request(pair.client, pair.server);
        errno = EXDEV;
        require(way->let_go(pair.server) == 0);
        require(errno == EXDEV);
        require(close(pair.client) == 0);
    }
}

static bool is_dev_null(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && status.st_rdev == makedev(1, 3);
}

/* POSIX promises the lowest free number: that is how a leaked one would show. */
static void number_is_free_at_once_and_stays_the_programs(void **state)
{
    enum { ROUNDS = 100 };
    struct host host;
    int clients[ROUNDS], files[ROUNDS];

    (void)state;
    host_open(&host, FAMILY_IPV4);
    BY_EACH_WAY(way) {
        for (int i = 0; i < ROUNDS; i++) {
            clients[i] = host_connect(&host);
            const int server = host_accept(&host);

            send_unread_request(clients[i], server);
            require(way->let_go(server) == 0);
            require(is_free(server));
            files[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
            require(files[i] == server);
        }
        for (int i = 0; i < ROUNDS; i++)
            require(close(clients[i]) == 0);
        require_nothing_lingers();
        for (int i = 0; i < ROUNDS; i++) {
            require(is_dev_null(files[i]));
            require(close(files[i]) == 0);
        }
    }
    host_close(&host);
}

struct duel {
    const struct way *way;
    int fd;
    atomic_int ready;
    atomic_int won;
    atomic_int ebadf;
};

static void *close_at_the_same_time(void *argument)
{
    struct duel *duel = argument;

    atomic_fetch_add(&duel->ready, 1);
    while (atomic_load(&duel->ready) < 2)
        continue;
    if (duel->way->let_go(duel->fd) == 0)
        atomic_fetch_add(&duel->won, 1);
    else if (errno == EBADF)
        atomic_fetch_add(&duel->ebadf, 1);
    return NULL;
}

static void of_two_threads_closing_exactly_one_succeeds(void **state)
{
    struct host host;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    BY_EACH_WAY(way) {
        for (int round = 0; round < 100; round++) {
            const int client = host_connect(&host);
            struct duel duel = {.way = way, .fd = host_accept(&host)};
            pthread_t other;

            require(pthread_create(&other, NULL, close_at_the_same_time, &duel) == 0);
            close_at_the_same_time(&duel);
            require(pthread_join(other, NULL) == 0);
            require(atomic_load(&duel.won) == 1);
            require(atomic_load(&duel.ebadf) == 1);
            require(close(client) == 0);
        }
        require_nothing_lingers();
    }
    host_close(&host);
}

/* The innocent bystander: opens and closes files of its own all the time, and takes
 * any of them changing under its hands for what it is. */
static void *use_numbers_as_they_become_free(void *stop)
{
    while (!atomic_load((atomic_bool *)stop)) {
        const int file = open("/dev/null", O_RDWR | O_CLOEXEC);

        require(file >= 0);
        for (int look = 0; look < 20; look++)
            require(is_dev_null(file));
        require(close(file) == 0);
    }
    return NULL;
}

struct worker {
    const struct way *way;
    struct host *host;
};

static void *serve_many(void *argument)
{
    const struct worker *worker = argument;

    for (int round = 0; round < 150; round++) {
        const int client = host_connect(worker->host);
        const int server = host_accept(worker->host);

        require(write(server, "bye", 3) == 3);
        require(worker->way->let_go(server) == 0);
        send_late_bytes(client);
        require(close(client) == 0);
    }
    return NULL;
}

static void reuse_by_other_threads_is_never_disturbed(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        pthread_t bystander, workers[2];
        struct host hosts[2];
        struct worker work[2];
        atomic_bool stop = false;

        require(pthread_create(&bystander, NULL, use_numbers_as_they_become_free, &stop) == 0);
        for (int i = 0; i < 2; i++) {
            host_open(&hosts[i], FAMILY_IPV4);
            work[i] = (struct worker){.way = way, .host = &hosts[i]};
            require(pthread_create(&workers[i], NULL, serve_many, &work[i]) == 0);
        }
        for (int i = 0; i < 2; i++) {
            require(pthread_join(workers[i], NULL) == 0);
            host_close(&hosts[i]);
        }
        require_nothing_lingers();
        atomic_store(&stop, true);
        require(pthread_join(bystander, NULL) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(second_close_is_ebadf),
        trap(errno_survives_a_close_that_succeeds),
        trap(number_is_free_at_once_and_stays_the_programs),
        trap(of_two_threads_closing_exactly_one_succeeds),
        trap(reuse_by_other_threads_is_never_disturbed),
    };

    return run_traps(traps);
}
