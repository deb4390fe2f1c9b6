/* Fuzzes the scanner; scripts/fuzz.py builds and runs it.
 *
 * Of an input, byte 0 chooses the mode and where memory runs out, byte 1 how
 * the text is cut into chunks; the rest is the text. */
#include "fuzz_driver.h"

/* The scanner is included, not linked, so that its allocations can fail. */
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

static void *fuzz_realloc(void *block, size_t size)
{
    return out_of_memory() ? NULL : realloc(block, size);
}

#define malloc fuzz_malloc
#define calloc fuzz_calloc
#define realloc fuzz_realloc
#include "scanner.c"
#undef malloc
#undef calloc
#undef realloc

/* Of held bytes per byte of text, the worst text is one of short unknown
 * counters: a name and a value of one letter each cost 32 bytes for the
 * counter, 32 for two strings, 16 for their places by hash; growth adds half. */
#define HELD_PER_BYTE 64
#define HELD_AT_LEAST (64 * 1024)

static size_t chunk_size(unsigned char pattern, uint64_t *random)
{
    static const size_t limits[] = {1, 2, 3, 7, 16, 28, 61, 200, 1024, 4096, 65536};
    size_t limit = limits[pattern % (sizeof limits / sizeof *limits)];

    return 1 + next_random(random) % limit;
}

/* Every chunk lies in a block of its own length, so that a read behind its end
 * is seen. Now and then a chunk is empty. */
static int scan_chunks(pm_scan *scan, const unsigned char *text, size_t size,
                       unsigned char pattern, int whole)
{
    uint64_t random = UINT64_C(0x9E3779B97F4A7C15) + pattern;
    size_t at = 0;
    int status = PM_OK;

    while (at < size && !status) {
        size_t length = whole ? size : chunk_size(pattern, &random);
        char *chunk;

        if (length > size - at)
            length = size - at;
        if (!whole && next_random(&random) % 16 == 0)
            length = 0;
        chunk = malloc(length ? length : 1);
        if (!chunk)
            abort();
        memcpy(chunk, text + at, length);
        status = pm_scan_feed(scan, chunk, length);
        free(chunk);
        at += length;
    }
    return status ? status : pm_scan_finish(scan);
}

static size_t held(const pm_scan *scan)
{
    const struct pm_scan_state *state = scan->state;

    return state->word_room * sizeof *scan->words + state->arena_room +
           state->string_room * sizeof *scan->strings +
           state->extra_room * sizeof *scan->extras + state->table_room * sizeof *state->table +
           state->carry_room + scan->error_line_size;
}

static size_t lines_of(const unsigned char *text, size_t size)
{
    size_t lines = size && text[size - 1] != '\n', at;

    for (at = 0; at < size; at++)
        lines += text[at] == '\n';
    return lines;
}

static int all_blank(const char *line, size_t size)
{
    while (size && (line[size - 1] == ' ' || (line[size - 1] >= '\t' && line[size - 1] <= '\r')))
        size--;
    return !size;
}

/* Whether the text ends in a line that is neither blank nor closed by a newline. */
static int open_ended(const unsigned char *text, size_t size)
{
    size_t last = size;

    while (last && text[last - 1] != '\n')
        last--;
    return !all_blank((const char *)text + last, size - last);
}

static const char *string(const pm_scan *scan, uint64_t id, size_t *length)
{
    *length = scan->strings[id].length;
    return scan->arena ? scan->arena + scan->strings[id].offset : "";
}

