/* The pagemap of a process: reads the entries that are not empty, stores them,
 * and answers queries about them.  Calls on files return 0 or a negated errno. */
#ifndef PROCMEM_PAGEMAP_H
#define PROCMEM_PAGEMAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* PAGEMAP_SCAN, with the structures of include/uapi/linux/fs.h: the headers of a
 * stable distribution may be older than the running kernel. */
struct page_range {
    uint64_t start, end, categories;
};
struct page_scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_PAGES _IOWR('f', 16, struct page_scan)
#define PAGE_PRESENT (1u << 3)
#define PAGE_SWAPPED (1u << 4)
#define PAGE_PFNZERO (1u << 5)
#define PAGE_HUGE (1u << 6)
#define PAGE_GUARD (1u << 8)

/* Bits of an entry (Documentation/admin-guide/mm/pagemap.rst). */
#define PM_ENTRY_PRESENT (UINT64_C(1) << 63)
#define PM_ENTRY_SWAPPED (UINT64_C(1) << 62)
#define PM_ENTRY_FILE (UINT64_C(1) << 61)
#define PM_ENTRY_GUARD (UINT64_C(1) << 58)
#define PM_ENTRY_EXCLUSIVE (UINT64_C(1) << 56)
#define PM_ENTRY_FRAME ((UINT64_C(1) << 55) - 1)
/* The kernel leaves bits 59 and 60 zero; procmem marks the zero page with one of them. */
#define PM_ENTRY_ZERO (UINT64_C(1) << 60)

enum { PM_ABSENT, PM_ANON, PM_ANON_SHARED, PM_FILE, PM_FILE_SHARED, PM_ZERO, PM_IN_SWAP,
       PM_GUARDED, PM_STATES };

/* Consecutive pages from number `page` on; their entries are at index `at`. */
typedef struct {
    uint64_t page, count, at;
} pm_segment;

/* Entries of the pages that have one, by ascending page number. */
typedef struct {
    uint64_t *entries;
    size_t count, room;
    pm_segment *segments;
    size_t segment_count, segment_room;
    uint64_t piece; /* entries that the next read takes; 0: look for pages first */
} pm_pages;

pm_pages *pm_pages_new(void);
void pm_pages_free(pm_pages *pages);

/* Adds `count` entries of the pages from `page` on, which are above all others. */
int pm_pages_add(pm_pages *pages, uint64_t page, const uint64_t *entries, size_t count);

/* Reads the pages from *page to `last` of an open pagemap, or a good part of
 * them: *page says how far it came.
 *   scan: skip empty ranges with PAGEMAP_SCAN; -ENOTTY if the kernel lacks it.
 *   zero_frame: the frame of the zero page, if frames are shown; else 0. */
int pm_pages_read(pm_pages *pages, int fd, uint64_t page_size, uint64_t *page, uint64_t last,
                  int scan, uint64_t zero_frame);

/* The same with entries that have a bit alone, PM_ENTRY_PRESENT or PM_ENTRY_SWAPPED, and none for the
 * page of zeros: PAGEMAP_SCAN alone, which is cheaper. */
int pm_pages_scan(pm_pages *pages, int fd, uint64_t page_size, uint64_t *page, uint64_t last);

/* The entry of a page, 0 if there is none. */
uint64_t pm_pages_entry(const pm_pages *pages, uint64_t page);
/* Copies the entries of the pages from `first` to `last`, those without one as 0. */
void pm_pages_copy(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t *out);
/* How many pages' entries have `value` under `mask`, which is not 0. */
uint64_t pm_pages_count(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t mask,
                        uint64_t value);
/* How many pages are in each of PM_STATES states. */
void pm_pages_states(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t *out);
/* First page, page behind the last and state of each run from *page on, at most
 * `room` of them; *page says how far it came. Returns how many. */
size_t pm_pages_runs(const pm_pages *pages, uint64_t *page, uint64_t last, uint64_t *out,
                     size_t room);
/* A state for each of `width` buckets, of which there are no more than pages: the
 * one most pages have that are there at all, or PM_ABSENT. */
void pm_pages_row(const pm_pages *pages, uint64_t first, uint64_t last, size_t width,
                  unsigned char *out);
/* Page number and frame of present pages from *page on, the zero page left out; with `frames`,
 * which are ascending, of those alone that are among them (NULL: of all). */
size_t pm_pages_frames(const pm_pages *pages, uint64_t *page, uint64_t last,
                       const uint64_t *frames, size_t frame_count, uint64_t *out, size_t room);

#endif
