/* A file with a hole: its size, its position in two processes, and two mappings of it. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "data.bin"

enum { LONGEST = 200 };

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

/* Prints what comes next, and waits for a line. Only the parent asks. */
static void ask(const char *next, char line[LONGEST])
{
    printf("%s ...\n", next);
    fflush(stdout);
    if (fgets(line, LONGEST, stdin) == NULL)
        exit(EXIT_FAILURE);
}

/* Writes the size of the file to sizes.txt, as two functions see it. */
static void write_sizes(int fd)
{
    /* TODO: move to the end of the file: which position is that? And what does fstat return?
     * Write both numbers to the file sizes.txt, a line for each. */
    (void)fd;
}

int main(void)
{
    char line[LONGEST], *own, *shared;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
    int fd;

    ask("Type the size of the file", line);
    size = (size_t)atoll(line);
    fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        die(NAME);
    /* TODO: give the file its size, without writing all its bytes. */
    write_sizes(fd);

    ask("Press Enter to let a child move the position", line);
    if (fork() == 0) {
        /* TODO: move the position to size / 2, and close the descriptor. */
        _exit(EXIT_SUCCESS);
    }
    wait(NULL);

    ask("Press Enter to write to a private mapping", line);
    own = MAP_FAILED;    /* TODO: map the file with MAP_PRIVATE, and write 'P' to its first byte. */

    ask("Press Enter to write to a shared mapping", line);
    shared = MAP_FAILED;     /* TODO: map it with MAP_SHARED, and write 'S' to the first byte of its second page. */

    ask("Press Enter to unmap and close", line);
    /* TODO */
    (void)own, (void)shared, (void)page, (void)size;

    ask("Press Enter to end", line);
    return EXIT_SUCCESS;
}
