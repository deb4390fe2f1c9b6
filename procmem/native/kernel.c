#include "kernel.h"
#include "pagemap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* The layouts below are the kernel's (include/uapi/linux/fs.h). They are
 * written out since the headers of a stable distribution are older than the
 * kernels that it meets. */
struct vma_query {
    uint64_t size, query_flags, query_addr;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
#define QUERY_VMA _IOWR('f', 17, struct vma_query)
#define QUERY_COVERING_OR_NEXT 0x10
#define VMA_READABLE 0x1
#define VMA_WRITABLE 0x2
#define VMA_EXECUTABLE 0x4
#define VMA_SHARED 0x8

int pm_query_vma(int maps_fd, uint64_t address, int or_next, uint64_t *record, pm_vma *out)
{
    struct vma_query query;
    char perms[4];
    uint32_t letters;

    memset(&query, 0, sizeof query);
    query.size = sizeof query;
    query.query_flags = or_next ? QUERY_COVERING_OR_NEXT : 0;
    query.query_addr = address;
    query.vma_name_addr = (uint64_t)(uintptr_t)out->name;
    query.vma_name_size = PM_NAME_ROOM;
    if (ioctl(maps_fd, QUERY_VMA, &query) < 0)
        return -errno;
    out->record = (uint64_t)(uintptr_t)record;
    out->page_size = query.vma_page_size;
    out->name_size = query.vma_name_size ? query.vma_name_size - 1 : 0;
    if (record) {
        perms[0] = query.vma_flags & VMA_READABLE ? 'r' : '-';
        perms[1] = query.vma_flags & VMA_WRITABLE ? 'w' : '-';
        perms[2] = query.vma_flags & VMA_EXECUTABLE ? 'x' : '-';
        perms[3] = query.vma_flags & VMA_SHARED ? 's' : 'p';
        memcpy(&letters, perms, sizeof letters);
        record[PM_START] = query.vma_start;
        record[PM_END] = query.vma_end;
        record[PM_OFFSET] = query.vma_offset;
        record[PM_INODE] = query.inode;
        record[PM_DEV] = (uint64_t)query.dev_major << 32 | query.dev_minor;
        record[PM_PERMS_NAME] = (uint64_t)(out->name_size > 0) << 32 | letters;
        record[PM_FLAGS_RAW] = 0;
    }
    return 0;
}

/* A read of /proc returns at most about a page of whole records, but for a line
 * that is longer. */
#define READ_ROOM 65536

int64_t pm_scan_read(pm_scan *scan, int fd, uint64_t limit)
{
    char *chunk = malloc(READ_ROOM);
    int64_t total = 0;
    int error;

    if (!chunk)
        return PM_NO_MEMORY;
    while ((uint64_t)total < limit) {
        ssize_t got = read(fd, chunk, READ_ROOM);
        int status;

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            if (got < 0)
                total = PM_CANT_READ;
            break;
        }
        if ((status = pm_scan_feed(scan, chunk, (size_t)got))) {
            total = status;
            break;
        }
        total += got;
    }
    error = errno;
    free(chunk);
    errno = error;
    return total;
}

int pm_is_proc(int fd)
{
    struct statfs info;

    return !fstatfs(fd, &info) && info.f_type == 0x9fa0; /* PROC_SUPER_MAGIC */
}

int pm_shares_memory(int pid, int other)
{
    long compared = -1;

#ifdef SYS_kcmp
    compared = syscall(SYS_kcmp, pid, other, 1 /* KCMP_VM */, 0, 0);
#else
    (void)pid;
    (void)other;
#endif
    return compared < 0 ? -1 : !compared;
}

uint64_t pm_robust_list(int tid)
{
    void *head = NULL;
    size_t size = 0;

    /* Of PID 0 it is the caller's own. */
    if (tid <= 0 || syscall(SYS_get_robust_list, tid, &head, &size))
        return 0;
    return (uint64_t)(uintptr_t)head;
}

#ifdef __x86_64__
#define SYS_GET_ROBUST_LIST_32 312

uint64_t pm_robust_list_32(int tid)
{
    uint32_t *out, head = 0;
    long result = SYS_GET_ROBUST_LIST_32;

    /* The kernel keeps a list for each word size; that of 32-bit programs can be asked for by a
     * 32-bit call only, whose arguments are addresses below 4 GiB. */
    if (tid <= 0 || prctl(PR_GET_SECCOMP, 0, 0, 0, 0))
        return 0;
    out = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (out == MAP_FAILED)
        return 0;
    __asm__ volatile("int $0x80"
                     : "+a"(result)
                     : "b"((long)tid), "c"(out), "d"(out + 1)
                     : "memory", "r8", "r9", "r10", "r11");
    if (!result)
        head = *out;
    munmap(out, 4096);
    return head;
}
#else
uint64_t pm_robust_list_32(int tid)
{
    (void)tid;
    return 0;
}
#endif

/* Adds [start, end) to word `to` of the records it meets, from record *from
 * on, and what is in no record to *stray. Ranges come in ascending order. */
static void add(uint64_t *words, size_t count, size_t stride, size_t to, size_t *from,
                uint64_t start, uint64_t end, uint64_t *stray)
{
    size_t i = *from;

    while (i < count && words[i * stride + 1] <= start)
        i++;
    *from = i;
    while (start < end) {
        uint64_t *record = words + i * stride, stop;

        if (i == count || record[0] >= end) {
            *stray += end - start;
            return;
        }
        if (record[0] > start) {
            *stray += record[0] - start;
            start = record[0];
        }
        stop = record[1] < end ? record[1] : end;
        record[to] += stop - start;
        start = stop;
        if (record[1] <= start)
            i++;
    }
}

