/* Recursion without an end: in the main thread, with a handler on an alternate stack; and in
 * another thread, down to its guard. */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAME = 4096, ALTERNATE = 64 * 1024, THREAD_STACK = 256 * 1024, GUARD = 64 * 1024 };

static int to_thread[2];

/* Prints what comes next, and waits for Enter. A signal handler may call it: it uses only
 * functions that are async-signal-safe (signal-safety(7)). */
static void ask(const char *next)
{
    char c;

    if (write(STDOUT_FILENO, next, strlen(next)) < 0)
        _exit(EXIT_FAILURE);
    while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
        continue;
}

/* Calls itself, until the stack is full. */
static int deeper(int level)
{
    volatile char frame[FRAME];

    memset((char *)frame, level, FRAME);
    if (level < 0)
        return 0;
    return frame[0] + deeper(level + 1);
}

static void handler(int number)
{
    (void)number;
    ask("The stack is full. Press Enter to end ...\n");
    _exit(EXIT_SUCCESS);
}

static void overflow_main(void)
{
    struct sigaction action = { .sa_handler = handler };

    /* TODO: an alternate signal stack of ALTERNATE bytes, and the flag that makes the handler use
     * it. See sigaltstack(2) and sigaction(2). */
    if (sigaction(SIGSEGV, &action, NULL) != 0) {
        perror("sigaction");
        exit(EXIT_FAILURE);
    }
    ask("Press Enter to go deeper ...\n");
    deeper(0);
}

static void *work(void *unused)
{
    char byte;

    if (read(to_thread[0], &byte, 1) == 1)
        deeper(0);
    return unused;
}

static void overflow_thread(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    /* TODO: a stack of THREAD_STACK bytes, with a guard of GUARD bytes. */
    pthread_attr_init(&attributes);
    if (pipe(to_thread) != 0 || pthread_create(&thread, &attributes, work, NULL) != 0) {
        fprintf(stderr, "cannot create a thread\n");
        exit(EXIT_FAILURE);
    }
    ask("Press Enter to let the thread go deeper ...\n");
    if (write(to_thread[1], ".", 1) == 1)
        pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "thread") == 0)
        overflow_thread();
    else
        overflow_main();
    return EXIT_FAILURE;
}
