/* Fuzzes the page map; scripts/fuzz.py builds and runs it.
 *
 * Of an input, byte 0 chooses how the map is read, byte 1 where memory runs out and where reads
 * come up short; each two bytes of the rest are a run of like pages. What is kept of them is
 * compared, page by page, with the entries that were made. */
#define FUZZ_BINARY
#include "fuzz_driver.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

static long allocations_left = -1; /* negative: all succeed */

static void *fuzz_realloc(void *memory, size_t size)
{
    return allocations_left >= 0 && allocations_left-- == 0 ? NULL : realloc(memory, size);
}

static ssize_t fuzz_pread(int fd, void *to, size_t size, off_t offset);
static int fuzz_scan(int fd, unsigned long request, void *argument);

#define realloc fuzz_realloc
#define pread fuzz_pread
#define ioctl fuzz_scan
#include "pagemap.c"
#undef realloc
#undef pread
#undef ioctl

enum { SCAN = 1, FRAMES = 2, STARVED = 4, SHORT = 8, ADDED = 16 };

#define PAGE 64 /* bytes: eight pages have one table of the lowest level */
#define MOST 3000
#define ZERO_FRAME 77

static uint64_t table[MOST];
static unsigned char is_zero[MOST];
static uint64_t pages_made;
static unsigned short_read;

/* The kernel's side: entries, and ranges of pages by category. */

static ssize_t fuzz_pread(int fd, void *to, size_t size, off_t offset)
{
    uint64_t first = (uint64_t)offset / 8, count = size / 8;

    (void)fd;
    REQUIRE(offset % 8 == 0 && size % 8 == 0);
    if (first >= pages_made)
        return 0;
    if (count > pages_made - first)
        count = pages_made - first;
    if (short_read && count > short_read)
        count = short_read;
    memcpy(to, table + first, count * 8);
    return (ssize_t)(count * 8);
}

static uint64_t categories(uint64_t page)
{
    uint64_t found = 0;

    if (table[page] & PM_ENTRY_PRESENT)
        found |= PAGE_PRESENT | (is_zero[page] ? PAGE_PFNZERO : 0);
    else if (table[page] & PM_ENTRY_SWAPPED)
        found |= PAGE_SWAPPED;
    return found;
}

static int fuzz_scan(int fd, unsigned long request, void *argument)
{
    struct page_scan *scan = argument;
    struct page_range *ranges = (struct page_range *)(uintptr_t)scan->vec;
    uint64_t page, seen = 0;
    int count = 0;

    (void)fd;
    REQUIRE(request == (unsigned long)SCAN_PAGES && scan->start <= scan->end);
    for (page = scan->start / PAGE; page < scan->end / PAGE && page < pages_made; page++) {
        uint64_t is = categories(page), told = is & scan->return_mask;
        struct page_range *last = count ? &ranges[count - 1] : NULL;

        if (((is ^ scan->category_inverted) & scan->category_mask) != scan->category_mask ||
            (scan->category_anyof_mask &&
             !((is ^ scan->category_inverted) & scan->category_anyof_mask)))
            continue;
        if (scan->max_pages && seen == scan->max_pages)
            break;
        if (last && last->end == page * PAGE && last->categories == told) {
            last->end += PAGE;
        } else if (count == (int)scan->vec_len) {
            break;
        } else {
            ranges[count].start = page * PAGE;
            ranges[count].end = (page + 1) * PAGE;
            ranges[count++].categories = told;
        }
        seen++;
    }
    scan->walk_end = page * PAGE;
    return count;
}

/* Runs of pages of one sort, each entry with a frame of its own. */
static void make_table(const unsigned char *data, size_t size, int how)
{
    size_t i;

    pages_made = 0;
    memset(is_zero, 0, sizeof is_zero);
    for (i = 0; i + 2 <= size; i += 2) {
        unsigned length = (data[i + 1] & 128 ? 16u : 1u) * (1 + (data[i + 1] & 127));
        static const uint64_t sorts[] = {
            0, PM_ENTRY_PRESENT, PM_ENTRY_PRESENT | PM_ENTRY_EXCLUSIVE,
            PM_ENTRY_PRESENT | PM_ENTRY_FILE, PM_ENTRY_PRESENT | PM_ENTRY_FILE | PM_ENTRY_EXCLUSIVE,
            PM_ENTRY_SWAPPED, PM_ENTRY_SWAPPED | PM_ENTRY_GUARD, UINT64_C(1) << 55,
        };
        uint64_t sort = sorts[data[i] & 7];

        for (; length && pages_made < MOST; length--, pages_made++) {
            uint64_t frame = sort & PM_ENTRY_PRESENT ? 100 + pages_made % (1 + (data[i] >> 4)) : 0;

            /* The zero page is shared, anonymous, and of one frame. */
            if (sort == PM_ENTRY_PRESENT && data[i] & 8) {
                is_zero[pages_made] = 1;
                frame = ZERO_FRAME;
            }
            table[pages_made] = sort | (how & FRAMES ? frame : 0);
        }
    }
}

static uint64_t expected(uint64_t page, int how)
{
    uint64_t entry = table[page];

    if (!(entry & (PM_ENTRY_PRESENT | PM_ENTRY_SWAPPED)))
        return 0;
    return how & SCAN && is_zero[page] ? entry | PM_ENTRY_ZERO : entry;
}

static int is_counted(uint64_t entry)
{
    return entry & PM_ENTRY_PRESENT && !(entry & PM_ENTRY_ZERO);
}

