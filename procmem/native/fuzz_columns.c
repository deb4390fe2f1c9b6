/* Fuzzes columns of packed records; scripts/fuzz.py builds and runs it.
 *
 * Of an input, byte 0 says how long records are and which rows are asked for, byte 1 which words and
 * bits. Each byte of the rest is a word: small, near the largest, or missing. Each result has a
 * buffer of its exact size, and is compared with one that is made a value at a time. */
#define FUZZ_BINARY
#include "fuzz_driver.h"

#include "columns.c"

#define MOST_RECORDS 3000
#define MOST_WORDS 12

static uint64_t word_of(unsigned char byte)
{
    if (byte < 32)
        return PM_MISSING;
    if (byte < 64)
        return PM_MISSING - byte;
    return (uint64_t)byte << (byte % 5 * 13);
}

static void *room(size_t size)
{
    void *memory = malloc(size ? size : 1);

    REQUIRE(memory);
    return memory;
}

static int is_set(const unsigned char *bits, size_t row)
{
    return bits[row / 8] >> row % 8 & 1;
}

static void check_words(const pm_rows *rows, const uint32_t *words, size_t count)
{
    size_t bytes = (rows->count + 7) / 8, row, i;
    uint64_t *block = room(count * rows->count * sizeof *block);
    uint64_t *one = room(rows->count * sizeof *one);
    unsigned char *valid = room(count * bytes), *alone = room(bytes);
    uint64_t missing[MOST_WORDS], low[MOST_WORDS], high[MOST_WORDS], absent[MOST_WORDS];

    pm_column_block(rows, words, count, block, valid, missing);
    pm_column_totals(rows, words, count, low, high, absent);
    for (i = 0; i < count; i++) {
        unsigned __int128 sum = 0;
        uint64_t left_out = 0;

        REQUIRE(pm_column_words(rows, words[i], NULL, 0, UINT64_MAX, one, alone) == missing[i]);
        REQUIRE(!memcmp(one, block + i * rows->count, rows->count * sizeof *one));
        REQUIRE(!memcmp(alone, valid + i * bytes, bytes));
        for (row = 0; row < rows->count; row++) {
            uint64_t value = record(rows, row)[words[i]];

            REQUIRE(is_set(alone, row) == (value != PM_MISSING));
            REQUIRE(one[row] == (value == PM_MISSING ? 0 : value));
            sum += one[row];
            left_out += value == PM_MISSING;
        }
        REQUIRE(missing[i] == left_out && absent[i] == left_out);
        REQUIRE(low[i] == (uint64_t)sum && high[i] == (uint64_t)(sum >> 64));
    }
    free(block);
    free(one);
    free(valid);
    free(alone);
}

static void check_pairs(const pm_rows *rows, size_t word, size_t other)
{
    size_t bytes = (rows->count + 7) / 8, row, missing = 0;
    uint64_t *sums = room(rows->count * sizeof *sums), *less = room(rows->count * sizeof *less);
    unsigned char *valid = room(bytes);

    REQUIRE(pm_column_sum(rows, word, other, sums, valid) ==
            pm_column_difference(rows, word, other, less, valid));
    for (row = 0; row < rows->count; row++) {
        uint64_t one = record(rows, row)[word], two = record(rows, row)[other];
        int there = one != PM_MISSING && two != PM_MISSING;

        missing += !there;
        REQUIRE(is_set(valid, row) == there);
        REQUIRE(sums[row] == (there ? one + two : 0) && less[row] == (there ? one - two : 0));
    }
    REQUIRE(pm_column_sum(rows, word, other, sums, valid) == missing);
    free(sums);
    free(less);
    free(valid);
}

static void check_parts(const pm_rows *rows, size_t word, unsigned shift, unsigned bits)
{
    size_t bytes = (rows->count + 7) / 8, row, missing = 0, some = 0, size = (size_t)1 << bits / 2;
    uint32_t *table = room(size * sizeof *table), *out = room(rows->count * sizeof *out);
    unsigned char *valid = room(bytes), *seen = room(size), *flags = room(bytes);
    pm_when unless = {word, 1, 1};

    for (row = 0; row < size; row++)
        table[row] = row % 3 ? (uint32_t)row : UINT32_MAX;
    memset(seen, 0, size);
    pm_column_seen(rows, word, shift, bits, seen, size);
    missing = pm_column_parts(rows, word, shift, bits, table, size, out, valid);
    some = pm_column_bits(rows, word, 3, 2, &unless, flags, NULL);
    for (row = 0; row < rows->count; row++) {
        uint64_t whole = record(rows, row)[word], part = whole >> shift & (((uint64_t)1 << bits) - 1);
        int there = part < size && part % 3;

        REQUIRE(part >= size || seen[part]);
        REQUIRE(is_set(valid, row) == there && out[row] == (there ? part : 0));
        REQUIRE(is_set(flags, row) == ((whole & 3) == 2));
        missing -= !there;
        some -= whole & 1;
    }
    REQUIRE(!missing && !some);
    free(table);
    free(out);
    free(valid);
    free(seen);
    free(flags);
}

