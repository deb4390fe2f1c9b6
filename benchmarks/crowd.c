/* crowd COUNT SHARED OWN: forks COUNT processes that map SHARED KiB together and have OWN KiB
 * each, prints their PIDs, and ends them when stdin is closed.
 * crowd mapper MIB: has MIB MiB and maps and unmaps a page all the time; for each line that it
 * reads it prints the longest time that one of these calls took since the last line, in ns.
 * crowd zeros MIB: the same, with the page of zeros mapped everywhere: it takes page tables alone. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *memory(size_t bytes)
{
    char *made = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t i;

    if (made == MAP_FAILED)
        exit(1);
    madvise(made, bytes, MADV_NOHUGEPAGE);
    for (i = 0; i < bytes; i += 4096)
        made[i] = 1;
    return made;
}

/* Reading maps the page of zeros. */
static void zeros(size_t bytes)
{
    volatile char *made =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t i;

    if (made == MAP_FAILED)
        exit(1);
    madvise((void *)made, bytes, MADV_NOHUGEPAGE);
    for (i = 0; i < bytes; i += 4096)
        (void)made[i];
}

static _Atomic long longest;

static long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000 + time.tv_nsec;
}

static void *map(void *unused)
{
    for (;;) {
        long begun = now(), took;
        void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        munmap(page, 4096);
        took = now() - begun;
        if (took > longest)
            longest = took;
        usleep(50);
    }
    return unused;
}

int main(int count, char **words)
{
    char line[16];
    pid_t *children, parent = getpid();
    int i, wanted;

    if (count == 3 && (!strcmp(words[1], "mapper") || !strcmp(words[1], "zeros"))) {
        pthread_t thread;
        size_t bytes = (size_t)atoi(words[2]) << 20;

        if (*words[1] == 'm')
            memory(bytes);
        else
            zeros(bytes);
        if (pthread_create(&thread, NULL, map, NULL))
            return 1;
        puts("ready");
        fflush(stdout);
        while (fgets(line, sizeof line, stdin)) {
            printf("%ld\n", atomic_exchange(&longest, 0));
            fflush(stdout);
        }
        return 0;
    }
    if (count != 4)
        return 2;
    wanted = atoi(words[1]);
    children = calloc((size_t)wanted + 1, sizeof *children);
    memory((size_t)atoi(words[2]) << 10);
    for (i = 0; i < wanted; i++) {
        children[i] = fork();
        if (children[i] < 0)
            break;
        if (!children[i]) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            memory((size_t)atoi(words[3]) << 10);
            while (getppid() == parent)
                pause();
            _exit(0);
        }
    }
    wanted = i;
    for (i = 0; i < wanted; i++)
        printf("%d%c", (int)children[i], i + 1 < wanted ? ' ' : '\n');
    fflush(stdout);
    while (fgets(line, sizeof line, stdin))
        ;
    for (i = 0; i < wanted; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    return 0;
}
