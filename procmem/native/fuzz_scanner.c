/* Fuzzes the scanner.  scripts/fuzz.py builds and runs it: under libFuzzer
 * where clang has one, else with a driver of its own (STANDALONE_FUZZ).
 *
 * Of an input, byte 0 chooses the mode and where memory runs out, byte 1 how
 * the text is cut into chunks; the rest is the text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

#define HEADER 2
/* Of held bytes per byte of text, the worst text is one of short unknown
 * counters: a name and a value of one letter each cost 32 bytes for the
 * counter, 32 for two strings, 16 for their places by hash; growth adds half. */
#define HELD_PER_BYTE 64
#define HELD_AT_LEAST (64 * 1024)

static void save_input(void);

#define REQUIRE(true_thing)                                                                       \
    do {                                                                                          \
        if (!(true_thing)) {                                                                      \
            fprintf(stderr, "violated, line %d: %s\n", __LINE__, #true_thing);                    \
            save_input();                                                                         \
            abort();                                                                              \
        }                                                                                         \
    } while (0)

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

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
    REQUIRE(scan->error || scan->unterminated == (size && text[size - 1] != '\n'));
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

/* Prints each record of a maps text as the kernel would: it must be the line
 * itself, unless the record keeps the line because it can't be made again. */
static void check_lossless(const pm_scan *scan, const unsigned char *text, size_t size)
{
    const char *line = (const char *)text, *end = line + size;
    size_t i;

    for (i = 0; i < scan->count; i++) {
        const uint64_t *record = scan->words + i * scan->stride;
        const char *newline = memchr(line, '\n', (size_t)(end - line)), *name, *raw;
        size_t length = (size_t)((newline ? newline : end) - line), name_length, raw_length;
        char head[256];
        int made;

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

#ifndef STANDALONE_FUZZ

static void save_input(void) {} /* libFuzzer does */

#else /* ---- a driver for compilers without libFuzzer ----------------------- */

#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define MOST_BYTES (256 * 1024)
#define HANGS_AFTER 20 /* seconds */

typedef struct {
    unsigned char *bytes;
    size_t size;
} blob;

static blob *seeds, *tokens, input;
static size_t seed_count, token_count;
static const char *crash_file;
static uint64_t random_state;

static size_t below(size_t limit)
{
    return limit ? (size_t)(next_random(&random_state) % limit) : 0;
}

static void save_input(void)
{
    FILE *file = crash_file && input.bytes ? fopen(crash_file, "wb") : NULL;

    if (!file)
        return;
    fwrite(input.bytes, 1, input.size, file);
    fclose(file);
    fprintf(stderr, "the input is in %s\n", crash_file);
}

static void hangs(int signal_number)
{
    static const char words[] = "violated: an input takes too long\n";

    (void)signal_number;
    if (write(2, words, sizeof words - 1) < 0)
        _exit(2);
    save_input();
    _exit(1);
}

static void add(blob **list, size_t *count, const unsigned char *bytes, size_t size)
{
    blob *one;

    *list = realloc(*list, (*count + 1) * sizeof **list);
    if (!*list)
        abort();
    one = *list + (*count)++;
    one->bytes = malloc(size ? size : 1);
    if (!one->bytes)
        abort();
    memcpy(one->bytes, bytes, size);
    one->size = size;
}

static void read_seed(const char *path)
{
    static unsigned char bytes[MOST_BYTES];
    FILE *file = fopen(path, "rb");

    if (!file) {
        perror(path);
        exit(2);
    }
    add(&seeds, &seed_count, bytes, fread(bytes, 1, sizeof bytes, file));
    fclose(file);
}

/* A dictionary of libFuzzer: name="text", with \\, \" and \xNN in the text. */
static void read_tokens(const char *path)
{
    char line[512], *at, *end;
    unsigned char token[sizeof line];
    FILE *file = fopen(path, "r");

    if (!file) {
        perror(path);
        exit(2);
    }
    while (fgets(line, sizeof line, file)) {
        size_t size = 0;

        at = strchr(line, '"');
        end = strrchr(line, '"');
        if (*line == '#' || !at || at == end)
            continue;
        for (at++; at < end; at++) {
            if (at[0] == '\\' && at[1] == 'x') {
                char digits[3] = {at[2], at[3], 0};

                token[size++] = (unsigned char)strtoul(digits, NULL, 16);
                at += 3;
            } else {
                at += at[0] == '\\';
                token[size++] = (unsigned char)*at;
            }
        }
        add(&tokens, &token_count, token, size);
    }
    fclose(file);
}

/* Puts `size` bytes in place of `gone` bytes at `at`. */
static void replace(size_t at, size_t gone, const unsigned char *bytes, size_t size)
{
    if (gone > input.size - at)
        gone = input.size - at;
    if (input.size - gone + size > MOST_BYTES)
        return;
    memmove(input.bytes + at + size, input.bytes + at + gone, input.size - at - gone);
    memcpy(input.bytes + at, bytes, size);
    input.size += size - gone;
}

static size_t some_line(size_t *length)
{
    size_t at = HEADER + below(input.size - HEADER + 1), end;

    while (at > HEADER && input.bytes[at - 1] != '\n')
        at--;
    end = at;
    while (end < input.size && input.bytes[end] != '\n')
        end++;
    *length = end - at + (end < input.size);
    return at;
}

static void mutate(void)
{
    static const char *const numbers[] = {
        "0", "00000000", "7fffffff", "ffffffffffffffff", "10000000000000000",
        "18446744073709551615", "18446744073709551616", "18014398509481983",
        "18014398509481984", "99999999", "999999999", "4294967296", "00", "1",
    };
    static unsigned char copy[MOST_BYTES];
    size_t room = input.size - HEADER, at = HEADER + below(room + 1), length, other;
    const unsigned char *bytes;

    switch (below(13)) {
    case 0:
        if (at < input.size)
            input.bytes[at] ^= (unsigned char)(1u << below(8));
        break;
    case 1:
        if (at < input.size)
            input.bytes[at] = (unsigned char)("\n :-\0\t\xff" "09af~"[below(12)]);
        break;
    case 2:
        replace(at, 1 + below(below(2) ? 4 : 200), copy, 0);
        break;
    case 3: /* a piece of the text once more, elsewhere */
        length = 1 + below(below(2) ? 8 : 400);
        if (length > input.size - at)
            length = input.size - at;
        memcpy(copy, input.bytes + at, length);
        replace(HEADER + below(room + 1), below(2) ? length : 0, copy, length);
        break;
    case 4:
    case 5:
        if (!token_count)
            break;
        other = below(token_count);
        replace(at, below(2) ? tokens[other].size : 0, tokens[other].bytes, tokens[other].size);
        break;
    case 6:
        at = some_line(&length);
        replace(at, length, copy, 0);
        break;
    case 7:
    case 8: /* a line once more, here or elsewhere */
        at = some_line(&length);
        memcpy(copy, input.bytes + at, length);
        if (below(2))
            at = some_line(&other);
        replace(at, 0, copy, length);
        break;
    case 9: { /* goes on as another seed does */
        const blob *from = &seeds[below(seed_count)];

        if (from->size < HEADER)
            break;
        other = HEADER + below(from->size - HEADER + 1);
        replace(at, input.size - at, from->bytes + other, from->size - other);
        break;
    }
    case 10: /* another number in place of one */
        while (at < input.size && !(input.bytes[at] >= '0' && input.bytes[at] <= '9'))
            at++;
        for (length = 0; at + length < input.size && hex_value[input.bytes[at + length]];)
            length++;
        bytes = (const unsigned char *)numbers[below(sizeof numbers / sizeof *numbers)];
        replace(at, length, bytes, strlen((const char *)bytes));
        break;
    case 11:
        input.size = at;
        break;
    case 12: /* a long run of one byte */
        length = 1 + below(below(4) ? 40 : 9000);
        memset(copy, below(2) ? ' ' : (int)below(256), length);
        replace(at, 0, copy, length);
        break;
    }
}

/* SECONDS SEED CRASH_FILE DICTIONARY SEED_FILE... */
int main(int count, char **words)
{
    uint64_t runs = 0, bytes = 0;
    unsigned pattern;
    time_t until;
    size_t i;

    if (count < 6) {
        fprintf(stderr, "usage: %s SECONDS SEED CRASH_FILE DICTIONARY SEED_FILE...\n", words[0]);
        return 2;
    }
    random_state = (strtoull(words[2], NULL, 10) + 1) * UINT64_C(0x9E3779B97F4A7C15);
    random_state += !random_state;
    crash_file = words[3];
    read_tokens(words[4]);
    for (i = 5; i < (size_t)count; i++)
        read_seed(words[i]);
    input.bytes = malloc(MOST_BYTES);
    if (!input.bytes)
        abort();
    __sanitizer_set_death_callback(save_input);
    signal(SIGALRM, hangs);

    /* A single file is an input to be looked into: once, as it is. */
    until = time(NULL) + (time_t)strtoul(words[1], NULL, 10);
    for (i = 0; i < seed_count; i++)
        for (pattern = 0; pattern < (until > time(NULL) ? 11u : 1u); pattern++) {
            input.size = seeds[i].size;
            memcpy(input.bytes, seeds[i].bytes, input.size);
            if (input.size >= HEADER && pattern)
                input.bytes[1] = (unsigned char)pattern;
            alarm(HANGS_AFTER);
            LLVMFuzzerTestOneInput(input.bytes, input.size);
            runs++;
        }
    while (time(NULL) < until) {
        const blob *seed = &seeds[below(seed_count)];
        size_t times = 1 + below(8);

        if (seed->size < HEADER)
            continue;
        input.size = seed->size;
        memcpy(input.bytes, seed->bytes, input.size);
        /* A few lines try more in a second than a whole dump does. */
        if (below(4)) {
            size_t length, at = some_line(&length), keep = 40 + below(1500);

            memmove(input.bytes + HEADER, input.bytes + at, input.size - at);
            input.size -= at - HEADER;
            if (input.size > keep + HEADER)
                input.size = keep + HEADER;
        }
        while (times--)
            mutate();
        if (below(2))
            input.bytes[0] = (unsigned char)below(256);
        input.bytes[1] = (unsigned char)below(256);
        if (runs % 64 == 0)
            alarm(HANGS_AFTER);
        LLVMFuzzerTestOneInput(input.bytes, input.size);
        runs++;
        bytes += input.size;
    }
    alarm(0);
    printf("%llu inputs, %llu bytes: nothing found\n", (unsigned long long)runs,
           (unsigned long long)bytes);
    while (seed_count)
        free(seeds[--seed_count].bytes);
    while (token_count)
        free(tokens[--token_count].bytes);
    free(seeds);
    free(tokens);
    free(input.bytes);
    return 0;
}
#endif
