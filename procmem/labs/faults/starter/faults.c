#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 256 };

static volatile char seen;

static void wait_for_enter(const char *text)
{
    int c;

    printf("%s Press Enter. ", text);
    fflush(stdout);
    while ((c = getchar()) != '\n' && c != EOF)
        continue;
}

/* Maps `size` bytes of a file, or of memory without a file if fd is -1. */
static inline char *map(size_t size, int protection, int flags, int fd)
{
    char *area = mmap(NULL, size, protection, flags, fd, 0);

    if (area == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return area;
}

int main(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t size = PAGES * page;
    char *area;
    int fd;

    wait_for_enter("At the start.");

    /* TODO 1: map `size` bytes without a file: private, to be read and written. */
    area = NULL;
    if (area != NULL)
        madvise(area, size, MADV_NOHUGEPAGE);
    wait_for_enter("1: mapped.");

    /* TODO 2: read one byte of each page into `seen`. */
    (void)seen;
    wait_for_enter("2: each page is read.");

    /* TODO 3: write one byte of each page. */
    wait_for_enter("3: each page is written.");

    /* TODO 4: do that once more. */
    wait_for_enter("4: each page is written again.");

    fd = open("data.bin", O_RDONLY);
    if (fd < 0) {
        perror("data.bin");
        return 1;
    }
    /* TODO 5: map `size` bytes of it: private, only to be read. */
    close(fd);
    wait_for_enter("5: a file is mapped.");

    /* TODO 6: read its first byte into `seen`. */
    wait_for_enter("6: one byte of it is read.");
    return 0;
}
