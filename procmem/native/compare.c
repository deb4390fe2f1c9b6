/* Two readings, compared.
 *
 * Both sides are walked by address. What is alike on both is passed over, run by run as bytes,
 * since of many regions few change. What is left is linked where addresses overlap and the same
 * lies behind them; each group of links is one change. Both sides are treated alike, so that
 * what is found is the mirror of the opposite comparison.
 *
 * Sums count modulo 2**64, as no address space holds more. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>

#include "scanner.h"

#define KERNEL_HALF (UINT64_C(1) << 63) /* VmSize leaves out what lies above: [vsyscall] */
#define HUGE_PAGE (UINT64_C(2) << 20)   /* of x86-64, and of 4 KiB pages elsewhere: one fault */
#define RUN 64                          /* records that are compared at once */
#define NOWHERE UINT32_MAX

typedef struct {
    const pm_side *side;
    uint32_t *order; /* by address; NULL: they are in order */
    uint32_t *odd;   /* places of the records that the other side lacks, by address */
    uint32_t *group; /* of each of those */
    size_t odd_count;
} half;

typedef struct {
    half before, after;
    const pm_terms *terms;
    int as_bytes; /* records of both sides can be compared so */
    size_t groups;
} work;

static const uint64_t *record_at(const half *it, size_t place)
{
    return it->side->words + (it->order ? it->order[place] : place) * it->side->stride;
}

static const uint64_t *odd_at(const half *it, size_t number)
{
    return it->side->words + it->odd[number] * it->side->stride;
}

static uint32_t common(const half *it, uint64_t id)
{
    return it->side->strings ? it->side->strings[id] : (uint32_t)id;
}

static uint32_t name_of(const half *it, const uint64_t *record)
{
    return common(it, record[PM_PERMS_NAME] >> 32);
}

static uint32_t perms_of(const uint64_t *record)
{
    return (uint32_t)record[PM_PERMS_NAME];
}

static int is_private(const uint64_t *record)
{
    uint32_t perms = perms_of(record);
    char letters[sizeof perms];

    memcpy(letters, &perms, sizeof letters);
    return letters[3] == 'p';
}

/* ---- what differs ---- */

static int by_start(const void *one, const void *other)
{
    const uint64_t *a = one, *b = other;

    return a[0] != b[0] ? (a[0] < b[0] ? -1 : 1) : (a[1] > b[1]) - (a[1] < b[1]);
}

/* A process that changes its mappings while it is read may show some out of their order. */
static int put_in_order(half *it)
{
    const pm_side *side = it->side;
    uint64_t *pairs;
    size_t i;

    for (i = 1; i < side->count; i++)
        if (side->words[i * side->stride] < side->words[(i - 1) * side->stride])
            break;
    if (i >= side->count)
        return 0;
    pairs = malloc(side->count * 2 * sizeof *pairs);
    it->order = malloc(side->count * sizeof *it->order);
    if (!pairs || !it->order) {
        free(pairs);
        return -1;
    }
    for (i = 0; i < side->count; i++) {
        pairs[2 * i] = side->words[i * side->stride];
        pairs[2 * i + 1] = i;
    }
    qsort(pairs, side->count, 2 * sizeof *pairs, by_start);
    for (i = 0; i < side->count; i++)
        it->order[i] = (uint32_t)pairs[2 * i + 1];
    free(pairs);
    return 0;
}

static int counter_of(const half *it, const uint64_t *record, int which, uint64_t *value)
{
    uint32_t word = it->side->counters[which];

    if (!word || record[word] == PM_MISSING)
        return 0;
    *value = record[word];
    return 1;
}

static int same_counter(const work *w, const uint64_t *one, const uint64_t *other, int which)
{
    uint64_t a, b;

    return !counter_of(&w->before, one, which, &a) || !counter_of(&w->after, other, which, &b) ||
           a == b;
}

