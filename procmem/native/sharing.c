#include "sharing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef FIRST_ROOM /* a power of two; the fuzz target has a small one */
#define FIRST_ROOM 1024
#endif
#define COUNTS 8192 /* entries of kpagecount read at once */

pm_sharing *pm_sharing_new(void)
{
    pm_sharing *made = calloc(1, sizeof *made);

    if (!made)
        return NULL;
    made->frames = calloc(FIRST_ROOM, sizeof *made->frames);
    made->room = FIRST_ROOM;
    made->sets = calloc(FIRST_ROOM, sizeof *made->sets);
    made->set_room = FIRST_ROOM;
    made->set_count = 1;
    made->index = calloc(FIRST_ROOM, sizeof *made->index);
    made->index_room = FIRST_ROOM;
    if (!made->frames || !made->sets || !made->index) {
        pm_sharing_free(made);
        return NULL;
    }
    return made;
}

void pm_sharing_free(pm_sharing *sharing)
{
    free(sharing->frames);
    free(sharing->sets);
    free(sharing->index);
    free(sharing);
}

/* Where to look for a key first, in a table whose room is a power of two. */
static size_t place_of(uint64_t key, size_t room)
{
    key *= UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(key ^ key >> 32) & (room - 1);
}

/* The slot of a frame, or the free one where it belongs. */
static pm_shared *slot_of(pm_shared *frames, size_t room, uint64_t frame)
{
    size_t at = place_of(frame, room);

    while (frames[at].count && frames[at].frame != frame)
        at = (at + 1) & (room - 1);
    return &frames[at];
}

static int grow_frames(pm_sharing *sharing)
{
    size_t room = sharing->room * 2, i;
    pm_shared *frames = calloc(room, sizeof *frames);

    if (!frames)
        return -ENOMEM;
    for (i = 0; i < sharing->room; i++)
        if (sharing->frames[i].count)
            *slot_of(frames, room, sharing->frames[i].frame) = sharing->frames[i];
    free(sharing->frames);
    sharing->frames = frames;
    sharing->room = room;
    return 0;
}

/* The place in the index of the set with another member, or the free one where it belongs. */
static size_t index_of(const pm_sharing *sharing, const uint32_t *index, size_t room,
                       uint32_t rest, uint32_t member)
{
    size_t at = place_of((uint64_t)rest << 32 | member, room);

    while (index[at] && (sharing->sets[index[at]].rest != rest ||
                         sharing->sets[index[at]].member != member))
        at = (at + 1) & (room - 1);
    return at;
}

static int grow_sets(pm_sharing *sharing)
{
    size_t room = sharing->set_room * 2, index_room = room * 2, i;
    pm_set *sets;
    uint32_t *index;

    if (room > UINT32_MAX)
        return -ENOMEM;
    sets = realloc(sharing->sets, room * sizeof *sets);
    if (!sets)
        return -ENOMEM;
    sharing->sets = sets;
    index = calloc(index_room, sizeof *index);
    if (!index)
        return -ENOMEM;
    for (i = 1; i < sharing->set_count; i++)
        index[index_of(sharing, index, index_room, sets[i].rest, sets[i].member)] = (uint32_t)i;
    free(sharing->index);
    sharing->index = index;
    sharing->index_room = index_room;
    sharing->set_room = room;
    return 0;
}

/* The number of the set with one more member; 0: no memory. */
static uint32_t set_with(pm_sharing *sharing, uint32_t rest, uint32_t member)
{
    size_t at;

    if (sharing->set_count * 2 >= sharing->set_room && grow_sets(sharing))
        return 0;
    at = index_of(sharing, sharing->index, sharing->index_room, rest, member);
    if (!sharing->index[at]) {
        pm_set *made = &sharing->sets[sharing->set_count];

        *made = (pm_set){ rest, member, 0, 0 };
        sharing->index[at] = (uint32_t)sharing->set_count++;
    }
    return sharing->index[at];
}

int pm_sharing_add(pm_sharing *sharing, const pm_pages *pages, uint64_t first, uint64_t last,
                   uint32_t member, uint64_t *own)
{
    uint32_t rest = 0, with = 0; /* consecutive pages are mostly in the same set */
    size_t i;

    for (i = 0; i < pages->segment_count; i++) {
        const pm_segment *segment = &pages->segments[i];
        uint64_t start = segment->page < first ? first : segment->page;
        uint64_t end = segment->page + segment->count < last ? segment->page + segment->count : last;
        uint64_t page;

        for (page = start; page < end; page++) {
            uint64_t entry = pages->entries[segment->at + (page - segment->page)];
            pm_shared *slot;

            if (!(entry & PM_ENTRY_PRESENT) || entry & (PM_ENTRY_FILE | PM_ENTRY_ZERO))
                continue;
            if (entry & PM_ENTRY_EXCLUSIVE) {
                ++*own;
                continue;
            }
            if (sharing->count * 2 >= sharing->room && grow_frames(sharing))
                return -ENOMEM;
            slot = slot_of(sharing->frames, sharing->room, entry & PM_ENTRY_FRAME);
            if (!slot->count) {
                slot->frame = entry & PM_ENTRY_FRAME;
                sharing->count++;
            }
            slot->count++;
            /* KSM may map a frame twice in one process. */
            if (slot->set && sharing->sets[slot->set].member == member)
                continue;
            if (!with || slot->set != rest) {
                rest = slot->set;
                with = set_with(sharing, rest, member);
                if (!with)
                    return -ENOMEM;
            }
            slot->set = with;
        }
    }
    return 0;
}

