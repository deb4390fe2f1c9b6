/* Fuzzes the sizes of ELF files; scripts/fuzz.py builds and runs it.
 *
 * Of an input, byte 0 chooses the read that comes up short, byte 1 by how much; the
 * rest is the file. It lies in a block of its own length, so that a read behind its
 * end is seen. */
#define _GNU_SOURCE
#define FUZZ_BINARY
#include "fuzz_driver.h"

#include "elfsize.c"

struct elf {
    unsigned char *data;
    size_t size;
    unsigned reads, short_read;
    size_t missing;
};

static int64_t read_elf(void *file, void *to, size_t size, uint64_t at)
{
    struct elf *elf = file;

    if (at >= elf->size)
        return at > INT64_MAX ? -1 : 0;
    if (size > elf->size - at)
        size = elf->size - (size_t)at;
    if (++elf->reads == elf->short_read)
        size -= size < elf->missing ? size : elf->missing;
    memcpy(to, elf->data + at, size);
    return (int64_t)size;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct elf elf = {0};
    uint64_t out[PM_SIZE_WORDS];
    int status;

    if (size <= HEADER)
        return 0;
    elf.size = size - HEADER;
    elf.short_read = data[0] & 7;
    elf.missing = data[1];
    elf.data = malloc(elf.size);
    if (!elf.data)
        abort();
    memcpy(elf.data, data + HEADER, elf.size);
    status = pm_elf_sum(read_elf, &elf, elf.size, out);
    REQUIRE(status == 0 || status == 1);
    /* Both views count the same sections. */
    REQUIRE(status || out[PM_TEXT] + out[PM_DATA] + out[PM_BSS] ==
                          out[PM_GNU_TEXT] + out[PM_GNU_DATA] + out[PM_GNU_BSS]);
    free(elf.data);
    return 0;
}