static int alike(const work *w, const uint64_t *one, const uint64_t *other)
{
    size_t stride = w->before.side->stride;

    if (w->as_bytes)
        return !memcmp(one, other, stride * sizeof *one);
    if (memcmp(one, other, PM_PERMS_NAME * sizeof *one) || perms_of(one) != perms_of(other) ||
        name_of(&w->before, one) != name_of(&w->after, other))
        return 0;
    if (stride != w->after.side->stride)
        return same_counter(w, one, other, PM_OF_RSS) && same_counter(w, one, other, PM_OF_SWAP);
    return common(&w->before, (uint32_t)one[PM_FLAGS_RAW]) ==
               common(&w->after, (uint32_t)other[PM_FLAGS_RAW]) &&
           !memcmp(one + PM_HEADER_WORDS, other + PM_HEADER_WORDS,
                   (stride - PM_HEADER_WORDS) * sizeof *one);
}

static void add_odd(half *it, size_t place)
{
    it->odd[it->odd_count++] = it->order ? it->order[place] : (uint32_t)place;
}

static void find_odd(work *w)
{
    half *before = &w->before, *after = &w->after;
    size_t stride = before->side->stride, i = 0, j = 0;
    size_t last = before->side->count, other_last = after->side->count;

    while (i < last && j < other_last) {
        const uint64_t *one = record_at(before, i), *other = record_at(after, j);

        if (w->as_bytes && i + RUN <= last && j + RUN <= other_last &&
            !memcmp(one, other, RUN * stride * sizeof *one)) {
            i += RUN;
            j += RUN;
            continue;
        }
        /* Up to here at most before runs are tried again. */
        for (size_t until = i + RUN; i < until && i < last && j < other_last;) {
            one = record_at(before, i);
            other = record_at(after, j);
            if (alike(w, one, other)) {
                i++;
                j++;
                continue;
            }
            if (one[PM_START] <= other[PM_START])
                add_odd(before, i++);
            if (other[PM_START] <= one[PM_START])
                add_odd(after, j++);
        }
    }
    while (i < last)
        add_odd(before, i++);
    while (j < other_last)
        add_odd(after, j++);
}

/* ---- which belong together ---- */

/* Whether the same lies behind two regions; with files also that they would start alike. */
static int same_backing(const work *w, const uint64_t *one, const uint64_t *other)
{
    const pm_terms *terms = w->terms;
    uint32_t name = name_of(&w->before, one), other_name = name_of(&w->after, other);
    int kind = terms->names[name], other_kind = terms->names[other_name];
    int at_one_start =
        one[PM_START] - one[PM_OFFSET] == other[PM_START] - other[PM_OFFSET];

    if (terms->paths) {
        if (kind != PM_NAME_PATH || other_kind != PM_NAME_PATH)
            return kind != PM_NAME_PATH && other_kind != PM_NAME_PATH;
        return terms->paths[name] == terms->paths[other_name] && at_one_start;
    }
    if (one[PM_INODE] || other[PM_INODE])
        return one[PM_INODE] == other[PM_INODE] && one[PM_DEV] == other[PM_DEV] && at_one_start;
    if (kind <= PM_NAME_BREAK || other_kind <= PM_NAME_BREAK)
        return kind <= PM_NAME_BREAK && other_kind <= PM_NAME_BREAK;
    return name == other_name && (kind == PM_NAME_KERNEL || at_one_start);
}

static int overlap(const uint64_t *one, const uint64_t *other)
{
    return one[PM_START] < other[PM_END] && other[PM_START] < one[PM_END];
}

static void link_groups(work *w)
{
    half *before = &w->before, *after = &w->after;
    size_t i = 0, j = 0;

    while (i < before->odd_count && j < after->odd_count) {
        const uint64_t *one = odd_at(before, i), *other = odd_at(after, j);

        if (overlap(one, other) && same_backing(w, one, other)) {
            /* Two groups can't meet here: regions of one side don't overlap each other. */
            uint32_t group = before->group[i] != NOWHERE ? before->group[i] : after->group[j];

            if (group == NOWHERE)
                group = (uint32_t)w->groups++;
            if (before->group[i] == NOWHERE)
                before->group[i] = group;
            if (after->group[j] == NOWHERE)
                after->group[j] = group;
        }
        i += one[PM_END] <= other[PM_END];
        j += other[PM_END] <= one[PM_END];
    }
}

