/* Random histories of malloc, free, realloc, calloc and aligned forms, in any number of threads.
 *
 * Each line on standard input is a command: `go SEED STEPS LARGEST [SHIFT]` has every thread take so
 * many steps, with the pieces of the thread so many numbers on; `renew` ends all threads and begins others; `cache COUNT SIZE` has every thread free so many pieces, all at last; `trim` calls
 * malloc_trim(0), `info` prints what malloc says of itself;
 * `pageout` asks the kernel to swap the heap out, `exec` runs cat, `fork` prints the PID of a child that waits;
 * `snug` leaves free chunks in which the caches of new threads just fit;
 * `overwrite`, `top`, `spoil`, `loop KIND` and `fake COUNT KIND MAIN` break the heap. Each is answered
 * by lines that end with one that says "done". Nothing here allocates beside the histories. */
#define _GNU_SOURCE
#include <gnu/libc-version.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __i386__
/* sys/syscall.h includes headers of the kernel, which a compiler for 32-bit programs may lack. */
#define SYS_set_robust_list 311
#else
#include <sys/syscall.h>
#endif

#define PIECES 4000
#define THREADS 16
#define SNUG 0x290 /* makes chunks of 0x2a0 bytes */
#ifndef OWN
#define OWN 8 /* bytes of thread-local variables */
#endif

static void *pieces[THREADS + 1][PIECES];
static pthread_barrier_t begin, end;
static unsigned seed;
static long steps;
static size_t largest;
static int threads, shift, cached, leave;
static char *lowest; /* of the heap */
static pthread_t all[THREADS];
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

        if (!(rand_r(&state) % 3000))
            malloc_trim(0);
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

/* Bytes of the pieces that are mappings of their own, by the headers of their chunks. */
static size_t mapped(void)
{
    size_t sum = 0;

    for (int i = 0; i <= THREADS; i++)
        for (int k = 0; k < PIECES; k++) {
            size_t *piece = pieces[i][k];

            /* Whole pages: in glibc 2.43 the size is without the header. */
            if (piece && piece[-1] & 2)
                sum += ((piece[-2] & ~(size_t)1) + (piece[-1] & ~(size_t)7) + 4095) & ~(size_t)4095;
        }
    return sum;
}

static void *serve(void *first)
{
    for (;;) {
        void **mine;

        pthread_barrier_wait(&begin);
        if (leave)
            return NULL;
        /* The pieces of another thread: what that one's arena gave is freed here. */
        mine = pieces[((size_t)((void **)first - pieces[0]) / PIECES + (size_t)shift) %
                      ((size_t)threads + 1)];
        if (cached)
            fill_cache();
        else
            take(mine, seed * 31 + (unsigned)((void **)first - pieces[0]));
        pthread_barrier_wait(&end);
    }
}

static void begin_threads(void)
{
    leave = 0;
    for (int i = 0; i < threads; i++)
        pthread_create(&all[i], NULL, serve, pieces[i + 1]);
}

static void end_threads(void)
{
    leave = 1;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
}

/* A list of free chunks that leads back into itself. */
static void loop(const char *kind)
{
    int few = !strcmp(kind, "tcache"), sorted = !strcmp(kind, "small") || !strcmp(kind, "large");
    int number = few ? 3 : 24, version = atoi(gnu_get_libc_version() + 2);
    size_t size = !strcmp(kind, "fast") ? 100 : few ? 40 : !strcmp(kind, "small") ? 600 : 3000;
    char *row[24];
    uintptr_t to;

    for (int i = 0; i < number; i++) {
        row[i] = malloc(size);
        /* So that free chunks are not joined. */
        own[0] = *(volatile char *)malloc(size);
    }
    for (int i = 0; i < number; i++)
        free(row[i]);
    if (sorted)
        own[0] = *(volatile char *)malloc(120000);
    /* The thread's cache takes the first seven, and each list begins with the last. */
    to = (uintptr_t)row[number - 1] - (few ? 0 : 16);
    /* glibc 2.43 has no fast bins. */
    if ((few || (size == 100 && version < 43)) && version >= 32)
        to ^= (uintptr_t)row[few ? 0 : 7] >> 12;
    memcpy(row[few ? 0 : 7], &to, sizeof to);
    printf("%p\n", (void *)(row[number - 1] - 16));
}

/* Arenas as malloc makes them, all linked with the main arena, whose address is given. */
static void fake(int count, const char *kind, uintptr_t *first)
{
    enum { LENGTH = 64 << 20, STATE = 300 };
    int many = !strcmp(kind, "many"), chain = !strcmp(kind, "chain"), next = 0, bins = 0;
    uintptr_t base = (uintptr_t)mmap(NULL, ((size_t)count + 1) * LENGTH, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == (uintptr_t)MAP_FAILED)
        exit(3);
    /* Each arena is written to: with huge pages everywhere that would be 10 GB. */
    madvise((void *)base, ((size_t)count + 1) * LENGTH, MADV_NOHUGEPAGE);
    base = (base + LENGTH - 1) / LENGTH * LENGTH;
    /* Of a process with one arena the ring is a link to itself. */
    while (first[next] != (uintptr_t)first)
        next++;
    /* 127 bins of two links, and the map of bins, are before it. */
    bins = next - 254 - 2;
    for (int i = 0; i < count; i++) {
        uintptr_t *info = (uintptr_t *)(base + (uintptr_t)i * LENGTH), *state = info + 6;
        uintptr_t top = ((uintptr_t)(state + next + 5) + 15) / 16 * 16, size = 0x21000;

        info[0] = chain ? base + 48 : (uintptr_t)state;
        info[1] = chain ? base + (uintptr_t)(i ? i - 1 : count - 1) * LENGTH : 0;
        info[2] = info[3] = size;
        memset(state, 0, STATE * sizeof *state);
        for (int k = 0; k < 254; k++)
            state[bins + k] = (uintptr_t)&state[bins + k / 2 * 2 - 2];
        if (chain)
            top += (uintptr_t)(count - 1 - i) * LENGTH;
        state[bins - 2] = top;
        state[next] = i + 1 < count && !chain ? (uintptr_t)state + LENGTH : (uintptr_t)first;
        state[next + 3] = state[next + 4] = many ? size : (uintptr_t)1 << 62;
        ((uintptr_t *)top)[1] = ((uintptr_t)info + size - top) | 1;
        if (!strcmp(kind, "huge"))
            ((uintptr_t *)top)[1] = ((uintptr_t)1 << 60) | 1;
        if (!strcmp(kind, "ring") && i + 1 == count)
            state[next] = base + 48;
    }
    first[next] = base + 48;
    printf("%zx\n", (size_t)base);
}

