/* What differs between two readings: records to groups of records, each with what happened to it.
 * It makes no Python object and asks nothing of the kernel. */
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
    PM_COMPARED
};

/* What kind of name a string is. A name can be given to anonymous memory, and taken: those
 * say nothing of what lies behind a region. */
enum {
    PM_NAME_NONE,  /* none, or [anon:...] */
    PM_NAME_BREAK, /* [heap], [stack] */
    PM_NAME_KERNEL, /* another one in brackets */
    PM_NAME_OTHER,
    PM_NAME_PATH /* it starts with a slash */
};

typedef struct {
    const uint64_t *words;
    size_t count;
    size_t stride;
    const uint32_t *strings; /* the number that both sides have for each string; NULL: its own */
    uint32_t counters[PM_COMPARED]; /* words of a record; 0: it has none */
} pm_side;

typedef struct {
    const unsigned char *names; /* PM_NAME_... of each string, by the number of both sides */
    const uint32_t *lasting;    /* of VmFlags: alike where the flags that last are alike; or NULL */
    const uint32_t *paths;      /* one side lacks inodes: alike where paths are alike; or NULL */
    uint64_t page_size;
    int64_t minor, major; /* page faults in between */
    int faults_known;
    int measured; /* both sides tell what is resident */
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
    PM_KINDS
};

/* Bits of pm_change.known. */
enum { PM_KNOWS_RSS = 1, PM_KNOWS_SWAP = 2, PM_KNOWS_COPIED = 4, PM_KNOWS_FAULTS = 8 };

typedef struct {
    uint64_t start;
    int64_t vsz, rss, swap, copied, minor, major;
    uint32_t kinds;
    uint32_t known;
    uint32_t before, before_count; /* of pm_changes.members: places of records */
    uint32_t after, after_count;
    int64_t huge;
    uint64_t is_file;
} pm_change;

typedef struct {
    pm_change *changes; /* by address */
    size_t count;
    uint32_t *members;
    size_t member_count;
    int64_t vsz, rss, minor, major; /* sums */
} pm_changes;

/* NULL when there is no memory. */
pm_changes *pm_compare(const pm_side *before, const pm_side *after, const pm_terms *terms);
void pm_changes_free(pm_changes *changes);

#endif
