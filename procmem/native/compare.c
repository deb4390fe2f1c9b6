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

#define KERNEL_HALF (UINT64_C(1) << 63) /* VmSize leaves out what is mapped above: [vsyscall] */
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
    size_t fewer, more; /* changes of pages that nobody can write, with fewer sharers, or more */
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

/* ---- what has moved ---- */

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

/* 0: nothing distinguishes it from others, as with untouched memory. */
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

/* Of two amounts that changed against each other, what the first gained from the second. */
static int64_t exchanged(int64_t own, int64_t others)
{
    if (!own || !others || (own > 0) == (others > 0))
        return 0;
    return own > 0 ? lesser(own, negative(others)) : greater(own, negative(others));
}

static int64_t plus(int64_t one, int64_t other)
{
    return (int64_t)((uint64_t)one + (uint64_t)other);
}

static int has_file(const work *w, const band *it)
{
    size_t i;

    for (i = 0; i < it->count; i++) {
        const uint64_t *one = of_band(it, i);

        if (one[PM_INODE] || w->terms->names[name_of(it->half, one)] == PM_NAME_PATH)
            return 1;
    }
    return 0;
}

static int all_with(const band *it, size_t letter, char wanted)
{
    size_t i;

    for (i = 0; i < it->count; i++) {
        uint32_t perms = perms_of(of_band(it, i));
        char letters[sizeof perms];

        memcpy(letters, &perms, sizeof letters);
        if (letters[letter] != wanted)
            return 0;
    }
    return 1;
}

/* Whether all dirty pages of a private mapping of a file are its anonymous ones: pages of a file
 * that was just written are dirty as well, and their sharers are all who map it. */
static int dirty_are_anonymous(const band *it)
{
    uint64_t anonymous, own, others;

    return sum_of(it, PM_OF_ANONYMOUS, &anonymous) && sum_of(it, PM_OF_PRIVATE_DIRTY, &own) &&
           sum_of(it, PM_OF_SHARED_DIRTY, &others) && own + others == anonymous;
}

/* Bytes that were shared before and are this process's own after; negative: the other way. */
static void of_sharing(const band *before, const band *after, pm_change *out)
{
    int64_t parts[4], unshared;
    int i, clean = !out->is_file;

    if (!all_with(before, 3, 'p') || !all_with(after, 3, 'p')) {
        out->known |= PM_KNOWS_UNSHARED | PM_KNOWS_COPIED;
        return;
    }
    for (i = 0; i < 4; i++)
        if (!difference(before, after, PM_OF_PRIVATE_DIRTY + i, &parts[i]))
            return;
    if (clean)
        unshared = exchanged(plus(parts[0], parts[1]), plus(parts[2], parts[3]));
    else if (dirty_are_anonymous(before) && dirty_are_anonymous(after))
        unshared = exchanged(parts[0], parts[2]);
    else
        unshared = 0;
    /* Pages that KSM merged are shared, too, and its own again when they are written. */
    if (unshared && out->ksm && (unshared > 0) == (out->ksm < 0))
        unshared = unshared > 0 ? greater(plus(unshared, out->ksm), 0)
                                : lesser(plus(unshared, out->ksm), 0);
    out->unshared = unshared;
    out->known |= PM_KNOWS_UNSHARED;
}

/* A private page of a file becomes anonymous when it is written: that is a copy for sure.
 * Pages that were not there before are left out; those in swap are anonymous as well. */
static void of_file_copies(const band *before, const band *after, pm_change *out)
{
    int64_t own, came = plus(out->rss, out->swap);

    if (!out->is_file) {
        out->known |= out->known & PM_KNOWS_UNSHARED ? PM_KNOWS_COPIED : 0;
        return;
    }
    if (out->known & PM_KNOWS_COPIED || !difference(before, after, PM_OF_ANONYMOUS, &own))
        return;
    own = plus(own, out->swap);
    if (own && (own > 0) == (came > 0))
        own = own > 0 ? greater(plus(own, negative(came)), 0)
                      : lesser(plus(own, negative(came)), 0);
    out->copied = own;
    out->known |= PM_KNOWS_COPIED;
}

/* How much came, or went where time runs backwards. */
static uint64_t came(int64_t value, int64_t sign)
{
    if (!sign || !value || (value > 0) != (sign > 0))
        return 0;
    return magnitude(value);
}