/* All questions about [first, last), against the entries one by one. */
static void ask(const pm_pages *pages, uint64_t first, uint64_t last, int how)
{
    static uint64_t copy[MOST];
    uint64_t states[PM_STATES], want[PM_STATES] = {0}, frames[] = {100, 101, 103};
    uint64_t out[3 * 7], page, at, count = 0, some = 0;
    unsigned char row[5];
    size_t got, i;

    pm_pages_copy(pages, first, last, copy);
    pm_pages_states(pages, first, last, states);
    for (page = first; page < last; page++) {
        uint64_t entry = expected(page, how);

        REQUIRE(pm_pages_entry(pages, page) == entry);
        REQUIRE(copy[page - first] == entry);
        want[state_of(entry)]++;
        count += (entry & PM_ENTRY_PRESENT) != 0;
        some += is_counted(entry) && ((entry & PM_ENTRY_FRAME) == 100 ||
                (entry & PM_ENTRY_FRAME) == 101 || (entry & PM_ENTRY_FRAME) == 103);
    }
    REQUIRE(!memcmp(states, want, sizeof want));
    REQUIRE(pm_pages_count(pages, first, last, PM_ENTRY_PRESENT, PM_ENTRY_PRESENT) == count);
    for (at = page = first; page < last;) {
        uint64_t before = page;

        got = pm_pages_runs(pages, &page, last, out, 7);
        REQUIRE(got <= 7 && page > before && page <= last);
        for (i = 0; i < got; i++) {
            REQUIRE(out[3 * i] == at && out[3 * i + 1] > at);
            for (; at < out[3 * i + 1]; at++)
                REQUIRE(state_of(expected(at, how)) == out[3 * i + 2]);
        }
        REQUIRE(at == page);
    }
    for (i = 0; i < 2; i++) {
        uint64_t total = 0;

        for (page = first; page < last;) {
            got = pm_pages_frames(pages, &page, last, i ? frames : NULL, i ? 3 : 0, out, 10);
            REQUIRE(got <= 10 && page <= last);
            total += got;
            for (; got; got--) {
                uint64_t entry = expected(out[2 * got - 2], how);

                REQUIRE(is_counted(entry) && (entry & PM_ENTRY_FRAME) == out[2 * got - 1]);
            }
        }
        REQUIRE(i ? total == some
                  : total == want[PM_ANON] + want[PM_ANON_SHARED] + want[PM_FILE] +
                                 want[PM_FILE_SHARED]);
    }
    got = last - first < sizeof row ? last - first : sizeof row;
    pm_pages_row(pages, first, last, got, row);
    for (i = 0; i < got; i++) {
        uint64_t n = last - first, end = first + n * (i + 1) / got;
        int seen = row[i] == PM_ABSENT, absent = 1;

        for (page = first + n * i / got; page < end; page++) {
            seen |= state_of(expected(page, how)) == row[i];
            absent &= !expected(page, how);
        }
        REQUIRE(seen && (absent || row[i] != PM_ABSENT));
    }
}

/* What PAGEMAP_SCAN alone finds, in pieces. */
static void check_scan(uint64_t piece)
{
    pm_pages *pages = pm_pages_new();
    uint64_t page = 0, stop;

    if (!pages)
        abort();
    while (page < pages_made) {
        stop = page + piece < pages_made ? page + piece : pages_made;
        REQUIRE(!pm_pages_scan(pages, 3, PAGE, &page, stop) && page <= stop);
    }
    for (page = 0; page < pages_made; page++) {
        uint64_t is = categories(page), entry = pm_pages_entry(pages, page);

        REQUIRE(entry == (is & PAGE_PFNZERO ? 0
                          : is & PAGE_PRESENT ? PM_ENTRY_PRESENT
                          : is & PAGE_SWAPPED ? PM_ENTRY_SWAPPED : 0));
    }
    pm_pages_free(pages);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    pm_pages *pages;
    uint64_t page = 0, last;
    int how, status = 0;

    if (size <= HEADER)
        return 0;
    how = data[0];
    short_read = how & SHORT ? 1 + data[1] : 0;
    make_table(data + HEADER, size - HEADER, how);
    pages = pm_pages_new();
    if (!pages)
        abort();
    allocations_left = how & STARVED ? data[1] & 15 : -1;
    if (how & ADDED) {
        /* By hand, in pieces: there no page of zeros is looked for. */
        how &= ~SCAN;
        for (; !status && page < pages_made; page = last) {
            last = page + 1 + data[1];
            last = last > pages_made ? pages_made : last;
            status = pm_pages_add(pages, page, table + page, (size_t)(last - page));
        }
    } else {
        /* Behind what there is a read finds nothing. */
        last = pages_made + (data[1] & 64 ? 1000 : 0);
        while (!status && page < last)
            status = pm_pages_read(pages, 3, PAGE, &page, last, how & SCAN,
                                   how & FRAMES ? ZERO_FRAME : 0);
    }
    allocations_left = -1;
    REQUIRE(!status || (status == -ENOMEM && how & STARVED));
    check_scan(1 + data[1] * 16u);
    if (!status && pages_made) {
        uint64_t first = data[1] * pages_made / 256;

        ask(pages, 0, pages_made, how);
        ask(pages, first, first + (pages_made - first + 1) / 2, how);
    }
    pm_pages_free(pages);
    return 0;
}
