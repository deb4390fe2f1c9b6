/* A heap whose history is known. Each line on standard input is a command, answered by "done":

     leak N [SIZE]  allocates N MiB in pieces of 1,000 bytes, or of that size, and forgets them
     take N    the same, but keeps them; the last piece stays for ever
     drop      frees what was taken
     trim      malloc_trim(0)
     holes N   allocates N MiB in pieces that grow from call to call, and then shrinks each to 24
               bytes: no piece of a later call fits into the holes
     maps N    allocates N MiB in pieces of 1 MiB, each a mapping of its own, and forgets them */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#define PIECE 1000
#define MOST (1 << 18)

static void *taken[MOST];
static int count, round_of_holes;

static void *filled(size_t size) {
    char *piece = malloc(size);
    return piece ? memset(piece, 1, size) : piece;
}

static void run(const char *line) {
    int amount = 0, piece = PIECE;
    char word[16] = "";
    sscanf(line, "%15s %d %d", word, &amount, &piece);
    long bytes = (long)amount << 20;
    if (!strcmp(word, "leak"))
        for (long at = 0; at < bytes; at += piece) filled((size_t)piece);
    else if (!strcmp(word, "take")) {
        for (long at = 0; at < bytes && count < MOST; at += PIECE) taken[count++] = filled(PIECE);
        /* Keeps the top where it is. */
        filled(PIECE);
    } else if (!strcmp(word, "drop"))
        while (count) free(taken[--count]);
    else if (!strcmp(word, "trim"))
        malloc_trim(0);
    else if (!strcmp(word, "holes")) {
        size_t size = (size_t)(1100 + 64 * round_of_holes++);
        for (long at = 0; at < bytes && count < MOST; at += (long)size)
            taken[count++] = filled(size);
        while (count) {
            void *small = realloc(taken[--count], 24);
            (void)small;
        }
    } else if (!strcmp(word, "maps"))
        for (int i = 0; i < amount; i++) filled(1 << 20);
}

int main(void) {
    char line[64];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* each page comes alone */
    memset(taken, 1, sizeof taken); /* so that it grows no more */
    while (fgets(line, sizeof line, stdin)) {
        run(line);
        puts("done");
        fflush(stdout);
    }
    return 0;
}
