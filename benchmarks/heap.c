/* A large heap, and how long the calls of a thread in it take.
 *
 * heap MEBIBYTES EVERY: so many bytes in chunks of 100, of which each EVERYth is freed again (0: none).
 * Each line on standard input is a command: `begin` has a thread call mmap(2), munmap(2), malloc(3)
 * and free(3) all the time, `end` prints how many times it did, how long the longest took, and the
 * longest but one in 10,000, in nanoseconds. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MOST_TIMES 4000000

static uint32_t *times;
static long count;
static atomic_int running;

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void *call(void *unused)
{
    (void)unused;
    count = 0;
    while (running) {
        uint64_t begin = now();
        char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        *memory = 1;
        munmap(memory, 8192);
        memory = malloc(3000);
        *memory = 1;
        free(memory);
        if (count < MOST_TIMES)
            times[count++] = (uint32_t)(now() - begin);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

    return (one > other) - (one < other);
}

int main(int words, char **word)
{
    size_t bytes = words > 1 ? (size_t)atol(word[1]) << 20 : 0, every;
    void **last = NULL;
    char line[64];
    pthread_t thread;

    every = words > 2 ? (size_t)atol(word[2]) : 0;
    times = mmap(NULL, MOST_TIMES * sizeof *times, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t sum = 0; sum < bytes; sum += 112) {
        void **block = malloc(100);

        memset(block, 1, 100);
        *block = last;
        last = block;
    }
    for (size_t i = 1; every && last; i++) {
        void **before = *last;

        if (i % every == 0)
            free(last);
        last = before;
    }
    /* What was freed goes from fast bins into bins. */
    free(malloc(100000));
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (!strcmp(line, "begin\n")) {
            running = 1;
            if (pthread_create(&thread, NULL, call, NULL))
                return 1;
        } else {
            running = 0;
            pthread_join(thread, NULL);
            qsort(times, (size_t)count, sizeof *times, by_size);
            printf("%ld %u %u\n", count, times[count - 1], times[count - 1 - count / 10000]);
        }
        puts("done");
        fflush(stdout);
    }
    return 0;
}
