/* Fuzzes the walk over a heap in another process; scripts/fuzz.py builds and runs it.
 *
 * Of an input, byte 0 chooses what memory there is, byte 1 where memory runs out or which pages are
 * missing; each two bytes of the rest are a chunk of a heap as malloc makes it, or a word of
 * arbitrary memory. A sound heap is found as it was made; whatever there is, the walk ends soon and
 * finds no more than there is room for. */
#define FUZZ_BINARY
#include "fuzz_driver.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

static long allocations_left = -1; /* negative: all succeed */

static void *fuzz_realloc(void *memory, size_t size)
{
    return allocations_left >= 0 && allocations_left-- == 0 ? NULL : realloc(memory, size);
}

static ssize_t fuzz_pread(int fd, void *to, size_t size, off_t offset);
static ssize_t fuzz_readv(pid_t pid, const struct iovec *local, unsigned long locals,
                          const struct iovec *remote, unsigned long remotes, unsigned long flags);

#define realloc fuzz_realloc
#define pread fuzz_pread
#define process_vm_readv fuzz_readv
#include "heap.c"
#include "pagemap.c"
#undef realloc
#undef pread
#undef process_vm_readv

enum { SOUND = 1, STARVED = 2, SHORT = 4, HOLES = 8, NARROW = 16, POKED = 32, LISTED = 64,
       COPIED = 128 };

#define PAGE 256u
#define PAGES 64u
#define SIZE (PAGE * PAGES)
#define BASE UINT64_C(0x56550000)

static unsigned char memory[SIZE];
static uint64_t table[PAGES];
static unsigned short_read;
static unsigned long reads;
static uint64_t word;

/* ---- the kernel's side ---- */

static ssize_t fuzz_pread(int fd, void *to, size_t size, off_t offset)
{
    uint64_t first = (uint64_t)offset / 8, count = size / 8, i;

    (void)fd;
    REQUIRE(offset >= 0 && offset % 8 == 0 && size % 8 == 0);
    reads++;
    if (short_read && count > short_read)
        count = short_read;
    for (i = 0; i < count; i++) {
        uint64_t page = first + i - BASE / PAGE, entry = page < PAGES ? table[page] : 0;

        memcpy((unsigned char *)to + i * 8, &entry, 8);
    }
    return (ssize_t)(count * 8);
}

static ssize_t fuzz_readv(pid_t pid, const struct iovec *local, unsigned long locals,
                          const struct iovec *remote, unsigned long remotes, unsigned long flags)
{
    uint64_t start = (uint64_t)(uintptr_t)remote->iov_base - BASE;
    size_t size = remote->iov_len, i;

    (void)pid;
    reads++;
    REQUIRE(locals == 1 && remotes == 1 && !flags && local->iov_len == size);
    /* Never a page that is not present: that would bring it in. */
    REQUIRE(start % PAGE == 0 && size % PAGE == 0 && start < SIZE && size <= SIZE - start);
    for (i = 0; i < size; i += PAGE)
        REQUIRE(table[(start + i) / PAGE] & PM_ENTRY_PRESENT);
    if (short_read && size > short_read * PAGE)
        size = short_read * PAGE;
    if (short_read > 60) {
        errno = EFAULT;
        return -1;
    }
    memcpy(local->iov_base, memory + start, size);
    return (ssize_t)size;
}

/* ---- a process's memory ---- */

static void put(uint64_t address, uint64_t value)
{
    uint64_t at = address - BASE;

    if (at <= SIZE - word)
        memcpy(memory + at, &value, word);
}

static uint64_t get(uint64_t address)
{
    uint64_t value = 0;

    memcpy(&value, memory + (address - BASE), word);
    return value;
}

/* A word at which a check may be wrong. */
static uint64_t some_word(unsigned char kind, unsigned char value)
{
    static const uint64_t numbers[] = {
        0, 1, 2, 8, 16, 17, 32, 33, UINT32_MAX, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 15,
        UINT64_MAX, SIZE, SIZE + 1, BASE,
    };

    switch (kind & 7) {
    case 0: return numbers[value & 15];
    case 1: return BASE + value * 16u;
    case 2: return BASE + value * 64u;
    case 3: return (value & ~7u) * 4 + (value & 7);
    case 4: return (BASE + value * 16u) ^ (BASE >> 12);
    case 5: return BASE + SIZE - value;
    case 6: return value;
    default: return (uint64_t)(kind * 257 + value) << (value & 63);
    }
}

