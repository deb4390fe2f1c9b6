#include "scanner.h"

#include <stdlib.h>
#include <string.h>

/* Counters with a word of their own, in the kernel's order (fs/proc/task_mmu.c,
 * __show_smap); those of smaps_rollup and of older kernels at the end.
 * KEEP IN STEP with procmem/regions/counters.py, which a test compares. */
const char *const pm_counter_names[] = {
    "Size",           "KernelPageSize", "MMUPageSize",    "Rss",
    "Pss",            "Pss_Dirty",      "Shared_Clean",   "Shared_Dirty",
    "Private_Clean",  "Private_Dirty",  "Referenced",     "Anonymous",
    "KSM",            "LazyFree",       "AnonHugePages",  "ShmemPmdMapped",
    "FilePmdMapped",  "Shared_Hugetlb", "Private_Hugetlb", "Swap",
    "SwapPss",        "Locked",         "THPeligible",    "ProtectionKey",
    "Pss_Anon",       "Pss_File",       "Pss_Shmem",
};
#define COUNTERS (sizeof pm_counter_names / sizeof pm_counter_names[0])
const size_t pm_counter_count = COUNTERS;

/* A region with more unknown counters than this is no kernel's work. */
#define MAX_EXTRAS_PER_REGION 1024

struct pm_scan_state {
    int mode;
    uint64_t seed;
    char *carry;
    size_t carry_size, carry_room;
    size_t word_room, arena_room, string_room, extra_room;
    uint32_t *table; /* string ids by hash, 0 is free */
    size_t table_room;
    uint32_t last_name, last_flags;
    size_t region_extras;
    /* The kernel prints the same counters in the same order for every region:
     * the slot seen at this place in the region before is tried first. */
    size_t place;
    unsigned char slot_at[COUNTERS];
    unsigned char name_length[COUNTERS];
    /* The kernel prints a counter as its name and colon padded to 16 columns,
     * then the value in 8, then the unit: such a line is known by two words. */
    uint64_t label[COUNTERS][2];
    uint64_t zero;
};
#define LABEL 16
#define VALUE 8
#define KB_LINE (LABEL + VALUE + 4)

static int grow(void **block, size_t *room, size_t need, size_t item)
{
    size_t wanted = *room;
    void *moved;

    if (need <= *room)
        return PM_OK;
    if (wanted < 64)
        wanted = 64;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2)
            return PM_NO_MEMORY;
        wanted += wanted / 2;
    }
    if (wanted > SIZE_MAX / item)
        return PM_NO_MEMORY;
    moved = realloc(*block, wanted * item);
    if (!moved)
        return PM_NO_MEMORY;
    *block = moved;
    *room = wanted;
    return PM_OK;
}

static int bad(pm_scan *scan, const char *what, const char *line, size_t size)
{
    scan->error = what;
    scan->error_line = malloc(size ? size : 1);
    if (!scan->error_line)
        return PM_NO_MEMORY;
    if (size)
        memcpy(scan->error_line, line, size);
    scan->error_line_size = size;
    return PM_BAD_TEXT;
}

/* ---- strings ---------------------------------------------------------- */

static uint64_t hash(uint64_t seed, const char *text, size_t size)
{
    uint64_t h = seed ^ (size * UINT64_C(0x9E3779B97F4A7C15)), part;

    while (size >= 8) {
        memcpy(&part, text, 8);
        h = (h ^ part) * UINT64_C(0xFF51AFD7ED558CCD);
        h ^= h >> 32;
        text += 8;
        size -= 8;
    }
    part = 0;
    if (size)
        memcpy(&part, text, size);
    h = (h ^ part) * UINT64_C(0xC4CEB9FE1A85EC53);
    return h ^ (h >> 29);
}

static int same(const pm_scan *scan, uint32_t id, const char *text, size_t size)
{
    const pm_string *kept = &scan->strings[id];

    return kept->length == size && !memcmp(scan->arena + kept->offset, text, size);
}

static int rehash(pm_scan *scan)
{
    struct pm_scan_state *state = scan->state;
    size_t room = state->table_room ? state->table_room * 2 : 64, id, at;
    uint32_t *table = calloc(room, sizeof *table);

    if (!table)
        return PM_NO_MEMORY;
    for (id = 1; id < scan->string_count; id++) {
        const pm_string *kept = &scan->strings[id];

        at = hash(state->seed, scan->arena + kept->offset, kept->length) & (room - 1);
        while (table[at])
            at = (at + 1) & (room - 1);
        table[at] = (uint32_t)id;
    }
    free(state->table);
    state->table = table;
    state->table_room = room;
    return PM_OK;
}

