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

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

int main(int argc, char *argv[])
{
    static char buffer[BUFFER];
    int source, copy;
    ssize_t count;

    if (argc != 3) {
        fprintf(stderr, "usage: %s SOURCE COPY\n", argv[0]);
        return EXIT_FAILURE;
    }
    source = open(argv[1], O_RDONLY);
    if (source < 0)
        die(argv[1]);
    copy = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (copy < 0)
        die(argv[2]);

    ask("copy");
    while ((count = read(source, buffer, BUFFER)) > 0) {
        /* write may write fewer bytes than it was asked for. */
        for (ssize_t done = 0; done < count;) {
            ssize_t written = write(copy, buffer + done, count - done);

            if (written < 0)
                die("write");
            done += written;
        }
    }
    if (count < 0)
        die("read");
    close(source);
    close(copy);

    ask("end");
    return EXIT_SUCCESS;
}
