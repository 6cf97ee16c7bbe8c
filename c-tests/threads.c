#include "threads.h"

#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "deadline.h"
#include "require.h"
#include "schedstate.h"

void blocker_here(struct blocker *blocker)
{
    atomic_store(&blocker->tid, gettid());
}

static bool sleeps(void *argument)
{
    const int tid = atomic_load(&((struct blocker *)argument)->tid);

    return tid != 0 && schedstate_of(tid) == 'S';
}

void require_blocked(struct blocker *blocker)
{
    require(becomes_true(sleeps, blocker, GENEROUS_MS));
}

static bool is_zombie(void *pid)
{
    return schedstate_of(*(const pid_t *)pid) == 'Z';
}

void await_end_of_first_thread(pid_t pid)
{
    require(becomes_true(is_zombie, &pid, GENEROUS_MS));
}

void *require_ends(pthread_t thread)
{
    struct timespec deadline;
    void *result;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += GENEROUS_MS / 1000;
    require(pthread_timedjoin_np(thread, &result, &deadline) == 0);
    return result;
}