static int intern(pm_scan *scan, const char *text, size_t size, uint32_t *id)
{
    struct pm_scan_state *state = scan->state;
    size_t at;

    if (scan->string_count * 2 >= state->table_room && rehash(scan))
        return PM_NO_MEMORY;
    at = hash(state->seed, text, size) & (state->table_room - 1);
    while (state->table[at]) {
        if (same(scan, state->table[at], text, size)) {
            *id = state->table[at];
            return PM_OK;
        }
        at = (at + 1) & (state->table_room - 1);
    }
    if (scan->string_count >= UINT32_MAX ||
        grow((void **)&scan->strings, &state->string_room, scan->string_count + 1,
             sizeof *scan->strings) ||
        grow((void **)&scan->arena, &state->arena_room, scan->arena_size + size + 1, 1))
        return PM_NO_MEMORY;
    if (size)
        memcpy(scan->arena + scan->arena_size, text, size);
    scan->strings[scan->string_count].offset = scan->arena_size;
    scan->strings[scan->string_count].length = size;
    scan->arena_size += size;
    *id = (uint32_t)scan->string_count;
    state->table[at] = *id;
    scan->string_count++;
    return PM_OK;
}

/* Neighbours mostly share their strings, so the last one is tried first. */
static int intern_near(pm_scan *scan, uint32_t *last, const char *text, size_t size)
{
    if (*last && same(scan, *last, text, size))
        return PM_OK;
    return intern(scan, text, size, last);
}

/* ---- numbers ---------------------------------------------------------- */

static const signed char hex_value[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,
    ['7'] = 8, ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14,
    ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15,
    ['F'] = 16,
};

/* Reads hexadecimal digits.  NULL if there are none or they pass 64 bits.
 * `plain` is cleared where the kernel would have printed the number otherwise:
 * it pads to `width` and writes small letters. */
static const char *hex(const char *at, const char *end, size_t width, uint64_t *value, int *plain)
{
    const char *from = at;
    uint64_t v = 0;
    int digit;

    while (at < end && (digit = hex_value[(unsigned char)*at])) {
        if (v >> 60)
            return NULL;
        if (*at <= 'F' && *at >= 'A')
            *plain = 0;
        v = v << 4 | (uint64_t)(digit - 1);
        at++;
    }
    if (at == from)
        return NULL;
    if ((size_t)(at - from) < width || ((size_t)(at - from) > width && *from == '0'))
        *plain = 0;
    *value = v;
    return at;
}

static const char *decimal(const char *at, const char *end, uint64_t *value)
{
    const char *from = at;
    uint64_t v = 0;

    while (at < end && (unsigned char)(*at - '0') < 10) {
        uint64_t digit = (uint64_t)(*at - '0');

        if (v > (UINT64_MAX - digit) / 10)
            return NULL;
        v = v * 10 + digit;
        at++;
    }
    if (at == from)
        return NULL;
    *value = v;
    return at;
}

/* ---- lines ------------------------------------------------------------ */

/* The kernel pads a named line so that the name starts in this column
 * (fs/proc/task_mmu.c: seq_setwidth(m, 25 + sizeof(void *) * 6 - 1)). */
#define NAME_COLUMN 73

