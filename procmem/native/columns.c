#include <string.h>

#include "columns.h"
#include "scanner.h"

static const uint64_t *record(const pm_rows *rows, size_t row)
{
    return rows->words + (rows->which ? rows->which[row] : row) * rows->stride;
}

static void begin(unsigned char *valid, size_t count)
{
    if (valid)
        memset(valid, 0, (count + 7) / 8);
}

static void mark(unsigned char *valid, size_t row)
{
    if (valid)
        valid[row / 8] |= (unsigned char)(1 << row % 8);
}

static int holds(const pm_when *when, const uint64_t *words)
{
    return !when || (words[when->word] & when->mask) == when->value;
}

size_t pm_column_words(const pm_rows *rows, size_t word, const pm_when *when, int negative,
                       uint64_t mask, uint64_t *out, unsigned char *valid)
{
    size_t row, missing = 0;

    begin(valid, rows->count);
    for (row = 0; row < rows->count; row++) {
        const uint64_t *words = record(rows, row);

        if (valid && (words[word] == PM_MISSING || !holds(when, words))) {
            out[row] = 0;
            missing++;
        } else {
            out[row] = (negative ? -words[word] : words[word]) & mask;
            mark(valid, row);
        }
    }
    return missing;
}

void pm_column_block(const pm_rows *rows, const uint32_t *words, size_t word_count, uint64_t *out,
                     unsigned char *valid, uint64_t *missing)
{
    size_t count = rows->count, bytes = (count + 7) / 8, row, i;

    memset(valid, 0, word_count * bytes);
    memset(missing, 0, word_count * sizeof *missing);
    for (row = 0; row < count; row++) {
        const uint64_t *from = record(rows, row);
        unsigned char bit = (unsigned char)(1 << row % 8);

        for (i = 0; i < word_count; i++) {
            uint64_t value = from[words[i]];
            int there = value != PM_MISSING;

            out[i * count + row] = there ? value : 0;
            valid[i * bytes + row / 8] |= there ? bit : 0;
            missing[i] += !there;
        }
    }
}

static size_t combined(const pm_rows *rows, size_t one, size_t other, int add, uint64_t *out,
                       unsigned char *valid)
{
    size_t row, missing = 0;

    begin(valid, rows->count);
    for (row = 0; row < rows->count; row++) {
        uint64_t first = record(rows, row)[one], second = record(rows, row)[other];

        if (valid && (first == PM_MISSING || second == PM_MISSING)) {
            out[row] = 0;
            missing++;
        } else {
            out[row] = add ? first + second : first - second;
            mark(valid, row);
        }
    }
    return missing;
}

size_t pm_column_difference(const pm_rows *rows, size_t word, size_t less, uint64_t *out,
                            unsigned char *valid)
{
    return combined(rows, word, less, 0, out, valid);
}

void pm_column_totals(const pm_rows *rows, const uint32_t *words, size_t count, uint64_t *low,
                      uint64_t *high, uint64_t *missing)
{
    size_t row, i;

    for (i = 0; i < count; i++)
        low[i] = high[i] = missing[i] = 0;
    for (row = 0; row < rows->count; row++) {
        const uint64_t *it = record(rows, row);

        for (i = 0; i < count; i++) {
            uint64_t value = it[words[i]];

            if (value == PM_MISSING) {
                missing[i]++;
            } else {
                low[i] += value;
                high[i] += low[i] < value;
            }
        }
    }
}

size_t pm_column_sum(const pm_rows *rows, size_t word, size_t more, uint64_t *out,
                     unsigned char *valid)
{
    return combined(rows, word, more, 1, out, valid);
}

size_t pm_column_parts(const pm_rows *rows, size_t word, unsigned shift, unsigned bits,
                       const uint32_t *table, size_t table_size, uint32_t *out,
                       unsigned char *valid)
{
    uint64_t all = ((uint64_t)1 << bits) - 1;
    size_t row, missing = 0;

    begin(valid, rows->count);
    for (row = 0; row < rows->count; row++) {
        uint32_t value = (uint32_t)(record(rows, row)[word] >> shift & all);

        if (table)
            value = value < table_size ? table[value] : UINT32_MAX;
        if (valid && value == UINT32_MAX) {
            out[row] = 0;
            missing++;
        } else {
            out[row] = value;
            mark(valid, row);
        }
    }
    return missing;
}

