/* Compares two readings: groups the records that belong together, and finds what changed in each
 * group. It makes no Python objects and no system calls. */
#ifndef PROCMEM_COMPARE_H
#define PROCMEM_COMPARE_H

#include <stddef.h>
#include <stdint.h>

/* Counters that are compared; the order of pm_side.counters. */
enum {
    PM_OF_RSS,
    PM_OF_SWAP,
    PM_OF_ANONYMOUS,
    PM_OF_PRIVATE_DIRTY,
    PM_OF_PRIVATE_CLEAN,
    PM_OF_SHARED_DIRTY,
    PM_OF_SHARED_CLEAN,
    PM_OF_HUGE,
    PM_OF_LAZY,
    PM_OF_KSM,
    PM_OF_SHARED_HUGETLB,
    PM_OF_PRIVATE_HUGETLB,
    PM_OF_PSS_DIRTY,
    PM_COMPARED
};

/* The kind of a region's name. Anonymous memory can be given a name and lose it, so such a name
 * does not identify the memory that a region maps. */
enum {
    PM_NAME_NONE,  /* none, or [anon:...] */
    PM_NAME_BREAK,  /* [heap], [stack] */
    PM_NAME_KERNEL, /* another one in brackets */
    PM_NAME_OTHER,
    PM_NAME_PATH /* it starts with a slash */
};

typedef struct {
    const uint64_t *words;
    size_t count;
    size_t stride;
    const uint32_t *strings; /* the common number of each string of both sides; NULL: its own numbers */
    uint32_t counters[PM_COMPARED]; /* words of a record; 0: it has none */
} pm_side;

typedef struct {
    const unsigned char *names; /* PM_NAME_... of each string, by the number of both sides */
    const uint32_t *lasting;    /* of VmFlags: alike where the flags that last are alike; or NULL */
    const uint32_t *paths;      /* one side lacks inodes: alike where paths are alike; or NULL */
    uint64_t page_size;
    int64_t minor, major; /* page faults in between */
    int faults_known;
    int measured; /* both sides have what is resident */
} pm_terms;

/* Bits of pm_change.kinds, the weightiest first. */
enum {
    PM_MAPPED,
    PM_UNMAPPED,
    PM_MOVED,
    PM_GROWN,
    PM_SHRUNK,
    PM_SPLIT,
    PM_MERGED,
    PM_PROTECTED,
    PM_RENAMED,
    PM_ADVISED,
    PM_TOUCHED,
    PM_DROPPED,
    PM_SWAPPED,
    PM_COPIED,
    PM_SHARING,
    PM_LAZY,
    PM_HUGE_PAGES,
    PM_KSM,
    PM_HUGETLB,
    PM_KINDS
};

/* Bits of pm_change.known. */
enum {
    PM_KNOWS_RSS = 1,
    PM_KNOWS_SWAP = 2,
    PM_KNOWS_COPIED = 4,
    PM_KNOWS_FAULTS = 8,
    PM_KNOWS_UNSHARED = 16,
    PM_KNOWS_HUGE = 32,
    PM_KNOWS_LAZY = 64,
    PM_KNOWS_KSM = 128,
    PM_KNOWS_HUGETLB = 256
};

/* Why anonymous pages that were shared are this process's own in the later snapshot. */
enum {
    PM_NOTHING_UNSHARED,
    PM_ALL_COPIED,    /* by writes of this process: about as many faults, and the sharer is there */
    PM_SHARER_ENDED,  /* pages that nobody can write are no longer shared */
    PM_OTHERS_CHANGED, /* fewer faults than pages: the sharer ended, wrote to them or unmapped them */
    PM_EITHER         /* the figures fit both */
};

/* Memory that others share in the later snapshot: such that nobody can write, and such that can
 * be written; and whether the former has fewer sharers. */
enum { PM_STILL_UNWRITABLE = 1, PM_STILL_WRITABLE = 2, PM_SHARER_LEFT = 4 };

typedef struct {
    uint64_t start;
    int64_t vsz, rss, swap, copied, minor, major;
    uint32_t kinds;
    uint32_t known;
    uint32_t before, before_count; /* of pm_changes.members: places of records */
    uint32_t after, after_count;
    int64_t unshared; /* shared before, the process's own after, by whatever cause; or negative */
    int64_t huge, lazy, ksm, hugetlb;
    uint32_t is_file;
    uint32_t early; /* a region of the earlier snapshot starts at start */
} pm_change;

typedef struct {
    pm_change *changes; /* by address */
    size_t count;
    uint32_t *members;
    size_t member_count;
    int64_t vsz, rss, minor, major; /* sums */
    uint64_t unshared; /* bytes that the verdict is about */
    uint64_t spare;    /* the most faults that can have copied some of them */
    uint32_t verdict;
    uint32_t still_shared; /* PM_STILL_..., PM_SHARER_LEFT */
} pm_changes;

/* NULL when there is no memory. */
pm_changes *pm_compare(const pm_side *before, const pm_side *after, const pm_terms *terms);
void pm_changes_free(pm_changes *changes);

#endif
