#define _GNU_SOURCE
#include "heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_PAGES 64
/* Each read takes the process's mmap_lock, and overtakes an mmap(2) of the process that waits for it and
 * has yet to wake up, for 4 ms (RWSEM_WAIT_TIMEOUT, kernel/locking/rwsem.c): after so many pages a
 * pause lets it in. */
#define PAUSED_AFTER 1024
#define PAUSE 20000 /* nanoseconds; timers add 50 microseconds */
#define COPIED_AT_ONCE (1 << 20) /* bytes */
#define WINDOW 512 /* entries of pagemap that are read at once */
#define PREV_INUSE 1
#define IS_MMAPPED 2
#define SIZE_BITS 7

int pm_chunks_add(pm_chunks *chunks, uint64_t address, uint64_t size)
{
    if (chunks->count == chunks->room) {
        size_t room = chunks->room ? chunks->room * 2 : 256;
        pm_chunk *list = realloc(chunks->list, room * sizeof *list);

        if (!list)
            return -1;
        chunks->list = list;
        chunks->room = room;
    }
    chunks->list[chunks->count++] = (pm_chunk){address, size};
    return 0;
}

pm_heap *pm_heap_new(int pid, int mem, int pagemap, uint64_t page_size, uint64_t word, uint64_t align)
{
    pm_heap *heap = calloc(1, sizeof *heap);

    if (!heap)
        return NULL;
    heap->pid = pid;
    heap->mem = mem;
    heap->steps = UINT64_MAX;
    heap->pagemap = pagemap;
    heap->page_size = page_size;
    heap->word = word;
    heap->align = align;
    heap->ahead = 1;
    return heap;
}

void pm_heap_forget(pm_heap *heap)
{
    free(heap->buffer);
    free(heap->entries);
    heap->buffer = NULL;
    heap->entries = NULL;
    heap->view_start = heap->view_end = heap->entries_count = 0;
}

void pm_heap_free(pm_heap *heap)
{
    if (!heap)
        return;
    free(heap->free.list);
    free(heap->large.list);
    free(heap->marked.list);
    free(heap->uses);
    pm_heap_forget(heap);
    free(heap);
}

/* The entry of a page in pagemap. */
static int entry_of(pm_heap *heap, uint64_t page, uint64_t *out)
{
    if (!heap->entries)
        heap->entries = malloc(WINDOW * sizeof *heap->entries);
    if (!heap->entries)
        return PM_HEAP_NO_MEMORY;
    if (page - heap->entries_first >= heap->entries_count) {
        ssize_t got = pread(heap->pagemap, heap->entries, (heap->ahead > 1 ? WINDOW : 1) * 8,
                            (off_t)(page * 8));

        if (got < 8) {
            heap->error = got < 0 ? errno : EIO;
            return PM_HEAP_UNREAD;
        }
        heap->entries_first = page;
        heap->entries_count = (uint64_t)got / 8;
    }
    *out = heap->entries[page - heap->entries_first];
    return PM_HEAP_END;
}

static void count_pages(pm_heap *heap, uint64_t count)
{
    uint64_t before = heap->pages_read;

    heap->pages_read += count;
    if (before / PAUSED_AFTER != heap->pages_read / PAUSED_AFTER)
        nanosleep(&(struct timespec){0, PAUSE}, NULL);
}

/* ---- a copy ---- */

pm_image *pm_image_new(void)
{
    return calloc(1, sizeof(pm_image));
}

void pm_image_free(pm_image *image)
{
    if (image) {
        free(image->bytes);
        free(image->runs);
    }
    free(image);
}

/* Makes room for `more` bytes and one more run. */
static int make_space(pm_image *image, size_t more)
{
    void *made;

    if (image->size + more > image->room) {
        size_t room = image->size + more + image->size / 2;

        made = realloc(image->bytes, room);
        if (!made)
            return PM_HEAP_NO_MEMORY;
        image->bytes = made;
        image->room = room;
    }
    if (image->count == image->run_room) {
        size_t room = image->run_room ? image->run_room * 2 : 64;

        made = realloc(image->runs, room * sizeof *image->runs);
        if (!made)
            return PM_HEAP_NO_MEMORY;
        image->runs = made;
        image->run_room = room;
    }
    return PM_HEAP_END;
}

