#include "pagemap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pm_pages *pm_pages_new(void)
{
    return calloc(1, sizeof(pm_pages));
}

void pm_pages_free(pm_pages *pages)
{
    free(pages->entries);
    free(pages->segments);
    free(pages);
}

static int grow(void **memory, size_t *room, size_t needed, size_t size)
{
    size_t wanted = *room ? *room : 64;
    void *grown;

    if (needed <= *room)
        return 0;
    while (wanted < needed)
        wanted *= 2;
    grown = realloc(*memory, wanted * size);
    if (!grown)
        return -ENOMEM;
    *memory = grown;
    *room = wanted;
    return 0;
}

/* Entries without a page between two segments: one costs three words. */
#define GAP 16

/* Takes `count` entries that stand behind the last ones in memory: keeps those
 * that say something, `there` in all, and moves them together. */
static int keep(pm_pages *pages, uint64_t page, size_t count, size_t there)
{
    uint64_t *from = pages->entries + pages->count;
    size_t i = 0;

    while (i < count) {
        size_t start, end, empty;
        pm_segment *last;
        int status;

        while (i < count && !from[i])
            i++;
        if (i == count)
            break;
        start = i;
        if (there == count)
            i = count;
        for (end = i, empty = 0; i < count && empty < GAP; i++) {
            if (from[i]) {
                end = i + 1;
                empty = 0;
            } else {
                empty++;
            }
        }
        if (from + start != pages->entries + pages->count)
            memmove(pages->entries + pages->count, from + start, (end - start) * sizeof *from);
        last = pages->segment_count ? pages->segments + pages->segment_count - 1 : NULL;
        if (last && last->page + last->count == page + start) {
            last->count += end - start;
        } else {
            status = grow((void **)&pages->segments, &pages->segment_room,
                          pages->segment_count + 1, sizeof *pages->segments);
            if (status)
                return status;
            last = pages->segments + pages->segment_count++;
            last->page = page + start;
            last->count = end - start;
            last->at = pages->count;
        }
        pages->count += end - start;
    }
    return 0;
}

static int make_room(pm_pages *pages, size_t count)
{
    return grow((void **)&pages->entries, &pages->room, pages->count + count,
                sizeof *pages->entries);
}

/* Whose pages may be the page of zeros: see find_zero(). */
#define KIND (PM_ENTRY_PRESENT | PM_ENTRY_EXCLUSIVE)

/* A kernel with soft-dirty bits sets them for pages of a new region that were
 * never there: PAGEMAP_SCAN does not find those, and they are none. Returns how
 * many pages are there. */
static size_t blank(uint64_t *entries, size_t count, int *doubtful)
{
    size_t i, there = 0;
    uint64_t shared = 0;

    for (i = 0; i < count; i++) {
        uint64_t is = (entries[i] & (PM_ENTRY_PRESENT | PM_ENTRY_SWAPPED)) != 0;

        entries[i] &= -is & ~PM_ENTRY_ZERO;
        there += is;
        shared |= (entries[i] & KIND) == PM_ENTRY_PRESENT;
    }
    *doubtful = shared != 0;
    return there;
}

int pm_pages_add(pm_pages *pages, uint64_t page, const uint64_t *entries, size_t count)
{
    int doubtful, status = make_room(pages, count);
    size_t there;

    if (status || !count)
        return status;
    memcpy(pages->entries + pages->count, entries, count * sizeof *entries);
    there = blank(pages->entries + pages->count, count, &doubtful);
    return keep(pages, page, count, there);
}

/* ---- reading ---- */

#define RANGES 256
/* Populated pages that one search covers: a page table's. */
#define LOOK 512
/* Entries of one read, at most: a larger one is no faster. */
#define PIECE 65536
/* Entries without a page that are read rather than jumped over by another call. */
#define READ_OVER 64
/* Entries after which signals are heard. */
#define PART (1 << 20)

