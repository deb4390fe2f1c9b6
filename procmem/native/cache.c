#include "cache.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

int pm_cachestat(int fd, uint64_t offset, uint64_t length, pm_cached *out)
{
    uint64_t range[2] = {offset, length};

    memset(out, 0, sizeof *out);
    return syscall(SYS_cachestat, fd, range, out, 0u) ? -errno : 0;
}

static unsigned char *mapped(int fd, uint64_t page, uint64_t size, uint64_t page_size)
{
    return mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)(page * page_size));
}

static int resident(unsigned char *memory, uint64_t count, uint64_t size, unsigned char *out)
{
    uint64_t i;

    if (mincore(memory, size, out))
        return -errno;
    for (i = 0; i < count; i++)
        out[i] &= 1;
    return 0;
}

int pm_file_resident(int fd, uint64_t page, uint64_t count, uint64_t page_size,
                     unsigned char *out)
{
    uint64_t size = count * page_size;
    unsigned char *memory = mapped(fd, page, size, page_size);
    int status;

    if (memory == MAP_FAILED)
        return -errno;
    status = resident(memory, count, size, out);
    munmap(memory, size);
    return status;
}

int pm_file_entries(int fd, int pagemap, uint64_t page, uint64_t count, uint64_t page_size,
                    uint64_t *out)
{
    uint64_t size = count * page_size, i, run;
    unsigned char *memory = mapped(fd, page, size, page_size);
    unsigned char *there = (unsigned char *)out;
    int status;

    if (memory == MAP_FAILED)
        return -errno;
    /* No readahead; and unmapping does not mark the pages as used (vma_has_recency()). */
    madvise(memory, size, MADV_RANDOM);
    /* The bytes take the first eighth of `out`, which is overwritten afterwards. */
    status = resident(memory, count, size, there);
    for (i = 0; !status && i < count; i = run) {
        for (run = i; run < count && there[run]; run++)
            ;
        /* A page that has gone by now is read again; one behind the file's end is refused. */
        if (run > i && madvise(memory + i * page_size, (run - i) * page_size, MADV_POPULATE_READ) &&
            errno == EINVAL)
            status = -EINVAL;
        if (run == i)
            run++;
    }
    if (!status) {
        ssize_t got = pread(pagemap, out, count * sizeof *out,
                            (off_t)((uintptr_t)memory / page_size * sizeof *out));
        if (got != (ssize_t)(count * sizeof *out))
            status = got < 0 ? -errno : -EIO;
    }
    munmap(memory, size);
    return status;
}

static int is_group(uint64_t inode, const uint64_t *groups, size_t count)
{
    size_t low = 0;

    while (count > 1) {
        size_t half = count / 2;

        if (groups[low + half] <= inode)
            low += half;
        count -= half;
    }
    return groups[low] == inode;
}

size_t pm_frames_of_groups(const uint64_t *words, size_t count, uint64_t first,
                           const uint64_t *groups, size_t group_count, uint64_t *out)
{
    size_t i, found = 0;

    if (!group_count)
        return 0;
    for (i = 0; i < count; i++)
        if (words[i] && is_group(words[i], groups, group_count))
            out[found++] = first + i;
    return found;
}
