/* A network namespace of the program's own: nobody else's packets are in its
 * counters, and no firewall or port of the machine is in its way. */
#ifndef NETNS_H
#define NETNS_H

/* Must come before the first thread: unshare(2) of a user namespace needs a
 * single-threaded process. */
void enter_private_network(void);

#endif
