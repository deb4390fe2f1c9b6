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

static void *checked(void *area, const char *text)
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
    char *notes, *board, *shared, *work;
    int fd;

    fd = make_file("notes.dat", NOTES);
    wait_for_enter("At the start.");

    notes = checked(mmap(NULL, NOTES, PROT_READ, MAP_PRIVATE, fd, 0), "notes");
    close(fd);
    wait_for_enter("1: a file, private, to be read.");

    fd = make_file("board.dat", BOARD);
    board = checked(mmap(NULL, BOARD, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), "board");
    close(fd);
    wait_for_enter("2: a file, shared, to be written.");

    shared = checked(mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
                     "shared");
    wait_for_enter("3: no file, shared.");

    work = checked(mmap(NULL, WORK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                   "work");
    memset(work, 'w', WORK);
    wait_for_enter("4: no file, private.");

    if (mprotect(work + WORK / 2, WORK / 2, PROT_READ) != 0)
        perror("mprotect");
    wait_for_enter("5: its second half may only be read.");

    for (int i = 0; i < 300; i++)
        checked(malloc(1 * KIB), "malloc");
    wait_for_enter("6: the heap has grown.");

    use_stack(30);
    wait_for_enter("7: the stack has grown.");

    munmap(notes, NOTES);
    munmap(board, BOARD);
    munmap(shared, SHARED);
    munmap(work, WORK);
    wait_for_enter("8: the four areas are gone.");
    return 0;
}
