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

/* Maps anonymous memory of this many bytes. */
static char *map(size_t length)
{
    char *start = mmap(NULL, length, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (start == MAP_FAILED) {
        perror("mmap");
        exit(EXIT_FAILURE);
    }
    return start;
}

static void unmap(char *start, size_t length)
{
    if (munmap(start, length) != 0) {
        perror("munmap");
        exit(EXIT_FAILURE);
    }
}

int main(void)
{
    size_t page = sysconf(_SC_PAGESIZE);
    volatile char sum = 0;
    char *one, *many, *ready;

    ask("map one page");
    one = map(page);

    ask("write one byte to it");
    one[0] = 'x';

    ask("unmap it");
    unmap(one, page);

    ask("map 64 pages");
    many = map(PAGES * page);

    ask("read one byte of each page");
    for (size_t i = 0; i < PAGES; i++)
        sum += many[i * page];

    ask("write one byte to each page");
    for (size_t i = 0; i < PAGES; i++)
        many[i * page] = 'x';

    ask("unmap half of them, those in the middle");
    unmap(many + PAGES / 4 * page, PAGES / 2 * page);

    ask("unmap the rest");
    unmap(many, PAGES / 4 * page);
    unmap(many + PAGES * 3 / 4 * page, PAGES / 4 * page);

    ask("map 64 pages, in memory from the start");
    ready = map(PAGES * page);
    memset(ready, 0, PAGES * page);

    ask("end");
    return EXIT_SUCCESS;
}
