#include "sysv.h"

#include <errno.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

int pm_semaphore_read(int set, int number, pm_semaphore *out)
{
    static const int asked[] = { GETVAL, GETPID, GETNCNT, GETZCNT };
    int32_t *const into[] = { &out->value, &out->pid, &out->rising, &out->for_zero };
    int i;

    for (i = 0; i < 4; i++) {
        int got = semctl(set, number, asked[i]);

        if (got < 0)
            return -errno;
        *into[i] = got;
    }
    return 0;
}

int pm_queue_read(int id, pm_queue *out)
{
    struct msqid_ds is;

    if (msgctl(id, IPC_STAT, &is))
        return -errno;
    out->bytes = is.__msg_cbytes;
    out->limit = is.msg_qbytes;
    out->messages = is.msg_qnum;
    out->sender = is.msg_lspid;
    out->receiver = is.msg_lrpid;
    return 0;
}
