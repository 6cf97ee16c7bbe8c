/* Related processes share a page of notes about connections, which a child that went mad
 * may write to. It misleads its relatives into the plain close, or into lingering too
 * early, and into nothing else: nobody crashes or waits, and no connection is closed that
 * nobody let go of. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

enum { EACH = 8, PAGES = 4, SCRIBBLES = 64 };

/* What both processes have, by who lets go of it. */
struct estate {
    struct pair both[EACH];
    struct pair parents[EACH];
    struct pair childs[EACH];
    struct pair nobodys[EACH];
};

struct page {
    unsigned char *start;
    size_t length;
};

/* Memory that is shared with relatives and has no name, as /proc/self/maps shows it. */
static size_t find_pages(struct page *pages)
{
    FILE *const maps = fopen("/proc/self/maps", "re");
    char line[512];
    size_t count = 0;

    require(maps != NULL);
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t start, end;
        char rights[5];

        require(sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3);
        if (strcmp(rights, "rw-s") != 0 || !strstr(line, "/dev/zero (deleted)"))
            continue;
        require(count < PAGES);
        pages[count++] = (struct page){(unsigned char *)start, end - start};
    }
    fclose(maps);
    return count;
}

struct scribbler {
    struct page pages[PAGES];
    size_t count;
    atomic_int scribbled;
    atomic_bool done;
    pthread_t thread;
};

static void *scribble(void *argument)
{
    struct scribbler *const scribbler = argument;

    do {
        for (size_t i = 0; i < scribbler->count; i++) {
            const struct page page = scribbler->pages[i];

            for (size_t at = 0; at < page.length; at += 256)
                require(getrandom(page.start + at, 256, 0) == 256);
        }
        atomic_fetch_add(&scribbler->scribbled, 1);
        usleep(100);
    } while (!atomic_load(&scribbler->done));
    return NULL;
}

static bool has_scribbled(void *scribbler)
{
    return atomic_load(&((struct scribbler *)scribbler)->scribbled) > SCRIBBLES;
}

static void close_clients(const struct estate *estate)
{
    for (int i = 0; i < EACH; i++) {
        require(close(estate->both[i].client) == 0);
        require(close(estate->parents[i].client) == 0);
        require(close(estate->childs[i].client) == 0);
        require(close(estate->nobodys[i].client) == 0);
    }
}

static void let_go_of(const struct way *way, const struct pair *pairs)
{
    for (int i = 0; i < EACH; i++)
        require(way->let_go(pairs[i].server) == 0);
}

struct task {
    const struct way *way;
    const struct estate *estate;
};

static void go_mad(struct line *parent, void *argument)
{
    const struct task *const task = argument;
    struct scribbler scribbler = {.count = 0};

    close_clients(task->estate);
    scribbler.count = find_pages(scribbler.pages);
    /* Only close(2) in all its forms needs to know who else holds a connection. */
    require(scribbler.count == (test_mode() == MODE_PRELOAD ? 1 : 0));
    require(pthread_create(&scribbler.thread, NULL, scribble, &scribbler) == 0);
    require(becomes_true(has_scribbled, &scribbler, GENEROUS_MS));
    line_tell(parent, 's');
    let_go_of(task->way, task->estate->both);
    let_go_of(task->way, task->estate->childs);
    line_tell(parent, 'c');
    line_await(parent, 'e');
    require_nothing_lingers();
    atomic_store(&scribbler.done, true);
    require(pthread_join(scribbler.thread, NULL) == 0);
}

/* A FIN or a RST. */
static void require_end(const struct pair *pair)
{
    require(wait_for(pair->client, POLLIN | POLLRDHUP, GENEROUS_MS) != 0);
    char byte;

    require(recv(pair->client, &byte, 1, MSG_DONTWAIT) <= 0);
}

static void open_all(struct estate *estate)
{
    for (int i = 0; i < EACH; i++) {
        estate->both[i] = pair_open(FAMILY_IPV4);
        estate->parents[i] = pair_open(FAMILY_IPV4);
        estate->childs[i] = pair_open(FAMILY_IPV4);
        estate->nobodys[i] = pair_open(FAMILY_IPV4);
    }
}

static void what_a_child_scribbles_there_harms_nobody(void **state)
{
    (void)state;
    BY_EACH_WAY(way) {
        struct estate estate;
        struct child child;

        open_all(&estate);
        fflush(NULL);
        child_start(&child, go_mad, &(struct task){way, &estate});
        line_await(&child.line, 's');
        let_go_of(way, estate.both);
        let_go_of(way, estate.parents);
        line_await(&child.line, 'c');
        for (int i = 0; i < EACH; i++)
            require_end(&estate.both[i]);
        leave_time_for_a_wrong_shutdown();
        for (int i = 0; i < EACH; i++)
            require_whole(&estate.nobodys[i], "a relative scribbles");
        close_clients(&estate);
        for (int i = 0; i < EACH; i++) {
            require(close(estate.childs[i].server) == 0);
            require(close(estate.nobodys[i].server) == 0);
        }
        require_nothing_lingers();
        line_tell(&child.line, 'e');
        child_reap(&child);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(what_a_child_scribbles_there_harms_nobody),
    };

    return run_traps(traps);
}
