/* Four children count together, in memory that they share with their parent. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 4, LONGEST = 200 };

struct shared {
    pthread_mutex_t lock;
    long steps;                /* how often each child counts */
    volatile long counter;
};

/* Prints what comes next, and waits for a line, which is stored without its newline. Only the
 * parent asks. */
static void ask(const char *next, char line[LONGEST])
{
    printf("%s ...\n", next);
    fflush(stdout);
    if (fgets(line, LONGEST, stdin) == NULL)
        exit(EXIT_FAILURE);
    line[strcspn(line, "\n")] = '\0';
}

/* Adds 1 to the counter, steps times, and locks each time. */
static void child(struct shared *shared)
{
    long steps;

    pthread_mutex_lock(&shared->lock);
    steps = shared->steps;
    pthread_mutex_unlock(&shared->lock);
    for (long i = 0; i < steps; i++) {
        pthread_mutex_lock(&shared->lock);
        shared->counter++;
        pthread_mutex_unlock(&shared->lock);
    }
    _exit(EXIT_SUCCESS);
}

int main(void)
{
    pthread_mutexattr_t attributes;
    struct shared *shared;
    char line[LONGEST];

    ask("Press Enter to start four children", line);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        return EXIT_FAILURE;
    }
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->lock, &attributes);
    pthread_mutex_lock(&shared->lock);
    for (int i = 0; i < CHILDREN; i++)
        if (fork() == 0)
            child(shared);

    ask("Type how often each child counts", line);
    shared->steps = atol(line);
    pthread_mutex_unlock(&shared->lock);
    while (wait(NULL) > 0)
        continue;

    ask("Press Enter to unmap the memory", line);
    pthread_mutex_destroy(&shared->lock);
    if (munmap(shared, sizeof *shared) != 0) {
        perror("munmap");
        return EXIT_FAILURE;
    }

    ask("Press Enter to end", line);
    return EXIT_SUCCESS;
}
