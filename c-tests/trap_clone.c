/* A child made with libc's clone() holds its parent's connections like one made with fork(), but no handler of
 * pthread_atfork(3) says so. The parent's close must not cut it off. */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

struct holder {
    int connection;
    int go[2];
};

static int answer_when_told(void *argument)
{
    const struct holder *holder = argument;
    char told;

    if (read(holder->go[0], &told, 1) != 1)
        _exit(2);
    _exit(send(holder->connection, "tail", 4, MSG_NOSIGNAL) == 4 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void child_of_clone_is_not_cut_off(void **state)
{
    enum { STACK_BYTES = 64 * 1024 };
    const struct pair pair = pair_open(FAMILY_IPV4);
    struct holder holder = {.connection = pair.server};
    char *stack = malloc(STACK_BYTES);
    char tail[8] = "";
    int status;

    (void)state;
    require(stack != NULL);
    require(pipe(holder.go) == 0);
    const pid_t child = clone(answer_when_told, stack + STACK_BYTES, SIGCHLD, &holder);

    require(child > 0);
    require(close(pair.server) == 0);
    leave_time_for_a_wrong_shutdown();
    require(write(holder.go[1], "x", 1) == 1);
    require(wait_for(pair.client, POLLIN, GENEROUS_MS) & POLLIN);
    require(recv(pair.client, tail, sizeof(tail), 0) == 4);
    require(strcmp(tail, "tail") == 0);
    require(waitpid(child, &status, 0) == child);
    require(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
    require(close(pair.client) == 0);
    require(close(holder.go[0]) == 0);
    require(close(holder.go[1]) == 0);
    free(stack);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(child_of_clone_is_not_cut_off),
    };

    return run_traps(traps);
}