static long look(int fd, struct page_scan *scan)
{
    long got;

    do
        got = ioctl(fd, SCAN_PAGES, scan);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

/* Marks the zero page where PAGEMAP_SCAN finds it among entries from page `page` on. */
static int mark_zero(int fd, uint64_t page_size, uint64_t page, uint64_t *entries, size_t count)
{
    struct page_range ranges[64];
    struct page_scan scan = {
        .size = sizeof scan,
        .start = page * page_size,
        .end = (page + count) * page_size,
        .vec = (uint64_t)(uintptr_t)ranges,
        .vec_len = 64,
        .category_mask = PAGE_PFNZERO,
        .return_mask = PAGE_PFNZERO,
    };

    for (;;) {
        long i, got = look(fd, &scan);

        if (got < 0)
            return (int)got;
        for (i = 0; i < got; i++) {
            uint64_t one = ranges[i].start / page_size, end = ranges[i].end / page_size;

            for (; one < end; one++)
                if (entries[one - page] & PM_ENTRY_PRESENT)
                    entries[one - page] =
                        (entries[one - page] & ~PM_ENTRY_FILE) | PM_ENTRY_ZERO;
        }
        /* walk_end may be stale on a finished scan: the count says whether there is more. */
        if (got < 64 || ranges[got - 1].end >= scan.end)
            return 0;
        scan.start = ranges[got - 1].end;
    }
}

/* Finds the zero page. Its entry is that of an anonymous page which another process
 * maps too: the frame distinguishes them where frames are shown, else PAGEMAP_SCAN. That of
 * the huge one is a shared file page's, for all pages that one entry of the next level
 * covers: it is enough to ask about the first. */
static int find_zero(int fd, uint64_t page_size, uint64_t page, uint64_t *entries, size_t count,
                     uint64_t zero_frame)
{
    uint64_t block = page_size / sizeof *entries;
    size_t i = 0;

    while (i < count) {
        uint64_t kind = entries[i] & (KIND | PM_ENTRY_FILE);
        size_t start = i, k;
        int status = 0;

        while (i < count && (entries[i] & (KIND | PM_ENTRY_FILE)) == kind)
            i++;
        if (kind == PM_ENTRY_PRESENT && zero_frame) {
            for (; start < i; start++)
                if ((entries[start] & PM_ENTRY_FRAME) == zero_frame)
                    entries[start] |= PM_ENTRY_ZERO;
        } else if (kind == PM_ENTRY_PRESENT) {
            status = mark_zero(fd, page_size, page + start, entries + start, i - start);
        } else if (kind == (PM_ENTRY_PRESENT | PM_ENTRY_FILE)) {
            start += (block - (page + start) % block) % block;
            for (; !status && start + block <= i; start += block) {
                status = mark_zero(fd, page_size, page + start, entries + start, 1);
                for (k = start + 1; entries[start] & PM_ENTRY_ZERO && k < start + block; k++)
                    entries[k] = (entries[k] & ~PM_ENTRY_FILE) | PM_ENTRY_ZERO;
            }
        }
        if (status)
            return status;
    }
    return 0;
}

/* Reads entries of [page, last). Returns how many, *there those that say something. */
static int64_t take(pm_pages *pages, int fd, uint64_t page_size, uint64_t page, uint64_t last,
                    int scan, uint64_t zero_frame, size_t *there)
{
    size_t count = 0, wanted = (size_t)(last - page);
    uint64_t *into;
    int doubtful, status = make_room(pages, wanted);

    if (status)
        return status;
    into = pages->entries + pages->count;
    while (count < wanted) {
        ssize_t got = pread(fd, into + count, (wanted - count) * 8, (off_t)((page + count) * 8));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got < 8)
            break; /* the file ends where user space does */
        count += (size_t)got / 8;
    }
    *there = blank(into, count, &doubtful);
    if (scan && doubtful && (status = find_zero(fd, page_size, page, into, count, zero_frame)))
        return status;
    status = keep(pages, page, count, *there);
    return status ? status : (int64_t)count;
}

int pm_pages_read(pm_pages *pages, int fd, uint64_t page_size, uint64_t *page, uint64_t last,
                  int scan, uint64_t zero_frame)
{
    struct page_range ranges[RANGES];
    struct page_scan found = {
        .size = sizeof found,
        .end = last * page_size,
        .vec = (uint64_t)(uintptr_t)ranges,
        .vec_len = RANGES,
        .max_pages = LOOK,
        .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED,
        .return_mask = PAGE_PRESENT,
    };
    uint64_t spent = 0;

    if (!scan && !pages->piece)
        pages->piece = LOOK;
    while (*page < last && spent < PART) {
        uint64_t first = *page, seen = 0;
        int64_t read;
        size_t there;
        long got, i;

        if (pages->piece) {
            uint64_t end = last - first < pages->piece ? last : first + pages->piece;

            read = take(pages, fd, page_size, first, end, scan, zero_frame, &there);
            if (read < 0)
                return (int)read;
            spent += (uint64_t)read;
            *page = first + (uint64_t)read;
            if (!read)
                *page = last; /* the file ends where user space does */
            if (scan && there * 2 < (uint64_t)read)
                pages->piece = 0;
            else if (pages->piece < PIECE)
                pages->piece *= 2;
            continue;
        }
        found.start = first * page_size;
        got = look(fd, &found);
        if (got < 0)
            return (int)got;
        for (i = 0; i < got; i++) {
            uint64_t from = ranges[i].start / page_size, end = ranges[i].end / page_size;

            seen += end - from;
            while (i + 1 < got && ranges[i + 1].start / page_size - end <= READ_OVER) {
                i++;
                seen += (ranges[i].end - ranges[i].start) / page_size;
                end = ranges[i].end / page_size;
            }
            read = take(pages, fd, page_size, from, end, scan, zero_frame, &there);
            if (read < 0)
                return (int)read;
            spent += (uint64_t)read;
        }
        spent += LOOK;
        if (got < RANGES && seen < LOOK) {
            *page = last;
        } else {
            *page = ranges[got - 1].end / page_size;
            if (*page - ranges[0].start / page_size <= 2 * LOOK)
                pages->piece = 2 * LOOK;
        }
    }
    return 0;
}

