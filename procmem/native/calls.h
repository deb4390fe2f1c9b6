/* System calls on the memory of this process, with a measurement before and after each: for
 * procmem.calls. It does not use Python. */
#ifndef PROCMEM_CALLS_H
#define PROCMEM_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* Constants that the headers of stable distributions may lack (include/uapi/linux). */
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MAP_SYNC
#define MAP_SYNC 0x080000
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef MADV_KEEPONFORK
#define MADV_KEEPONFORK 19
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_GUARD_REMOVE
#define MADV_GUARD_REMOVE 103
#endif

enum pm_operation {
    PM_MMAP,
    PM_MUNMAP,
    PM_MPROTECT,
    PM_MREMAP,
    PM_MADVISE,
    PM_MLOCK,
    PM_MLOCK2,
    PM_MUNLOCK,
    PM_MINCORE,
    PM_MSYNC,
    PM_BRK,
    /* Those above are system calls, with their arguments in the kernel's order. */
    PM_SYSTEM_CALLS,

    /* One access each at `at + i * step` for i below `count`; with `order`, at
     * `at + order[i]`. A write leaves the byte as it is. */
    PM_TOUCH_READ = PM_SYSTEM_CALLS, /* at, step, count, order */
    PM_TOUCH_WRITE,
    PM_COPY, /* to, from, size */
};

#define PM_STATM_ROOM 128

typedef struct {
    int64_t result;
    int error;             /* errno; 0: it succeeded */
    int signal, code;      /* of the fault that ended a touch or a copy; 0: none */
    uint64_t address;      /* of the access that faulted */
    int64_t minor, major;  /* faults of this thread meanwhile (getrusage(2)) */
    int before_size, after_size;  /* bytes of statm that were read, or -errno */
    char before[PM_STATM_ROOM], after[PM_STATM_ROOM];
} pm_outcome;

/* Performs an operation, between two readings of statm unless `statm` is -1.
 * Faults of touches and copies in [low, high) are reported and don't end the
 * process. All other faults have their usual effect.
 * Returns 0; -1 if too many threads touch and copy at once. */
int pm_perform(int operation, const uint64_t *arguments, uint64_t low, uint64_t high, int statm,
               pm_outcome *out);

#define PM_TRIP_READINGS 4

typedef struct {
    int error; /* of brk(2): the break could not be moved, and has not been */
    uint64_t start;
    int64_t minor, major; /* faults while the new pages were written to */
    int sizes[PM_TRIP_READINGS];
    char readings[PM_TRIP_READINGS][PM_STATM_ROOM]; /* before, grown, touched, back again */
} pm_trip;

/* Moves the program break up by `grow` bytes, writes one byte in each `step` of the first
 * `touch` bytes, and moves it back, with all signals blocked: if this is the only thread,
 * malloc can't run in between, so it never sees the moved break. */
void pm_brk_trip(int statm, uint64_t grow, uint64_t touch, uint64_t step, pm_trip *out);

/* The page size of a hugetlbfs file; 0: the file is in another file system; or -errno. */
int64_t pm_hugetlb_page_size(int fd);

#endif
