/* The descriptors of processes, from /proc/PID/fd and /proc/PID/fdinfo, and what a pipe holds.
 * Functions return 0 or a negated errno. */
#ifndef PROCMEM_DESCRIPTORS_H
#define PROCMEM_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

#define PM_FD_FIFOS 1u   /* pipes and FIFOs, with their access */
#define PM_FD_SOCKETS 2u
#define PM_FD_ANON 4u    /* eventfd, epoll and the like: what the kernel keeps without a file */
#define PM_FD_FILES 8u   /* regular files; devices, too */

typedef struct {
    uint64_t dev;             /* major << 32 | minor */
    uint64_t inode, size, blocks, rdev;
    int32_t pid, fd;
    uint32_t mode, links;     /* st_mode, st_nlink */
    uint32_t access;          /* of FIFOs: 1 opened for reading, 2 for writing, 3 for both */
    uint32_t name, name_size; /* in the text; size 0: not read */
    uint32_t owner;           /* st_uid */
} pm_descriptor;

typedef struct {
    uint64_t arguments[6];
    int32_t pid, tid;
    int64_t call; /* -1: blocked outside of a call */
} pm_blocked;

typedef struct {
    int32_t pid;
    uint32_t name, name_size;
} pm_owner;

typedef struct {
    pm_descriptor *list;
    size_t count;
    pm_owner *owners; /* the processes of the list, with their command names */
    size_t owner_count;
    pm_blocked *blocked;
    size_t blocked_count;
    char *text;
    size_t text_size;
    size_t seen; /* descriptors of all kinds, of all processes */
    size_t room, owner_room, blocked_room, text_room;
    char *buffer;
    int lists_from; /* whether a listing can begin at any number; 0: not tried yet */
} pm_descriptors;

pm_descriptors *pm_descriptors_new(void);
void pm_descriptors_free(pm_descriptors *found);

/* Adds the descriptors of some kinds of a process (`directory`: "PID" or "PID/task/TID", below the
 * open directory `root`). `pipefs` is the device of pipes: what is a FIFO elsewhere has a path, which
 * is read. Those that are closed meanwhile are left out.
 *
 * statx(2) on /proc/PID/fd/N has the kind, the device and the inode for the price of readlink(2), so
 * links are read only where the name is needed. It does not ask a server for what a file is now.
 * The permissions of the link itself show how it was opened, for half of that; its flags are in
 * fdinfo, which costs three times as much and is not read here. */
int pm_descriptors_scan(pm_descriptors *found, int root, const char *directory, int pid,
                        unsigned kinds, uint64_t pipefs);

/* Adds what the threads of a process are blocked in (/proc/PID/task/TID/syscall, proc(5)). */
int pm_blocked_scan(pm_descriptors *found, int root, int pid);

/* A pipe, by one of its descriptors, and what it holds if status is 0. */
typedef struct {
    uint64_t dev, inode;
    int32_t pid, fd;
    uint64_t capacity, waiting;
    int32_t events; /* of poll(2) */
    int32_t status;
} pm_pipe;

/* What pipes hold, each from a copy of a descriptor of another process (pidfd_getfd(2)) that exists
 * for a few calls. Status -ENOENT: the descriptor leads to another file than (dev, inode). Pipes of
 * one process should follow each other. */
void pm_pipes_measure(pm_pipe *pipes, size_t count);

#endif
