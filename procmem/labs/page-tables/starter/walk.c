#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* 1 TiB: far from everything else in the process. */
#define PLACE ((char *)(1UL << 40))

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static void wait_for_enter(const char *text)
{
    int c;

    printf("%s Press Enter. ", text);
    fflush(stdout);
    while ((c = getchar()) != '\n' && c != EOF)
        continue;
}

/* Maps private memory at a chosen address, without huge pages. */
static inline char *map_at(char *address, size_t size)
{
    char *area = mmap(address, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (area != address) {
        perror("mmap");
        exit(1);
    }
    /* Fails where the kernel has no huge pages: then there is nothing to switch off. */
    madvise(area, size, MADV_NOHUGEPAGE);
    return area;
}

int main(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    /* Bytes that a lowest-level table covers: it is one page of 8-byte entries, one for a page. */
    const size_t table = page / 8 * page;
    /* Bytes that a table of the next level covers: each entry is for one such table. */
    const size_t next = page / 8 * table;

    (void)next;
    wait_for_enter("At the start.");

    /* TODO 1: map 4 * table bytes at PLACE. */
    wait_for_enter("1: mapped.");

    /* TODO 2: write the first byte. */
    wait_for_enter("2: one byte is written.");

    /* TODO 3: write one byte of each page of the first `table` bytes. */
    wait_for_enter("3: all pages of the first table are written.");

    /* TODO 4: write one byte at 1, 2 and 3 times `table`. */
    wait_for_enter("4: one byte for each of the other three tables is written.");

    /* TODO 5: map one page at PLACE + next, and write to it. */
    wait_for_enter("5: one byte far away is written.");

    /* TODO 6: unmap both. */
    (void)table;
    wait_for_enter("6: all is unmapped.");
    return 0;
}