/* ---- what lies elsewhere now ---- */

#define KEY_WORDS 5

/* What a region that was moved takes with it, where it came from, and its number there. */
typedef struct {
    uint64_t key[KEY_WORDS];
    uint32_t is_after;
    uint32_t number;
} traveller;

static int by_key(const void *one, const void *other)
{
    const traveller *a = one, *b = other;
    int i;

    for (i = 0; i < KEY_WORDS; i++)
        if (a->key[i] != b->key[i])
            return a->key[i] < b->key[i] ? -1 : 1;
    return 0;
}

enum { BY_FILE = 1, BY_NAME, BY_NAME_AND_PLACE, BY_RESIDENCE };

/* 0: it has nothing that tells it from others. Untouched memory has not. */
static int key_of(const half *it, const pm_terms *terms, const uint64_t *record, uint64_t *key)
{
    uint32_t name = name_of(it, record);
    int kind = terms->names[name];
    uint64_t size = record[PM_END] - record[PM_START], rss = 0;

    memset(key, 0, KEY_WORDS * sizeof *key);
    if (terms->paths && kind == PM_NAME_PATH) {
        key[0] = BY_NAME_AND_PLACE | (uint64_t)perms_of(record) << 32;
        key[1] = terms->paths[name];
        key[3] = record[PM_OFFSET];
        key[4] = size;
    } else if (record[PM_INODE]) {
        key[0] = BY_FILE | (uint64_t)perms_of(record) << 32;
        key[1] = record[PM_INODE];
        key[2] = record[PM_DEV];
        key[3] = record[PM_OFFSET];
        key[4] = size;
    } else if (kind == PM_NAME_BREAK || kind == PM_NAME_KERNEL) {
        key[0] = BY_NAME;
        key[1] = name;
    } else if (kind != PM_NAME_NONE) {
        key[0] = BY_NAME_AND_PLACE | (uint64_t)perms_of(record) << 32;
        key[1] = name;
        key[3] = record[PM_OFFSET];
        key[4] = size;
    } else {
        counter_of(it, record, PM_OF_RSS, &rss);
        key[0] = BY_RESIDENCE | (uint64_t)perms_of(record) << 32;
        key[1] = name;
        key[2] = rss;
        key[4] = size;
        return rss != 0;
    }
    return 1;
}

static size_t add_travellers(const work *w, const half *it, traveller *out, uint32_t is_after,
                             size_t *bare, traveller *lone)
{
    size_t i, count = 0;

    for (i = 0; i < it->odd_count; i++) {
        traveller *one = out + count;

        if (it->group[i] != NOWHERE)
            continue;
        one->is_after = is_after;
        one->number = (uint32_t)i;
        if (key_of(it, w->terms, odd_at(it, i), one->key))
            count++;
        else if (!(*bare)++)
            *lone = *one;
    }
    return count;
}

/* Joins what was unmapped here and mapped there, where no other is like it on either side.
 * Untouched anonymous memory is all alike: it must be the only such that went, and came. */
static int join_moved(work *w)
{
    size_t room = w->before.odd_count + w->after.odd_count, count, i, next, bare = 0, others = 0;
    traveller *all = malloc((room + 1) * sizeof *all), lone = {0}, other = {0};
    size_t gone;

    if (!all)
        return -1;
    count = add_travellers(w, &w->before, all, 0, &bare, &lone);
    gone = count;
    count += add_travellers(w, &w->after, all + gone, 1, &others, &other);
    if (bare == 1 && others == 1 && !by_key(&lone, &other))
        w->before.group[lone.number] = w->after.group[other.number] = (uint32_t)w->groups++;
    if (gone && count > gone)
        qsort(all, count, sizeof *all, by_key);
    else
        count = 0;
    for (i = 0; i < count; i = next) {
        for (next = i + 1; next < count && !by_key(all + i, all + next); next++)
            ;
        if (next - i == 2 && all[i].is_after != all[i + 1].is_after) {
            const traveller *from = all + i + all[i].is_after, *to = all + i + !all[i].is_after;

            w->before.group[from->number] = w->after.group[to->number] = (uint32_t)w->groups++;
        }
    }
    free(all);
    return 0;
}

