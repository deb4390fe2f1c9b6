/* System V semaphores and message queues of this IPC namespace (sysvipc(7)). Functions return 0 or
 * a negated errno: -EACCES without the right to read, -EINVAL where there is none. */
#ifndef PROCMEM_SYSV_H
#define PROCMEM_SYSV_H

#include <stdint.h>

typedef struct {
    int32_t value, pid;        /* its value; the process that changed it last */
    int32_t rising, for_zero;  /* processes that wait until it rises, and until it is 0 */
} pm_semaphore;

typedef struct {
    uint64_t bytes, limit, messages;
    int32_t sender, receiver; /* the processes that sent and received last */
} pm_queue;

int pm_semaphore_read(int set, int number, pm_semaphore *out);
int pm_queue_read(int id, pm_queue *out);

#endif
