/* A process with exactly as many regions as asked for, quiet until its standard
 * input closes.
 *
 *     target REGIONS [MEBIBYTES [MILLISECONDS]]
 *
 * With a second argument other than 0 one more region is that large and resident.
 * With a third one it maps a page and touches it, and unmaps it again, by turns,
 * after so many milliseconds each.
 *
 * The regions of one page each lie side by side, by turns writable and touched,
 * and read-only and never touched, so that the kernel can't merge them. A page
 * each is the least that the kernel can have to walk, and no name the least to
 * print: the reading that costs the kernel the least is the hardest to be close
 * to. Prints where they lie and how many they are; "max_map_count" if the kernel
 * allows no more. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Far from everything that the kernel places by itself. */
#define PLACE ((char *)(UINT64_C(1) << 40))
#define LARGE ((char *)(UINT64_C(1) << 39))
#define CHANGING ((char *)(UINT64_C(1) << 38))

static long count_regions(void)
{
    static char text[4096];
    int fd = open("/proc/self/maps", O_RDONLY);
    long lines = 0;
    ssize_t got, i;

    if (fd < 0)
        return -1;
    while ((got = read(fd, text, sizeof text)) > 0)
        for (i = 0; i < got; i++)
            lines += text[i] == '\n';
    close(fd);
    return got < 0 ? -1 : lines;
}

static int say(const char *text)
{
    size_t size = strlen(text);

    return write(1, text, size) == (ssize_t)size ? 0 : 1;
}

/* Anonymous memory in pages of the common size: a huge page would be resident
 * as a whole, and costs the kernel no more to walk than a small one. */
static int map(char *place, long size)
{
    if (mmap(place, (size_t)size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
             0) != place)
        return -1;
    madvise(place, (size_t)size, MADV_NOHUGEPAGE);
    return 0;
}

/* Until standard input closes. */
static void change_each(int milliseconds)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    long page = sysconf(_SC_PAGESIZE);
    char *more = NULL;

    while (poll(&input, 1, milliseconds) == 0)
        if (more) {
            munmap(more, (size_t)page);
            more = NULL;
        } else if (!map(CHANGING, page)) {
            more = CHANGING;
            *more = 1;
        }
}

int main(int argc, char **argv)
{
    long wanted = argc > 1 ? atol(argv[1]) : 0, large = argc > 2 ? atol(argv[2]) << 20 : 0;
    long page = sysconf(_SC_PAGESIZE), count, i;
    char line[64], byte;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (large > 0) {
        if (map(LARGE, large))
            return 3;
        for (i = 0; i < large; i += page)
            LARGE[i] = 1;
    }
    count = wanted - count_regions();
    if (count <= 0)
        return 2;
    if (map(PLACE, count * page))
        return 3;
    for (i = 1; i < count; i += 2)
        if (mprotect(PLACE + i * page, (size_t)page, PROT_READ))
            return say(errno == ENOMEM ? "max_map_count\n" : "mprotect\n");
    for (i = 0; i < count; i += 2)
        PLACE[i * page] = 1;
    snprintf(line, sizeof line, "%p %ld\n", (void *)PLACE, count);
    if (say(line))
        return 4;
    if (argc > 3)
        change_each(atoi(argv[3]));
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}
