#include "deadline.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "require.h"

int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

short wait_for(int fd, short events, int timeout_ms)
{
    const int64_t deadline = now_ms() + timeout_ms;

    for (;;) {
        struct pollfd watched = {.fd = fd, .events = events};
        const int64_t left = deadline - now_ms();
        const int ready = poll(&watched, 1, left > 0 ? (int)left : 0);

        if (ready < 0 && errno == EINTR)
            continue;
        require(ready >= 0);
        return ready > 0 ? watched.revents : 0;
    }
}

static void pause_ms(long ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue;
}

bool becomes_true(bool (*condition)(void *argument), void *argument, int timeout_ms)
{
    const int64_t deadline = now_ms() + timeout_ms;

    while (!condition(argument)) {
        if (now_ms() >= deadline)
            return false;
        pause_ms(1);
    }
    return true;
}

void let_30ms_of_network_delay_pass(void)
{
    pause_ms(30);
}

void let_20ms_of_preemption_pass(void)
{
    pause_ms(20);
}

void leave_time_for_a_wrong_shutdown(void)
{
    pause_ms(100);
}
