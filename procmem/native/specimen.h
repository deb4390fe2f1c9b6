/* The requests and replies on the two pipes between procmem and its helper process. */
#ifndef PROCMEM_SPECIMEN_H
#define PROCMEM_SPECIMEN_H

#include <stdint.h>

enum {
    PM_OP_NOTHING, /* result: the address of the scratch buffer */
    PM_OP_CALL,    /* PM_OP_CALL + the number of any system call; its six arguments */
    PM_OP_TOUCH = 1 << 20, /* address, count, stride, value, factor, shift */
    PM_OP_READ,
    PM_OP_JUMP,    /* address of code that returns at once */
    PM_OP_STORE,   /* address, five words to store there */
    PM_OP_PIPE,    /* result: the reading end, and the writing end << 32 */
    PM_OP_FORK,    /* the child's ends of its pipes, request and reply; its parent's PID */
    /* With libc. The last argument: the thread that does it, its number + 1; 0: the main one. */
    PM_OP_MALLOC,  /* size */
    PM_OP_CALLOC,  /* members, size of each */
    PM_OP_REALLOC, /* address, size */
    PM_OP_FREE,    /* address */
    PM_OP_TRIM,    /* pad of malloc_trim */
    PM_OP_THREAD,  /* stack size, 0: the default; result: its number */
    PM_OP_JOIN,    /* number */
};

/* The n-th touch is of the page (n * factor + shift) % count, so that one
 * request stands for any order; read and write touch one byte. */
typedef struct {
    uint64_t op;
    uint64_t argument[6];
} pm_request;

typedef struct {
    int64_t result;   /* a touch: how many succeeded; a call: what it returned, or -errno */
    uint64_t minor;   /* faults between the two readings of getrusage around the operation */
    uint64_t major;
    uint64_t ns;      /* from before to after it */
    uint64_t signal;  /* 0, or what an access raised, with si_code and si_addr */
    int64_t code;
    uint64_t address;
} pm_reply;

#define PM_SCRATCH_SIZE 4096
#define PM_SPECIMEN_THREADS 64

/* How to serve. */
#define PM_SERVE_PINNED 1 /* on the CPU `cpu` */
#define PM_SERVE_THP 2    /* transparent huge pages stay as the system has them */

#endif
