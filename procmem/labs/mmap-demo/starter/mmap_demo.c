/* mmap takes address space; the first write to a page takes memory. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 64

/* Prints what comes next, and waits for Enter. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

int main(void)
{
    /* The size of a page: ask the system, don't write 4096. */
    size_t page = sysconf(_SC_PAGESIZE);

    printf("A page has %zu bytes.\n", page);

    ask("map one page");
    /* TODO: map one page of anonymous, private memory, to be read and written. */

    ask("write one byte to it");
    /* TODO */

    ask("unmap it");
    /* TODO */

    ask("map 64 pages");
    /* TODO: map PAGES pages, all in one mmap. */

    ask("read one byte of each page");
    /* TODO: add the bytes up in a volatile variable, so that the compiler keeps the reads. */

    ask("write one byte to each page");
    /* TODO */

    ask("unmap half of them, those in the middle");
    /* TODO: leave the first and the last quarter mapped. */

    ask("unmap the rest");
    /* TODO */

    ask("map 64 pages, in memory from the start");
    /* TODO: map PAGES pages again. All must be in memory at the next wait. */

    ask("end");
    return EXIT_SUCCESS;
}