static void check_texts(const pm_rows *rows)
{
    char *letters = room(rows->count * 4), *devices = room(rows->count * 17), want[32];
    int32_t *ends = room((rows->count + 1) * sizeof *ends);
    size_t row;

    REQUIRE(pm_column_perms(rows, letters, ends) == rows->count * 4);
    REQUIRE(pm_column_devices(rows, devices, ends) == (size_t)ends[rows->count]);
    for (row = 0; row < rows->count; row++) {
        uint64_t device = record(rows, row)[PM_DEV];
        int size = snprintf(want, sizeof want, "%02x:%02x", (uint32_t)(device >> 32),
                            (uint32_t)device);
        uint32_t perms = (uint32_t)record(rows, row)[PM_PERMS_NAME];

        REQUIRE(ends[row + 1] - ends[row] == size);
        REQUIRE(!memcmp(devices + ends[row], want, (size_t)size));
        REQUIRE(!memcmp(letters + row * 4, &perms, 4));
    }
    free(letters);
    free(devices);
    free(ends);
}

static void check_marks(const pm_rows *rows, uint64_t small)
{
    uint64_t heaps[2] = {1 + small, 1 + small * 64};
    unsigned char noted[3] = {0, 1, 0}, *out = room(rows->count * PM_MARKS);
    int wide = pm_column_marks(rows, noted, sizeof noted, small, heaps, out);
    size_t row, mark;

    for (row = 0; row < rows->count; row++) {
        const uint64_t *it = record(rows, row), *above = row ? record(rows, row - 1) : NULL;
        uint32_t flags = (uint32_t)it[PM_FLAGS_RAW];

        for (mark = 0; mark < PM_MARKS; mark++)
            REQUIRE(out[mark * rows->count + row] <= 1);
        REQUIRE(out[PM_NAMED * rows->count + row] == (it[PM_PERMS_NAME] >> 32 != 0));
        REQUIRE(out[PM_NOTED * rows->count + row] == (flags == 1));
        REQUIRE(out[PM_APART * rows->count + row] == (!above || above[PM_END] != it[PM_START]));
        REQUIRE(out[PM_BY_FILE * rows->count + row] ==
                (it[PM_INODE] || (above && above[PM_INODE])));
        REQUIRE(out[PM_RESERVED * rows->count + row] <= out[PM_BARRED * rows->count + row]);
        REQUIRE(wide || it[PM_END] <= (uint64_t)1 << 32 || it[PM_END] >> 63);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    size_t stride = PM_HEADER_WORDS + (size ? data[0] % 8u : 0), records, i;
    uint32_t words[MOST_WORDS], *which;
    uint64_t *memory;
    pm_rows rows;

    if (size < HEADER)
        return 0;
    records = (size - HEADER) / stride;
    if (records > MOST_RECORDS)
        records = MOST_RECORDS;
    memory = room(records * stride * sizeof *memory);
    which = room(records * sizeof *which);
    for (i = 0; i < records * stride; i++)
        memory[i] = word_of(data[HEADER + i]);
    for (i = 0; i < records; i++)
        which[i] = (uint32_t)((i * (1 + data[1] % 7u) + data[0]) % records);
    rows = (pm_rows){memory, stride, data[0] & 128 ? which : NULL, records};
    for (i = 0; i < MOST_WORDS; i++)
        words[i] = (uint32_t)((i + data[1]) % stride);
    check_words(&rows, words, data[1] % (MOST_WORDS + 1u));
    check_pairs(&rows, words[0], words[1]);
    check_parts(&rows, words[2], data[1] % 33u, 1 + data[0] % 20u);
    check_texts(&rows);
    check_marks(&rows, data[1]);
    free(memory);
    free(which);
    return 0;
}
