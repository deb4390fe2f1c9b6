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

/* A block with something written to each of its bytes. */
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
    (void)blocks, (void)last, (void)allocate;    /* Remove this line when you use them. */

    ask("allocate 4,000 blocks, and one more");
    /* TODO: 4,000 blocks of SIZE bytes. After them, one of LAST bytes. */

    ask("free every second block");
    /* TODO: free blocks 0, 2, 4 ... 3,998. */

    ask("free the other half");
    /* TODO: free blocks 1, 3, 5 ... 3,999. The last block stays. */

    ask("call malloc_trim(0)");
    /* TODO */

    ask("free the last block");
    /* TODO */

    ask("end");
    return EXIT_SUCCESS;
}
