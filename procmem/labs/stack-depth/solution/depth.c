/* Recursion in the main thread and in another one: how deep their stacks are, and were. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAME = 4096, LEVELS = 1100, THREAD_LEVELS = 100, THREAD_STACK = 1024 * 1024 };

static int to_thread[2], to_main[2];

/* Prints what comes next, and waits for Enter. Only the main thread asks. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    fflush(stdout);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

/* Sends one byte through a pipe. The other thread waits for it in hear(). */
static void tell(int end)
{
    char byte = '.';

    if (write(end, &byte, 1) != 1)
        exit(EXIT_FAILURE);
}

static void hear(int end)
{
    char byte;

    if (read(end, &byte, 1) != 1)
        exit(EXIT_FAILURE);
}

/* Calls itself until it is so many levels deep. The last one calls bottom(). */
static int deeper(int levels, void (*bottom)(void))
{
    volatile char frame[FRAME];

    memset((char *)frame, levels, FRAME);
    if (levels > 1)
        return frame[0] + deeper(levels - 1, bottom);
    bottom();
    return frame[0];
}

static void main_is_deep(void)
{
    ask("return from all levels");
}

static void thread_is_deep(void)
{
    tell(to_main[1]);          /* "I am deep" */
    hear(to_thread[0]);
}

static void *work(void *unused)
{
    deeper(THREAD_LEVELS, thread_is_deep);
    tell(to_main[1]);          /* "I have returned" */
    hear(to_thread[0]);
    return unused;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    if (pipe(to_thread) != 0 || pipe(to_main) != 0) {
        perror("pipe");
        return EXIT_FAILURE;
    }

    ask("go 1,100 levels deep");
    deeper(LEVELS, main_is_deep);

    ask("start a thread that goes 100 levels deep");
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    if (pthread_create(&thread, &attributes, work, NULL) != 0) {
        fprintf(stderr, "cannot create a thread\n");
        return EXIT_FAILURE;
    }
    pthread_attr_destroy(&attributes);
    hear(to_main[0]);

    ask("let the thread return from all levels");
    tell(to_thread[1]);
    hear(to_main[0]);

    ask("let the thread end");
    tell(to_thread[1]);
    pthread_join(thread, NULL);

    ask("end");
    return EXIT_SUCCESS;
}