int pm_image_add(pm_heap *heap, pm_image *image, uint64_t start, uint64_t end, size_t most)
{
    uint64_t page = start / heap->page_size, last = (end - 1) / heap->page_size + 1, entry;
    int bad;

    if (start >= end || end >> 63)
        return PM_HEAP_BAD;
    heap->entries_count = heap->view_start = heap->view_end = 0;
    heap->ahead = WINDOW;
    while (page < last) {
        uint64_t first = page, size;
        struct iovec local, remote;
        ssize_t got;

        for (; page < last && (page - first) * heap->page_size < COPIED_AT_ONCE; page++) {
            bad = entry_of(heap, page, &entry);
            if (bad)
                return bad;
            if (!(entry & PM_ENTRY_PRESENT))
                break;
        }
        if (page == first) {
            page++;
            continue;
        }
        size = (page - first) * heap->page_size;
        if (size > most || image->size > most - size)
            return PM_HEAP_BAD;
        bad = make_space(image, size);
        if (bad)
            return bad;
        local = (struct iovec){image->bytes + image->size, size};
        remote = (struct iovec){(void *)(uintptr_t)(first * heap->page_size), size};
        got = process_vm_readv(heap->pid, &local, 1, &remote, 1, 0);
        if (got < (ssize_t)heap->page_size) {
            heap->error = got < 0 ? errno : EFAULT;
            return PM_HEAP_UNREAD;
        }
        size = (uint64_t)got / heap->page_size * heap->page_size;
        count_pages(heap, size / heap->page_size);
        image->runs[image->count++] = (pm_copied){
            first * heap->page_size, first * heap->page_size + size, image->size};
        image->size += size;
        page = first + size / heap->page_size;
    }
    return PM_HEAP_END;
}

/* Has what images have of an address at hand. */
static int is_copied(pm_heap *heap, uint64_t address)
{
    for (const pm_image *image = heap->image; image; image = image->next) {
        size_t low = 0, high = image->count;

        while (low < high) {
            size_t middle = low + (high - low) / 2;

            if (image->runs[middle].end <= address)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < image->count && image->runs[low].start <= address) {
            heap->view = image->bytes + image->runs[low].at;
            heap->view_start = image->runs[low].start;
            heap->view_end = image->runs[low].end;
            return 1;
        }
    }
    return 0;
}

/* Brings the page of an address to hand, and up to `ahead` more behind it that are resident. */
static int fetch(pm_heap *heap, uint64_t address, uint64_t end)
{
    uint64_t page = address / heap->page_size, entry, count = 0, most;
    struct iovec local, remote;
    ssize_t got;
    int bad;

    if (address >> 63)
        return PM_HEAP_BAD;
    if (!heap->buffer)
        heap->buffer = malloc(BUFFER_PAGES * heap->page_size);
    if (!heap->buffer)
        return PM_HEAP_NO_MEMORY;
    /* Residency is asked anew with each window: what was resident may have gone. */
    most = (end + heap->page_size - 1) / heap->page_size;
    if (most > page + heap->ahead)
        most = page + heap->ahead;
    if (most <= page)
        most = page + 1;
    for (; page + count < most; count++) {
        bad = entry_of(heap, page + count, &entry);
        if (bad)
            return count ? PM_HEAP_END : bad;
        if (!(entry & PM_ENTRY_PRESENT)) {
            if (count)
                break;
            return entry & PM_ENTRY_SWAPPED ? PM_HEAP_SWAPPED : PM_HEAP_ABSENT;
        }
    }
    local = (struct iovec){heap->buffer, count * heap->page_size};
    remote = (struct iovec){(void *)(uintptr_t)(page * heap->page_size), count * heap->page_size};
    got = heap->pid ? process_vm_readv(heap->pid, &local, 1, &remote, 1, 0)
                    : pread(heap->mem, heap->buffer, local.iov_len, (off_t)(page * heap->page_size));
    if (got < (ssize_t)heap->page_size) {
        heap->error = got < 0 ? errno : EFAULT;
        heap->view_start = heap->view_end = 0;
        return PM_HEAP_UNREAD;
    }
    count_pages(heap, (uint64_t)got / heap->page_size);
    heap->view = heap->buffer;
    heap->view_start = page * heap->page_size;
    heap->view_end = heap->view_start + (uint64_t)got / heap->page_size * heap->page_size;
    return PM_HEAP_END;
}