typedef struct {
    uint64_t top, top_size, in_use, used, free, free_count, fast_count, fast_size, fast, last;
} truth;

#define BIN (BASE + 4 * word) /* as a chunk: its links are words 2 and 3 of it */
#define FIRST (BASE + 18 * word) /* the memory after its header is aligned to 16 */

/* A heap as malloc makes it: chunks by two bytes each, then the top. */
static truth make_heap(const unsigned char *data, size_t size)
{
    truth made = {.fast_size = 16 * word / 2};
    uint64_t at = FIRST, before = BIN, in_use = 1, most = BASE + SIZE - 64 * word;
    size_t i;

    put(BIN + 2 * word, BIN);
    put(BIN + 3 * word, BIN);
    for (i = 0; i + 2 <= size && at < most; i += 2) {
        uint64_t length = 32 + 16 * (data[i] & (data[i + 1] & 64 ? 63u : 7u));
        int is_free = in_use && data[i + 1] & 1;

        if (at + length > most)
            break;
        put(at + word, length | in_use | (data[i + 1] & 128 ? 4 : 0));
        if (is_free) {
            put(at + length, length);
            put(before + 2 * word, at);
            put(at + 3 * word, before);
            put(at + 2 * word, BIN);
            put(BIN + 3 * word, at);
            before = at;
            made.free += length;
            made.free_count++;
        } else {
            made.in_use += length;
            made.used++;
            made.last = at;
            if (length == made.fast_size && data[i + 1] & 2) {
                put(at + 2 * word, made.fast ^ ((at + 2 * word) >> 12));
                made.fast = at;
                made.fast_count++;
            }
        }
        in_use = !is_free;
        at += length;
    }
    made.top = at;
    made.top_size = (BASE + SIZE - at) & ~UINT64_C(15);
    put(at + word, made.top_size | in_use);
    return made;
}

/* ---- what must hold ---- */

static int is_inside(const pm_chunks *chunks, uint64_t first, uint64_t end)
{
    for (size_t i = 0; i < chunks->count; i++)
        if (chunks->list[i].address < first || chunks->list[i].size > end - first ||
            chunks->list[i].address > end - chunks->list[i].size)
            return 0;
    return 1;
}

static uint64_t sum(const pm_chunks *chunks)
{
    uint64_t found = 0;

    for (size_t i = 0; i < chunks->count; i++)
        found += chunks->list[i].size;
    return found;
}

/* What is resident, page by page. */
static void check_resident(pm_chunks *chunks, uint64_t skip, int whole)
{
    pm_pages *pages = pm_pages_new();
    pm_chunks given = {0};
    uint64_t expected = 0, found;

    if (!pages || pm_pages_add(pages, BASE / PAGE, table, PAGES))
        abort();
    for (size_t i = 0; i < chunks->count; i++) {
        uint64_t start = chunks->list[i].address + skip;
        uint64_t end = chunks->list[i].address + chunks->list[i].size;

        for (uint64_t page = 0; page < PAGES && chunks->list[i].size > skip; page++) {
            uint64_t from = BASE + page * PAGE, to = from + PAGE;

            if (!(table[page] & PM_ENTRY_PRESENT) || from >= end || to <= start)
                continue;
            if (whole)
                expected += from >= start && to <= end ? PAGE : 0;
            else
                expected += (to < end ? to : end) - (from > start ? from : start);
        }
    }
    found = pm_heap_resident(chunks, pages, PAGE, skip, whole, &given);
    REQUIRE(found == expected && sum(&given) == found);
    REQUIRE(pm_heap_resident(chunks, pages, PAGE, skip, whole, NULL) == found);
    free(given.list);
    pm_pages_free(pages);
}

