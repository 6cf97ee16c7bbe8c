/* Child processes: a line to talk over, a bound on their life, an end by pid. */
#ifndef CHILDREN_H
#define CHILDREN_H

#include <sys/types.h>

struct way;

/* One end of a two-way line of single letters. */
struct line {
    int in;
    int out;
};

struct child {
    pid_t pid;
    struct line line;
};

void line_tell(const struct line *line, char word);
void line_await(const struct line *line, char word);
void line_close(struct line *line);

/* Forks; the child runs `body` and ends with _exit(0). */
void child_start(struct child *child, void (*body)(struct line *parent, void *argument),
                 void *argument);

/* What every forked process of a test starts with: it ends even if it hangs. */
void bound_lifetime(void);

/* prctl(2), PR_SET_CHILD_SUBREAPER: a grandchild whose parent ended becomes ours.
 * reap_adopted() waits until none is left, each having ended with status 0. */
void adopt_orphans(void);
void reap_adopted(void);

/* Waits for the end, and says how it was (wait(2)). */
int status_at_end(pid_t pid);

/* Waits for the end, which must be exit status 0. */
void child_reap(struct child *child);
void require_exits_cleanly(pid_t pid);

/* The file this program was started from. Its name: valgrind is what /proc/self/exe itself
 * would start. */
const char *own_program(void);

/* Runs this same program as a new process that has used nothing of the library
 * yet, once for each way of letting go. `setting` ("NAME=value") may be NULL. */
void run_fresh(const char *scenario, const char *setting);

/* The other side of run_fresh(): main() of a program that has scenarios. */
struct scenario {
    const char *name;
    void (*run)(const struct way *way);
};

#define SCENARIO(function) {#function, function}

int run_scenario(const struct scenario *scenarios, char **arguments);

/* A test that is one scenario in a fresh process; needs trap.h. */
struct fresh {
    const char *scenario;
    const char *setting;
};

void run_fresh_trap(void **state);

#define fresh_trap(function, setting)                                                     \
    {                                                                                     \
        #function, run_fresh_trap, trap_setup, trap_teardown,                             \
            &(struct fresh){#function, setting}                                           \
    }

#endif
