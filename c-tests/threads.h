/* Threads that block, and how to know that they do. */
#ifndef THREADS_H
#define THREADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* A thread that says who it is before it blocks. */
struct blocker {
    pthread_t thread;
    atomic_int tid; /* 0 until it runs */
};

/* First call of the thread's own body. */
void blocker_here(struct blocker *blocker);

/* Returns when the thread sleeps inside a system call. */
void require_blocked(struct blocker *blocker);

/* Joins with a deadline; what the thread returned. */
void *require_ends(pthread_t thread);

/* Returns when the first thread of process `pid` has ended, others of it still living. */
void await_end_of_first_thread(pid_t pid);

#endif
