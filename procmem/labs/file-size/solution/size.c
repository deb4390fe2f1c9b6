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
    struct stat state;
    off_t end = lseek(fd, 0, SEEK_END);
    FILE *file = fopen("sizes.txt", "w");

    if (end < 0 || file == NULL || fstat(fd, &state) != 0)
        die("sizes.txt");
    fprintf(file, "%lld\n%lld\n", (long long)end, (long long)state.st_size);
    fclose(file);
}

int main(void)
{
    char line[LONGEST], *own, *shared;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
    int fd;

    ask("Type the size of the file", line);
    size = (size_t)atoll(line);
    fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        die(NAME);
    write_sizes(fd);

    ask("Press Enter to let a child move the position", line);
    if (fork() == 0) {
        lseek(fd, (off_t)(size / 2), SEEK_SET);
        close(fd);
        _exit(EXIT_SUCCESS);
    }
    wait(NULL);

    ask("Press Enter to write to a private mapping", line);
    own = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (own == MAP_FAILED)
        die("mmap");
    own[0] = 'P';

    ask("Press Enter to write to a shared mapping", line);
    shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        die("mmap");
    shared[page] = 'S';

    ask("Press Enter to unmap and close", line);
    munmap(own, size);
    munmap(shared, size);
    close(fd);

    ask("Press Enter to end", line);
    return EXIT_SUCCESS;
}