static void of_pages(const band *before, const band *after, pm_change *out)
{
    int64_t shared = 0, own = 0;

    if (difference(before, after, PM_OF_RSS, &out->rss))
        out->known |= PM_KNOWS_RSS;
    if (difference(before, after, PM_OF_SWAP, &out->swap))
        out->known |= PM_KNOWS_SWAP;
    if (difference(before, after, PM_OF_HUGE, &out->huge))
        out->known |= PM_KNOWS_HUGE;
    if (difference(before, after, PM_OF_SHARED_HUGETLB, &shared) &&
        difference(before, after, PM_OF_PRIVATE_HUGETLB, &own)) {
        out->known |= PM_KNOWS_HUGETLB;
        out->hugetlb = plus(shared, own);
    }
    if (out->rss) {
        int64_t rss = out->rss, swap = out->swap;

        /* What went to swap was not dropped, what came from there not touched anew. */
        if (!swap || (rss > 0) == (swap > 0) || magnitude(swap) < magnitude(rss))
            out->kinds |= bit(rss > 0 ? PM_TOUCHED : PM_DROPPED);
    }
    if (out->swap)
        out->kinds |= bit(PM_SWAPPED);
    if (out->hugetlb)
        out->kinds |= bit(PM_HUGETLB);
    if (difference(before, after, PM_OF_LAZY, &out->lazy))
        out->known |= PM_KNOWS_LAZY;
    if (difference(before, after, PM_OF_KSM, &out->ksm))
        out->known |= PM_KNOWS_KSM;
    if (!before->count || !after->count)
        return;
    if (out->lazy)
        out->kinds |= bit(PM_LAZY);
    if (out->ksm)
        out->kinds |= bit(PM_KSM);
    /* Those that came or went as a whole are in RSS: these were made of small ones, or split. */
    if (out->huge && ((out->huge > 0) != (out->rss > 0) ||
                      magnitude(out->huge) > magnitude(out->rss)))
        out->kinds |= bit(PM_HUGE_PAGES);
    of_sharing(before, after, out);
    of_file_copies(before, after, out);
    if (out->copied)
        out->kinds |= bit(PM_COPIED);
    if (out->unshared)
        out->kinds |= bit(PM_SHARING); /* until it is known whether it was copied */
}

/* Pages that nobody can write are never copied: how many share them says who is there.
 * 1: fewer than before; -1: more; 0: as many, or it can't be said. */
static int sharers_left(const band *before, const band *after, const pm_change *out)
{
    int64_t own, others, part;
    uint64_t shared;

    if (!all_with(before, 1, '-') || !all_with(after, 1, '-'))
        return 0;
    if (out->unshared)
        return out->unshared > 0 ? 1 : -1;
    if (out->rss || out->ksm || !(out->known & PM_KNOWS_UNSHARED) ||
        !dirty_are_anonymous(before) || !dirty_are_anonymous(after) ||
        !difference(before, after, PM_OF_PRIVATE_DIRTY, &own) || own ||
        !difference(before, after, PM_OF_SHARED_DIRTY, &others) || others ||
        !sum_of(before, PM_OF_SHARED_DIRTY, &shared) || !shared ||
        !difference(before, after, PM_OF_PSS_DIRTY, &part))
        return 0;
    return (part > 0) - (part < 0);
}

/* 1; or -1 where time runs backwards: the first snapshot is the later one. */
static int64_t direction(const pm_terms *terms)
{
    int64_t faults = terms->minor ? terms->minor : terms->major;

    return terms->faults_known && faults < 0 ? -1 : 1;
}

static void describe(const work *w, const band *before, const band *after, pm_change *out)
{
    const uint64_t *one = before->count ? of_band(before, 0) : NULL;
    const uint64_t *other = after->count ? of_band(after, 0) : NULL;

    out->start = one && (!other || one[PM_START] < other[PM_START]) ? one[PM_START]
                                                                    : other[PM_START];
    out->vsz = (int64_t)(size_of(after) - size_of(before));
    out->early = direction(w->terms) > 0 ? one && one[PM_START] == out->start
                                         : other && other[PM_START] == out->start;
    out->is_file = has_file(w, before) || has_file(w, after);
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
        of_pages(before, after, out);
}

/* ---- all groups, by address ---- */