static int by_frame(const void *left, const void *right)
{
    uint64_t a = ((const pm_shared *)left)->frame, b = ((const pm_shared *)right)->frame;

    return (a > b) - (a < b);
}

int pm_sharing_settle(pm_sharing *sharing, int kpagecount_fd)
{
    uint64_t *counts = malloc(COUNTS * sizeof *counts);
    pm_shared *frames = sharing->frames;
    size_t i, kept = 0;
    int status = 0;

    if (!counts)
        return -ENOMEM;
    for (i = 0; i < sharing->room; i++)
        if (frames[i].count)
            frames[kept++] = frames[i];
    qsort(frames, kept, sizeof *frames, by_frame);
    for (i = 0; i < kept && !status;) {
        uint64_t start = frames[i].frame;
        size_t end = i, known;
        ssize_t got;

        /* Frames that are close are read together. */
        while (end < kept && frames[end].frame - start < COUNTS &&
               (end == i || frames[end].frame - frames[end - 1].frame < 64))
            end++;
        got = pread(kpagecount_fd, counts, (frames[end - 1].frame - start + 1) * sizeof *counts,
                    (off_t)(start * sizeof *counts));
        if (got < 0) {
            status = -errno;
            break;
        }
        known = (size_t)got / sizeof *counts;
        for (; i < end; i++) {
            uint64_t at = frames[i].frame - start;
            pm_set *set = &sharing->sets[frames[i].set];

            if (at < known && counts[at] == frames[i].count)
                set->pages++;
            else
                set->open++;
        }
    }
    free(counts);
    return status;
}

int pm_sharing_groups(const pm_sharing *sharing, const uint32_t *groups, uint64_t *out)
{
    uint32_t *group = malloc(sharing->set_count * sizeof *group);
    size_t i;

    if (!group)
        return -ENOMEM;
    for (i = 1; i < sharing->set_count; i++) {
        const pm_set *set = &sharing->sets[i];

        group[i] = groups[set->member];
        if (set->rest && group[set->rest] != group[i])
            group[i] = PM_NO_GROUP;
        if (group[i] != PM_NO_GROUP)
            out[group[i]] += set->pages;
    }
    free(group);
    return 0;
}

void pm_sharing_open(const pm_sharing *sharing, unsigned char *out)
{
    size_t i;

    for (i = 1; i < sharing->set_count; i++) {
        uint32_t set;

        if (sharing->sets[i].open)
            for (set = (uint32_t)i; set; set = sharing->sets[set].rest)
                out[sharing->sets[set].member] = 1;
    }
}

static int kin_of(uint64_t child, uint64_t parent, int frames)
{
    int has_page = parent & (PM_ENTRY_PRESENT | PM_ENTRY_SWAPPED) && !(parent & PM_ENTRY_ZERO) &&
                   !(parent & PM_ENTRY_GUARD);
    int both = has_page && parent & PM_ENTRY_PRESENT;

    if (!(child & PM_ENTRY_PRESENT))
        return PM_KIN_SWAPPED;
    if (child & PM_ENTRY_FILE)
        return PM_KIN_FILE;
    if (both && (frames ? !((child ^ parent) & PM_ENTRY_FRAME)
                        : !((child | parent) & (PM_ENTRY_EXCLUSIVE | PM_ENTRY_FILE))))
        return PM_KIN_SHARED;
    return has_page ? PM_KIN_COPIED : PM_KIN_OWN;
}

void pm_pages_kin(const pm_pages *child, const pm_pages *parent, uint64_t first, uint64_t last,
                  int frames, uint64_t *out)
{
    size_t i;

    memset(out, 0, PM_KINS * sizeof *out);
    for (i = 0; i < child->segment_count; i++) {
        const pm_segment *segment = &child->segments[i];
        uint64_t start = segment->page < first ? first : segment->page;
        uint64_t end = segment->page + segment->count < last ? segment->page + segment->count : last;
        uint64_t page;

        for (page = start; page < end; page++) {
            uint64_t entry = child->entries[segment->at + (page - segment->page)];

            if (!(entry & (PM_ENTRY_PRESENT | PM_ENTRY_SWAPPED)) ||
                entry & (PM_ENTRY_ZERO | PM_ENTRY_GUARD))
                continue;
            out[kin_of(entry, pm_pages_entry(parent, page), frames)]++;
        }
    }
}