/* ---- what happened to a group ---- */

typedef struct {
    const half *half;
    const uint32_t *members;
    size_t count;
} band;

static const uint64_t *of_band(const band *it, size_t number)
{
    return it->half->side->words + it->members[number] * it->half->side->stride;
}

/* A sum; 0: some record lacks it. */
static int sum_of(const band *it, int which, uint64_t *sum)
{
    size_t i;

    *sum = 0;
    for (i = 0; i < it->count; i++) {
        uint64_t value;

        if (!counter_of(it->half, of_band(it, i), which, &value))
            return 0;
        *sum += value;
    }
    return 1;
}

static int difference(const band *before, const band *after, int which, int64_t *found)
{
    uint64_t one, other;

    *found = 0;
    if (!sum_of(before, which, &one) || !sum_of(after, which, &other))
        return 0;
    *found = (int64_t)(other - one);
    return 1;
}

static uint64_t size_of(const band *it)
{
    uint64_t size = 0;
    size_t i;

    for (i = 0; i < it->count; i++) {
        const uint64_t *one = of_band(it, i);

        if (one[PM_START] < KERNEL_HALF)
            size += one[PM_END] - one[PM_START];
    }
    return size;
}

/* Whether some address is covered by the one and not by the other. */
static int exceeds(const band *it, const band *others)
{
    size_t i, first = 0, next;

    for (i = 0; i < it->count; i++) {
        const uint64_t *one = of_band(it, i);
        uint64_t at = one[PM_START];

        while (first < others->count && of_band(others, first)[PM_END] <= at)
            first++;
        for (next = first; next < others->count; next++) {
            const uint64_t *other = of_band(others, next);

            if (other[PM_START] >= one[PM_END] || other[PM_START] > at)
                break;
            at = other[PM_END];
        }
        if (at < one[PM_END])
            return 1;
    }
    return 0;
}

static uint32_t bit(int which)
{
    return UINT32_C(1) << which;
}

/* Whether permissions, names or flags of two regions that are the same memory differ. */
static uint32_t altered_pair(const work *w, const uint64_t *one, const uint64_t *other)
{
    uint32_t name = name_of(&w->before, one), other_name = name_of(&w->after, other);
    uint32_t flags = common(&w->before, (uint32_t)one[PM_FLAGS_RAW]);
    uint32_t other_flags = common(&w->after, (uint32_t)other[PM_FLAGS_RAW]);
    uint32_t kinds = 0;

    if (perms_of(one) != perms_of(other))
        kinds |= bit(PM_PROTECTED);
    else if (flags != other_flags && w->terms->lasting &&
             w->terms->lasting[flags] != w->terms->lasting[other_flags])
        kinds |= bit(PM_ADVISED);
    if (name != other_name)
        kinds |= bit(PM_RENAMED);
    return kinds;
}

static uint32_t altered(const work *w, const band *before, const band *after, int moved)
{
    size_t i = 0, j = 0;
    uint32_t kinds = 0;

    if (moved)
        return altered_pair(w, of_band(before, 0), of_band(after, 0));
    while (i < before->count && j < after->count) {
        const uint64_t *one = of_band(before, i), *other = of_band(after, j);

        if (overlap(one, other))
            kinds |= altered_pair(w, one, other);
        i += one[PM_END] <= other[PM_END];
        j += other[PM_END] <= one[PM_END];
    }
    return kinds;
}

