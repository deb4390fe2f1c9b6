/* The messages between jail.c and grade/sandbox/sandbox.py. */
#ifndef PROCMEM_JAIL_H
#define PROCMEM_JAIL_H

#include <stdint.h>

/* Flags. */
#define JAIL_FIRST 1      /* it is the first process of a PID namespace */
#define JAIL_NAMESPACES 2 /* it makes the namespaces and the file tree itself */
#define JAIL_LANDLOCK 4   /* the program can access only the given paths */
#define JAIL_SOCKETS 8    /* the program may not create sockets, except local ones */
#define JAIL_LASTING 16   /* nor System V IPC objects and message queues, which outlive a process */

/* Kinds of messages. */
#define JAIL_INIT 'I'    /* from jail itself */
#define JAIL_PROGRAM 'C' /* from the child that will be the program */
#define JAIL_STARTED 'S' /* the program runs */
#define JAIL_REFUSED 'X' /* it can't: status is errno */
#define JAIL_ENDED 'E'   /* it ended: status as wait(2) returns it */

/* What the grader sends, once. */
#define JAIL_GO 'g'
#define JAIL_GO_WATCHED 'w' /* and its fatal signals are read (ptrace(2)) */
#define JAIL_GO_TRACED 't'  /* and it stops at each open(2), for the grader that traces it */

struct jail_message {
    int32_t kind;
    int32_t status;
    int64_t microseconds; /* of CPU, its own children's that it waited for included */
    int64_t minor;
    int64_t major;
    int64_t peak;
    int32_t watched; /* whether the next two are known */
    int32_t code;    /* si_code */
    uint64_t address;
};

#endif
