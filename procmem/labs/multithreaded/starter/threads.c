#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SMALL_STACK = 1024 * 1024 };

/* What the threads should do. They sleep until it changes. */
static enum { WAIT, ALLOCATE, END } order = WAIT;
static int allocated;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void wait_for_enter(const char *text)
{
    int c;

    printf("%s Press Enter. ", text);
    fflush(stdout);
    while ((c = getchar()) != '\n' && c != EOF)
        continue;
}

static void *work(void *argument)
{
    const int allocates = argument != NULL;
    void *memory = NULL;

    pthread_mutex_lock(&lock);
    while (order == WAIT)
        pthread_cond_wait(&changed, &lock);
    if (allocates) {
        /* TODO 3: memory = malloc(1000); */
        allocated = 1;
        pthread_cond_broadcast(&changed);
    }
    while (order != END)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    free(memory);
    return NULL;
}

static pthread_t start(size_t stack_size, void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    /* TODO 2: if stack_size isn't 0, ask for it with pthread_attr_setstacksize(3). */
    (void)stack_size;
    if (pthread_create(&thread, &attributes, work, argument) != 0) {
        fprintf(stderr, "cannot create a thread\n");
        exit(1);
    }
    pthread_attr_destroy(&attributes);
    return thread;
}

static void give(int new_order)
{
    pthread_mutex_lock(&lock);
    order = new_order;
    pthread_cond_broadcast(&changed);
    while (order == ALLOCATE && !allocated)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    pthread_t threads[3];

    wait_for_enter("One thread.");
    threads[0] = start(0, &order);
    wait_for_enter("Two threads.");
    /* TODO 1: start the second thread like the first one, but with NULL as its argument. */
    wait_for_enter("Three threads.");
    threads[2] = start(SMALL_STACK, NULL);
    wait_for_enter("Four threads, one of them with a small stack.");
    give(ALLOCATE);
    wait_for_enter("The first one has called malloc.");
    give(END);
    /* TODO 4: wait with pthread_join(3) until each of the three threads has ended. */
    (void)threads;
    wait_for_enter("All have ended.");
    return 0;
}
