/* Trap: a holder that is never where one looks. /proc is not read at one moment, and of
 * programs that were started by exec, here without the library, nobody tells what they
 * do meanwhile. One kind hands the connection from process to process, each of which
 * starts its successor and ends: `git daemon` starts a program that starts `git
 * upload-pack`. The other moves it to another number, as shells do. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

/* A table with numbers up to HIGH takes a while to read. */
enum { LOW = 3, HIGH = 160 };
enum { CHAINS = 20, CHAIN_MS = 50, MOVERS = 200, MOVER_MS = 12, LATEST_MOVE_US = 5000 };

static const char TAIL[] = "tail";

/* The holders: programs that have the connection at HIGH, and are told to go at their
 * input. Each returns the number it has it at in the end. */

static int pass_it_on(void)
{
    const int64_t until = now_ms() + CHAIN_MS;

    while (now_ms() < until) {
        const pid_t successor = fork();

        require(successor >= 0);
        if (successor > 0)
            _exit(EXIT_SUCCESS);
    }
    return HIGH;
}

/* Once, so that a second reading of the table cannot be crossed. */
static int move_it_down(void)
{
    const int64_t until = now_ms() + MOVER_MS;
    const struct timespec moment = {.tv_nsec = getpid() * 7919L % LATEST_MOVE_US * 1000};

    nanosleep(&moment, NULL);
    require(dup2(HIGH, LOW) == LOW);
    require(close(HIGH) == 0);
    while (now_ms() < until)
        poll(NULL, 0, 1);
    return LOW;
}

static int hold(int (*restlessly)(void))
{
    char go;

    require(read(STDIN_FILENO, &go, 1) == 1);
    require(write(restlessly(), TAIL, strlen(TAIL)) == (ssize_t)strlen(TAIL));
    return EXIT_SUCCESS;
}

/* The server starts one on each connection and lets go of it. */

static pid_t start_holder(const struct pair *pair, const char *kind, const int go[2])
{
    const pid_t pid = fork();

    require(pid >= 0);
    if (pid == 0) {
        bound_lifetime();
        dup2(go[0], STDIN_FILENO);
        dup2(pair->server, HIGH);
        close(LOW);
        for (int number = LOW + 1; number < HIGH; number++)
            dup2(STDIN_FILENO, number);
        unsetenv("LD_PRELOAD");
        execl(own_program(), "holder", kind, (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    return pid;
}

static void prove_it_keeps_its_connections(const char *kind, int connections)
{
    adopt_orphans();
    for (int i = 0; i < connections; i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        char heard[sizeof(TAIL)];
        int go[2];

        require(pipe2(go, O_CLOEXEC) == 0);
        start_holder(&pair, kind, go);
        require(close(go[0]) == 0);
        require(write(go[1], "g", 1) == 1);
        require(close(pair.server) == 0);
        require_context("connection %d, %s", i, kind);
        require(wait_for(pair.client, POLLIN, GENEROUS_MS) & POLLIN);
        require(recv(pair.client, heard, sizeof(heard), 0) == (ssize_t)strlen(TAIL));
        require(wait_for(pair.client, POLLRDHUP, GENEROUS_MS) & POLLRDHUP);
        require(close(pair.client) == 0);
        require(close(go[1]) == 0);
        reap_adopted();
    }
}

static void connection_is_kept_by_a_chain_of_processes(void **state)
{
    (void)state;
    prove_it_keeps_its_connections("chain", CHAINS);
}

static void connection_is_kept_by_a_program_that_moves_it(void **state)
{
    (void)state;
    prove_it_keeps_its_connections("mover", MOVERS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest traps[] = {
        trap(connection_is_kept_by_a_chain_of_processes),
        trap(connection_is_kept_by_a_program_that_moves_it),
    };

    if (argc > 1)
        return hold(strcmp(argv[1], "chain") == 0 ? pass_it_on : move_it_down);
    return run_traps(traps);
}
