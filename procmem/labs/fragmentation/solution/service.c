/* A service that answers 4,000 requests. Each needs a buffer for a while, and leaves a record.
 *
 * The records are in an arena of their own, so that none of them is between two buffers. */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { REQUESTS = 4000, BUFFER = 4000, RECORD = 80 };

struct request {
    char *buffer;
    char *record;
};

static struct request requests[REQUESTS];

/* Prints what comes next, and waits for Enter. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    fflush(stdout);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

static void *allocate(size_t size)
{
    void *memory = malloc(size);

    if (memory == NULL) {
        perror("malloc");
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* What a buffer and a record contain. The checks look for it, so do not change this function. */
static void answer(struct request *request, int number)
{
    memset(request->buffer, 'w', BUFFER);
    snprintf(request->record, RECORD, "record %04d of the service", number);
}

int main(void)
{
    const size_t size = (size_t)REQUESTS * RECORD;
    char *arena;

    ask("open 4,000 requests");
    arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED) {
        perror("mmap");
        return EXIT_FAILURE;
    }
    for (int i = 0; i < REQUESTS; i++) {
        requests[i].buffer = allocate(BUFFER);
        requests[i].record = arena + (size_t)i * RECORD;
        answer(&requests[i], i);
    }

    ask("free the buffers");
    for (int i = 0; i < REQUESTS; i++)
        free(requests[i].buffer);
    malloc_trim(0);

    ask("free the records");
    if (munmap(arena, size) != 0) {
        perror("munmap");
        return EXIT_FAILURE;
    }

    ask("end");
    return EXIT_SUCCESS;
}