/* A word of the process. */
static int word_at(pm_heap *heap, uint64_t address, uint64_t end, uint64_t *out)
{
    uint32_t half;

    /* Words are aligned: none crosses a page. */
    if (address % heap->word)
        return PM_HEAP_BAD;
    if ((address < heap->view_start || address >= heap->view_end) && !is_copied(heap, address)) {
        int bad = fetch(heap, address, end);

        if (bad)
            return bad;
    }
    if (heap->word == 8) {
        memcpy(out, heap->view + (address - heap->view_start), 8);
    } else {
        memcpy(&half, heap->view + (address - heap->view_start), 4);
        *out = half;
    }
    return PM_HEAP_END;
}

int pm_heap_words(pm_heap *heap, uint64_t address, size_t count, uint64_t *out)
{
    for (size_t i = 0; i < count; i++) {
        int bad = word_at(heap, address + i * heap->word, address, out + i);

        if (bad)
            return bad;
    }
    return PM_HEAP_END;
}

static int resident(const pm_pages *pages, uint64_t page)
{
    uint64_t entry = pm_pages_entry(pages, page);

    return entry & PM_ENTRY_PRESENT && !(entry & PM_ENTRY_ZERO);
}

int pm_heap_last_page(pm_heap *heap)
{
    pm_page_use on = heap->on;

    heap->on = (pm_page_use){0, 0, 0, 0, 0};
    if (!on.count || !resident(heap->pages, on.page))
        return PM_HEAP_END;
    if (on.bytes >= heap->page_size) {
        heap->full_pages++;
        return PM_HEAP_END;
    }
    if (heap->use_count == heap->use_room) {
        size_t room = heap->use_room ? heap->use_room * 2 : 256;
        pm_page_use *uses = realloc(heap->uses, room * sizeof *uses);

        if (!uses)
            return PM_HEAP_NO_MEMORY;
        heap->uses = uses;
        heap->use_room = room;
    }
    on.page *= heap->page_size;
    heap->uses[heap->use_count++] = on;
    return PM_HEAP_END;
}

/* Counts the pages that a chunk in use is on; chunks come by address. */
static int use_pages(pm_heap *heap, uint64_t chunk, uint64_t size)
{
    uint64_t end = chunk + size, page;
    const pm_chunks *cached = heap->cached;

    if (cached) {
        while (heap->cached_at < cached->count && cached->list[heap->cached_at].address < chunk)
            heap->cached_at++;
        if (heap->cached_at < cached->count && cached->list[heap->cached_at].address == chunk)
            return PM_HEAP_END;
    }
    for (uint64_t at = chunk; at < end; at = (page + 1) * heap->page_size) {
        page = at / heap->page_size;
        if (page != heap->on.page) {
            if (pm_heap_last_page(heap))
                return PM_HEAP_NO_MEMORY;
            heap->on = (pm_page_use){page, 0, 0, chunk, size};
        }
        heap->on.count++;
        heap->on.bytes += (end < (page + 1) * heap->page_size ? end : (page + 1) * heap->page_size) - at;
    }
    return PM_HEAP_END;
}

static void add_hole(pm_heap *heap, uint64_t chunk, uint64_t size)
{
    size_t least = 0;

    if (heap->hole_count < PM_HEAP_HOLES) {
        least = heap->hole_count++;
    } else {
        for (size_t i = 1; i < PM_HEAP_HOLES; i++)
            if (heap->holes[i].size < heap->holes[least].size)
                least = i;
        if (heap->holes[least].size >= size)
            return;
    }
    heap->holes[least] = (pm_hole){chunk, size, heap->used_count, heap->in_use};
}

