/* Fuzzes who maps the same frames; scripts/fuzz.py builds and runs it.
 *
 * Of an input, byte 0 says how many processes there are, where frames are, and what fails; byte 1
 * where memory runs out, which frames others map too, and the groups. Each two bytes of the rest
 * are the next page of a process. The results are compared with sets of processes that are kept for
 * each frame. */
#define FUZZ_BINARY
#include "fuzz_driver.h"

#include <errno.h>
#include <unistd.h>

static long allocations_left = -1; /* negative: all succeed */

static int is_used_up(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

static void *fuzz_malloc(size_t size)
{
    return is_used_up() ? NULL : malloc(size);
}

static void *fuzz_calloc(size_t count, size_t size)
{
    return is_used_up() ? NULL : calloc(count, size);
}

static void *fuzz_realloc(void *memory, size_t size)
{
    return is_used_up() ? NULL : realloc(memory, size);
}

static ssize_t fuzz_counts(int fd, void *to, size_t size, off_t offset);

#include "pagemap.c"
#define malloc fuzz_malloc
#define calloc fuzz_calloc
#define realloc fuzz_realloc
#define pread fuzz_counts
#define FIRST_ROOM 4 /* so that tables grow */
#include "sharing.c"
#undef malloc
#undef calloc
#undef realloc
#undef pread

enum { STARVED = 8, SHORT = 16, BROKEN = 32, SPARSE = 64 };

#define PROCESSES 8
#define MOST 4000
#define FRAMES 256

static uint64_t entries[PROCESSES][MOST];
static size_t page_count[PROCESSES];
static uint64_t own_pages[PROCESSES];
static uint32_t found[FRAMES];  /* how often each frame was found */
static uint32_t mapped[FRAMES]; /* how often the kernel counts it */
static unsigned char members[FRAMES];
static uint64_t stride;
static int how, shortness;

static ssize_t fuzz_counts(int fd, void *to, size_t size, off_t offset)
{
    uint64_t first = (uint64_t)offset / 8, count = size / 8, i;
    uint64_t *out = to;

    REQUIRE(fd == 3 && offset % 8 == 0 && size % 8 == 0);
    if (how & BROKEN) {
        errno = EIO;
        return -1;
    }
    if (how & SHORT && count > (uint64_t)shortness)
        count = (uint64_t)shortness;
    for (i = 0; i < count; i++) {
        uint64_t frame = first + i;

        out[i] = frame % stride ? 0 : mapped[frame / stride % FRAMES];
    }
    return (ssize_t)(count * 8);
}

/* The next page of a process: anonymous and shared in half of the cases. */
static void add_page(unsigned who, unsigned sort, unsigned frame)
{
    static const uint64_t sorts[] = {
        PM_ENTRY_PRESENT, PM_ENTRY_PRESENT, PM_ENTRY_PRESENT, PM_ENTRY_PRESENT,
        PM_ENTRY_PRESENT | PM_ENTRY_EXCLUSIVE, PM_ENTRY_PRESENT | PM_ENTRY_FILE,
        PM_ENTRY_PRESENT | PM_ENTRY_ZERO, PM_ENTRY_SWAPPED,
    };
    uint64_t entry = sorts[sort & 7];

    if (page_count[who] == MOST)
        return;
    if (entry & PM_ENTRY_PRESENT)
        entry |= frame * stride;
    entries[who][page_count[who]++] = entry;
    if (entry == (PM_ENTRY_PRESENT | frame * stride)) {
        found[frame]++;
        members[frame] |= (unsigned char)(1u << who);
    } else if (entry & PM_ENTRY_EXCLUSIVE)
        own_pages[who]++;
}

/* A reading marks the zero page; what is added by hand has no mark. */
static void mark_zeros(pm_pages *pages, const uint64_t *marked)
{
    size_t i, page;

    for (i = 0; i < pages->segment_count; i++)
        for (page = 0; page < pages->segments[i].count; page++)
            pages->entries[pages->segments[i].at + page] = marked[pages->segments[i].page + page];
}

static void check_groups(const pm_sharing *sharing, unsigned processes, int choice)
{
    uint32_t groups[PROCESSES];
    uint64_t out[4] = {0}, want[4] = {0};
    unsigned char open[PROCESSES] = {0}, want_open[PROCESSES] = {0};
    unsigned who, frame;
    int status;

    for (who = 0; who < PROCESSES; who++)
        groups[who] = who % 3 == 2 ? PM_NO_GROUP : who % (1 + ((unsigned)choice & 3));
    for (frame = 0; frame < FRAMES; frame++) {
        uint32_t group = PM_NO_GROUP;
        int first = 1, one_group = 1;

        for (who = 0; who < processes; who++)
            if (members[frame] >> who & 1) {
                one_group &= first || groups[who] == group;
                group = groups[who];
                first = 0;
                want_open[who] |= mapped[frame] != found[frame];
            }
        if (!first && one_group && group != PM_NO_GROUP && mapped[frame] == found[frame])
            want[group]++;
    }
    status = pm_sharing_groups(sharing, groups, out);
    if (status) {
        REQUIRE(status == -ENOMEM && how & STARVED);
        return;
    }
    pm_sharing_open(sharing, open);
    for (who = 0; who < 4; who++)
        REQUIRE(how & SHORT ? out[who] <= want[who] : out[who] == want[who]);
    for (who = 0; who < processes; who++)
        REQUIRE(how & SHORT ? open[who] >= want_open[who] : open[who] == want_open[who]);
}

/* What became of the pages of a fork, by a rule of its own: where frames are shown, the same frame. */
static void check_kin(const pm_pages *child, const pm_pages *parent, unsigned who)
{
    uint64_t out[PM_KINS], same = 0, present = 0, file = 0, swapped = 0, page;
    uint64_t last = page_count[who];

    pm_pages_kin(child, parent, 0, last, 1, out);
    for (page = 0; page < last; page++) {
        uint64_t mine = entries[who][page];
        uint64_t theirs = page < page_count[0] ? entries[0][page] : 0;

        swapped += (mine & PM_ENTRY_SWAPPED) != 0;
        file += (mine & PM_ENTRY_FILE) != 0;
        if (!(mine & PM_ENTRY_PRESENT) || mine & (PM_ENTRY_FILE | PM_ENTRY_ZERO))
            continue;
        present++;
        same += theirs & PM_ENTRY_PRESENT && !(theirs & PM_ENTRY_ZERO) &&
                (mine & PM_ENTRY_FRAME) == (theirs & PM_ENTRY_FRAME);
    }
    REQUIRE(out[PM_KIN_SHARED] == same && out[PM_KIN_FILE] == file);
    REQUIRE(out[PM_KIN_SWAPPED] == swapped);
    REQUIRE(out[PM_KIN_SHARED] + out[PM_KIN_COPIED] + out[PM_KIN_OWN] == present);
    pm_pages_kin(child, parent, 0, last, 0, out);
    REQUIRE(out[PM_KIN_SHARED] + out[PM_KIN_COPIED] + out[PM_KIN_OWN] == present);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    pm_pages *pages[PROCESSES];
    pm_sharing *sharing;
    unsigned processes, who, frame;
    size_t i;
    int status = 0, choice;

    if (size <= HEADER)
        return 0;
    how = data[0];
    choice = data[1];
    processes = 1 + (how & 7);
    stride = how & SPARSE ? 100 : 1;
    shortness = choice & 31;
    memset(page_count, 0, sizeof page_count);
    memset(own_pages, 0, sizeof own_pages);
    memset(found, 0, sizeof found);
    memset(members, 0, sizeof members);
    for (i = HEADER; i + 2 <= size; i += 2)
        add_page((data[i] & 7) % processes, data[i] >> 3 & 7, data[i + 1]);
    for (frame = 0; frame < FRAMES; frame++)
        mapped[frame] = found[frame] + ((frame ^ (unsigned)choice) % 5 == 0);
    for (who = 0; who < processes; who++) {
        pages[who] = pm_pages_new();
        if (!pages[who] || pm_pages_add(pages[who], 0, entries[who], page_count[who]))
            abort();
        mark_zeros(pages[who], entries[who]);
    }
    allocations_left = how & STARVED ? choice & 31 : -1;
    sharing = pm_sharing_new();
    REQUIRE(sharing || how & STARVED);
    for (who = 0; sharing && who < processes && !status; who++) {
        uint64_t own = 0, last = page_count[who], middle = last * ((unsigned)choice & 15) / 15;

        status = pm_sharing_add(sharing, pages[who], 0, middle, who, &own);
        if (!status)
            status = pm_sharing_add(sharing, pages[who], middle, last, who, &own);
        REQUIRE(status || own == own_pages[who]);
        if (who && !status)
            check_kin(pages[who], pages[0], who);
    }
    REQUIRE(!status || (status == -ENOMEM && how & STARVED));
    if (sharing && !status) {
        status = pm_sharing_settle(sharing, 3);
        REQUIRE(!status || (status == -ENOMEM && how & STARVED) ||
                (status == -EIO && how & BROKEN));
        if (!status)
            check_groups(sharing, processes, choice);
    }
    allocations_left = -1;
    if (sharing)
        pm_sharing_free(sharing);
    for (who = 0; who < processes; who++)
        pm_pages_free(pages[who]);
    return 0;
}
