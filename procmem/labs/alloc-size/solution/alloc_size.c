/* Ten small and ten large blocks: where does malloc put them, and what does free give back? */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 10
#define SMALL (32 * 1024)
#define LARGE (256 * 1024)

/* Prints what comes next, and waits for Enter. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

static void allocate(char *blocks[COUNT], size_t size)
{
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(size);
        if (blocks[i] == NULL) {
            perror("malloc");
            exit(EXIT_FAILURE);
        }
        printf("%zu bytes at %p\n", size, (void *)blocks[i]);
    }
}

int main(void)
{
    char *small[COUNT], *large[COUNT];

    ask("allocate ten blocks of 32 KiB");
    allocate(small, SMALL);

    ask("write to all of them");
    for (int i = 0; i < COUNT; i++)
        memset(small[i], 'x', SMALL);

    ask("free them");
    for (int i = 0; i < COUNT; i++)
        free(small[i]);

    ask("allocate ten blocks of 256 KiB");
    allocate(large, LARGE);

    ask("free the first of them");
    free(large[0]);

    ask("allocate it again");
    large[0] = malloc(LARGE);
    if (large[0] == NULL) {
        perror("malloc");
        return EXIT_FAILURE;
    }

    ask("free everything and end");
    for (int i = 0; i < COUNT; i++)
        free(large[i]);
    return EXIT_SUCCESS;
}
