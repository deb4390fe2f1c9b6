/* Sizes of plain ELF files, for procmem.elf. No Python here. */
#ifndef PROCMEM_ELFSIZE_H
#define PROCMEM_ELFSIZE_H

#include <stddef.h>
#include <stdint.h>

enum {
    PM_TEXT, PM_DATA, PM_BSS,             /* the Berkeley view */
    PM_GNU_TEXT, PM_GNU_DATA, PM_GNU_BSS, /* the GNU view */
    PM_DEVICE, PM_INODE_NUMBER, PM_FILE_SIZE, PM_MTIME_NS,
    PM_SIZE_WORDS
};

/* Adds up the sections of a plain file: of this machine's byte order, no
 * core, every header as linkers and compilers write it. Returns 0; or 1 for
 * any other file, which the full rules, in Python, then read. */
int pm_elf_size(const char *path, uint64_t *out);

/* The same over anything that can be read: what `read` returns is how many
 * bytes it wrote to `to`, or -1. For pm_elf_size and the fuzzer. */
typedef int64_t pm_reader(void *file, void *to, size_t size, uint64_t at);
int pm_elf_sum(pm_reader *read, void *file, uint64_t size, uint64_t *out);

#endif
