/* What the scheduler says of a process or thread: proc(5), /proc/PID/stat, field 3. */
#ifndef SCHEDSTATE_H
#define SCHEDSTATE_H

/* 'R' runs, 'S' sleeps, 'Z' has ended and is not reaped, ...; 0 if there is none. */
char schedstate_of(int pid_or_tid);

#endif