static int by_address(const void *one, const void *other)
{
    const pm_change *a = one, *b = other;

    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    /* One had a region there, the other has. Which is first may not depend on which snapshot is
     * compared with which: faults are given in this order. */
    return (b->early > a->early) - (b->early < a->early);
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
        if (w->terms->measured && before.count && after.count) {
            int left = sharers_left(&before, &after, &one);

            w->fewer += left > 0;
            w->more += left < 0;
        }
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

enum { OF_SWAP, OF_ANONYMOUS, OF_FILE_COPIES, OF_SHARED_COPIES, OF_FILES };

/* What one page table of the lowest level spans: a transparent huge page, which takes one fault. */
static uint64_t huge_page(const pm_terms *terms)
{
    return terms->page_size / 8 * terms->page_size;
}

/* Pages that came to a change, of those that take faults of one sort. */
static uint64_t asked(const pm_change *one, const pm_terms *terms, int sort)
{
    uint64_t page = terms->page_size, pages, huge, swapped;

    switch (sort) {
    case OF_SWAP:
        return came(one->rss, terms->major) ? came(negative(one->swap), terms->major) / page : 0;
    case OF_FILE_COPIES:
        return came(one->copied, terms->minor) / page;
    case OF_SHARED_COPIES:
        return came(one->unshared, terms->minor) / page;
    default:
        if ((sort == OF_FILES) != (one->is_file != 0))
            return 0;
    }
    pages = came(one->rss, terms->minor) / page;
    huge = came(one->huge, terms->minor);
    huge = huge / page - huge / huge_page(terms);
    swapped = magnitude(one->major);
    if (huge >= pages)
        return 0;
    pages -= huge;
    return pages > swapped ? pages - swapped : 0;
}

static uint64_t wanted(const pm_changes *all, const pm_terms *terms, int sort)
{
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i < all->count; i++)
        sum += asked(all->changes + i, terms, sort);
    return sum;
}

/* number * part / whole, with part below whole; 32-bit machines have no numbers of 128 bits. */
static uint64_t scaled(uint64_t number, uint64_t part, uint64_t whole)
{
    uint64_t product, quotient = 0, rest = 0;
    int bit, add;

    if (!__builtin_mul_overflow(number, part, &product))
        return product / whole;
    for (bit = 63; bit >= 0; bit--) {
        /* rest stays below whole: rest + what is added is at most one whole above it. */
        quotient <<= 1;
        for (add = 0; add < 2; add++) {
            uint64_t more = add ? (number >> bit & 1 ? part : 0) : rest;
            int over = __builtin_add_overflow(rest, more, &rest);
            if (over || rest >= whole) {
                rest -= whole;
                quotient++;
            }
        }
    }
    return quotient;
}

/* Each change as many faults as pages; where there are fewer faults, its part of them. */
static int64_t share(pm_changes *all, const pm_terms *terms, int sort, int64_t faults)
{
    uint64_t most, running = 0, given = 0, there = magnitude(faults);
    size_t i;

    if (!faults)
        return 0;
    most = wanted(all, terms, sort);
    for (i = 0; i < all->count; i++) {
        pm_change *one = all->changes + i;
        uint64_t pages = asked(one, terms, sort), upto;
        int64_t *to = sort == OF_SWAP ? &one->major : &one->minor;

        if (!pages)
            continue;
        running += pages;
        upto = running;
        if (there < most)
            upto = scaled(running, there, most);
        *to += faults > 0 ? (int64_t)(upto - given) : negative((int64_t)(upto - given));
        given = upto;
    }
    return faults > 0 ? (int64_t)given : negative((int64_t)given);
}

/* Pages in the later snapshot that others share: of memory that can be written, and of such that
 * can't. Those are as many as before until a sharer ends. */
static void still_shared(const work *w, int64_t forward, uint64_t *writable, uint64_t *others)
{
    const half *it = forward > 0 ? &w->after : &w->before;
    size_t i;

    *writable = *others = 0;
    for (i = 0; i < it->side->count; i++) {
        uint32_t place = (uint32_t)i;
        band one = {it, &place, 1};
        uint64_t dirty, clean = 0, merged = 0;
        int kind = w->terms->names[name_of(it, of_band(&one, 0))];

        if (!all_with(&one, 3, 'p') || !sum_of(&one, PM_OF_SHARED_DIRTY, &dirty))
            continue;
        sum_of(&one, PM_OF_KSM, &merged);
        if (merged)
            continue;
        if (all_with(&one, 1, '-')) {
            if (dirty_are_anonymous(&one))
                *others += dirty;
        } else if (!has_file(w, &one) && kind <= PM_NAME_BREAK) {
            sum_of(&one, PM_OF_SHARED_CLEAN, &clean);
            *writable += dirty + clean;
        }
    }
}

