/* The page cache: what of a file is in it, and which page frames it has.
 * Functions return 0 or a negated errno. */
#ifndef PROCMEM_CACHE_H
#define PROCMEM_CACHE_H

#include <stddef.h>
#include <stdint.h>

/* The pages of struct cachestat (include/uapi/linux/mman.h), Linux 6.5. */
typedef struct {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
} pm_cached;

/* cachestat(2) over `length` bytes from `offset` on; a length of 0: to the end.
 * -ENOSYS: before Linux 6.5. */
int pm_cachestat(int fd, uint64_t offset, uint64_t length, pm_cached *out);

/* Sets a byte for each of `count` pages of a file from number `page` on: 1 if it is in the page
 * cache. mincore(2) reports every page to those who may neither own nor write the file. */
int pm_file_resident(int fd, uint64_t page, uint64_t count, uint64_t page_size,
                     unsigned char *out);

/* The pagemap entries of `count` pages of a file that are in the page cache, 0 for others.
 * The pages are mapped into this process for that time; neither are they read from the disk nor
 * marked as used. `pagemap` is this process's own. -EINVAL: before Linux 5.14. */
int pm_file_entries(int fd, int pagemap, uint64_t page, uint64_t count, uint64_t page_size,
                    uint64_t *out);

/* Picks the frames of groups: `words` are of kpagecgroup, for frames from `first` on; `groups`
 * has inode numbers, ascending. Returns how many frames were written to `out`. */
size_t pm_frames_of_groups(const uint64_t *words, size_t count, uint64_t first,
                           const uint64_t *groups, size_t group_count, uint64_t *out);

#endif
