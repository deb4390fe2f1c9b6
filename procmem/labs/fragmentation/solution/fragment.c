/* 4,000 blocks, freed in two halves, below one block that stays. */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 4000, SIZE = 4000, LAST = 2000 };

static char *blocks[BLOCKS];
static char *last;

/* Prints what comes next, and waits for Enter. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    fflush(stdout);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

static char *allocate(size_t size)
{
    char *block = malloc(size);

    if (block == NULL) {
        perror("malloc");
        exit(EXIT_FAILURE);
    }
    memset(block, 'b', size);
    return block;
}

int main(void)
{
    ask("allocate 4,000 blocks, and one more");
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = allocate(SIZE);
    last = allocate(LAST);

    ask("free every second block");
    for (int i = 0; i < BLOCKS; i += 2)
        free(blocks[i]);

    ask("free the other half");
    for (int i = 1; i < BLOCKS; i += 2)
        free(blocks[i]);

    ask("call malloc_trim(0)");
    malloc_trim(0);

    ask("free the last block");
    free(last);

    ask("end");
    return EXIT_SUCCESS;
}