int main(int argc, char **argv)
{
    static char out[1 << 20], line[256], kind[16];
    int count;

    threads = argc > 1 ? atoi(argv[1]) : 0;
    lowest = (char *)(((uintptr_t)sbrk(0) + 4095) / 4096 * 4096);
    setvbuf(stdout, out, _IOFBF, sizeof out);
    if (threads > THREADS)
        return 2;
    pthread_barrier_init(&begin, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&end, NULL, (unsigned)threads + 1);
    begin_threads();
    for (;;) {
        size_t length = 0;

        while (length < sizeof line - 1 && read(0, line + length, 1) == 1 && line[length] != '\n')
            length++;
        line[length] = 0;
        if (!length)
            break;
        if (sscanf(line, "go %u %ld %zu %d", &seed, &steps, &largest, &shift) >= 3) {
            pthread_barrier_wait(&begin);
            take(pieces[shift], seed);
            pthread_barrier_wait(&end);
        } else if (sscanf(line, "cache %d %zu", &cached, &largest) == 2) {
            cached = cached < 16 ? cached : 16;
            pthread_barrier_wait(&begin);
            fill_cache();
            pthread_barrier_wait(&end);
            cached = 0;
        } else if (!strcmp(line, "overwrite")) {
            /* The size of a chunk, as a write beyond a piece's end would leave it. */
            char *volatile piece = malloc(3000), *volatile next = malloc(3000);

            while (next != piece + malloc_usable_size(piece) + 8) {
                piece = next;
                next = malloc(3000);
            }
            memset(next - 8, 0x41, 8);
            printf("%p\n", (void *)(next - 16));
        } else if (!strcmp(line, "top")) {
            /* The size of the last chunk. */
            char *volatile piece = malloc(120000), *volatile next = piece + malloc_usable_size(piece) + 8;

            while (next - 16 + (*(size_t *)(next - 8) & ~7ul) != (char *)sbrk(0)) {
                piece = malloc(120000);
                next = piece + malloc_usable_size(piece) + 8;
            }
            memset(next - 8, 0x41, 8);
            printf("%p\n", (void *)(next - 16));
        } else if (!strcmp(line, "spoil")) {
            /* The first link of a cache's list, as a write to a piece that was freed would leave it. */
            char *volatile first = malloc(40), *volatile second = malloc(40);

            free(first);
            free(second);
            memset(second, 0x41, 8);
        } else if (sscanf(line, "robust %zx", &largest) == 1) {
            /* What get_robust_list(2) says of the first thread. */
            syscall(SYS_set_robust_list, largest, 24);
        } else if (!strncmp(line, "loop ", 5)) {
            loop(line + 5);
        } else if (sscanf(line, "fake %d %15s %zx", &count, kind, &largest) == 3) {
            fake(count, kind, (uintptr_t *)largest);
        } else if (!strcmp(line, "pageout")) {
            madvise(lowest, (size_t)((char *)sbrk(0) - lowest), 21 /* MADV_PAGEOUT */);
        } else if (!strcmp(line, "exec")) {
            execl("/bin/cat", "cat", (char *)NULL);
        } else if (!strcmp(line, "fork")) {
            pid_t child = fork();

            if (!child)
                pause();
            printf("%d\n", child);
        } else if (!strcmp(line, "snug")) {
            /* Free chunks that are 16 bytes larger than those of threads' caches: what is left of
             * one would be too small for a chunk. */
            void *row[24];

            for (int i = 0; i < 24; i++) {
                row[i] = malloc(SNUG);
                own[0] = *(volatile char *)malloc(40);
            }
            for (int i = 0; i < 24; i++)
                free(row[i]);
            own[0] = *(volatile char *)malloc(120000);
            end_threads();
            begin_threads();
        } else if (!strcmp(line, "renew")) {
            end_threads();
            begin_threads();
        } else if (!strcmp(line, "trim")) {
            malloc_trim(0);
        } else if (!strcmp(line, "info")) {
            struct mallinfo2 info = mallinfo2();

            malloc_info(0, stdout);
            printf("mallinfo %zu %zu %zu %zu %zu %zu %zu\n", info.uordblks, info.fordblks,
                   info.fsmblks, info.hblks, info.hblkhd, info.keepcost, mapped());
        }
        puts("done");
        fflush(stdout);
    }
    end_threads();
    return 0;
}
