/* Random histories of malloc, free, realloc, calloc and aligned forms, in any number of threads.
 *
 * Each line on standard input is a command: `go SEED STEPS LARGEST` has every thread take so many
 * steps, `cache COUNT SIZE` has every thread free so many pieces, all at last; `trim` calls
 * malloc_trim(0), `info` prints what malloc says of itself;
 * `overwrite`, `spoil` and `loop` break the heap. Each is answered
 * by lines that end with one that says "done". Nothing here allocates beside the histories. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECES 4000
#define THREADS 16
#ifndef OWN
#define OWN 8 /* bytes of thread-local variables */
#endif

static void *pieces[THREADS + 1][PIECES];
static pthread_barrier_t begin, end;
static unsigned seed;
static long steps;
static size_t largest;
static int cached, leave;
static __thread volatile char own[OWN];

static void fill_cache(void)
{
    void *all[16];

    own[OWN - 1] = 1;
    for (int i = 0; i < cached; i++)
        all[i] = malloc(largest);
    for (int i = 0; i < cached; i++)
        free(all[i]);
}

static void take(void **mine, unsigned state)
{
    for (long i = 0; i < steps; i++) {
        unsigned which = (unsigned)rand_r(&state) % PIECES, choice = (unsigned)rand_r(&state) % 16;
        size_t size = (unsigned)rand_r(&state) % (rand_r(&state) % 64 ? 2000 : largest + 1);
        void *piece = mine[which];

        if (!piece) {
            piece = choice < 2    ? calloc(1, size)
                    : choice == 2 ? aligned_alloc(64u << (choice % 4), (size + 63) / 64 * 64)
                    : choice == 3 ? memalign(4096, size)
                                  : malloc(size);
            if (piece && size)
                memset(piece, 1, (size + 1) / 2);
        } else if (choice < 12) {
            free(piece);
            piece = NULL;
        } else {
            piece = realloc(piece, size + 1);
        }
        mine[which] = piece;
    }
}

static void *serve(void *mine)
{
    for (;;) {
        pthread_barrier_wait(&begin);
        if (leave)
            return NULL;
        if (cached)
            fill_cache();
        else
            take(mine, seed * 31 + (unsigned)((void **)mine - pieces[0]));
        pthread_barrier_wait(&end);
    }
}

int main(int argc, char **argv)
{
    static char out[1 << 20], line[256];
    int threads = argc > 1 ? atoi(argv[1]) : 0;
    pthread_t all[THREADS];

    setvbuf(stdout, out, _IOFBF, sizeof out);
    if (threads > THREADS)
        return 2;
    pthread_barrier_init(&begin, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&end, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++)
        pthread_create(&all[i], NULL, serve, pieces[i + 1]);
    for (;;) {
        size_t length = 0;

        while (length < sizeof line - 1 && read(0, line + length, 1) == 1 && line[length] != '\n')
            length++;
        line[length] = 0;
        if (!length)
            break;
        if (sscanf(line, "go %u %ld %zu", &seed, &steps, &largest) == 3) {
            pthread_barrier_wait(&begin);
            take(pieces[0], seed);
            pthread_barrier_wait(&end);
        } else if (sscanf(line, "cache %d %zu", &cached, &largest) == 2) {
            cached = cached < 16 ? cached : 16;
            pthread_barrier_wait(&begin);
            fill_cache();
            pthread_barrier_wait(&end);
            cached = 0;
        } else if (!strcmp(line, "overwrite")) {
            /* The size of a chunk, as a write beyond a piece's end would leave it. */
            char *piece = malloc(3000);

            memset(piece + malloc_usable_size(piece), 0x41, 8);
            printf("%p\n", (void *)(piece + malloc_usable_size(piece) - 8));
        } else if (!strcmp(line, "spoil")) {
            /* The first link of a cache's list, as a write to a piece that was freed would leave it. */
            char *volatile first = malloc(40), *volatile second = malloc(40);

            free(first);
            free(second);
            memset(second, 0x41, 8);
        } else if (sscanf(line, "robust %zx", &largest) == 1) {
            /* What get_robust_list(2) says of the first thread. */
            syscall(SYS_set_robust_list, largest, 24);
        } else if (!strcmp(line, "loop")) {
            /* A list of free chunks that leads back into itself. */
            void *row[16];

            for (int i = 0; i < 16; i++)
                row[i] = malloc(100);
            for (int i = 0; i < 16; i++)
                free(row[i]);
            memcpy(row[15], row[14], 8);
        } else if (!strcmp(line, "trim")) {
            malloc_trim(0);
        } else if (!strcmp(line, "info")) {
            struct mallinfo2 info = mallinfo2();

            malloc_info(0, stdout);
            printf("mallinfo %zu %zu %zu %zu %zu %zu\n", info.uordblks, info.fordblks,
                   info.fsmblks, info.hblks, info.hblkhd, info.keepcost);
        }
        puts("done");
        fflush(stdout);
    }
    leave = 1;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
    return 0;
}
