/* One source, six programs: the Makefile defines one of the names below for each but `plain`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef CONSTANTS
/* TODO 1: 8 KiB that are read-only. */
#endif

#ifdef DATA
/* TODO 2: 16 KiB with an initial value. */
#endif

#ifdef BSS
/* TODO 3: 32 KiB without an initial value. */
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
    /* TODO 4: allocate them with malloc, write to them, and keep them. */
}
#endif

#ifdef STACK
static int use_stack(int depth)
{
    /* TODO 5: declare an array of 16 KiB, write to it, and call use_stack while depth is above 1.
       Make the array volatile, so that the compiler doesn't leave it out. */
    return depth;
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
