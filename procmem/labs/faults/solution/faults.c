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
static char *map(size_t size, int protection, int flags, int fd)
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
    char *area, *file;
    int fd;

    wait_for_enter("At the start.");

    area = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise(area, size, MADV_NOHUGEPAGE);
    wait_for_enter("1: mapped.");

    for (size_t i = 0; i < size; i += page)
        seen = area[i];
    wait_for_enter("2: each page is read.");

    for (size_t i = 0; i < size; i += page)
        area[i] = 1;
    wait_for_enter("3: each page is written.");

    for (size_t i = 0; i < size; i += page)
        area[i] = 2;
    wait_for_enter("4: each page is written again.");

    fd = open("data.bin", O_RDONLY);
    if (fd < 0) {
        perror("data.bin");
        return 1;
    }
    file = map(size, PROT_READ, MAP_PRIVATE, fd);
    close(fd);
    wait_for_enter("5: a file is mapped.");

    seen = file[0];
    wait_for_enter("6: one byte of it is read.");
    return 0;
}
