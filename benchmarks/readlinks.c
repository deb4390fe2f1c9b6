/* Reads the link of every descriptor of every process: what pipes() is held against. Nothing of
 * procmem is in it. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* Returns how many links were read. */
int64_t read_links(void)
{
    static char path[300], target[4096];
    struct dirent *process, *entry;
    int64_t count = 0;
    DIR *proc = opendir("/proc"), *fds;

    while (proc && (process = readdir(proc))) {
        if (process->d_name[0] < '0' || process->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "/proc/%s/fd", process->d_name);
        if (!(fds = opendir(path)))
            continue;
        while ((entry = readdir(fds)))
            if (entry->d_name[0] != '.' &&
                readlinkat(dirfd(fds), entry->d_name, target, sizeof target) > 0)
                count++;
        closedir(fds);
    }
    if (proc)
        closedir(proc);
    return count;
}
