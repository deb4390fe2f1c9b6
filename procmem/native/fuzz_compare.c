/* Fuzzes the comparison of two readings; scripts/fuzz.py builds and runs it.
 *
 * Of an input, byte 0 chooses how the sides are made and where memory runs out, byte 1 the page
 * faults in between; each six bytes of the rest are a record. */
#define FUZZ_BINARY
#include "fuzz_driver.h"

static long allocations_left = -1; /* negative: all succeed */

static int out_of_memory(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

static void *fuzz_malloc(size_t size)
{
    return out_of_memory() ? NULL : malloc(size);
}

static void *fuzz_calloc(size_t count, size_t size)
{
    return out_of_memory() ? NULL : calloc(count, size);
}

#define malloc fuzz_malloc
#define calloc fuzz_calloc
#include "compare.c"
#undef malloc
#undef calloc

enum { DISORDER = 1, OTHER_STRIDE = 2, NUMBERED = 4, UNMEASURED = 8, BY_PATH = 16, FAULTS = 32,
       STARVED = 64 };

#define RECORD 6
#define NAMES 8
#define STRIDE (PM_HEADER_WORDS + PM_COMPARED)

static const unsigned char sorts[NAMES] = {
    PM_NAME_NONE, PM_NAME_NONE,  PM_NAME_BREAK, PM_NAME_KERNEL,
    PM_NAME_KERNEL, PM_NAME_OTHER, PM_NAME_PATH, PM_NAME_PATH,
};
static const uint32_t numbers[NAMES] = {0, 1, 2, 3, 4, 5, 6, 7};
static const uint32_t lasting[NAMES] = {0, 1, 1, 2, 3, 3, 4, 5};

/* The records of one side in a block of their own length, so that a read behind it is seen. */
static uint64_t *records(const unsigned char *data, size_t size, int which, int how, pm_side *side)
{
    uint64_t *words = malloc(size / RECORD * STRIDE * sizeof *words + 1), at = 0;
    const char *perms[] = {"rw-p", "r--p", "---p", "rw-s"};
    size_t i, word;

    if (!words)
        abort();
    memset(side, 0, sizeof *side);
    side->stride = which && how & OTHER_STRIDE ? PM_HEADER_WORDS : STRIDE;
    if (how & NUMBERED)
        side->strings = numbers;
    for (i = 0; side->stride == STRIDE && i < PM_COMPARED; i++)
        side->counters[i] = (uint32_t)(PM_HEADER_WORDS + i);
    for (i = 0; i + RECORD <= size; i += RECORD) {
        const unsigned char *from = data + i;
        uint64_t *one = words + side->count * side->stride;
        uint32_t letters;

        /* Two bits: on the one side, on the other, on both. */
        if ((from[0] & 3) == (which ? 1 : 2))
            continue;
        at = how & DISORDER ? (uint64_t)from[1] << 12 : at + ((uint64_t)(from[1] & 7) << 12);
        memset(one, 0, side->stride * sizeof *one);
        one[PM_START] = at;
        at += (uint64_t)(1 + (from[1] >> 3)) << 12;
        one[PM_END] = at;
        one[PM_INODE] = from[2] & 3;
        one[PM_OFFSET] = (uint64_t)(from[2] >> 2 & 3) << 12;
        memcpy(&letters, perms[from[2] >> 4 & 3], sizeof letters);
        one[PM_PERMS_NAME] = (uint64_t)(from[3] % NAMES) << 32 | letters;
        one[PM_FLAGS_RAW] = from[3] >> 3 & (NAMES - 1);
        for (word = PM_HEADER_WORDS; word < side->stride; word++) {
            unsigned char value = from[4 + word % 2];

            one[word] = value == 255 ? PM_MISSING : (uint64_t)(value + word % 3 * which) << 12;
        }
        /* Of a file all dirty pages are anonymous, as a rule. */
        if (side->stride == STRIDE && from[2] & 64)
            one[PM_HEADER_WORDS + PM_OF_ANONYMOUS] =
                one[PM_HEADER_WORDS + PM_OF_PRIVATE_DIRTY] +
                one[PM_HEADER_WORDS + PM_OF_SHARED_DIRTY];
        side->count++;
    }
    words = realloc(words, side->count * side->stride * sizeof *words + 1);
    if (!words)
        abort();
    side->words = words;
    return words;
}

static void check(const pm_changes *found, const pm_side *before, const pm_side *after, int how)
{
    uint64_t vsz = 0, rss = 0;
    size_t i, n;

    for (i = 0; i < found->count; i++) {
        const pm_change *one = found->changes + i;

        REQUIRE(one->kinds && one->kinds < bit(PM_KINDS));
        REQUIRE(one->before_count || one->after_count);
        REQUIRE((size_t)one->before + one->before_count <= found->member_count);
        REQUIRE((size_t)one->after + one->after_count <= found->member_count);
        for (n = 0; n < one->before_count; n++)
            REQUIRE(found->members[one->before + n] < before->count);
        for (n = 0; n < one->after_count; n++)
            REQUIRE(found->members[one->after + n] < after->count);
        REQUIRE(!i || found->changes[i - 1].start <= one->start);
        vsz += (uint64_t)one->vsz;
        rss += (uint64_t)one->rss;
    }
    REQUIRE(found->vsz == (int64_t)vsz && found->rss == (int64_t)rss);
    if (how & DISORDER)
        return;
    for (i = 0; i < after->count; i++)
        vsz -= after->words[i * after->stride + PM_END] - after->words[i * after->stride];
    for (i = 0; i < before->count; i++)
        vsz += before->words[i * before->stride + PM_END] - before->words[i * before->stride];
    REQUIRE(vsz == 0);
}

static int same_members(const pm_changes *one, uint32_t first, uint32_t count,
                        const pm_changes *other, uint32_t second, uint32_t as_many)
{
    return count == as_many && !memcmp(one->members + first, other->members + second,
                                       count * sizeof *one->members);
}

static uint32_t mirrored_kinds(uint32_t kinds)
{
    static const unsigned char pairs[][2] = {{PM_MAPPED, PM_UNMAPPED}, {PM_GROWN, PM_SHRUNK},
                                             {PM_SPLIT, PM_MERGED}, {PM_TOUCHED, PM_DROPPED}};
    uint32_t found = kinds;
    size_t i;

    for (i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        found &= ~(bit(pairs[i][0]) | bit(pairs[i][1]));
        found |= kinds & bit(pairs[i][0]) ? bit(pairs[i][1]) : 0;
        found |= kinds & bit(pairs[i][1]) ? bit(pairs[i][0]) : 0;
    }
    return found;
}

/* Each change has its image. Which snapshot is the earlier one, faults alone say. */
static void check_mirror(const pm_changes *found, const pm_changes *mirror, int directed)
{
    size_t i, n;

    REQUIRE(mirror->count == found->count);
    REQUIRE(mirror->vsz == -found->vsz && mirror->rss == -found->rss);
    REQUIRE(mirror->minor == -found->minor && mirror->major == -found->major);
    if (directed) {
        REQUIRE(mirror->verdict == found->verdict && mirror->unshared == found->unshared);
        REQUIRE(mirror->spare == found->spare && mirror->still_shared == found->still_shared);
    }
    for (i = 0; i < found->count; i++) {
        const pm_change *one = found->changes + i, *image = NULL;

        for (n = 0; n < mirror->count && !image; n++) {
            const pm_change *other = mirror->changes + n;

            if (same_members(found, one->before, one->before_count, mirror, other->after,
                             other->after_count) &&
                same_members(found, one->after, one->after_count, mirror, other->before,
                             other->before_count))
                image = other;
        }
        REQUIRE(image && image->start == one->start);
        REQUIRE(image->kinds == mirrored_kinds(one->kinds) && image->known == one->known);
        REQUIRE(image->vsz == -one->vsz && image->rss == -one->rss && image->swap == -one->swap);
        REQUIRE(image->copied == -one->copied && image->unshared == -one->unshared);
        REQUIRE(image->minor == -one->minor && image->major == -one->major);
        REQUIRE(image->huge == -one->huge && image->lazy == -one->lazy);
        REQUIRE(image->ksm == -one->ksm && image->hugetlb == -one->hugetlb);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    pm_side sides[2];
    uint64_t *words[2];
    pm_changes *found, *mirror, *none;
    pm_terms terms = {.names = sorts, .page_size = 4096};
    int how, i;

    if (size <= HEADER)
        return 0;
    how = data[0];
    terms.measured = !(how & UNMEASURED);
    terms.lasting = how & OTHER_STRIDE ? NULL : lasting;
    terms.paths = how & BY_PATH ? numbers : NULL;
    terms.faults_known = (how & FAULTS) != 0;
    terms.minor = data[1] & 15;
    terms.major = data[1] >> 4;
    for (i = 0; i < 2; i++)
        words[i] = records(data + HEADER, size - HEADER, i, how, &sides[i]);

    allocations_left = how & STARVED ? data[1] % 8 : -1;
    found = pm_compare(&sides[0], &sides[1], &terms);
    allocations_left = -1;
    REQUIRE(found || how & STARVED);
    if (found)
        check(found, &sides[0], &sides[1], how);
    none = pm_compare(&sides[0], &sides[0], &terms);
    REQUIRE(none && none->count == 0);

    terms.minor = -terms.minor;
    terms.major = -terms.major;
    mirror = pm_compare(&sides[1], &sides[0], &terms);
    REQUIRE(mirror);
    if (found && !(how & DISORDER))
        check_mirror(found, mirror, how & FAULTS && data[1]);
    pm_changes_free(found);
    pm_changes_free(none);
    pm_changes_free(mirror);
    for (i = 0; i < 2; i++)
        free(words[i]);
    return 0;
}
