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

static void child(char *memory)
{
    tell(to_parent[1]);

    hear(to_child[0]);
    memset(memory, 'c', SIZE / 2);
    tell(to_parent[1]);

    hear(to_child[0]);
    _exit(EXIT_SUCCESS);
}

int main(void)
{
    char *memory;
    pid_t pid;

    if (pipe(to_child) != 0 || pipe(to_parent) != 0) {
        perror("pipe");
        return EXIT_FAILURE;
    }

    ask("map 8 MiB and write to all of it");
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return EXIT_FAILURE;
    }
    memset(memory, 'p', SIZE);

    ask("fork");
    pid = fork();
    if (pid < 0) {
        perror("fork");
        return EXIT_FAILURE;
    }
    if (pid == 0)
        child(memory);
    hear(to_parent[0]);

    ask("let the child write to the first 4 MiB");
    tell(to_child[1]);
    hear(to_parent[0]);

    ask("let the child end");
    tell(to_child[1]);
    if (waitpid(pid, NULL, 0) != pid) {
        perror("waitpid");
        return EXIT_FAILURE;
    }

    ask("end");
    return EXIT_SUCCESS;
}
