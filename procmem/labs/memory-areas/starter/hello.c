#include <stdio.h>

/* TODO 1: `constants`, 32 KiB that are read-only. */

/* TODO 2: `settings`, 32 KiB that have an initial value and are writable. */

/* TODO 3: `buffer`, 64 KiB without an initial value in the file. */

static void wait_for_enter(const char *text)
{
    int c;

    printf("%s Press Enter. ", text);
    fflush(stdout);
    while ((c = getchar()) != '\n' && c != EOF)
        continue;
}

int main(void)
{
    wait_for_enter("Hello, world!");
    /* TODO 4: write to all of `buffer`. */
    /* TODO 5: wait for Enter once more. */
    return 0;
}
