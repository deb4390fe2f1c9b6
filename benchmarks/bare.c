/* The bare calls that ours are held against: PROCMAP_QUERY for region_at(), process_vm_readv() for
 * heap(). Nothing of procmem is in it. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>

/* include/uapi/linux/fs.h, struct procmap_query. */
struct query {
    uint64_t size, query_flags, query_addr;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY _IOWR('f', 17, struct query)

/* Asks for the region and its name at each address. Returns the nanoseconds
 * of CPU time that all took, or a negated errno. */
int64_t query_all(int maps_fd, const uint64_t *addresses, uint64_t count)
{
    static char name[4096];
    struct timespec start, end;
    struct query query;
    uint64_t i;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    for (i = 0; i < count; i++) {
        memset(&query, 0, sizeof query);
        query.size = sizeof query;
        query.query_addr = addresses[i];
        query.vma_name_addr = (uint64_t)(uintptr_t)name;
        query.vma_name_size = sizeof name;
        if (ioctl(maps_fd, PROCMAP_QUERY, &query) < 0)
            return -errno;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return (int64_t)(end.tv_sec - start.tv_sec) * 1000000000 + (end.tv_nsec - start.tv_nsec);
}

/* Reads [start, end) of a process, all of which is resident, and throws it away. */
int64_t read_all(int pid, uint64_t start, uint64_t end)
{
    static char buffer[1 << 18];

    while (start < end) {
        size_t size = end - start < sizeof buffer ? end - start : sizeof buffer;
        struct iovec local = {buffer, size}, remote = {(void *)(uintptr_t)start, size};
        ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);

        if (got <= 0)
            return -1;
        start += (uint64_t)got;
    }
    return 0;
}