static void check_one(const pm_scan *scan, int status, const unsigned char *text, size_t size)
{
    size_t lines = lines_of(text, size), i;
    int disordered = 0;

    REQUIRE(status == PM_OK || status == PM_BAD_TEXT);
    REQUIRE((status == PM_BAD_TEXT) == (scan->error != NULL));
    REQUIRE((scan->error != NULL) == (scan->error_line != NULL));
    REQUIRE(scan->lines <= lines);
    REQUIRE(scan->error ? scan->lines >= 1 : scan->lines == lines);
    REQUIRE(scan->count <= scan->lines && scan->extra_count <= scan->lines);
    REQUIRE(scan->error || scan->unterminated == open_ended(text, size));
    REQUIRE(scan->error_line_size <= size);
    REQUIRE(scan->string_count >= 1 && scan->string_count <= 1 + 2 * scan->lines);
    REQUIRE(scan->strings[0].length == 0 && scan->strings[0].offset == 0);
    REQUIRE(scan->arena_size <= 2 * size);
    REQUIRE(held(scan) <= HELD_AT_LEAST + HELD_PER_BYTE * size);
    for (i = 0; i < scan->string_count; i++) {
        REQUIRE(scan->strings[i].offset <= scan->arena_size);
        REQUIRE(scan->strings[i].length <= scan->arena_size - scan->strings[i].offset);
    }
    for (i = 0; i < scan->count; i++) {
        const uint64_t *record = scan->words + i * scan->stride;

        REQUIRE(record[PM_START] <= record[PM_END]);
        REQUIRE(record[PM_PERMS_NAME] >> 32 < scan->string_count);
        REQUIRE(record[PM_FLAGS_RAW] >> 32 < scan->string_count);
        REQUIRE((record[PM_FLAGS_RAW] & UINT32_MAX) < scan->string_count);
        if (i && record[PM_START] < record[PM_END - (ptrdiff_t)scan->stride])
            disordered = 1;
    }
    REQUIRE(scan->disordered == disordered);
    for (i = 0; i < scan->extra_count; i++) {
        const pm_extra *extra = &scan->extras[i];
        size_t back = i;

        REQUIRE(extra->region < scan->count);
        REQUIRE(extra->key && extra->key < scan->string_count);
        REQUIRE(extra->text < scan->string_count);
        REQUIRE(!i || extra[-1].region <= extra->region);
        while (back-- && scan->extras[back].region == extra->region)
            REQUIRE(scan->extras[back].key != extra->key);
    }
}

static void check_same(const pm_scan *a, int a_status, const pm_scan *b, int b_status)
{
    size_t i;

    REQUIRE(a_status == b_status && a->lines == b->lines);
    REQUIRE(a->unterminated == b->unterminated && a->disordered == b->disordered);
    REQUIRE(a->error == b->error && a->error_line_size == b->error_line_size);
    REQUIRE(!a->error_line || !memcmp(a->error_line, b->error_line, a->error_line_size));
    REQUIRE(a->count == b->count && a->stride == b->stride);
    REQUIRE(!a->count || !memcmp(a->words, b->words, a->count * a->stride * sizeof *a->words));
    REQUIRE(a->arena_size == b->arena_size);
    REQUIRE(!a->arena_size || !memcmp(a->arena, b->arena, a->arena_size));
    REQUIRE(a->string_count == b->string_count && a->extra_count == b->extra_count);
    for (i = 0; i < a->string_count; i++)
        REQUIRE(a->strings[i].offset == b->strings[i].offset &&
                a->strings[i].length == b->strings[i].length);
    for (i = 0; i < a->extra_count; i++) {
        const pm_extra *x = &a->extras[i], *y = &b->extras[i];

        REQUIRE(x->region == y->region && x->value == y->value && x->key == y->key &&
                x->text == y->text && x->in_kb == y->in_kb);
    }
}

/* Prints each record of a maps text as the kernel would: it must be the line itself, unless the
 * record keeps the line because it can't be made again. Blank lines have no record. */