static int region_line(pm_scan *scan, const char *line, size_t size)
{
    struct pm_scan_state *state = scan->state;
    const char *end = line + size, *at = line, *name, *digits;
    uint64_t start, stop, offset, major, minor, inode, *record;
    uint32_t perms, raw = 0, name_id = 0;
    int plain = 1, i;
    size_t column;

    if (!(at = hex(at, end, 8, &start, &plain)) || at == end || *at++ != '-' ||
        !(at = hex(at, end, 8, &stop, &plain)) || at == end || *at++ != ' ')
        return bad(scan, "a region line starts with START-END in hexadecimal", line, size);
    if (stop < start)
        return bad(scan, "the region ends before it starts", line, size);
    if (end - at < 5 || at[4] != ' ')
        return bad(scan, "four permission letters are expected behind the addresses", line, size);
    for (i = 0; i < 4; i++)
        if (at[i] <= ' ' || at[i] > '~')
            return bad(scan, "four permission letters are expected behind the addresses", line,
                       size);
    memcpy(&perms, at, 4);
    at += 5;
    if (!(at = hex(at, end, 8, &offset, &plain)) || at == end || *at++ != ' ')
        return bad(scan, "the offset is no hexadecimal number of 64 bits", line, size);
    if (!(at = hex(at, end, 2, &major, &plain)) || at == end || *at++ != ':' ||
        !(at = hex(at, end, 2, &minor, &plain)) || at == end || *at++ != ' ' ||
        major > UINT32_MAX || minor > UINT32_MAX)
        return bad(scan, "the device is not MAJOR:MINOR in hexadecimal", line, size);
    digits = at;
    if (!(at = decimal(at, end, &inode)) || (at < end && *at != ' '))
        return bad(scan, "the inode is no decimal number of 64 bits", line, size);
    if (at - digits > 1 && *digits == '0')
        plain = 0;

    name = at;
    while (name < end && *name == ' ')
        name++;
    if (name == end) {
        plain = plain && end - at == 1;
    } else {
        column = (size_t)(at - line) + 2;
        if (column < NAME_COLUMN)
            column = NAME_COLUMN;
        plain = plain && (size_t)(name - line) == column;
        if (intern_near(scan, &state->last_name, name, (size_t)(end - name)))
            return PM_NO_MEMORY;
        name_id = state->last_name;
    }
    if (!plain && intern(scan, line, size, &raw))
        return PM_NO_MEMORY;

    if (scan->count >= SIZE_MAX / scan->stride ||
        grow((void **)&scan->words, &state->word_room, (scan->count + 1) * scan->stride,
             sizeof *scan->words))
        return PM_NO_MEMORY;
    record = scan->words + scan->count * scan->stride;
    if (scan->count && start < record[PM_END - (ptrdiff_t)scan->stride])
        scan->disordered = 1;
    record[PM_START] = start;
    record[PM_END] = stop;
    record[PM_OFFSET] = offset;
    record[PM_INODE] = inode;
    record[PM_DEV] = major << 32 | minor;
    record[PM_PERMS_NAME] = (uint64_t)name_id << 32 | perms;
    record[PM_FLAGS_RAW] = (uint64_t)raw << 32;
    if (scan->stride > PM_HEADER_WORDS)
        memset(record + PM_HEADER_WORDS, 0xff,
               (scan->stride - PM_HEADER_WORDS) * sizeof *record);
    scan->count++;
    state->place = 0;
    state->region_extras = 0;
    return PM_OK;
}

static int flags_line(pm_scan *scan, const char *at, const char *end)
{
    uint64_t *word = scan->words + (scan->count - 1) * scan->stride + PM_FLAGS_RAW;

    while (at < end && *at == ' ')
        at++;
    while (end > at && end[-1] == ' ')
        end--;
    if (intern_near(scan, &scan->state->last_flags, at, (size_t)(end - at)))
        return PM_NO_MEMORY;
    *word = (*word & ~(uint64_t)UINT32_MAX) | scan->state->last_flags;
    return PM_OK;
}

/* -1 if the name is not one of ours. */
static int slot_of(struct pm_scan_state *state, const char *name, size_t length)
{
    size_t slot;

    if (state->place < COUNTERS) {
        slot = state->slot_at[state->place];
        if (state->name_length[slot] == length && !memcmp(pm_counter_names[slot], name, length))
            return (int)slot;
    }
    for (slot = 0; slot < COUNTERS; slot++)
        if (state->name_length[slot] == length && !memcmp(pm_counter_names[slot], name, length))
            return (int)slot;
    return -1;
}

static int extra(pm_scan *scan, const char *line, size_t size, const char *colon, uint64_t value,
                 int in_kb, const char *text)
{
    struct pm_scan_state *state = scan->state;
    pm_extra *kept;
    uint32_t key, text_id = 0;
    size_t back;

    if (intern(scan, line, (size_t)(colon - line), &key) ||
        (text && intern(scan, text, (size_t)(line + size - text), &text_id)))
        return PM_NO_MEMORY;
    for (back = 1; back <= state->region_extras; back++)
        if (scan->extras[scan->extra_count - back].key == key)
            return bad(scan, "the counter appears twice in one region", line, size);
    if (state->region_extras == MAX_EXTRAS_PER_REGION)
        return bad(scan, "the region has too many unknown counters", line, size);
    if (grow((void **)&scan->extras, &state->extra_room, scan->extra_count + 1,
             sizeof *scan->extras))
        return PM_NO_MEMORY;
    kept = &scan->extras[scan->extra_count++];
    kept->region = scan->count - 1;
    kept->value = value;
    kept->key = key;
    kept->text = text_id;
    kept->in_kb = (uint32_t)in_kb;
    state->region_extras++;
    return PM_OK;
}