static void clear(uint64_t *words, size_t count, size_t stride, size_t at)
{
    size_t i;

    for (i = 0; i < count; i++)
        memset(words + i * stride + at, 0, PM_RESIDENCY_WORDS * sizeof *words);
}

#define RANGES 2048
/* Pages that one call finds: the kernel holds mmap_lock during it, so that an mmap(2) of the process
 * waits for its end. Nor does it get the lock between two calls that follow each other at once: a reader
 * overtakes a writer that has yet to wake up, for 4 ms (RWSEM_WAIT_TIMEOUT, kernel/locking/rwsem.c). */
#define SCANNED 8192
#define PAUSE 20000 /* nanoseconds; timers add 50 microseconds */

int pm_residency_scan(int pagemap_fd, uint64_t *words, size_t count, size_t stride, size_t at,
                      pm_residency *out)
{
    struct page_range *ranges;
    struct page_scan scan;
    size_t from = 0;
    uint64_t end, page = (uint64_t)sysconf(_SC_PAGESIZE);
    long got, i;

    memset(out, 0, sizeof *out);
    clear(words, count, stride, at);
    if (!count)
        return 0;
    memset(&scan, 0, sizeof scan);
    scan.size = sizeof scan;
    /* From 0, and not from the first record: what was mapped below it meanwhile is seen.
     * Nothing above the lower half belongs to a process; [vsyscall] does not. */
    end = words[(count - 1) * stride + 1];
    for (i = (long)count - 1; i >= 0 && words[(size_t)i * stride + 1] > INT64_MAX; i--)
        end = i ? words[(size_t)(i - 1) * stride + 1] : 0;
    if (end <= scan.start)
        return 0;
    scan.end = end;
    scan.vec_len = RANGES;
    scan.max_pages = SCANNED;
    scan.category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED;
    scan.category_mask = PAGE_PFNZERO;
    scan.category_inverted = PAGE_PFNZERO;
    scan.return_mask = PAGE_PRESENT | PAGE_SWAPPED | PAGE_HUGE | PAGE_GUARD;
    ranges = malloc(RANGES * sizeof *ranges);
    if (!ranges)
        return -ENOMEM;
    scan.vec = (uint64_t)(uintptr_t)ranges;
    for (;;) {
        uint64_t found = 0;

        got = ioctl(pagemap_fd, SCAN_PAGES, &scan);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EINVAL && scan.return_mask & PAGE_GUARD) {
            /* Kernels before 6.15 know no guard pages and refuse the bit. */
            scan.return_mask &= ~(uint64_t)PAGE_GUARD;
            continue;
        }
        if (got < 0) {
            got = -errno;
            break;
        }
        for (i = 0; i < got; i++) {
            const struct page_range *range = &ranges[i];

            found += range->end - range->start;
            if (range->categories & PAGE_GUARD)
                continue;
            if (range->categories & PAGE_PRESENT) {
                size_t again = from;

                if (range->categories & PAGE_HUGE) {
                    add(words, count, stride, at + PM_HUGE, &again, range->start, range->end,
                        &(uint64_t){0});
                    out->huge += range->end - range->start;
                }
                add(words, count, stride, at + PM_RSS, &from, range->start, range->end,
                    &out->stray);
            } else {
                add(words, count, stride, at + PM_SWAP, &from, range->start, range->end,
                    &out->stray);
            }
        }
        /* walk_end may be stale on a finished scan with many ranges: the
         * counts alone say whether there is more, the last range says where. */
        if (got < RANGES && found < SCANNED * page) {
            got = 0;
            break;
        }
        scan.start = ranges[got - 1].end;
        if (scan.start >= scan.end) {
            got = 0;
            break;
        }
        nanosleep(&(struct timespec){0, PAUSE}, NULL);
    }
    free(ranges);
    return (int)got;
}

#define PAGES 8192

int pm_residency_read(int pagemap_fd, uint64_t *words, size_t count, size_t stride, size_t at,
                      uint64_t page_size, pm_residency *out)
{
    uint64_t *pages = malloc(PAGES * sizeof *pages);
    size_t i;

    if (!pages)
        return -ENOMEM;
    memset(out, 0, sizeof *out);
    clear(words, count, stride, at);
    for (i = 0; i < count; i++) {
        uint64_t *record = words + i * stride;
        uint64_t page = record[0] / page_size, last = record[1] / page_size;

        if (record[1] > INT64_MAX)
            continue;
        while (page < last) {
            uint64_t want = last - page < PAGES ? last - page : PAGES, k;
            ssize_t got = pread(pagemap_fd, pages, want * 8, (off_t)(page * 8));

            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0) {
                int status = -errno;

                free(pages);
                return status;
            }
            if (got < 8)
                break;
            for (k = 0; k < (uint64_t)got / 8; k++) {
                if (pages[k] & PM_ENTRY_GUARD)
                    continue;
                if (pages[k] & PM_ENTRY_PRESENT)
                    record[at + PM_RSS] += page_size;
                else if (pages[k] & PM_ENTRY_SWAPPED)
                    record[at + PM_SWAP] += page_size;
            }
            page += (uint64_t)got / 8;
        }
    }
    free(pages);
    return 0;
}

uint64_t pm_total_swap(void)
{
    struct sysinfo info;

    if (sysinfo(&info))
        return UINT64_MAX;
    return (uint64_t)info.totalswap * info.mem_unit;
}
