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

int main(void)
{
    ask("allocate ten blocks of 32 KiB");
    /* TODO: allocate COUNT blocks of SMALL bytes with malloc, and keep all pointers. */

    ask("write to all of them");
    /* TODO: write to every byte of every block. */

    ask("free them");
    /* TODO: free all of these blocks. */

    ask("allocate ten blocks of 256 KiB");
    /* TODO: allocate COUNT blocks of LARGE bytes. Don't write to them. */

    ask("free the first of them");
    /* TODO: free the first of these blocks only. */

    ask("allocate it again");
    /* TODO: allocate one block of LARGE bytes once more. */

    ask("free everything and end");
    /* TODO: free all blocks that are left. */
    return EXIT_SUCCESS;
}
