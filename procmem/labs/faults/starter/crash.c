#define _GNU_SOURCE
#include <fcntl.h> /* open(2), for TODO 9 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile char seen;

static void wait_for_enter(const char *text)
{
    int c;

    printf("%s Press Enter. ", text);
    fflush(stdout);
    while ((c = getchar()) != '\n' && c != EOF)
        continue;
}

static char *map(size_t size, int protection, int flags, int fd)
{
    char *area = mmap(NULL, size, protection, flags, fd, 0);

    if (area == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return area;
}

/* Writes to a read-only page. */
static void read_only(size_t page)
{
    char *area = map(page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);

    wait_for_enter("A page that may only be read is mapped.");
    /* TODO 7: write to it. */
    (void)area;
}

/* Reads a page that has been unmapped. */
static void unmapped(size_t page)
{
    char *area = map(page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

    /* TODO 8: unmap it, wait for Enter, then read its first byte into `seen`. */
    seen = area[0];
}

/* Reads a page of a mapping that is beyond the end of its file. */
static void past_end(size_t page)
{
    /* TODO 9: map two pages of small.bin, which has one, wait for Enter, read the second one. */
    (void)page;
}

/* Jumps to a page that is readable and writable, but not executable. */
static void no_exec(size_t page)
{
    char *area = map(page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    void (*code)(void);

    memcpy(&code, &area, sizeof code);
    /* TODO 10: wait for Enter, then call code(). */
}

int main(int count, char **arguments)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *name = count > 1 ? arguments[1] : "";

    if (strcmp(name, "read-only") == 0)
        read_only(page);
    else if (strcmp(name, "unmapped") == 0)
        unmapped(page);
    else if (strcmp(name, "past-end") == 0)
        past_end(page);
    else if (strcmp(name, "no-exec") == 0)
        no_exec(page);
    else
        fprintf(stderr, "usage: crash read-only | unmapped | past-end | no-exec\n");
    return 2;
}
