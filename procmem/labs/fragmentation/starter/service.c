/* A service that answers 4,000 requests. Each needs a buffer for a while, and leaves a record.
 *
 * The service works, but after all requests have been answered, RSS is as high as before. Change
 * it so that the memory of the buffers returns to the kernel while the records stay. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    ask("open 4,000 requests");
    for (int i = 0; i < REQUESTS; i++) {
        requests[i].buffer = allocate(BUFFER);
        requests[i].record = allocate(RECORD);
        answer(&requests[i], i);
    }

    ask("free the buffers");
    for (int i = 0; i < REQUESTS; i++)
        free(requests[i].buffer);

    ask("free the records");
    for (int i = 0; i < REQUESTS; i++)
        free(requests[i].record);

    ask("end");
    return EXIT_SUCCESS;
}
