#define _GNU_SOURCE
#include "hold.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define P_DETACH 17
#define P_SEIZE 0x4206
#define P_INTERRUPT 0x4207
#define E_STOP 128
#define LONGEST_SLEEP 1000000

static long trace(long request, int tid, uintptr_t data)
{
    return syscall(SYS_ptrace, request, (long)tid, 0L, data);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int holds(const pm_hold *hold, int tid)
{
    for (size_t i = 0; i < hold->count; i++)
        if (hold->threads[i].tid == tid)
            return 1;
    return 0;
}

/* Whether a thread has ended: it stays listed until it is reaped, and can't be traced. */
static int ended(int pid, int tid)
{
    char path[64], text[512], *state;
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 1;
    got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return 1;
    text[got] = 0;
    state = strrchr(text, ')');
    return state && state[1] && (state[2] == 'Z' || state[2] == 'X');
}

static int seize(pm_hold *hold, int tid)
{
    if (hold->count == hold->room) {
        size_t room = hold->room ? hold->room * 2 : 64;
        pm_held_thread *threads = realloc(hold->threads, room * sizeof *threads);

        if (!threads)
            return -ENOMEM;
        hold->threads = threads;
        hold->room = room;
    }
    if (trace(P_SEIZE, tid, 0) < 0) {
        int error = errno;

        if (error == ESRCH || ended(hold->pid, tid))
            return 0;
        hold->tid = tid;
        return -error;
    }
    hold->threads[hold->count++] = (pm_held_thread){tid, 0, 0};
    if (!hold->began)
        hold->began = now();
    trace(P_INTERRUPT, tid, 0);
    return 1;
}

/* Waits until the threads from `first` on have stopped; those that end are dropped. */
static int await(pm_hold *hold, size_t first)
{
    uint64_t deadline = now() + hold->limit;
    struct timespec pause = {0, 10000};
    size_t i = first;

    while (i < hold->count) {
        pm_held_thread *one = &hold->threads[i];
        int status;
        long got = syscall(SYS_wait4, one->tid, &status, WNOHANG | __WALL | __WNOTHREAD, NULL);

        if (got == one->tid && WIFSTOPPED(status)) {
            one->stopped = 1;
            /* Of a stop for a signal the tracer decides whether it is delivered. */
            one->signal = status >> 16 == E_STOP ? 0 : WSTOPSIG(status);
            i++;
        } else if (got) {
            *one = hold->threads[--hold->count];
        } else if (now() > deadline) {
            hold->tid = one->tid;
            return -ETIMEDOUT;
        } else {
            nanosleep(&pause, NULL);
            if (pause.tv_nsec < LONGEST_SLEEP)
                pause.tv_nsec *= 2;
        }
    }
    return 0;
}

int pm_hold_begin(pm_hold *hold)
{
    char path[64];
    int error = 0, found;
    sigset_t all;

    /* This thread is to run no handler of the program that it is part of. The kernel drops SIGCHLD
     * at once only where it is not blocked. */
    sigfillset(&all);
    sigdelset(&all, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    hold->began = hold->end = hold->count = 0;
    snprintf(path, sizeof path, "/proc/%d/task", hold->pid);
    do {
        size_t before = hold->count;
        struct dirent *entry;
        DIR *tasks = opendir(path);

        if (!tasks)
            return -errno;
        /* Threads that have not stopped yet may make new ones: the list is read until it has no more. */
        found = 0;
        while (!error && (entry = readdir(tasks))) {
            int tid = atoi(entry->d_name), one;

            if (tid <= 0 || holds(hold, tid))
                continue;
            one = seize(hold, tid);
            error = one < 0 ? one : 0;
            found |= one > 0;
        }
        closedir(tasks);
        if (!error)
            error = await(hold, before);
    } while (!error && found);
    return error ? error : hold->count ? 0 : -ESRCH;
}

void pm_hold_end(pm_hold *hold)
{
    for (size_t i = 0; i < hold->count; i++)
        if (hold->threads[i].stopped)
            trace(P_DETACH, hold->threads[i].tid, (uintptr_t)hold->threads[i].signal);
    hold->end = now();
    free(hold->threads);
    hold->threads = NULL;
    hold->room = 0;
}
