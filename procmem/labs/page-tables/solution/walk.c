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
static char *map_at(char *address, size_t size)
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
    char *near, *far;

    wait_for_enter("At the start.");

    near = map_at(PLACE, 4 * table);
    wait_for_enter("1: mapped.");

    near[0] = 1;
    wait_for_enter("2: one byte is written.");

    for (size_t i = 0; i < table; i += page)
        near[i] = 1;
    wait_for_enter("3: all pages of the first table are written.");

    for (size_t i = 1; i < 4; i++)
        near[i * table] = 1;
    wait_for_enter("4: one byte for each of the other three tables is written.");

    far = map_at(PLACE + next, page);
    far[0] = 1;
    wait_for_enter("5: one byte far away is written.");

    munmap(near, 4 * table);
    munmap(far, page);
    wait_for_enter("6: all is unmapped.");
    return 0;
}
