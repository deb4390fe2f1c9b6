/* The requesting side of the helper process: sends one request, and reads the kernel's figures
 * for the helper before and after it. */
#ifndef PROCMEM_MEASURE_H
#define PROCMEM_MEASURE_H

#include <stdint.h>

#include "specimen.h"

#define PM_UNKNOWN UINT64_MAX

/* Bytes; regions: the number of lines of maps. PM_UNKNOWN: the kernel doesn't show it. */
typedef struct {
    uint64_t vsz, rss, rss_anon, rss_file, rss_shmem, swap, hugetlb, locked, page_tables, regions;
} pm_figures;

/* The file that RSS and its kinds are read from, the cheapest first. */
#define PM_SOURCE_STATUS 0
#define PM_SOURCE_ROLLUP 1

typedef struct {
    int request, reply;              /* our ends of the pipes */
    int statm, status, maps, rollup; /* open files of /proc/PID */
    int source;
    int known;   /* `figures` are those of `statm_text` */
    int waiting; /* a request was sent and not yet answered */
    char statm_text[256];
    int64_t statm_size;
    pm_figures figures;
    pm_request asked;
    pm_reply answer;
    pm_figures before;
} pm_specimen;

/* Reads the helper's figures. 0, or a negated errno. */
int pm_specimen_read(pm_specimen *specimen);

/* Sends `asked`, waits, and sets `before`, `answer` and `figures`. Returns 0 or a
 * negated errno. -EPIPE: the helper has ended. -EINTR: a signal arrived while
 * `waiting`; call again to continue waiting. */
int pm_specimen_step(pm_specimen *specimen);

/* The same without figures. */
int pm_specimen_ask(pm_specimen *specimen);

/* In specimen.c. */
long pm_specimen_fork(int request, int reply, long flags, long cpu);

#endif