static int add_free(pm_heap *heap, uint64_t chunk, uint64_t size)
{
    if (pm_chunks_add(&heap->free, chunk, size))
        return PM_HEAP_NO_MEMORY;
    heap->free_bytes += size;
    if (size > heap->largest_free)
        heap->largest_free = size;
    if (size >= heap->page_size)
        add_hole(heap, chunk, size);
    return PM_HEAP_END;
}

static int add_used(pm_heap *heap, uint64_t chunk, uint64_t size)
{
    if (size < PM_HEAP_SMALL)
        heap->sizes[size / 8]++;
    else if (pm_chunks_add(&heap->large, chunk, size))
        return PM_HEAP_NO_MEMORY;
    heap->in_use += size;
    heap->used_count++;
    heap->last_in_use = chunk;
    heap->last_size = size;
    if (size == heap->mark_size && pm_chunks_add(&heap->marked, chunk, size))
        return PM_HEAP_NO_MEMORY;
    return heap->pages ? use_pages(heap, chunk, size) : PM_HEAP_END;
}

int pm_heap_walk(pm_heap *heap, uint64_t first, uint64_t end, uint64_t top)
{
    uint64_t chunk = first, size = 0, before = 0, before_size = 0, head, next;
    int bad;

    heap->top_size = heap->last_in_use = heap->fence = 0;
    heap->ahead = 2;
    for (;; before = chunk, before_size = size, chunk += size) {
        heap->at = chunk;
        if (chunk < first || chunk > end - 2 * heap->word || !heap->steps)
            return PM_HEAP_BAD;
        heap->steps--;
        bad = word_at(heap, chunk + heap->word, end, &head);
        if (bad)
            return bad;
        size = head & ~(uint64_t)SIZE_BITS;
        if (before) {
            if (head & PREV_INUSE) {
                bad = heap->probe ? PM_HEAP_END : add_used(heap, before, before_size);
            } else {
                /* A free chunk has its size once more at its end. */
                bad = word_at(heap, chunk, end, &next);
                if (bad)
                    return bad;
                if (next != before_size)
                    return PM_HEAP_BAD;
                bad = heap->probe ? PM_HEAP_END : add_free(heap, before, before_size);
            }
            if (bad)
                return bad;
        }
        if (chunk == top) {
            /* The top ends with a page, its start is aligned for 32-bit programs behind that. */
            if (size % (2 * heap->word) || size < 4 * heap->word || size > end - chunk)
                return PM_HEAP_BAD;
            heap->top_size = size;
            return PM_HEAP_END;
        }
        /* sysmalloc() closes a row that is not continued with one or two headers that say
         * "in use": of the size of a header, and of that or none. */
        if (size <= 2 * heap->word) {
            if (size == 2 * heap->word && chunk + size <= end - 2 * heap->word) {
                bad = word_at(heap, chunk + size + heap->word, end, &next);
                if (bad)
                    return bad;
                if ((next & ~(uint64_t)SIZE_BITS) > 2 * heap->word || !(next & PREV_INUSE))
                    return PM_HEAP_BAD;
                chunk += size;
            } else if (size != 2 * heap->word && size) {
                return PM_HEAP_BAD;
            }
            heap->fence = chunk + 2 * heap->word - heap->at;
            return PM_HEAP_END;
        }
        if (size % heap->align || size < 4 * heap->word || size > end - chunk ||
            head & IS_MMAPPED)
            return PM_HEAP_BAD;
        /* Where chunks are small every page has headers. */
        heap->ahead = size >= 4 * heap->page_size ? 2
                      : heap->ahead < BUFFER_PAGES ? heap->ahead * 2
                                                   : BUFFER_PAGES;
    }
}