static int walk(pm_heap *heap, const truth *made, int how)
{
    uint64_t counted = 0;
    int status = pm_heap_walk(heap, FIRST, BASE + SIZE, made->top);

    REQUIRE(heap->at >= FIRST || status == PM_HEAP_BAD);
    REQUIRE(heap->in_use + heap->free_bytes <= SIZE && sum(&heap->free) == heap->free_bytes);
    REQUIRE(is_inside(&heap->free, FIRST, BASE + SIZE));
    REQUIRE(is_inside(&heap->large, FIRST, BASE + SIZE));
    REQUIRE(is_inside(&heap->marked, FIRST, BASE + SIZE));
    REQUIRE(heap->top_size <= SIZE && heap->fence <= 4 * word);
    for (size_t i = 0; i < PM_HEAP_SIZES; i++)
        counted += heap->sizes[i];
    REQUIRE(counted + heap->large.count == heap->used_count);
    REQUIRE(status != PM_HEAP_NO_MEMORY || how & STARVED);
    REQUIRE(status != PM_HEAP_END || heap->top_size || heap->fence);
    return status;
}

static void check_list(pm_heap *heap, uint64_t first, int how, uint64_t size)
{
    pm_chunks out = {0};
    int status;

    reads = 0;
    status = pm_heap_list(heap, first, how & 1, how & 2, size, 100000, &out);
    /* A loop is found before it is followed three times. */
    REQUIRE(out.count <= 4 * SIZE / heap->align && reads <= 16 * SIZE / heap->align);
    REQUIRE(status != PM_HEAP_END || is_inside(&out, BASE - 2 * word, UINT64_MAX / 2));
    free(out.list);
    out = (pm_chunks){0};
    reads = 0;
    status = pm_heap_bin(heap, first & ~(word - 1), 100000, &out);
    REQUIRE(out.count <= 4 * SIZE / word && reads <= 32 * SIZE / word);
    free(out.list);
}

