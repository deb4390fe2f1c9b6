#include "measure.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define TEXT_ROOM 16384

static int64_t read_whole(int fd, char *text, size_t room)
{
    ssize_t got;
    do
        got = pread(fd, text, room - 1, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    text[got] = 0;
    return got;
}

/* The kilobytes behind `name` at the start of a line, as bytes. `from` moves
 * on, since the kernel keeps the order of the lines. */
static uint64_t find(const char **from, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = *from; *line;) {
        if (!memcmp(line, name, length)) {
            uint64_t value = 0;
            line += length;
            while (*line == ' ' || *line == '\t')
                line++;
            while (*line >= '0' && *line <= '9')
                value = value * 10 + (uint64_t)(*line++ - '0');
            *from = line;
            return value * 1024;
        }
        const char *end = strchr(line, '\n');
        if (!end)
            break;
        line = end + 1;
    }
    return PM_UNKNOWN;
}

static int64_t count_lines(int fd)
{
    char text[TEXT_ROOM];
    int64_t lines = 0;
    ssize_t got;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    while ((got = read(fd, text, sizeof text))) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        for (const char *at = text; (at = memchr(at, '\n', (size_t)(text + got - at))); at++)
            lines++;
    }
    return lines;
}

static int read_figures(pm_specimen *specimen)
{
    /* memcmp() above may read as many bytes as a name is long. */
    char text[TEXT_ROOM + 64];
    pm_figures *out = &specimen->figures;
    int64_t got = read_whole(specimen->status, text, TEXT_ROOM);
    if (got < 0)
        return (int)got;
    memset(text + got, 0, 64);
    const char *at = strstr(text, "\nVmSize:");
    if (!at)
        return -ESRCH; /* a zombie has no address space */
    at++;
    out->vsz = find(&at, "VmSize:");
    out->locked = find(&at, "VmLck:");
    out->rss = find(&at, "VmRSS:");
    out->rss_anon = find(&at, "RssAnon:");
    out->rss_file = find(&at, "RssFile:");
    out->rss_shmem = find(&at, "RssShmem:");
    out->page_tables = find(&at, "VmPTE:");
    out->swap = find(&at, "VmSwap:");
    out->hugetlb = find(&at, "HugetlbPages:");
    if (specimen->source == PM_SOURCE_ROLLUP) {
        got = read_whole(specimen->rollup, text, TEXT_ROOM);
        if (got < 0)
            return (int)got;
        memset(text + got, 0, 64);
        at = text;
        out->rss = find(&at, "Rss:");
        out->rss_anon = find(&at, "Anonymous:");
        /* VmSwap is a counter like VmRSS, and lags like it; Swap of smaps also has shared memory. */
        out->rss_file = out->rss_shmem = out->swap = PM_UNKNOWN;
    }
    int64_t lines = count_lines(specimen->maps);
    if (lines < 0)
        return (int)lines;
    out->regions = (uint64_t)lines;
    return 0;
}

/* While the helper waits, only reclaim or another process's hand on a shared
 * file can change its figures, and either shows in statm. */
static int unchanged(pm_specimen *specimen, int64_t *size, char *text, size_t room)
{
    *size = read_whole(specimen->statm, text, room);
    return specimen->known && specimen->source == PM_SOURCE_STATUS && *size > 0 &&
           *size == specimen->statm_size && !memcmp(text, specimen->statm_text, (size_t)*size);
}

int pm_specimen_read(pm_specimen *specimen)
{
    int64_t size;
    char text[sizeof specimen->statm_text];
    if (unchanged(specimen, &size, text, sizeof text))
        return 0;
    if (size < 0)
        return (int)size;
    specimen->known = 0;
    int status = read_figures(specimen);
    if (status)
        return status;
    memcpy(specimen->statm_text, text, (size_t)size);
    specimen->statm_size = size;
    specimen->known = 1;
    return 0;
}

int pm_specimen_ask(pm_specimen *specimen)
{
    if (!specimen->waiting) {
        ssize_t put = write(specimen->request, &specimen->asked, sizeof specimen->asked);
        if (put < 0)
            return -errno;
        specimen->waiting = 1;
    }
    ssize_t got = read(specimen->reply, &specimen->answer, sizeof specimen->answer);
    if (got < 0)
        return -errno;
    specimen->waiting = 0;
    return got == sizeof specimen->answer ? 0 : -EPIPE;
}

int pm_specimen_step(pm_specimen *specimen)
{
    int status = 0;
    if (!specimen->waiting) {
        status = pm_specimen_read(specimen);
        if (status)
            return status;
        specimen->before = specimen->figures;
    }
    status = pm_specimen_ask(specimen);
    if (status)
        return status;
    /* statm may be the same after a change that only regions or page tables show. */
    specimen->known = 0;
    return pm_specimen_read(specimen);
}
