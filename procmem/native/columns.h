/* Columns of packed records: one value of each record, side by side. */
#ifndef PROCMEM_COLUMNS_H
#define PROCMEM_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

/* Which records: `which[i]` for each row, or all in their order where it is NULL. A record
 * begins at a multiple of `stride` words. */
typedef struct {
    const uint64_t *words;
    size_t stride;
    const uint32_t *which;
    size_t count;
} pm_rows;

/* Which records have a value: those where the masked word is `value`. */
typedef struct {
    size_t word;
    uint64_t mask, value;
} pm_when;

/* What has a `valid` sets the bit of each value that is there (least significant bit first) and
 * clears all others, and returns how many values are missing; NULL: none can be. */

/* A word of each record, or its negative, under a mask. Missing: PM_MISSING, or records that `when` (NULL: no
 * condition) leaves out; 0 is written then. */
size_t pm_column_words(const pm_rows *rows, size_t word, const pm_when *when, int negative,
                       uint64_t mask, uint64_t *out, unsigned char *valid);
/* Several words of each record in one pass, each to `count` numbers of `out` and to its own bytes of
 * `valid`, (count + 7) / 8 for each; missing[i] is how many lack words[i]. */
void pm_column_block(const pm_rows *rows, const uint32_t *words, size_t word_count, uint64_t *out,
                     unsigned char *valid, uint64_t *missing);
/* The sum of each of some words over all rows, in two words, and how many of them are missing. */
void pm_column_totals(const pm_rows *rows, const uint32_t *words, size_t count, uint64_t *low,
                      uint64_t *high, uint64_t *missing);
/* The difference or the sum of two words; missing if one of them is. */
size_t pm_column_difference(const pm_rows *rows, size_t word, size_t less, uint64_t *out,
                            unsigned char *valid);
size_t pm_column_sum(const pm_rows *rows, size_t word, size_t more, uint64_t *out,
                     unsigned char *valid);
/* A part of a word, or what `table` has for it; UINT32_MAX there is a missing value. */
size_t pm_column_parts(const pm_rows *rows, size_t word, unsigned shift, unsigned bits,
                       const uint32_t *table, size_t table_size, uint32_t *out,
                       unsigned char *valid);
/* seen[part] = 1 for each part that a record has; larger parts are left out. */
void pm_column_seen(const pm_rows *rows, size_t word, unsigned shift, unsigned bits,
                    unsigned char *seen, size_t size);
/* Bits: whether the masked word is `value`; missing where it is `unless` (NULL: nowhere). */
size_t pm_column_bits(const pm_rows *rows, size_t word, uint64_t mask, uint64_t value,
                      const pm_when *unless, unsigned char *out, unsigned char *valid);
/* first, first + step, ... */
void pm_column_steps(uint64_t first, uint64_t step, size_t count, uint64_t *out);
/* Texts of fixed form: permissions (4 bytes each), devices ("fd:01", up to 17 bytes each).
 * `ends` has count + 1 offsets. Returns the bytes of all texts. */
size_t pm_column_perms(const pm_rows *rows, char *out, int32_t *ends);
size_t pm_column_devices(const pm_rows *rows, char *out, int32_t *ends);

/* What kinds are determined from, a byte of 0 or 1 for each row: mark after mark, `count` bytes each. */
enum {
    PM_NAMED,      /* it has a name */
    PM_NOTED,      /* the table `noted` has a byte other than 0 for its VmFlags */
    PM_RESERVED,   /* its permissions are ---p */
    PM_BARRED,     /* they are ---p or ---s */
    PM_EXECUTABLE, /* they have x */
    PM_APART,      /* it does not start where the row before it ends */
    PM_BY_FILE,    /* it has an inode, or the row before it has one */
    PM_STACK_LIKE, /* private, writable and readable, without name and inode, two pages or more */
    PM_HEAP_LIKE,  /* it holds an address that is a multiple of the size of malloc's heaps */
    PM_MARKS
};
/* Writes PM_MARKS * count bytes. Returns whether any row is above 4 GiB, in the lower half: then
 * heaps are of heap_sizes[1] bytes, else of heap_sizes[0]. */
int pm_column_marks(const pm_rows *rows, const unsigned char *noted, size_t noted_size,
                    uint64_t page_size, const uint64_t *heap_sizes, unsigned char *out);

#endif
