/* The heap of glibc's malloc in another process: walks its rows of chunks from outside.
 * Only resident pages are read, so the memory of the process does not change. */
#ifndef PROCMEM_HEAP_H
#define PROCMEM_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include "pagemap.h"

enum {
    PM_HEAP_END,      /* the walk came to the end of the row */
    PM_HEAP_BAD,      /* no chunk that malloc makes stands at `at` */
    PM_HEAP_ABSENT,   /* the page of the header at `at` is not resident */
    PM_HEAP_SWAPPED,  /* it is in swap */
    PM_HEAP_UNREAD,   /* reading failed; errno is in `error` */
    PM_HEAP_NO_MEMORY,
};

/* In-use chunks below this size are counted by size, larger ones are listed. */
#define PM_HEAP_SMALL 65536
#define PM_HEAP_SIZES (PM_HEAP_SMALL / 8)

typedef struct {
    uint64_t address, size;
} pm_chunk;

typedef struct {
    pm_chunk *list;
    size_t count, room;
} pm_chunks;

/* A copy of resident memory, made at once. */
typedef struct {
    uint64_t start, end; /* addresses */
    size_t at;           /* where its bytes are */
} pm_copied;

typedef struct pm_image {
    const struct pm_image *next; /* of other memory */
    unsigned char *bytes;
    size_t size, room;
    pm_copied *runs; /* by address */
    size_t count, run_room;
} pm_image;

/* The largest free chunks: `used` and `bytes` are the chunks in use, and their bytes, before each. */
#define PM_HEAP_HOLES 16
typedef struct {
    uint64_t address, size, used, bytes;
} pm_hole;

/* A resident page that has `count` chunks in use on it, which take `bytes` of it; `chunk` is the first. */
typedef struct {
    uint64_t page, bytes, count, chunk, size;
} pm_page_use;

typedef struct {
    /* given */
    int pid, mem, pagemap; /* pid 0: memory is read by `mem`, a descriptor of /proc/PID/mem */
    uint64_t page_size, word, align;
    uint64_t mark_size; /* in-use chunks of this size are listed in `marked`; 0: none */
    int probe;          /* walk only, count nothing */
    uint64_t steps;     /* chunks that may still be walked */
    /* For the use of pages: which are resident, and chunks by address that are free although their row
     * says that they are in use. NULL: pages are not counted. */
    const pm_pages *pages;
    const pm_chunks *cached;
    /* found, added up over several rows */
    uint64_t in_use, used_count, free_bytes; /* bytes and chunks in use as the row has it */
    uint64_t sizes[PM_HEAP_SIZES]; /* how many in use of each size / 8 */
    pm_chunks free, large, marked;
    pm_hole holes[PM_HEAP_HOLES];
    size_t hole_count;
    uint64_t largest_free;
    pm_page_use *uses; /* resident pages of which a part is in use */
    size_t use_count, use_room, full_pages, cached_at;
    pm_page_use on; /* the page up to which pages are counted */
    /* of the last row */
    uint64_t at;          /* where the walk ended */
    uint64_t top_size;    /* of the chunk at `top`, if the row ended there */
    uint64_t last_in_use, last_size; /* the in-use chunk nearest to the end; 0: none */
    uint64_t fence;       /* bytes of the fence posts at the end of a row without a top */
    int error;
    uint64_t pages_read;
    const pm_image *image; /* looked into first; NULL: none */
    /* the part of memory at hand, in the image or in the buffer */
    const unsigned char *view;
    uint64_t view_start, view_end;
    unsigned char *buffer;
    uint64_t *entries, entries_first, entries_count;
    uint64_t ahead; /* pages that the next read takes */
} pm_heap;

pm_heap *pm_heap_new(int pid, int mem, int pagemap, uint64_t page_size, uint64_t word, uint64_t align);
void pm_heap_free(pm_heap *heap);
/* Frees what is kept of the process's memory: what comes next is read anew. */
void pm_heap_forget(pm_heap *heap);

/* Copies the resident pages from `start` to `end`, which are above all others of the image, unless it would
 * have more than `most` bytes. PM_HEAP_END, PM_HEAP_BAD: more, PM_HEAP_UNREAD or PM_HEAP_NO_MEMORY. */
int pm_image_add(pm_heap *heap, pm_image *image, uint64_t start, uint64_t end, size_t most);
pm_image *pm_image_new(void);
void pm_image_free(pm_image *image);

/* Words from an aligned address on. */
int pm_heap_words(pm_heap *heap, uint64_t address, size_t count, uint64_t *out);

/* Walks the chunks from `first` on. The row ends at `top`, or, if `top` is not in it, at the
 * fence posts before `end`. */
int pm_heap_walk(pm_heap *heap, uint64_t first, uint64_t end, uint64_t top);

/* The first address from `from` on at which a row of chunks begins that ends at `top`, or at two fence
 * posts, as main arenas have them; every `step` bytes are tried. 0: there is none. */
uint64_t pm_heap_seek(pm_heap *heap, uint64_t from, uint64_t end, uint64_t top, uint64_t step);

/* Adds the last page to `uses`. */
int pm_heap_last_page(pm_heap *heap);

/* Follows a singly linked list of chunks from `first`, the address of the first link, which is after a
 * header, and adds at most `most` chunks to `out`. `to_header`: links point to headers; `mangled`: links
 * are combined with their own address >> 12; `size`: of each chunk, 0: not checked. Any result but
 * PM_HEAP_END: the list is broken at `at`. */
int pm_heap_list(pm_heap *heap, uint64_t first, int to_header, int mangled,
                 uint64_t size, size_t most, pm_chunks *out);

/* Follows a doubly linked bin, whose head is at `bin` (as a chunk), and lists its chunks. */
int pm_heap_bin(pm_heap *heap, uint64_t bin, size_t most, pm_chunks *out);

/* Sorts chunks by address. */
void pm_heap_sort(pm_chunks *chunks);

/* Sorts chunks by address and joins those that are adjacent. */
void pm_heap_join(pm_chunks *chunks);

/* Bytes of chunks on resident pages that are not the zero page, from `skip` bytes after each
 * chunk's start on; `whole`: only whole pages count. Unless `out` is NULL, adds each
 * resident range to it. UINT64_MAX: no memory. */
uint64_t pm_heap_resident(const pm_chunks *chunks, const pm_pages *pages, uint64_t page_size,
                          uint64_t skip, int whole, pm_chunks *out);

pm_chunks *pm_chunks_new(void);
int pm_chunks_add(pm_chunks *chunks, uint64_t address, uint64_t size);
int pm_chunks_add_all(pm_chunks *chunks, const pm_chunks *more);
/* Bytes; UINT64_MAX: more than 64 bits hold. */
uint64_t pm_chunks_total(const pm_chunks *chunks);
/* Counts chunks below PM_HEAP_SMALL by size / 8, and adds the others to `large`. */
int pm_chunks_sizes(const pm_chunks *chunks, uint64_t *sizes, pm_chunks *large);
void pm_chunks_free(pm_chunks *chunks);

#endif