int pm_pages_scan(pm_pages *pages, int fd, uint64_t page_size, uint64_t *page, uint64_t last)
{
    struct page_range ranges[RANGES];
    struct page_scan scan = {
        .size = sizeof scan,
        .start = *page * page_size,
        .end = last * page_size,
        .vec = (uint64_t)(uintptr_t)ranges,
        .vec_len = RANGES,
        .category_mask = PAGE_PFNZERO,
        .category_inverted = PAGE_PFNZERO,
        .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED,
        .return_mask = PAGE_PRESENT,
    };

    for (;;) {
        long i, got = look(fd, &scan);

        if (got < 0)
            return (int)got;
        for (i = 0; i < got; i++) {
            uint64_t first = ranges[i].start / page_size;
            size_t k, count = (size_t)(ranges[i].end / page_size - first);
            uint64_t entry = ranges[i].categories & PAGE_PRESENT ? PM_ENTRY_PRESENT : PM_ENTRY_SWAPPED;
            int status = make_room(pages, count);

            if (status)
                return status;
            for (k = 0; k < count; k++)
                pages->entries[pages->count + k] = entry;
            status = keep(pages, first, count, count);
            if (status)
                return status;
        }
        /* walk_end may be stale on a finished scan: the count says whether there is more. */
        if (got < RANGES) {
            *page = last;
            return 0;
        }
        scan.start = ranges[got - 1].end;
        *page = scan.start / page_size;
    }
}

/* ---- questions ---- */

