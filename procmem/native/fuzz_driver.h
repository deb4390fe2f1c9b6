/* Shared by the fuzz targets: REQUIRE, random numbers, and a driver for compilers
 * without libFuzzer (STANDALONE_FUZZ).
 *
 * The first HEADER bytes of an input choose what the target does, the rest is its
 * input: text, or numbers and text if FUZZ_BINARY is defined. */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 2

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define REQUIRE(true_thing)                                                                       \
    do {                                                                                          \
        if (!(true_thing)) {                                                                      \
            fprintf(stderr, "violated, line %d: %s\n", __LINE__, #true_thing);                    \
            abort();                                                                              \
        }                                                                                         \
    } while (0)

static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

#ifdef STANDALONE_FUZZ /* ---- a driver for compilers without libFuzzer ----------------------- */

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

static void aborts(int signal_number)
{
    (void)signal_number;
    save_input();
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

#ifdef FUZZ_BINARY

/* A field of a header becomes a number at which a check may be wrong. */
static void mutate_field(void)
{
    static const uint64_t numbers[] = {
        0, 1, 2, 3, 4, 7, 8, 16, 24, 64, 512, 513, 0xff00, 0xffff, 0x10000, 0x6fffffff,
        UINT32_MAX, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 63, UINT64_MAX,
    };
    size_t width = (size_t)1 << below(4), room = input.size - HEADER, at;
    uint64_t number = below(2) ? numbers[below(sizeof numbers / sizeof *numbers)]
                               : input.size - HEADER + below(129) - 64;

    /* Headers lie at both ends of a file. */
    if (room < width)
        return;
    room = room / width;
    at = below(room < 64 / width || below(4) == 0 ? room : 64 / width);
    if (below(2))
        at = room - 1 - below(room < 2048 / width ? room : 2048 / width);
    memcpy(input.bytes + HEADER + at * width, &number, width);
}

#endif

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
        for (length = 0; at + length < input.size && isxdigit(input.bytes[at + length]);)
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
    /* Of UndefinedBehaviorSanitizer the callback hears nothing: scripts/fuzz.py has it abort. */
    __sanitizer_set_death_callback(save_input);
    signal(SIGABRT, aborts);
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
#ifndef FUZZ_BINARY
        /* A few lines try more in a second than a whole dump does. */
        if (below(4)) {
            size_t length, at = some_line(&length), keep = 40 + below(1500);

            memmove(input.bytes + HEADER, input.bytes + at, input.size - at);
            input.size -= at - HEADER;
            if (input.size > keep + HEADER)
                input.size = keep + HEADER;
        }
#else
        /* Most fields are tried by themselves: one wrong field hides those behind it. */
        while (below(3))
            mutate_field();
        if (below(4))
            times = 0;
#endif
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
