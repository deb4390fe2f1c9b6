/* Stops all threads of a process by ptrace(2), and lets them go on. */
#ifndef PROCMEM_HOLD_H
#define PROCMEM_HOLD_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int tid, stopped, signal; /* signal: to be delivered when it goes on */
} pm_held_thread;

typedef struct {
    /* given */
    int pid;
    uint64_t limit; /* nanoseconds after which a thread that has not stopped is given up */
    /* found */
    int tid;             /* the thread that failed */
    size_t count;        /* threads that are held */
    uint64_t began, end; /* CLOCK_MONOTONIC: the first was stopped, the last went on */
    pm_held_thread *threads;
    size_t room;
} pm_hold;

/* Stops the threads. May be called again after pm_hold_end(). Returns 0 or a negated errno; -ETIMEDOUT: `tid` did not stop in time.
 * ptrace(2) ties them to the calling thread: when it ends, the kernel lets all of them go on. */
int pm_hold_begin(pm_hold *hold);

/* To be called by the same thread, also after an error. */
void pm_hold_end(pm_hold *hold);

#endif
