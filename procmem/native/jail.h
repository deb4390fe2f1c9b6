/* What jail.c and grade/sandbox.py say to each other. */
#ifndef PROCMEM_JAIL_H
#define PROCMEM_JAIL_H

#include <stdint.h>

/* Flags. */
#define JAIL_FIRST 1 /* it is the first process of a PID namespace */

/* Kinds of messages. */
#define JAIL_FIRST_PROCESS 'I' /* from jail itself */
#define JAIL_PROGRAM 'C'       /* from the child that will be the program; it waits for one byte */
#define JAIL_STARTED 'S'       /* the program runs */
#define JAIL_REFUSED 'X'       /* it can't: status is errno */
#define JAIL_ENDED 'E'         /* it ended: status as wait(2) tells it */

struct jail_message {
    int32_t kind;
    int32_t status;
    int64_t microseconds; /* of CPU, its own children's that it waited for included */
    int64_t minor;
    int64_t major;
    int64_t peak;
};

#endif
