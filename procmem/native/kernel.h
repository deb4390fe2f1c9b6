/* Thin calls on open files of /proc/PID: PROCMAP_QUERY on maps, PAGEMAP_SCAN
 * and plain reads on pagemap.  They return 0 or a negated errno. */
#ifndef PROCMEM_KERNEL_H
#define PROCMEM_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#define PM_NAME_ROOM 4096 /* PATH_MAX: the kernel refuses a larger name buffer */

typedef struct {
    uint64_t start, end, flags, page_size, offset, inode;
    uint32_t dev_major, dev_minor;
    uint32_t name_size;     /* without the terminating zero; 0: no name */
    uint32_t build_id_size; /* 0: none */
    char name[PM_NAME_ROOM];
    unsigned char build_id[32];
} pm_vma;

enum { PM_VMA_READABLE = 1, PM_VMA_WRITABLE = 2, PM_VMA_EXECUTABLE = 4, PM_VMA_SHARED = 8 };

/* The region that covers `address` (or, with `or_next`, the next one).
 * -ENOENT: none. -ESRCH: the address space is gone. -ENOTTY: this kernel or
 * this file can't tell. */
int pm_query_vma(int maps_fd, uint64_t address, int or_next, int want_build_id, pm_vma *out);

enum { PM_RSS, PM_SWAP, PM_HUGE, PM_RESIDENCY_WORDS };

typedef struct {
    uint64_t stray;   /* bytes found populated outside of the given regions */
    uint64_t zero;    /* bytes that map the zero page, which is not in Rss; PM_MISSING: unknown */
    int kernel_guard; /* 1: the kernel tells guard pages from swapped ones */
} pm_residency;

/* Counts populated pages region by region into the PM_RESIDENCY_WORDS words
 * that start `at` words into each record. The records must be in order.
 * -ENOTTY: no PAGEMAP_SCAN here. */
int pm_residency_scan(int pagemap_fd, uint64_t *words, size_t count, size_t stride, size_t at,
                      uint64_t page_size, pm_residency *out);
/* The same through eight bytes per page, for kernels before 6.7. */
int pm_residency_read(int pagemap_fd, uint64_t *words, size_t count, size_t stride, size_t at,
                      uint64_t page_size, pm_residency *out);

/* Bytes of swap that are configured on this machine. */
uint64_t pm_total_swap(void);

#endif