/* Whether pages were copied by so many faults: all of them, or all but a few where pages are many.
 * Where the sharer may have ended there must be no other, nor few: those are quickly had. */
static int fits(uint64_t pages, uint64_t faults, int still_shared)
{
    if (!still_shared)
        return pages >= 8 && faults == pages;
    return faults <= pages + (pages < 64 ? 0 : pages / 8);
}

/* Why pages that were shared are the process's own. A copy takes a fault, but a fault need be no
 * copy: the first write to a page whose sharer has ended takes one as well. */
static void judge(const work *w, pm_changes *all, int64_t left)
{
    const pm_terms *terms = w->terms;
    int64_t forward = direction(terms);
    uint64_t most = magnitude(left), pages = 0, writable, others;
    size_t i, changes = 0;
    int fewer, departed = (forward > 0 ? w->fewer : w->more) > 0;

    all->verdict = PM_NOTHING_UNSHARED;
    for (i = 0; i < all->count; i++) {
        pages += came(all->changes[i].unshared, forward) / terms->page_size;
        changes += all->changes[i].is_file && came(all->changes[i].rss, forward);
    }
    if (!pages)
        return;
    all->unshared = pages * terms->page_size;
    still_shared(w, forward, &writable, &others);
    all->still_shared = (others ? PM_STILL_UNWRITABLE : 0) | (writable ? PM_STILL_WRITABLE : 0) |
                        (departed ? PM_SHARER_LEFT : 0);
    if (!terms->faults_known) {
        all->spare = pages;
        all->verdict = departed && !others ? PM_SHARER_ENDED : PM_EITHER;
        return;
    }
    /* Of a file, one fault brings in all pages at best. */
    most = most > changes ? most - changes : 0;
    /* One fault brings in several pages where folios are large: then it can't be said how many
     * were left. */
    fewer = wanted(all, terms, OF_ANONYMOUS) > magnitude(terms->minor);
    if (fewer)
        most = magnitude(terms->minor);
    all->spare = most < pages ? most : pages;
    if (departed && !others)
        all->verdict = PM_SHARER_ENDED;
    else if (most < pages)
        all->verdict = PM_OTHERS_CHANGED;
    else if (!departed && !fewer && fits(pages, most, writable || others))
        all->verdict = PM_ALL_COPIED;
    else
        all->verdict = PM_EITHER;
}

/* Which pages were copied, now that it is known, if it is. */
static void settle(pm_changes *all, const pm_terms *terms)
{
    int64_t forward = direction(terms);
    size_t i;

    for (i = 0; i < all->count; i++) {
        pm_change *one = all->changes + i;

        if (!one->unshared)
            continue;
        if (came(one->unshared, forward) && all->verdict == PM_ALL_COPIED) {
            one->copied = plus(one->copied, one->unshared);
            one->kinds |= bit(PM_COPIED);
            one->kinds &= ~bit(PM_SHARING);
        } else if (!terms->faults_known || (came(one->unshared, forward) && all->spare)) {
            one->copied = 0;
            one->known &= ~(uint32_t)PM_KNOWS_COPIED;
        }
    }
}

static void give_faults(const work *w, pm_changes *all)
{
    const pm_terms *terms = w->terms;
    pm_change *file = NULL;
    size_t i, files = 0;
    int64_t left;

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
    left = terms->minor - share(all, terms, OF_ANONYMOUS, terms->minor);
    left -= share(all, terms, OF_FILE_COPIES, left);
    judge(w, all, left);
    if (all->verdict == PM_ALL_COPIED)
        left -= share(all, terms, OF_SHARED_COPIES, left);
    settle(all, terms);
    left -= share(all, terms, OF_FILES, left);
    all->minor = terms->minor - left;
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
    if (!failed && terms->measured) {
        if (terms->faults_known)
            give_faults(&w, found);
        else {
            judge(&w, found, 0);
            settle(found, terms);
        }
    }
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
