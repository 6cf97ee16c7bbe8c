/* This same program, run anew by exec(3): nothing of the library is used yet, main(),
 * exit(3) and the destructors are its own. It has a listener, or, as under inetd(8), a
 * connection on 0, 1 and 2; and a line to its parent. */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>

#include "children.h"
#include "loopback.h"

struct service {
    const char *name;
    int (*run)(const struct host *host, const struct line *parent); /* main()'s result */
};

#define SERVICE(function) {#function, function}

/* `setting` ("NAME=value") may be NULL. */
void service_start(struct child *child, const char *name, const struct host *host,
                   const char *setting);
void service_start_on(struct child *child, const char *name, int connection);
/* As systemd does it: `passed` is on 3, and the environment says so (sd_listen_fds(3)). */
void service_start_activated(struct child *child, const char *name, int passed,
                             const char *setting);

/* As service_start(), but another program, which finds the listener and the line
 * where a service does. */
enum { SERVICE_LISTENER = 3, SERVICE_IN, SERVICE_OUT, SERVICE_FIRST_FREE };
void program_start(struct child *child, const char *path, const struct host *host,
                   const char *setting);

/* The other side of it: what main() does if it was given arguments. */
int service_main(const struct service *services, char **arguments);

/* Closes the line and waits for the end; the status as waitpid(2) gives it. */
int end_of(struct child *child);

/* Returns when it has ended; or, unless it `must_end`, when it waits for something. */
void await_rest(struct child *child, bool must_end);

/* For services that end with a connection open. Accepts one that has unread input,
 * answers, tells 'e'. */
int accept_and_answer(const struct host *host, const struct line *parent);

/* ... and accepts one that has unread input, for services with an answer of their own. */
int accept_unread(const struct host *host);

/* Such a service ends with exit status `status`, and its answer is saved or not. */
void prove_ending(const char *name, const char *setting, bool saves, int status);

#endif
