/* After fork two processes share their pages, until one of them writes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (8 * 1024 * 1024)

static int to_child[2], to_parent[2];

/* Prints what comes next, and waits for Enter. Only the parent asks. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    fflush(stdout);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

/* Sends one byte through a pipe. The other process waits for it in hear(). */
static void tell(int end)
{
    char byte = '.';

    if (write(end, &byte, 1) != 1)
        _exit(EXIT_FAILURE);
}

static void hear(int end)
{
    char byte;

    if (read(end, &byte, 1) != 1)
        _exit(EXIT_FAILURE);
}

static void child(void)
{
    tell(to_parent[1]);        /* "I am here" */

    hear(to_child[0]);
    /* TODO: write to the first half of the memory. */
    tell(to_parent[1]);        /* "I have written" */

    hear(to_child[0]);
    _exit(EXIT_SUCCESS);
}

int main(void)
{
    pid_t pid;

    if (pipe(to_child) != 0 || pipe(to_parent) != 0) {
        perror("pipe");
        return EXIT_FAILURE;
    }

    ask("map 8 MiB and write to all of it");
    /* TODO: map SIZE bytes of private, anonymous memory, and write to every byte. */

    ask("fork");
    pid = -1;            /* TODO: fork. */
    if (pid == 0)
        child();
    if (pid > 0)
        hear(to_parent[0]);

    ask("let the child write to the first 4 MiB");
    if (pid > 0) {
        tell(to_child[1]);
        hear(to_parent[0]);
    }

    ask("let the child end");
    if (pid > 0)
        tell(to_child[1]);
    /* TODO: wait for the child, so that no zombie is left. */

    ask("end");
    return EXIT_SUCCESS;
}