uint64_t pm_heap_seek(pm_heap *heap, uint64_t from, uint64_t end, uint64_t top, uint64_t step)
{
    uint64_t head, page = heap->page_size;
    int bad;

    heap->probe = 1;
    for (uint64_t at = from; at + 4 * heap->word <= end && heap->steps; at += step) {
        heap->ahead = 1;
        bad = word_at(heap, at + heap->word, end, &head);
        if (bad) {
            if (bad != PM_HEAP_ABSENT && bad != PM_HEAP_SWAPPED)
                break;
            /* The first of its addresses that is tried on the next page. */
            at += ((at + heap->word) / page * page + page - heap->word - at - 1) / step * step;
            continue;
        }
        heap->steps--;
        /* Nothing is before the first chunk, and fence posts do not begin a row. */
        if (!(head & PREV_INUSE) || (head & ~(uint64_t)SIZE_BITS) < 4 * heap->word)
            continue;
        if (pm_heap_walk(heap, at, end, top) == PM_HEAP_END &&
            (heap->top_size || heap->fence == 4 * heap->word))
            return at;
    }
    return 0;
}

/* Whether malloc could make a chunk of a size. */
static int is_size(const pm_heap *heap, uint64_t size)
{
    return size % heap->align == 0 && size >= 4 * heap->word && size >> 63 == 0;
}

/* Brent's algorithm: compares each link with one that was kept after 1, 2, 4, 8... links. */
typedef struct {
    uint64_t kept, steps, limit;
} loop;

static int is_loop(loop *seen, uint64_t at)
{
    if (at == seen->kept)
        return 1;
    if (seen->steps++ == seen->limit) {
        seen->kept = at;
        seen->steps = 0;
        seen->limit = seen->limit * 2 + 1;
    }
    return 0;
}

int pm_heap_list(pm_heap *heap, uint64_t first, int to_header, int mangled,
                 uint64_t size, size_t most, pm_chunks *out)
{
    uint64_t at = first, head, next;
    loop seen = {0};
    int bad;

    heap->ahead = 1;
    while (at) {
        heap->at = at;
        if (at % heap->align || at < 2 * heap->word || most-- == 0 || is_loop(&seen, at))
            return PM_HEAP_BAD;
        bad = word_at(heap, at - heap->word, at, &head);
        if (bad)
            return bad;
        head &= ~(uint64_t)SIZE_BITS;
        if (size ? head != size : !is_size(heap, head))
            return PM_HEAP_BAD;
        bad = word_at(heap, at, at, &next);
        if (bad)
            return bad;
        if (pm_chunks_add(out, at - 2 * heap->word, head))
            return PM_HEAP_NO_MEMORY;
        at = mangled ? next ^ (at >> 12) : next;
        if (at && to_header)
            at += 2 * heap->word;
    }
    return PM_HEAP_END;
}

int pm_heap_bin(pm_heap *heap, uint64_t bin, size_t most, pm_chunks *out)
{
    uint64_t chunk, before = bin, head, next, back;
    loop seen = {0};
    int bad;

    heap->ahead = 1;
    heap->at = bin;
    bad = word_at(heap, bin + 2 * heap->word, bin, &chunk);
    if (bad)
        return bad;
    while (chunk != bin) {
        heap->at = chunk;
        if ((chunk + 2 * heap->word) % heap->align || most-- == 0)
            return PM_HEAP_BAD;
        if ((bad = word_at(heap, chunk + heap->word, chunk, &head)) ||
            (bad = word_at(heap, chunk + 2 * heap->word, chunk, &next)) ||
            (bad = word_at(heap, chunk + 3 * heap->word, chunk, &back)))
            return bad;
        head &= ~(uint64_t)SIZE_BITS;
        if (back != before || !is_size(heap, head) || is_loop(&seen, chunk))
            return PM_HEAP_BAD;
        if (pm_chunks_add(out, chunk, head))
            return PM_HEAP_NO_MEMORY;
        before = chunk;
        chunk = next;
    }
    return PM_HEAP_END;
}

static int by_address(const void *a, const void *b)
{
    const pm_chunk *one = a, *other = b;

    return (one->address > other->address) - (one->address < other->address);
}

