#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KIB = 1024, NOTES = 20 * KIB, BOARD = 64 * KIB, SHARED = 128 * KIB, WORK = 512 * KIB };

static void wait_for_enter(const char *text)
{
    int c;

    printf("%s Press Enter. ", text);
    fflush(stdout);
    while ((c = getchar()) != '\n' && c != EOF)
        continue;
}

static inline void *checked(void *area, const char *text)
{
    if (area == MAP_FAILED) {
        perror(text);
        exit(1);
    }
    return area;
}

/* Creates a file of this size, or empties an old one, and opens it for reading and writing. */
static int make_file(const char *name, off_t size)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || ftruncate(fd, size) != 0) {
        perror(name);
        exit(1);
    }
    return fd;
}

/* Each call takes about 16 KiB of stack. */
static int use_stack(int depth)
{
    volatile char frame[16 * KIB];

    for (size_t i = 0; i < sizeof frame; i += 512)
        frame[i] = (char)depth;
    if (depth > 1)
        frame[1] = (char)use_stack(depth - 1);
    return frame[0] + frame[1];
}

int main(void)
{
    int fd;

    fd = make_file("notes.dat", NOTES);
    wait_for_enter("At the start.");

    /* TODO 1: map notes.dat (fd), all NOTES bytes of it: private, read-only. */
    close(fd);
    wait_for_enter("1: a file, private, to be read.");

    /* TODO 2: make board.dat, of BOARD bytes, and map it: shared, to be read and written. */
    wait_for_enter("2: a file, shared, to be written.");

    /* TODO 3: map SHARED bytes without a file: shared, to be read and written. */
    wait_for_enter("3: no file, shared.");

    /* TODO 4: map WORK bytes without a file: private, to be read and written. Write to all of them. */
    wait_for_enter("4: no file, private.");

    /* TODO 5: make the second half of that area read-only (mprotect). */
    wait_for_enter("5: its second half may only be read.");

    /* TODO 6: enlarge the heap by 300 KiB, with small allocations that you keep. */
    wait_for_enter("6: the heap has grown.");

    /* TODO 7: call use_stack with a depth of 30. */
    (void)use_stack;
    wait_for_enter("7: the stack has grown.");

    /* TODO 8: unmap the four areas. */
    wait_for_enter("8: the four areas are gone.");
    return 0;
}
