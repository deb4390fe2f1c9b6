/* One source, six programs: the Makefile defines one of the names below for each but `plain`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef CONSTANTS
const char table[8 * 1024] = "8 KiB that nobody writes";
#endif

#ifdef DATA
char values[16 * 1024] = "16 KiB with a first value";
#endif

#ifdef BSS
char zeros[32 * 1024];
#endif

static void wait_for_enter(const char *text)
{
    int c;

    printf("%s Press Enter. ", text);
    fflush(stdout);
    while ((c = getchar()) != '\n' && c != EOF)
        continue;
}

#ifdef HEAP
/* 192 KiB in pieces that are small enough for the heap. */
static void use_heap(void)
{
    for (int i = 0; i < 48; i++) {
        char *piece = malloc(4 * 1024);

        if (piece == NULL)
            exit(1);
        memset(piece, 'h', 4 * 1024);
    }
}
#endif

#ifdef STACK
/* Each call takes a bit more than 16 KiB of stack. */
static int use_stack(int depth)
{
    volatile char frame[16 * 1024];

    for (size_t i = 0; i < sizeof frame; i += 512)
        frame[i] = (char)depth;
    if (depth > 1)
        frame[1] = (char)use_stack(depth - 1);
    return frame[0] + frame[1];
}
#endif

int main(void)
{
    wait_for_enter("At the start.");
#ifdef HEAP
    use_heap();
#endif
#ifdef STACK
    use_stack(20);
#endif
    wait_for_enter("Changed.");
    return 0;
}
