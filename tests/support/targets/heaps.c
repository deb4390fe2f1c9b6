/* Heaps of a known shape. The first argument chooses it; further ones are parameters of mallopt(3) and
 * their values, by turns, which are set before. Each line of standard input has malloc_trim(0)
 * called; before the first, and after each, a line is printed: mallinfo2(3) of the C library, and a
 * number that the shape is about. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* sys/prctl.h includes headers of the kernel, which a compiler for 32-bit programs may lack. */
#define PR_SET_THP_DISABLE 41
int prctl(int option, ...);

#define MANY 100000

static void *pieces[MANY];
static struct mallinfo2 (*info)(void) = mallinfo2;
static char out[1 << 16];

static void *filled(size_t size)
{
    void *piece = malloc(size);

    memset(piece, 1, size);
    return piece;
}

/* Free memory below one chunk of 48 bytes in use. */
static size_t top(void)
{
    for (int i = 0; i < 5000; i++)
        pieces[i] = filled(4000);
    filled(40);
    for (int i = 0; i < 5000; i++)
        free(pieces[i]);
    return 5000 * 4016;
}

/* One chunk of 48 bytes on each page. */
static size_t pages(void)
{
    size_t kept = 0, page = 0, first;
    void *volatile early = filled(40);

    /* The thread's cache is made now: glibc 2.43 makes it when a piece is freed. */
    free(early);
    for (int i = 0; i < MANY; i++)
        pieces[i] = filled(40);
    first = (size_t)pieces[0] / 4096 + 1;
    for (int i = 0; i < MANY; i++) {
        size_t start = ((size_t)pieces[i] - 16) / 4096, end = ((size_t)pieces[i] + 31) / 4096;

        /* The first that is wholly on a page stays. */
        if (start >= first && start == end && start != page) {
            page = start;
            kept++;
        } else {
            free(pieces[i]);
        }
    }
    return kept;
}

/* Somebody else moves the break between two pieces of the heap. */
static size_t foreign(void)
{
    char *own;

    for (int i = 0; i < 1000; i++)
        pieces[i] = filled(200);
    own = sbrk(5000);
    for (int i = 0; i < 5000; i++)
        own[i] = (char)(i * 7);
    for (int i = 1000; i < 3000; i++)
        pieces[i] = filled(200);
    for (int i = 0; i < 3000; i += 3)
        free(pieces[i]);
    return 5000;
}

/* The break can't be moved any more: malloc maps memory for its main arena. */
static size_t stuck(void)
{
    filled(100);
    mmap(sbrk(0), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    for (int i = 0; i < 20000; i++)
        pieces[i] = filled(200);
    for (int i = 0; i < 20000; i += 3)
        free(pieces[i]);
    return 0;
}

/* A second C library, whose malloc alone is used. */
static size_t second(void)
{
    void *library = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    void *(*allocate)(size_t);
    void (*release)(void *);

    if (!library)
        return 0;
    *(void **)&allocate = dlsym(library, "malloc");
    *(void **)&release = dlsym(library, "free");
    *(void **)&info = dlsym(library, "mallinfo2");
    for (int i = 0; i < 5000; i++)
        memset(pieces[i] = allocate(300), 1, 300);
    for (int i = 0; i < 5000; i += 2)
        release(pieces[i]);
    return 1;
}

/* Allocations that are mappings of their own, plain and aligned. */
static size_t direct(void)
{
    for (size_t i = 1; i <= 5; i++)
        memset(malloc(i << 20), 1, i << 19);
    memset(memalign(4096, 300000), 1, 300000);
    memset(memalign(64, 400000), 1, 400000);
    return 7;
}

/* Small pieces, and some that may be mappings of their own: one of these is freed again. */
static size_t mixed(void)
{
    void *large[4];

    for (int i = 0; i < 64; i++)
        pieces[i] = filled(1000);
    for (size_t i = 0; i < 4; i++)
        memset(large[i] = malloc((i + 1) * 300000), 1, 1000);
    free(large[1]);
    for (int i = 0; i < 64; i += 2)
        free(pieces[i]);
    return 0;
}

/* Mappings of their own that realloc(3) has made larger and smaller, and one that was freed after. */
static size_t resized(void)
{
    void *large[4];

    for (size_t i = 0; i < 4; i++)
        large[i] = filled((i + 1) << 20);
    for (int k = 0; k < 100; k++)
        for (size_t i = 0; i < 4; i++)
            large[i] = realloc(large[i], (i + 1 + (k & 1)) << 20);
    free(large[1]);
    return 2 + 4 + 5;
}

static void report(size_t number)
{
    struct mallinfo2 now = info();

    printf("%zu %zu %zu %zu %zu %zu\n", now.uordblks, now.fordblks, now.arena, now.hblks, now.hblkhd,
           number);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; size_t (*make)(void); } shapes[] = {
        {"top", top}, {"pages", pages}, {"foreign", foreign}, {"stuck", stuck},
        {"second", second}, {"direct", direct}, {"mixed", mixed}, {"resized", resized},
    };
    char line[16];
    size_t number = 0;

    setvbuf(stdout, out, _IOFBF, sizeof out);
    /* What was written is resident, and no more, however huge pages are set. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    for (int i = 2; i + 1 < argc; i += 2)
        if (!mallopt(atoi(argv[i]), atoi(argv[i + 1])))
            return 2;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (argc > 1 && !strcmp(argv[1], shapes[i].name))
            number = shapes[i].make();
    report(number);
    while (read(0, line, sizeof line) > 0) {
        malloc_trim(0);
        report(number);
    }
    return 0;
}