/* The first segment that ends above a page. */
static size_t segment_above(const pm_pages *pages, uint64_t page)
{
    size_t low = 0, high = pages->segment_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (pages->segments[middle].page + pages->segments[middle].count <= page)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Goes through what segments hold of [first, last): part by part, each the entries of the
 * pages from `page` on. */
typedef struct {
    const pm_pages *pages;
    uint64_t last, page;
    size_t next, count;
    const uint64_t *entries;
} parts;

static parts parts_of(const pm_pages *pages, uint64_t first, uint64_t last)
{
    parts walk = {pages, last, first, segment_above(pages, first), 0, NULL};

    return walk;
}

static int next_part(parts *walk)
{
    const pm_segment *segment;
    uint64_t skip, end;

    walk->page += walk->count;
    if (walk->next == walk->pages->segment_count)
        return 0;
    segment = walk->pages->segments + walk->next;
    if (segment->page >= walk->last)
        return 0;
    skip = walk->page > segment->page ? walk->page - segment->page : 0;
    end = segment->page + segment->count;
    if (end > walk->last)
        end = walk->last;
    walk->page = segment->page + skip;
    if (walk->page >= end)
        return 0;
    walk->entries = walk->pages->entries + segment->at + skip;
    walk->count = (size_t)(end - walk->page);
    walk->next++;
    return 1;
}

static unsigned state_of(uint64_t entry)
{
    if (!entry)
        return PM_ABSENT;
    if (entry & PM_ENTRY_GUARD)
        return PM_GUARDED;
    if (!(entry & PM_ENTRY_PRESENT))
        return PM_IN_SWAP;
    if (entry & PM_ENTRY_ZERO)
        return PM_ZERO;
    if (entry & PM_ENTRY_FILE)
        return entry & PM_ENTRY_EXCLUSIVE ? PM_FILE : PM_FILE_SHARED;
    return entry & PM_ENTRY_EXCLUSIVE ? PM_ANON : PM_ANON_SHARED;
}

uint64_t pm_pages_entry(const pm_pages *pages, uint64_t page)
{
    size_t i = segment_above(pages, page);
    const pm_segment *segment;

    if (i == pages->segment_count)
        return 0;
    segment = pages->segments + i;
    if (page < segment->page)
        return 0;
    return pages->entries[segment->at + (page - segment->page)];
}

void pm_pages_copy(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t *out)
{
    parts walk = parts_of(pages, first, last);

    memset(out, 0, (size_t)(last - first) * sizeof *out);
    while (next_part(&walk))
        memcpy(out + (walk.page - first), walk.entries, walk.count * sizeof *out);
}

uint64_t pm_pages_count(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t mask,
                        uint64_t value)
{
    parts walk = parts_of(pages, first, last);
    uint64_t found = 0;
    size_t i;

    while (next_part(&walk))
        for (i = 0; i < walk.count; i++)
            found += (walk.entries[i] & mask) == value;
    return found;
}

void pm_pages_states(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t *out)
{
    parts walk = parts_of(pages, first, last);
    uint64_t there = 0;
    size_t i;

    memset(out, 0, PM_STATES * sizeof *out);
    while (next_part(&walk)) {
        there += walk.count;
        for (i = 0; i < walk.count; i++)
            out[state_of(walk.entries[i])]++;
    }
    out[PM_ABSENT] += last - first - there;
}

/* Adds a run behind the last one, or makes that longer. 0: there is no room. */
static int put_run(uint64_t *out, size_t *count, size_t room, uint64_t start, uint64_t end,
                   unsigned state)
{
    uint64_t *run = out + 3 * *count;

    if (*count && run[-1] == state) {
        run[-2] = end;
        return 1;
    }
    if (*count == room)
        return 0;
    run[0] = start;
    run[1] = end;
    run[2] = state;
    (*count)++;
    return 1;
}

size_t pm_pages_runs(const pm_pages *pages, uint64_t *page, uint64_t last, uint64_t *out,
                     size_t room)
{
    parts walk = parts_of(pages, *page, last);
    uint64_t at = *page;
    size_t count = 0;

    while (next_part(&walk)) {
        size_t i = 0;

        if (at < walk.page && !put_run(out, &count, room, at, walk.page, PM_ABSENT))
            goto full;
        at = walk.page;
        while (i < walk.count) {
            unsigned state = state_of(walk.entries[i]);
            size_t start = i;

            while (++i < walk.count && state_of(walk.entries[i]) == state)
                continue;
            if (!put_run(out, &count, room, walk.page + start, walk.page + i, state))
                goto full;
            at = walk.page + i;
        }
    }
    if (at < last && put_run(out, &count, room, at, last, PM_ABSENT))
        at = last;
full:
    *page = at;
    return count;
}

static unsigned char most(const uint64_t *counts)
{
    unsigned state, best = PM_ABSENT;

    for (state = PM_ABSENT + 1; state < PM_STATES; state++)
        if (counts[state] && (best == PM_ABSENT || counts[state] > counts[best]))
            best = state;
    return (unsigned char)best;
}

/* Where bucket i of n pages in `width` buckets starts: i * n / width without overflow. */
static uint64_t bucket_start(uint64_t n, size_t width, size_t i)
{
    return n / width * i + n % width * i / width;
}

void pm_pages_row(const pm_pages *pages, uint64_t first, uint64_t last, size_t width,
                  unsigned char *out)
{
    parts walk = parts_of(pages, first, last);
    uint64_t counts[PM_STATES] = {0}, end;
    size_t i, bucket = 0;

    memset(out, PM_ABSENT, width);
    if (!width)
        return;
    end = first + bucket_start(last - first, width, 1);
    while (next_part(&walk))
        for (i = 0; i < walk.count; i++) {
            uint64_t page = walk.page + i;

            if (page >= end) {
                size_t low = bucket + 1, high = width;

                out[bucket] = most(counts);
                memset(counts, 0, sizeof counts);
                /* The last bucket that starts at or below the page. */
                while (low + 1 < high) {
                    size_t middle = low + (high - low) / 2;

                    if (first + bucket_start(last - first, width, middle) <= page)
                        low = middle;
                    else
                        high = middle;
                }
                bucket = low;
                end = first + bucket_start(last - first, width, bucket + 1);
            }
            counts[state_of(walk.entries[i])]++;
        }
    out[bucket] = most(counts);
}

static int is_among(uint64_t frame, const uint64_t *frames, size_t count)
{
    size_t low = 0, high = count;

    if (!count || frame < frames[0] || frame > frames[count - 1])
        return 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (frames[middle] < frame)
            low = middle + 1;
        else
            high = middle;
    }
    return frames[low] == frame;
}

size_t pm_pages_frames(const pm_pages *pages, uint64_t *page, uint64_t last,
                       const uint64_t *frames, size_t frame_count, uint64_t *out, size_t room)
{
    parts walk = parts_of(pages, *page, last);
    size_t i, count = 0;

    while (next_part(&walk))
        for (i = 0; i < walk.count; i++) {
            uint64_t entry = walk.entries[i], frame = entry & PM_ENTRY_FRAME;

            if (!(entry & PM_ENTRY_PRESENT) || entry & PM_ENTRY_ZERO)
                continue;
            if (frames && !is_among(frame, frames, frame_count))
                continue;
            if (count == room) {
                *page = walk.page + i;
                return count;
            }
            out[2 * count] = walk.page + i;
            out[2 * count + 1] = frame;
            count++;
        }
    *page = last;
    return count;
}
