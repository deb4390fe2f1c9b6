/* Copies a file through a buffer: ./read_write_copy SOURCE COPY */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER (64 * 1024)

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

    ask("copy");
    /*
     * TODO: Copy argv[1] to argv[2] with read and write, BUFFER bytes at a time.
     * Both may transfer fewer bytes than they were asked for: check what they return.
     */

    ask("end");
    return EXIT_SUCCESS;
}
