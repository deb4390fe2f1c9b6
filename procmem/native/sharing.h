/* Which processes map the same page frames: for all anonymous pages that are mapped more than
 * once, the set of processes that map each. Calls return 0 or a negated errno. */
#ifndef PROCMEM_SHARING_H
#define PROCMEM_SHARING_H

#include <stddef.h>
#include <stdint.h>

#include "pagemap.h"

#define PM_NO_GROUP UINT32_MAX

/* A frame, how often it was found, and the set of the processes in which it was. */
typedef struct {
    uint64_t frame;
    uint32_t set, count;
} pm_shared;

/* A set of processes: the set `rest`, which is before it in the list, and `member`. The pages
 * that are mapped by exactly these, and those that are mapped elsewhere too. */
typedef struct {
    uint32_t rest, member;
    uint64_t pages, open;
} pm_set;

typedef struct {
    pm_shared *frames; /* a hash table until pm_sharing_settle(), then a list */
    size_t count, room;
    pm_set *sets; /* the first is empty */
    size_t set_count, set_room;
    uint32_t *index; /* of `sets`, a hash table; 0: free */
    size_t index_room;
} pm_sharing;

pm_sharing *pm_sharing_new(void);
void pm_sharing_free(pm_sharing *sharing);

/* Adds the anonymous pages from `first` to `last` of process number `member`; numbers ascend.
 * Pages that are mapped here alone are only counted, in *own. */
int pm_sharing_add(pm_sharing *sharing, const pm_pages *pages, uint64_t first, uint64_t last,
                   uint32_t member, uint64_t *own);
/* Counts each set's pages, by an open kpagecount. Nothing can be added afterwards. */
int pm_sharing_settle(pm_sharing *sharing, int kpagecount_fd);
/* Adds to out[G] the shared pages that only processes of group G map; groups[member] is a
 * process's group, or PM_NO_GROUP. */
int pm_sharing_groups(const pm_sharing *sharing, const uint32_t *groups, uint64_t *out);
/* Sets out[member] to 1 for each process that has pages which were not found in all the
 * processes that map them. */
void pm_sharing_open(const pm_sharing *sharing, unsigned char *out);

/* What became of a process's pages since fork(2), compared with its parent's at the same
 * addresses. PM_KIN_SHARED: anonymous, and the parent maps the same frame. PM_KIN_COPIED:
 * anonymous, and the parent has another page there: one of the two has written to it.
 * PM_KIN_OWN: anonymous, and the parent has none there. PM_KIN_FILE: of a file or shared memory.
 * PM_KIN_SWAPPED: in swap. */
enum { PM_KIN_SHARED, PM_KIN_COPIED, PM_KIN_OWN, PM_KIN_FILE, PM_KIN_SWAPPED, PM_KINS };

/* Counts the pages from `first` to `last` in out[PM_KINS]. Where frames are not shown (`frames`
 * is 0), an anonymous page that both map more than once counts as shared. */
void pm_pages_kin(const pm_pages *child, const pm_pages *parent, uint64_t first, uint64_t last,
                  int frames, uint64_t *out);

#endif