/* What is found begins a row, and the search ends soon whatever there is. */
static uint64_t check_seek(const truth *made, uint64_t from, uint64_t step)
{
    enum { MOST = 20000 };
    pm_heap *heap = pm_heap_new(1, -1, 3, PAGE, word, 16);
    uint64_t found;

    if (!heap)
        abort();
    heap->steps = MOST;
    reads = 0;
    found = pm_heap_seek(heap, from, BASE + SIZE, made->top, step);
    REQUIRE(reads <= 8 * MOST + 4 * SIZE / step && heap->steps <= MOST);
    REQUIRE(!heap->used_count && !heap->free.count && !heap->large.count);
    if (found) {
        REQUIRE(found >= from && found < BASE + SIZE && (found - from) % step == 0);
        REQUIRE(get(found + word) & PREV_INUSE);
        REQUIRE(heap->top_size || heap->fence);
    }
    pm_heap_free(heap);
    return found;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    pm_heap *heap;
    pm_image *image = NULL;
    pm_chunks out = {0};
    truth made = {0};
    int how, status, whole;
    size_t i;

    if (size <= HEADER + 4)
        return 0;
    how = data[0];
    word = how & NARROW ? 4 : 8;
    short_read = how & SHORT ? 1 + (data[1] & 63) : 0;
    memset(memory, 0, SIZE);
    for (i = 0; i < PAGES; i++) {
        unsigned kind = how & HOLES ? data[HEADER + i % (size - HEADER)] * (1 + data[1]) % 16 : 5;

        table[i] = kind == 0 ? 0 : kind == 1 ? PM_ENTRY_SWAPPED : PM_ENTRY_PRESENT | (100 + i);
    }
    data += HEADER;
    size -= HEADER;
    if (how & SOUND) {
        made = make_heap(data, how & POKED ? size * 3 / 4 : size);
        for (i = size * 3 / 4; how & POKED && i + 4 <= size; i += 4)
            put(FIRST + (data[i] * 256u + data[i + 1]) % (SIZE / word) * word,
                some_word(data[i + 2], data[i + 3]));
    } else {
        for (i = 0; i + 2 <= size && i / 2 < SIZE / word; i++)
            put(BASE + i / 2 * word, some_word(data[i], data[i + 1]));
        made.top = BASE + data[1] * 64u;
    }
    heap = pm_heap_new(1, -1, 3, PAGE, word, 16);
    if (!heap)
        abort();
    heap->mark_size = 32 + 16 * (data[0] & 7);
    allocations_left = how & STARVED ? data[1] & 15 : -1;
    if (how & COPIED) {
        image = pm_image_new();
        if (!image)
            abort();
        status = pm_image_add(heap, image, BASE, BASE + SIZE, SIZE - (data[1] & 1));
        REQUIRE(image->size <= SIZE - (data[1] & 1) && image->count <= PAGES);
        for (i = 0; i < image->count; i++) {
            const pm_copied *run = &image->runs[i];

            REQUIRE(run->start < run->end && (!i || run->start >= run[-1].end));
            REQUIRE(!memcmp(image->bytes + run->at, memory + (run->start - BASE),
                            run->end - run->start));
        }
        if (how & (STARVED | SHORT | HOLES) || data[1] & 1)
            REQUIRE(status != PM_HEAP_END || image->count || how & (HOLES | SHORT));
        else
            REQUIRE(status == PM_HEAP_END && image->size == SIZE);
        heap->image = image;
    }
    reads = 0;
    status = walk(heap, &made, how);
    REQUIRE(reads <= 8 * SIZE / heap->align);
    allocations_left = -1;
    whole = how & SOUND && !(how & (POKED | HOLES | STARVED | SHORT));
    if (whole) {
        REQUIRE(status == PM_HEAP_END);
        REQUIRE(heap->in_use == made.in_use && heap->used_count == made.used);
        REQUIRE(heap->free_bytes == made.free && heap->free.count == made.free_count);
        REQUIRE(heap->top_size == made.top_size && heap->last_in_use == made.last);
        status = pm_heap_bin(heap, BIN, 10000, &out);
        REQUIRE(status == PM_HEAP_END && out.count == made.free_count && sum(&out) == made.free);
        out.count = 0;
        status = pm_heap_list(heap, made.fast ? made.fast + 2 * word : 0, 1, 1, made.fast_size,
                              10000, &out);
        REQUIRE(status == PM_HEAP_END && out.count == made.fast_count);
        if (made.fast_count > 1) {
            uint64_t last = out.list[out.count - 1].address + 2 * word;

            put(last, made.fast ^ (last >> 12));
            heap->image = NULL;
            pm_heap_forget(heap);
            REQUIRE(pm_heap_list(heap, made.fast + 2 * word, 1, 1, made.fast_size, 100000, &out) ==
                        PM_HEAP_BAD && out.count <= 5 * made.fast_count);
        }
        if (made.free_count > 1) {
            /* A bin of fewer chunks than there are, and one that never comes back. */
            REQUIRE(pm_heap_bin(heap, BIN, made.free_count - 1, &out) == PM_HEAP_BAD);
            put(get(BIN + 3 * word) + 2 * word, get(BIN + 2 * word));
            heap->image = NULL;
            pm_heap_forget(heap);
            REQUIRE(pm_heap_bin(heap, BIN, 10000, &out) == PM_HEAP_BAD);
        }
    }
    /* The memory of a sound heap may have changed above. */
    if (!whole || made.fast_count + made.free_count < 2)
        for (i = 0; i < 2; i++) {
            uint64_t from = i ? BASE + data[1] * word : FIRST;
            uint64_t found = check_seek(&made, from, data[0] & 1 ? PAGE : 16);

            REQUIRE(!whole || i || found == FIRST);
        }
    if (how & LISTED || !whole)
        for (i = 0; i < 4; i++)
            check_list(heap, some_word(data[i], data[i + 1]), data[i],
                       data[i + 1] & 1 ? 32 + 16 * (data[i] & 3) : 0);
    check_resident(&heap->free, 0, 0);
    check_resident(&heap->free, 6 * word, 1);
    pm_heap_join(&heap->free);
    for (i = 1; i < heap->free.count; i++)
        REQUIRE(heap->free.list[i - 1].address + heap->free.list[i - 1].size <
                heap->free.list[i].address);
    check_resident(&heap->free, data[1] & 63, 0);
    free(out.list);
    pm_image_free(image);
    pm_heap_free(heap);
    return 0;
}
