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

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SOURCE COPY\n", argv[0]);
        return EXIT_FAILURE;
    }

    ask("map both files");
    /*
     * TODO: Open the file argv[1] for reading, and find out its size.
     * Open the file argv[2], create it if it does not exist, and give it the same size.
     * Map the whole of both files.
     */

    ask("copy");
    /* TODO: copy from one mapping to the other. */

    ask("unmap them");
    /* TODO: unmap both, close both files. */

    ask("end");
    return EXIT_SUCCESS;
}