void pm_column_seen(const pm_rows *rows, size_t word, unsigned shift, unsigned bits,
                    unsigned char *seen, size_t size)
{
    uint64_t all = ((uint64_t)1 << bits) - 1;
    size_t row;

    for (row = 0; row < rows->count; row++) {
        uint64_t value = record(rows, row)[word] >> shift & all;

        if (value < size)
            seen[value] = 1;
    }
}

size_t pm_column_bits(const pm_rows *rows, size_t word, uint64_t mask, uint64_t value,
                      const pm_when *unless, unsigned char *out, unsigned char *valid)
{
    size_t row, missing = 0;

    begin(out, rows->count);
    begin(valid, rows->count);
    for (row = 0; row < rows->count; row++) {
        const uint64_t *words = record(rows, row);

        if ((words[word] & mask) == value)
            mark(out, row);
        if (unless && holds(unless, words))
            missing++;
        else
            mark(valid, row);
    }
    return missing;
}

void pm_column_steps(uint64_t first, uint64_t step, size_t count, uint64_t *out)
{
    size_t row;

    for (row = 0; row < count; row++)
        out[row] = first + row * step;
}

size_t pm_column_perms(const pm_rows *rows, char *out, int32_t *ends)
{
    size_t row;

    ends[0] = 0;
    for (row = 0; row < rows->count; row++) {
        uint32_t letters = (uint32_t)record(rows, row)[PM_PERMS_NAME];

        memcpy(out + row * 4, &letters, 4);
        ends[row + 1] = (int32_t)(row * 4 + 4);
    }
    return rows->count * 4;
}

/* At least two hexadecimal digits, as the kernel prints a device's numbers (%02x). */
static char *hexadecimal(char *out, uint32_t number)
{
    int digits = 2, i;

    while (digits < 8 && number >> (4 * digits))
        digits++;
    for (i = digits - 1; i >= 0; i--)
        *out++ = "0123456789abcdef"[number >> (4 * i) & 15];
    return out;
}

size_t pm_column_devices(const pm_rows *rows, char *out, int32_t *ends)
{
    char *at = out;
    size_t row;

    ends[0] = 0;
    for (row = 0; row < rows->count; row++) {
        uint64_t device = record(rows, row)[PM_DEV];

        at = hexadecimal(at, (uint32_t)(device >> 32));
        *at++ = ':';
        at = hexadecimal(at, (uint32_t)device);
        ends[row + 1] = (int32_t)(at - out);
    }
    return (size_t)(at - out);
}

static int is_above_4_gib(const uint64_t *words)
{
    return words[PM_END] > (uint64_t)1 << 32 && words[PM_END] < (uint64_t)1 << 63;
}

int pm_column_marks(const pm_rows *rows, const unsigned char *noted, size_t noted_size,
                    uint64_t page_size, const uint64_t *heap_sizes, unsigned char *out)
{
    size_t count = rows->count, row;
    uint64_t heap, end = 0;
    int wide = 0, file = 0;

    for (row = 0; row < count && !wide; row++)
        wide = is_above_4_gib(record(rows, row));
    heap = heap_sizes[wide];
    for (row = 0; row < count; row++) {
        const uint64_t *it = record(rows, row);
        uint64_t start = it[PM_START];
        uint32_t perms = (uint32_t)it[PM_PERMS_NAME], flags = (uint32_t)it[PM_FLAGS_RAW];
        int named = it[PM_PERMS_NAME] >> 32 != 0, before = file;
        unsigned char *mark = out + row;
        char letters[4];

        memcpy(letters, &perms, sizeof letters);
        file = it[PM_INODE] != 0;
        mark[PM_NAMED * count] = (unsigned char)named;
        mark[PM_NOTED * count] = flags < noted_size && noted[flags];
        mark[PM_RESERVED * count] = !memcmp(letters, "---p", 4);
        mark[PM_BARRED * count] = !memcmp(letters, "---", 3);
        mark[PM_EXECUTABLE * count] = letters[2] == 'x';
        mark[PM_APART * count] = !row || start != end;
        mark[PM_BY_FILE * count] = file || before;
        mark[PM_STACK_LIKE * count] = !named && !file && !memcmp(letters, "rw", 2) &&
                                      letters[3] == 'p' && it[PM_END] - start >= 2 * page_size;
        mark[PM_HEAP_LIKE * count] = (start - 1) / heap != (it[PM_END] - 1) / heap;
        end = it[PM_END];
    }
    return wide;
}