static int counter_line(pm_scan *scan, const char *line, size_t size, const char *colon)
{
    struct pm_scan_state *state = scan->state;
    const char *end = line + size, *at = colon + 1, *after;
    size_t length = (size_t)(colon - line);
    uint64_t value = 0, *word;
    int slot, in_kb = 0;

    if (!scan->count)
        return bad(scan, "a counter stands before the first region", line, size);
    /* Linux 5.3 to 5.8 put tabs before the value of THPeligible. */
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    slot = slot_of(state, line, length);
    if (slot < 0 && length == 7 && !memcmp(line, "VmFlags", 7)) {
        uint32_t seen = (uint32_t)scan->words[(scan->count - 1) * scan->stride + PM_FLAGS_RAW];

        if (seen)
            return bad(scan, "the counter appears twice in one region", line, size);
        return flags_line(scan, at, end);
    }
    after = decimal(at, end, &value);
    if (after && end - after == 3 && !memcmp(after, " kB", 3)) {
        in_kb = 1;
        after += 3;
    }
    if (!after || after != end) {
        if (slot >= 0)
            return bad(scan, "the counter's value is no decimal number of 64 bits", line, size);
        return extra(scan, line, size, colon, 0, 0, at);
    }
    if (value > (PM_MISSING - 1) >> (in_kb ? 10 : 0))
        return bad(scan, "the counter's value in bytes passes 64 bits", line, size);
    value <<= in_kb ? 10 : 0;
    if (slot < 0)
        return extra(scan, line, size, colon, value, in_kb, NULL);
    word = scan->words + (scan->count - 1) * scan->stride + PM_HEADER_WORDS + slot;
    if (*word != PM_MISSING)
        return bad(scan, "the counter appears twice in one region", line, size);
    *word = value;
    if (state->place < COUNTERS)
        state->slot_at[state->place++] = (unsigned char)slot;
    return PM_OK;
}

/* Takes lines in the columns that the kernel prints, up to the first that is
 * not: the general reader takes that one. */
static const char *usual_counters(pm_scan *scan, const char *at, const char *end)
{
    struct pm_scan_state *state = scan->state;
    uint64_t *counters = scan->words + (scan->count - 1) * scan->stride + PM_HEADER_WORDS;

    while (state->place < COUNTERS && end - at >= KB_LINE) {
        size_t slot = state->slot_at[state->place];
        const char *digit = at + LABEL, *stop = digit + VALUE;
        uint64_t label[2], text, value = 0;

        memcpy(label, at, sizeof label);
        memcpy(&text, digit, sizeof text);
        if (((label[0] ^ state->label[slot][0]) | (label[1] ^ state->label[slot][1])) ||
            counters[slot] != PM_MISSING)
            break;
        if (text != state->zero) { /* most counters are 0 */
            while (digit < stop && *digit == ' ')
                digit++;
            if (digit == stop)
                break;
            while (digit < stop && (unsigned char)(*digit - '0') < 10)
                value = value * 10 + (uint64_t)(*digit++ - '0');
            if (digit != stop)
                break;
        }
        if (!memcmp(stop, " kB\n", 4)) {
            value <<= 10;
            at = stop + 4;
        } else if (*stop == '\n') {
            at = stop + 1;
        } else {
            break;
        }
        counters[slot] = value;
        state->place++;
        scan->lines++;
    }
    return at;
}

/* The kernel prints no blank lines; editors and terminals' logs add them.
 * KEEP IN STEP with BLANKS in procmem/procfs/text.py, which a test compares. */
static int blank(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || (*at >= '\t' && *at <= '\r')))
        at++;
    return at == end;
}

