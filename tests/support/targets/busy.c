/* Allocates as fast as it can in several threads, and publishes how much it holds.
 *
 * busy THREADS FILE: FILE, of one `board`, is mapped shared. A thread's bytes are those of its chunks,
 * headers included; what it may hold while a call runs is between the low and the high mark,
 * which start anew with each epoch. The sums over all threads are bounds of what malloc has in use.
 * Blocks change hands, so that a thread frees what another one's arena has. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define MOST 16
#define SLOTS 512
#define BURST 400 /* calls */

enum { PARKED, HOT, BURSTS, LEAVE };

typedef struct {
    _Atomic int64_t epoch, parked, now, low, high, calls;
} row;

typedef struct {
    _Atomic int64_t epoch, mode, forks;
    row rows[MOST];
} board;

static board *shared;
static _Atomic(void *) blocks[MOST][SLOTS];
static int threads;

static int64_t held(void *block)
{
    return block ? (int64_t)malloc_usable_size(block) + 8 : 0;
}

static void nap(long microseconds)
{
    struct timespec time = {0, microseconds * 1000};

    nanosleep(&time, NULL);
}

static void begin_epoch(row *mine)
{
    int64_t epoch = shared->epoch;

    if (mine->epoch != epoch) {
        mine->low = mine->high = mine->now;
        mine->epoch = epoch;
    }
}

static void may_hold(row *mine, int64_t low, int64_t high)
{
    if (mine->now + low < mine->low)
        mine->low = mine->now + low;
    if (mine->now + high > mine->high)
        mine->high = mine->now + high;
}

/* malloc may give 16 bytes more than it was asked for, rather than leave a piece that is too small. */
#define ROOM 48
#define AT_ONCE 6

/* Each slot's block has a size of its own, so that all together hold much the same at any time. */
static size_t size_of(int owner, int slot)
{
    unsigned state = (unsigned)(owner * SLOTS + slot + 1);

    return (size_t)(slot % 8 ? rand_r(&state) % 900 + 1 : rand_r(&state) % 20000 + 1);
}

static void give(row *mine, void *block)
{
    int64_t before = held(block);

    may_hold(mine, -before, 0);
    free(block);
    mine->now -= before;
}

static void *take(row *mine, size_t size, unsigned choice)
{
    void *block;

    may_hold(mine, 0, (int64_t)size + ROOM);
    block = choice % 16 == 0   ? aligned_alloc(16, (size + 15) / 16 * 16)
            : choice % 16 == 1 ? calloc(1, size)
            : choice % 16 == 2 ? realloc(NULL, size)
                               : malloc(size);
    if (!block)
        abort();
    memset(block, 1, size < 8 ? size : 8);
    mine->now += held(block);
    return block;
}

/* Frees a few blocks, some of them another thread's, and allocates them anew. */
static void step(row *mine, unsigned *state)
{
    unsigned choice = (unsigned)rand_r(state) % 2000;
    int number = rand_r(state) % AT_ONCE + 1, owners[AT_ONCE], slots[AT_ONCE];

    if (choice == 0) {
        malloc_trim(0);
        return;
    }
    if (choice == 1 && shared->forks) {
        pid_t child = fork();

        if (!child)
            _exit(0);
        if (child > 0)
            waitpid(child, NULL, 0);
        return;
    }
    for (int i = 0; i < number; i++) {
        void *block;

        owners[i] = rand_r(state) % threads;
        slots[i] = rand_r(state) % SLOTS;
        block = atomic_exchange(&blocks[owners[i]][slots[i]], NULL);
        if (block)
            give(mine, block);
    }
    while (number--) {
        void *block = take(mine, size_of(owners[number], slots[number]), choice++);

        block = atomic_exchange(&blocks[owners[number]][slots[number]], block);
        if (block)
            give(mine, block);
    }
}

static void *work(void *which)
{
    row *mine = which;
    unsigned state = (unsigned)(mine - shared->rows) + 1;

    for (int i = 0; i < SLOTS; i++)
        blocks[mine - shared->rows][i] = take(mine, size_of((int)(mine - shared->rows), i), 3);
    for (;;) {
        begin_epoch(mine);
        if (shared->mode == LEAVE)
            return NULL;
        if (shared->mode == PARKED) {
            mine->parked = 1;
            while (shared->mode == PARKED) {
                begin_epoch(mine);
                nap(200);
            }
            mine->parked = 0;
            continue;
        }
        for (int i = 0; i < BURST; i++) {
            begin_epoch(mine);
            step(mine, &state);
            mine->calls++;
        }
        if (shared->mode == BURSTS)
            nap(rand_r(&state) % 100000);
    }
}

int main(int count, char **words)
{
    pthread_t all[MOST];
    int file;

    if (count != 3)
        return 2;
    threads = atoi(words[1]);
    file = open(words[2], O_RDWR);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (threads < 1 || threads > MOST || shared == MAP_FAILED)
        return 2;
    /* What a thread allocates for itself when it is made is no block. */
    for (int i = 1; i < threads; i++)
        pthread_create(&all[i], NULL, work, &shared->rows[i]);
    work(&shared->rows[0]);
    for (int i = 1; i < threads; i++)
        pthread_join(all[i], NULL);
    return 0;
}
