/* Copies a file through two mappings: ./mmap_copy SOURCE COPY */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Prints what comes next, and waits for Enter. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

int main(int argc, char *argv[])
{
    int source, copy;
    struct stat status;
    char *from, *to;

    if (argc != 3) {
        fprintf(stderr, "usage: %s SOURCE COPY\n", argv[0]);
        return EXIT_FAILURE;
    }

    ask("map both files");
    source = open(argv[1], O_RDONLY);
    if (source < 0 || fstat(source, &status) != 0)
        die(argv[1]);
    /* A writable shared mapping needs a file that is open for reading, too. */
    copy = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (copy < 0 || ftruncate(copy, status.st_size) != 0)
        die(argv[2]);
    from = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, source, 0);
    if (from == MAP_FAILED)
        die("mmap");
    to = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, copy, 0);
    if (to == MAP_FAILED)
        die("mmap");

    ask("copy");
    memcpy(to, from, status.st_size);

    ask("unmap them");
    if (munmap(from, status.st_size) != 0 || munmap(to, status.st_size) != 0)
        die("munmap");
    close(source);
    close(copy);

    ask("end");
    return EXIT_SUCCESS;
}
