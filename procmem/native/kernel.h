/* Calls on open files of /proc/PID: PROCMAP_QUERY on maps, PAGEMAP_SCAN and
 * read(2) on pagemap.  They return 0 or a negated errno. */
#ifndef PROCMEM_KERNEL_H
#define PROCMEM_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "scanner.h"

#define PM_NAME_ROOM 4096 /* PATH_MAX: the kernel refuses a larger name buffer */

typedef struct {
    uint64_t record; /* the address of the record that was filled, 0: none */
    uint64_t page_size;
    uint32_t name_size; /* without the terminating zero; 0: no name */
    char name[PM_NAME_ROOM];
} pm_vma;

/* The region that covers `address` (or, with `or_next`, the next one), as the
 * header words of a record (NULL: not wanted) whose name has the id 1.
 * -ENOENT: there is none. -ESRCH: the address space is gone. -ENOTTY: this kernel
 * or this file does not support PROCMAP_QUERY. */
int pm_query_vma(int maps_fd, uint64_t address, int or_next, uint64_t *record, pm_vma *out);

/* Reads an open maps or smaps from its file offset on into a scan, for `limit`
 * bytes or a little more. Returns the number of bytes; if it is less than `limit`,
 * the file has ended. Below 0: an error of the scan, or PM_CANT_READ with errno set. */
#define PM_CANT_READ (-3)
int64_t pm_scan_read(pm_scan *scan, int fd, uint64_t limit);

/* Whether the descriptor belongs to a /proc file system. */
int pm_is_proc(int fd);

/* Whether two processes have one address space (kcmp(2), KCMP_VM): 1 or 0; -1: not known. */
int pm_shares_memory(int pid, int other);

/* The head of a thread's list of robust futexes (get_robust_list(2)), which C libraries
 * keep in the thread's descriptor. 0: it has none, or this user may not read it. */
uint64_t pm_robust_list(int tid);

/* That of a thread of a 32-bit program; 0: not known, which is so on other machines than x86-64, and
 * under a seccomp(2) filter, which might end the caller. */
uint64_t pm_robust_list_32(int tid);

typedef struct {
    uint64_t stray;   /* bytes found populated outside of the given regions */
    uint64_t huge;    /* bytes mapped by huge pages, transparent ones or of hugetlbfs */
} pm_residency;

/* Counts populated pages region by region into the PM_RESIDENCY_WORDS words
 * that start `at` words into each record. The records must be in order.
 * -ENOTTY: no PAGEMAP_SCAN here. */
int pm_residency_scan(int pagemap_fd, uint64_t *words, size_t count, size_t stride, size_t at,
                      pm_residency *out);
/* The same with read(2), eight bytes per page, for kernels before 6.7. */
int pm_residency_read(int pagemap_fd, uint64_t *words, size_t count, size_t stride, size_t at,
                      uint64_t page_size, pm_residency *out);

/* Bytes of swap that are configured on this machine. */
uint64_t pm_total_swap(void);

#endif