static int64_t lesser(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

static int64_t greater(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

static uint64_t magnitude(int64_t value)
{
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

static int64_t negative(int64_t value)
{
    return (int64_t)-(uint64_t)value;
}

/* Bytes that were there and became this process's own; negative: that became shared. */
static int copied_bytes(const band *before, const band *after, int64_t rss, int64_t *copied)
{
    const uint64_t *first = of_band(after, 0);
    int64_t parts[4], own, others;
    int i;

    *copied = 0;
    if (first[PM_INODE]) {
        if (!is_private(first))
            return 1;
        /* A private page of a file becomes anonymous when it is written. */
        if (!difference(before, after, PM_OF_ANONYMOUS, &own))
            return 0;
        if (own && (own > 0) == (rss > 0))
            own = own > 0 ? greater(own - rss, 0) : lesser(own - rss, 0);
        *copied = own;
        return 1;
    }
    for (i = 0; i < 4; i++)
        if (!difference(before, after, PM_OF_PRIVATE_DIRTY + i, &parts[i]))
            return 0;
    own = (int64_t)((uint64_t)parts[0] + (uint64_t)parts[1]);
    others = (int64_t)((uint64_t)parts[2] + (uint64_t)parts[3]);
    if (own && others && (own > 0) != (others > 0))
        *copied = own > 0 ? lesser(own, negative(others)) : greater(own, negative(others));
    return 1;
}

/* How much came, or went where time runs backwards. */
static uint64_t came(int64_t value, int64_t sign)
{
    if (!sign || !value || (value > 0) != (sign > 0))
        return 0;
    return magnitude(value);
}

static void of_pages(const work *w, const band *before, const band *after, pm_change *out)
{
    const pm_terms *terms = w->terms;
    int64_t rss = 0, swap = 0;

    if (difference(before, after, PM_OF_RSS, &rss))
        out->known |= PM_KNOWS_RSS;
    if (difference(before, after, PM_OF_SWAP, &swap))
        out->known |= PM_KNOWS_SWAP;
    out->rss = rss;
    out->swap = swap;
    difference(before, after, PM_OF_HUGE, &out->huge);
    if (rss) {
        /* What went to swap was not dropped, what came from there not touched anew. */
        if (!swap || (rss > 0) == (swap > 0) || magnitude(swap) < magnitude(rss))
            out->kinds |= bit(rss > 0 ? PM_TOUCHED : PM_DROPPED);
    }
    if (swap)
        out->kinds |= bit(PM_SWAPPED);
    if (!before->count || !after->count)
        return;
    if (copied_bytes(before, after, rss, &out->copied))
        out->known |= PM_KNOWS_COPIED;
    if (out->copied) {
        /* A copy takes a fault; without one the other side has gone, or has come. */
        int by_fault = terms->faults_known && came(out->copied, terms->minor) &&
                       magnitude(terms->minor) >=
                           (magnitude(out->copied) + terms->page_size - 1) / terms->page_size;

        out->kinds |= bit(by_fault ? PM_COPIED : PM_SHARING);
    }
}

/* Whether the largest of some regions is of a file. */
static int is_of_file(const band *it)
{
    const uint64_t *largest = it->count ? of_band(it, 0) : NULL;
    size_t i;

    for (i = 1; i < it->count; i++) {
        const uint64_t *next = of_band(it, i);

        if (next[PM_END] - next[PM_START] > largest[PM_END] - largest[PM_START])
            largest = next;
    }
    return largest && largest[PM_INODE];
}

static void describe(const work *w, const band *before, const band *after, pm_change *out)
{
    const uint64_t *one = before->count ? of_band(before, 0) : NULL;
    const uint64_t *other = after->count ? of_band(after, 0) : NULL;

    out->start = one && (!other || one[PM_START] < other[PM_START]) ? one[PM_START]
                                                                    : other[PM_START];
    out->vsz = (int64_t)(size_of(after) - size_of(before));
    out->is_file = is_of_file(before) || is_of_file(after);
    if (!one) {
        out->kinds |= bit(PM_MAPPED);
    } else if (!other) {
        out->kinds |= bit(PM_UNMAPPED);
    } else {
        int single = before->count == 1 && after->count == 1;
        int moved = single && (out->kinds & bit(PM_MOVED));

        if (moved) {
            uint64_t size = one[PM_END] - one[PM_START], now = other[PM_END] - other[PM_START];

            if (size != now)
                out->kinds |= bit(now > size ? PM_GROWN : PM_SHRUNK);
        } else if (!single || one[PM_START] != other[PM_START] || one[PM_END] != other[PM_END]) {
            if (exceeds(after, before))
                out->kinds |= bit(PM_GROWN);
            if (exceeds(before, after))
                out->kinds |= bit(PM_SHRUNK);
        }
        if (before->count != after->count)
            out->kinds |= bit(after->count > before->count ? PM_SPLIT : PM_MERGED);
        out->kinds |= altered(w, before, after, moved);
    }
    if (w->terms->measured)
        of_pages(w, before, after, out);
}

/* ---- all groups, by address ---- */

static int by_address(const void *one, const void *other)
{
    const pm_change *a = one, *b = other;

    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    /* Both had a region there only if one went and the other came. */
    return (a->before_count == 0) - (b->before_count == 0);
}

/* Gives what is alone a group of its own, and lays the members of each beside each other. */
static int collect(work *w, size_t moved_from, size_t moved_to, pm_changes *out)
{
    half *halves[2] = {&w->before, &w->after};
    size_t side, i, at = 0, members = w->before.odd_count + w->after.odd_count;
    int in_order = 1;

    for (side = 0; side < 2; side++)
        for (i = 0; i < halves[side]->odd_count; i++)
            if (halves[side]->group[i] == NOWHERE)
                halves[side]->group[i] = (uint32_t)w->groups++;
    out->member_count = members;
    out->changes = calloc(w->groups + 1, sizeof *out->changes);
    out->members = malloc((members + 1) * sizeof *out->members);
    if (!out->changes || !out->members)
        return -1;
    for (i = 0; i < w->before.odd_count; i++)
        out->changes[w->before.group[i]].before_count++;
    for (i = 0; i < w->after.odd_count; i++)
        out->changes[w->after.group[i]].after_count++;
    for (i = 0; i < w->groups; i++) {
        pm_change *one = out->changes + i;

        one->before = (uint32_t)at;
        one->after = one->before + one->before_count;
        at = one->after + one->after_count;
    }
    for (i = 0; i < w->before.odd_count; i++)
        out->members[out->changes[w->before.group[i]].before++] = w->before.odd[i];
    for (i = 0; i < w->after.odd_count; i++)
        out->members[out->changes[w->after.group[i]].after++] = w->after.odd[i];
    for (i = at = 0; i < w->groups; i++) {
        pm_change one = out->changes[i];
        band before, after;

        one.before -= one.before_count;
        one.after -= one.after_count;
        one.kinds = i >= moved_from && i < moved_to ? bit(PM_MOVED) : 0;
        before = (band){&w->before, out->members + one.before, one.before_count};
        after = (band){&w->after, out->members + one.after, one.after_count};
        describe(w, &before, &after, &one);
        if (!one.kinds)
            continue; /* what differs doesn't count here */
        out->vsz = (int64_t)((uint64_t)out->vsz + (uint64_t)one.vsz);
        out->rss = (int64_t)((uint64_t)out->rss + (uint64_t)one.rss);
        in_order &= !at || by_address(out->changes + at - 1, &one) < 0;
        out->changes[at++] = one;
    }
    out->count = at;
    if (!in_order)
        qsort(out->changes, out->count, sizeof *out->changes, by_address);
    return 0;
}

/* ---- page faults ---- */

enum { OF_SWAP, OF_ANONYMOUS, OF_FILES };

/* Pages that came to a change, of those that take faults of one sort. */
static uint64_t asked(const pm_change *one, const pm_terms *terms, int sort)
{
    uint64_t page = terms->page_size, bytes = came(one->rss, terms->minor), pages, huge;

    if (sort == OF_SWAP)
        return came(one->rss, terms->major) ? came(negative(one->swap), terms->major) / page : 0;
    if ((sort == OF_FILES) != (one->is_file != 0))
        return 0;
    if (!(one->kinds & bit(PM_SHARING)))
        bytes += came(one->copied, terms->minor);
    pages = bytes / page;
    huge = came(one->huge, terms->minor);
    huge = huge / page - huge / HUGE_PAGE + magnitude(one->major);
    return pages > huge ? pages - huge : 0;
}

/* Each change as many faults as pages; where there are fewer faults, its part of them. */
static int64_t share(pm_changes *all, const pm_terms *terms, int sort, int64_t faults)
{
    uint64_t wanted = 0, running = 0, given = 0, there = magnitude(faults);
    size_t i;

    if (!faults)
        return 0;
    for (i = 0; i < all->count; i++)
        wanted += asked(all->changes + i, terms, sort);
    for (i = 0; i < all->count; i++) {
        pm_change *one = all->changes + i;
        uint64_t pages = asked(one, terms, sort), upto;

        if (!pages)
            continue;
        running += pages;
        upto = running;
        if (there < wanted)
            upto = (uint64_t)((unsigned __int128)running * there / wanted);
        if (sort == OF_SWAP)
            one->major = faults > 0 ? (int64_t)(upto - given) : negative((int64_t)(upto - given));
        else
            one->minor = faults > 0 ? (int64_t)(upto - given) : negative((int64_t)(upto - given));
        given = upto;
    }
    return faults > 0 ? (int64_t)given : negative((int64_t)given);
}

static void give_faults(pm_changes *all, const pm_terms *terms)
{
    pm_change *file = NULL;
    size_t i, files = 0;

    for (i = 0; i < all->count; i++)
        all->changes[i].known |= PM_KNOWS_FAULTS;
    all->major = share(all, terms, OF_SWAP, terms->major);
    if (terms->major != all->major) {
        for (i = 0; i < all->count; i++)
            if (all->changes[i].is_file && came(all->changes[i].rss, terms->major)) {
                file = all->changes + i;
                files++;
            }
        if (files == 1) {
            file->major += terms->major - all->major;
            all->major = terms->major;
        }
    }
    all->minor = share(all, terms, OF_ANONYMOUS, terms->minor);
    all->minor += share(all, terms, OF_FILES, terms->minor - all->minor);
}

/* ---- the whole ---- */

static int make_room(half *it)
{
    size_t i;

    it->odd = malloc((it->side->count + 1) * sizeof *it->odd);
    it->group = malloc((it->side->count + 1) * sizeof *it->group);
    if (!it->odd || !it->group || put_in_order(it))
        return -1;
    for (i = 0; i < it->side->count; i++)
        it->group[i] = NOWHERE;
    return 0;
}

static void give_back(half *it)
{
    free(it->order);
    free(it->odd);
    free(it->group);
}

pm_changes *pm_compare(const pm_side *before, const pm_side *after, const pm_terms *terms)
{
    work w = {.before = {.side = before}, .after = {.side = after}, .terms = terms};
    pm_changes *found = calloc(1, sizeof *found);
    int failed = !found || make_room(&w.before) || make_room(&w.after);

    if (!failed) {
        size_t linked;

        w.as_bytes = before->stride == after->stride && !before->strings && !after->strings &&
                     !w.before.order && !w.after.order;
        find_odd(&w);
        link_groups(&w);
        linked = w.groups;
        failed = join_moved(&w) || collect(&w, linked, w.groups, found);
    }
    if (!failed && terms->faults_known && terms->measured)
        give_faults(found, terms);
    give_back(&w.before);
    give_back(&w.after);
    if (failed) {
        pm_changes_free(found);
        return NULL;
    }
    return found;
}

void pm_changes_free(pm_changes *changes)
{
    if (!changes)
        return;
    free(changes->changes);
    free(changes->members);
    free(changes);
}