static int one_line(pm_scan *scan, const char *line, size_t size)
{
    const char *at = line, *end = line + size;

    scan->lines++;
    if (blank(line, end))
        return PM_OK;
    if (scan->state->mode == PM_SMAPS) {
        /* A counter's first word ends in a colon, a region's holds a dash
         * before any colon or space. */
        while (at < end && *at != ':' && *at != ' ' && *at != '-')
            at++;
        if (at < end && *at == ':' && at > line)
            return counter_line(scan, line, size, at);
    }
    return region_line(scan, line, size);
}

static int carry(struct pm_scan_state *state, const char *data, size_t size)
{
    if (!size)
        return PM_OK;
    if (size > SIZE_MAX - state->carry_size ||
        grow((void **)&state->carry, &state->carry_room, state->carry_size + size, 1))
        return PM_NO_MEMORY;
    memcpy(state->carry + state->carry_size, data, size);
    state->carry_size += size;
    return PM_OK;
}

int pm_scan_feed(pm_scan *scan, const char *data, size_t size)
{
    struct pm_scan_state *state = scan->state;
    const char *end = data + size, *newline;
    int status;

    if (scan->error)
        return PM_BAD_TEXT;
    if (state->carry_size && size) {
        newline = memchr(data, '\n', size);
        status = carry(state, data, newline ? (size_t)(newline - data) : size);
        if (status || !newline)
            return status;
        size = state->carry_size;
        state->carry_size = 0;
        if ((status = one_line(scan, state->carry, size)))
            return status;
        data = newline + 1;
    }
    while (data < end) {
        if (state->mode == PM_SMAPS && scan->count)
            data = usual_counters(scan, data, end);
        newline = data < end ? memchr(data, '\n', (size_t)(end - data)) : NULL;
        if (!newline)
            break;
        if ((status = one_line(scan, data, (size_t)(newline - data))))
            return status;
        data = newline + 1;
    }
    return carry(state, data, (size_t)(end - data));
}

int pm_scan_finish(pm_scan *scan)
{
    size_t size = scan->state->carry_size;

    if (scan->error)
        return PM_BAD_TEXT;
    if (!size)
        return PM_OK;
    scan->unterminated = !blank(scan->state->carry, scan->state->carry + size);
    scan->state->carry_size = 0;
    return one_line(scan, scan->state->carry, size);
}

/* ---- life ------------------------------------------------------------- */

pm_scan *pm_scan_new(int mode, uint64_t seed)
{
    pm_scan *scan = calloc(1, sizeof *scan);
    size_t slot;

    if (!scan)
        return NULL;
    scan->stride = PM_HEADER_WORDS;
    if (mode == PM_SMAPS)
        scan->stride += COUNTERS;
    if (mode == PM_RESIDENT)
        scan->stride += PM_RESIDENCY_WORDS;
    scan->string_count = 1;
    scan->state = calloc(1, sizeof *scan->state);
    if (!scan->state ||
        grow((void **)&scan->strings, &scan->state->string_room, 1, sizeof *scan->strings)) {
        pm_scan_free(scan);
        return NULL;
    }
    scan->strings[0].offset = scan->strings[0].length = 0;
    scan->state->mode = mode;
    scan->state->seed = seed;
    memcpy(&scan->state->zero, "       0", VALUE);
    for (slot = 0; slot < COUNTERS; slot++) {
        scan->state->name_length[slot] = (unsigned char)strlen(pm_counter_names[slot]);
        scan->state->slot_at[slot] = (unsigned char)slot;
        memset(scan->state->label[slot], ' ', LABEL);
        memcpy(scan->state->label[slot], pm_counter_names[slot],
               scan->state->name_length[slot]);
        ((char *)scan->state->label[slot])[scan->state->name_length[slot]] = ':';
    }
    return scan;
}

void pm_scan_release_text(pm_scan *scan)
{
    if (scan->state) {
        free(scan->state->carry);
        free(scan->state->table);
        free(scan->state);
        scan->state = NULL;
    }
    free(scan->arena);
    free(scan->strings);
    free(scan->extras);
    free(scan->error_line);
    scan->arena = NULL;
    scan->strings = NULL;
    scan->extras = NULL;
    scan->error_line = NULL;
    scan->string_count = scan->extra_count = scan->arena_size = 0;
}

void pm_scan_free(pm_scan *scan)
{
    if (!scan)
        return;
    pm_scan_release_text(scan);
    free(scan->words);
    free(scan);
}