static void check_lossless(const pm_scan *scan, const unsigned char *text, size_t size)
{
    const char *line = (const char *)text, *end = line + size;
    size_t i;

    for (i = 0; i < scan->count;) {
        const uint64_t *record = scan->words + i * scan->stride;
        const char *newline = memchr(line, '\n', (size_t)(end - line)), *name, *raw;
        size_t length = (size_t)((newline ? newline : end) - line), name_length, raw_length;
        char head[256];
        int made;

        if (all_blank(line, length)) {
            REQUIRE(newline);
            line = newline + 1;
            continue;
        }
        raw = string(scan, record[PM_FLAGS_RAW] >> 32, &raw_length);
        name = string(scan, record[PM_PERMS_NAME] >> 32, &name_length);
        if (record[PM_FLAGS_RAW] >> 32) {
            REQUIRE(raw_length == length && !memcmp(raw, line, length));
        } else {
            uint32_t perms = (uint32_t)record[PM_PERMS_NAME];

            made = snprintf(head, sizeof head, "%08llx-%08llx %.4s %08llx %02llx:%02llx %llu ",
                            (unsigned long long)record[PM_START],
                            (unsigned long long)record[PM_END], (const char *)&perms,
                            (unsigned long long)record[PM_OFFSET],
                            (unsigned long long)(record[PM_DEV] >> 32),
                            (unsigned long long)(record[PM_DEV] & UINT32_MAX),
                            (unsigned long long)record[PM_INODE]);
            REQUIRE(made > 0 && (size_t)made < sizeof head - NAME_COLUMN);
            if (record[PM_PERMS_NAME] >> 32) {
                while (made < NAME_COLUMN - 1)
                    head[made++] = ' ';
                head[made++] = ' ';
            } else {
                name_length = 0;
            }
            REQUIRE(length == (size_t)made + name_length);
            REQUIRE(!memcmp(line, head, (size_t)made));
            REQUIRE(!name_length || !memcmp(line + made, name, name_length));
        }
        line = newline ? newline + 1 : end;
        i++;
    }
}

/* An allocation fails: the scan says so, or did not need it, and nothing leaks. */
static void check_out_of_memory(int mode, const unsigned char *text, size_t size,
                                unsigned char pattern, long fails_at)
{
    pm_scan *scan;
    int status;

    allocations_left = fails_at;
    scan = pm_scan_new(mode, pattern);
    if (scan) {
        status = scan_chunks(scan, text, size, pattern, 0);
        REQUIRE((status == PM_NO_MEMORY) == (allocations_left < 0));
        pm_scan_free(scan);
    }
    allocations_left = -1;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static const int modes[] = {PM_SMAPS, PM_MAPS, PM_SMAPS, PM_RESIDENT};
    int mode, a_status, b_status;
    unsigned char pattern;
    pm_scan *a, *b;

    if (size < HEADER)
        return 0;
    mode = modes[data[0] & 3];
    pattern = data[1];
    if (data[0] >> 2)
        check_out_of_memory(mode, data + HEADER, size - HEADER, pattern, data[0] >> 2);
    data += HEADER;
    size -= HEADER;

    a = pm_scan_new(mode, 0);
    b = pm_scan_new(mode, UINT64_C(0xD1B54A32D192ED03) * (pattern + 1u));
    REQUIRE(a && b);
    a_status = scan_chunks(a, data, size, pattern, 1);
    b_status = scan_chunks(b, data, size, pattern, 0);
    check_one(a, a_status, data, size);
    check_same(a, a_status, b, b_status);
    if (mode != PM_SMAPS)
        check_lossless(a, data, size);

    /* A scan that failed stays failed and takes no more. */
    if (a_status) {
        size_t lines = a->lines, count = a->count;

        REQUIRE(pm_scan_feed(a, "00000000-00001000 ", 18) == a_status);
        REQUIRE(pm_scan_finish(a) == a_status && a->lines == lines && a->count == count);
    }
    /* The records outlive the text. */
    pm_scan_release_text(b);
    REQUIRE(!b->count || !memcmp(a->words, b->words, a->count * a->stride * sizeof *a->words));
    pm_scan_free(a);
    pm_scan_free(b);
    return 0;
}
