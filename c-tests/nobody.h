/* A process without privilege, which may not look into those that have it. */
#ifndef NOBODY_H
#define NOBODY_H

/* As a program that an unprivileged user has started: a process that changed its ids may read nothing in /proc, not even
 * of its own. Without effect where there is nobody else to become. */
void give_up_privilege(void);

/* Says so where that has no effect. */
void warn_unless_can_be_nobody(void);

#endif