void pm_heap_sort(pm_chunks *chunks)
{
    if (chunks->count)
        qsort(chunks->list, chunks->count, sizeof *chunks->list, by_address);
}

void pm_heap_join(pm_chunks *chunks)
{
    size_t kept = 0, sorted = 1;

    if (!chunks->count)
        return;
    /* A walk lists them by address. */
    while (sorted < chunks->count &&
           chunks->list[sorted - 1].address <= chunks->list[sorted].address)
        sorted++;
    if (sorted < chunks->count)
        pm_heap_sort(chunks);
    for (size_t i = 1; i < chunks->count; i++) {
        pm_chunk *last = &chunks->list[kept];

        if (last->address + last->size == chunks->list[i].address)
            last->size += chunks->list[i].size;
        else
            chunks->list[++kept] = chunks->list[i];
    }
    chunks->count = kept + 1;
}

/* Adds resident bytes to a list of ranges; they come by address. */
static int add_range(pm_chunks *out, uint64_t start, uint64_t end)
{
    if (!out || start == end)
        return 0;
    if (out->count && out->list[out->count - 1].address + out->list[out->count - 1].size == start) {
        out->list[out->count - 1].size += end - start;
        return 0;
    }
    return pm_chunks_add(out, start, end - start);
}

uint64_t pm_heap_resident(const pm_chunks *chunks, const pm_pages *pages, uint64_t page_size,
                          uint64_t skip, int whole, pm_chunks *out)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < chunks->count; i++) {
        const pm_chunk *chunk = &chunks->list[i];
        uint64_t start, end = chunk->address + chunk->size, first, last;

        if (chunk->size <= skip)
            continue;
        start = chunk->address + skip;
        if (whole) {
            start = (start + page_size - 1) / page_size * page_size;
            end = end / page_size * page_size;
        }
        if (start >= end)
            continue;
        first = (start + page_size - 1) / page_size;
        last = end / page_size;
        if (out) {
            uint64_t page = start / page_size, found[2 * 256];
            size_t count;

            while ((count = pm_pages_frames(pages, &page, (end - 1) / page_size + 1, NULL, 0, found, 256)))
                for (size_t k = 0; k < count; k++) {
                    uint64_t at = found[2 * k] * page_size, to = at + page_size;

                    at = at > start ? at : start;
                    to = to < end ? to : end;
                    sum += to - at;
                    if (add_range(out, at, to))
                        return UINT64_MAX;
                }
            continue;
        }
        if (start % page_size && resident(pages, start / page_size))
            sum += (end < first * page_size ? end : first * page_size) - start;
        if (last > first)
            sum += page_size * pm_pages_count(pages, first, last, PM_ENTRY_PRESENT | PM_ENTRY_ZERO,
                                              PM_ENTRY_PRESENT);
        if (end % page_size && last >= first && resident(pages, last))
            sum += end - last * page_size;
    }
    return sum;
}

pm_chunks *pm_chunks_new(void)
{
    return calloc(1, sizeof(pm_chunks));
}

int pm_chunks_add_all(pm_chunks *chunks, const pm_chunks *more)
{
    for (size_t i = 0; i < more->count; i++)
        if (pm_chunks_add(chunks, more->list[i].address, more->list[i].size))
            return -1;
    return 0;
}

uint64_t pm_chunks_total(const pm_chunks *chunks)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < chunks->count; i++)
        if (__builtin_add_overflow(sum, chunks->list[i].size, &sum))
            return UINT64_MAX;
    return sum;
}

int pm_chunks_sizes(const pm_chunks *chunks, uint64_t *sizes, pm_chunks *large)
{
    for (size_t i = 0; i < chunks->count; i++) {
        const pm_chunk *one = &chunks->list[i];

        if (one->size < PM_HEAP_SMALL)
            sizes[one->size / 8]++;
        else if (pm_chunks_add(large, one->address, one->size))
            return -1;
    }
    return 0;
}

void pm_chunks_free(pm_chunks *chunks)
{
    if (chunks)
        free(chunks->list);
    free(chunks);
}
