#include "descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Written out, since the C libraries of old systems lack them: struct statx of
 * include/uapi/linux/stat.h, and numbers that all architectures share. */
struct file_status {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, uid, gid;
    uint16_t mode, spare;
    uint64_t inode, size, blocks, attributes_mask;
    uint64_t times[8];
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t more[14];
};
#define STATUS_BASIC 0x7ffu
#define DONT_SYNC 0x4000
#define GET_PIPE_SIZE 1032
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define BUFFER 32768
#define LINK_ROOM 4200 /* PATH_MAX and " (deleted)" */

struct entry { /* linux_dirent64 */
    uint64_t inode;
    int64_t offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

pm_descriptors *pm_descriptors_new(void)
{
    pm_descriptors *found = calloc(1, sizeof *found);

    if (found && !(found->buffer = malloc(BUFFER))) {
        free(found);
        return NULL;
    }
    return found;
}

void pm_descriptors_free(pm_descriptors *found)
{
    free(found->list);
    free(found->owners);
    free(found->blocked);
    free(found->text);
    free(found->buffer);
    free(found);
}

/* Room for one more element of a list; NULL: there is no memory. */
static void *grown(void *list, size_t count, size_t *room, size_t size)
{
    size_t more = *room ? *room * 2 : 256;
    void *made;

    if (count < *room)
        return list;
    if (!(made = realloc(list, more * size)))
        return NULL;
    *room = more;
    return made;
}

static int text_room(pm_descriptors *found)
{
    size_t room = found->text_room ? found->text_room * 2 : 4 * LINK_ROOM;
    char *text;

    if (found->text_room - found->text_size >= LINK_ROOM)
        return 0;
    if (room > UINT32_MAX || !(text = realloc(found->text, room)))
        return -ENOMEM;
    found->text = text;
    found->text_room = room;
    return 0;
}

static int make_room(pm_descriptors *found)
{
    pm_descriptor *list = grown(found->list, found->count, &found->room, sizeof *list);

    if (!list)
        return -ENOMEM;
    found->list = list;
    return text_room(found);
}

/* Reads a small file below a directory as a string; its size, or -1. */
static ssize_t read_small(int directory, const char *name, char *out, size_t room)
{
    ssize_t got;
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    got = read(fd, out, room - 1);
    close(fd);
    if (got >= 0)
        out[got] = 0;
    return got;
}

static int wanted(const struct file_status *is, unsigned kinds)
{
    switch (is->mode & S_IFMT) {
    case S_IFIFO:
        return kinds & PM_FD_FIFOS;
    case S_IFSOCK:
        return kinds & PM_FD_SOCKETS;
    case 0:
        return kinds & PM_FD_ANON;
    case S_IFREG:
    case S_IFCHR:
        return kinds & PM_FD_FILES;
    }
    return 0;
}

#define NOT_THERE 1

/* Adds a descriptor if it is of these kinds; NOT_THERE: statx(2) failed. */
static int add(pm_descriptors *found, int fds, const char *name, int pid, unsigned kinds,
               uint64_t pipefs)
{
    struct file_status is;
    pm_descriptor *one;
    int error;

    if (syscall(SYS_statx, fds, name, DONT_SYNC, STATUS_BASIC, &is))
        return NOT_THERE;
    if (!wanted(&is, kinds))
        return 0;
    if ((error = make_room(found)))
        return error;
    one = found->list + found->count;
    memset(one, 0, sizeof *one);
    one->dev = (uint64_t)is.dev_major << 32 | is.dev_minor;
    one->rdev = (uint64_t)is.rdev_major << 32 | is.rdev_minor;
    one->inode = is.inode;
    one->size = is.size;
    one->blocks = is.blocks;
    one->pid = pid;
    one->fd = atoi(name);
    one->mode = is.mode;
    one->links = is.links;
    one->owner = is.uid;
    if (S_ISFIFO(is.mode)) {
        if (syscall(SYS_statx, fds, name, DONT_SYNC | AT_SYMLINK_NOFOLLOW, STATUS_BASIC, &is))
            return 0; /* closed by now */
        one->access = (is.mode & S_IRUSR ? 1 : 0) | (is.mode & S_IWUSR ? 2 : 0);
        is.mode = (uint16_t)one->mode;
    }
    if (!S_ISSOCK(is.mode) && one->dev != pipefs) {
        ssize_t got = readlinkat(fds, name, found->text + found->text_size, LINK_ROOM);

        if (got < 0)
            return 0;
        one->name = (uint32_t)found->text_size;
        one->name_size = (uint32_t)got;
        found->text_size += (size_t)got;
    }
    found->count++;
    return 0;
}

/* Adds the command name of a process whose descriptors were added. */
static int add_owner(pm_descriptors *found, int root, int pid)
{
    char path[64];
    ssize_t got;
    pm_owner *owners =
        grown(found->owners, found->owner_count, &found->owner_room, sizeof *owners);

    if (!owners || text_room(found))
        return -ENOMEM;
    found->owners = owners;
    snprintf(path, sizeof path, "%d/comm", pid);
    got = read_small(root, path, found->text + found->text_size, 128);
    if (got > 0 && found->text[found->text_size + (size_t)got - 1] == '\n')
        got--;
    owners += found->owner_count++;
    owners->pid = pid;
    owners->name = (uint32_t)found->text_size;
    owners->name_size = got > 0 ? (uint32_t)got : 0;
    found->text_size += owners->name_size;
    return 0;
}

/* The next number, as text. */
static void next_number(char *text)
{
    size_t size = strlen(text), at = size;

    while (at && text[at - 1] == '9')
        text[--at] = '0';
    if (at) {
        text[at - 1]++;
        return;
    }
    text[0] = '1';
    memset(text + 1, '0', size);
    text[size + 1] = 0;
}

/* Where the listing of /proc/PID/fd continues for a number: behind "." and ".." (fs/proc/fd.c). */
static long list_from(pm_descriptors *found, int fds, long number)
{
    if (lseek(fds, 2 + number, SEEK_SET) < 0)
        return -1;
    return syscall(SYS_getdents64, fds, found->buffer, BUFFER);
}

/* Whether a listing can begin at a number: tried at this process's own directory. */
static int can_list_from(pm_descriptors *found, int root)
{
    const struct entry *first = (const void *)found->buffer;
    int fds = openat(root, "self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), can;

    if (fds < 0)
        return 0;
    can = list_from(found, fds, fds) > 0 && first->name[0] != '.' && atoi(first->name) == fds;
    close(fds);
    return can;
}

int pm_descriptors_scan(pm_descriptors *found, int root, const char *directory, int pid,
                        unsigned kinds, uint64_t pipefs)
{
    char path[64], number[16] = "0";
    size_t before = found->count;
    long got;
    int fds, status = 0;

    if (!found->lists_from)
        found->lists_from = can_list_from(found, root) ? 1 : -1;
    snprintf(path, sizeof path, "%.40s/fd", directory);
    fds = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fds < 0)
        return -errno;
    /* Most tables have no gap, and then a listing would only repeat the numbers. It begins at the
     * first one that is not there, so that each number is asked for once in either way. Since Linux
     * 6.2 the directory's size is the number of descriptors, which saves a question in vain. */
    if (found->lists_from > 0) {
        struct stat size;
        long left = fstat(fds, &size) || size.st_size <= 0 ? LONG_MAX : (long)size.st_size;

        while (left-- > 0 && !(status = add(found, fds, number, pid, kinds, pipefs))) {
            found->seen++;
            next_number(number);
        }
        if (status == NOT_THERE)
            status = 0;
        got = list_from(found, fds, atoi(number));
    } else
        got = syscall(SYS_getdents64, fds, found->buffer, BUFFER);
    while (!status) {
        long at = 0;

        if (got <= 0) {
            /* The directory of a process that ends may fail in the middle. */
            status = got < 0 && errno != ENOENT && errno != ESRCH ? -errno : 0;
            break;
        }
        while (at < got && status >= 0) {
            const struct entry *entry = (const void *)(found->buffer + at);

            at += entry->size;
            if (entry->name[0] < '0' || entry->name[0] > '9')
                continue;
            found->seen++;
            status = add(found, fds, entry->name, pid, kinds, pipefs);
        }
        if (status == NOT_THERE) /* closed by now, or of a dead server */
            status = 0;
        if (!status)
            got = syscall(SYS_getdents64, fds, found->buffer, BUFFER);
    }
    close(fds);
    if (!status && found->count != before)
        status = add_owner(found, root, pid);
    return status;
}

/* A line of /proc/PID/syscall: "running", or numbers. */
static int add_blocked(pm_descriptors *found, const char *text, int pid, int tid)
{
    pm_blocked *list;
    char *at;
    int64_t call;
    int i;

    if (*text != '-' && (*text < '0' || *text > '9'))
        return 0;
    list = grown(found->blocked, found->blocked_count, &found->blocked_room, sizeof *list);
    if (!list)
        return -ENOMEM;
    found->blocked = list;
    call = strtoll(text, &at, 10);
    list += found->blocked_count++;
    memset(list, 0, sizeof *list);
    list->pid = pid;
    list->tid = tid;
    list->call = call;
    for (i = 0; call >= 0 && i < 6; i++)
        list->arguments[i] = strtoull(at, &at, 16);
    return 0;
}

/* What a thread is blocked in, from a file below an open directory. */
static int scan_call(pm_descriptors *found, int directory, const char *path, int pid, int tid)
{
    char text[512];

    return read_small(directory, path, text, sizeof text) > 0 ? add_blocked(found, text, pid, tid)
                                                              : 0;
}

int pm_blocked_scan(pm_descriptors *found, int root, int pid)
{
    struct file_status is;
    char path[300];
    int tasks, status = 0;

    /* The links of task are those of a directory, and one for each thread (fs/proc/base.c). */
    snprintf(path, sizeof path, "%d/task", pid);
    if (!syscall(SYS_statx, root, path, DONT_SYNC, STATUS_BASIC, &is) && is.links == 3) {
        snprintf(path, sizeof path, "%d/syscall", pid);
        return scan_call(found, root, path, pid, pid);
    }
    tasks = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tasks < 0)
        return -errno;
    while (!status) {
        long got = syscall(SYS_getdents64, tasks, found->buffer, BUFFER), at = 0;

        if (got <= 0)
            break;
        while (at < got && !status) {
            const struct entry *entry = (const void *)(found->buffer + at);

            at += entry->size;
            if (entry->name[0] < '0' || entry->name[0] > '9')
                continue;
            snprintf(path, sizeof path, "%.255s/syscall", entry->name);
            status = scan_call(found, tasks, path, pid, atoi(entry->name));
        }
    }
    close(tasks);
    return status;
}

static int measure(int pidfd, pm_pipe *pipe)
{
    struct stat is;
    struct pollfd asked;
    int waiting = 0, capacity = 0, error = 0;
    int copy = (int)syscall(SYS_pidfd_getfd, pidfd, pipe->fd, 0);

    if (copy < 0)
        return -errno;
    asked.fd = copy;
    asked.events = POLLIN | POLLOUT;
    asked.revents = 0;
    if (fstat(copy, &is) || !S_ISFIFO(is.st_mode) || is.st_ino != pipe->inode ||
        ((uint64_t)major(is.st_dev) << 32 | minor(is.st_dev)) != pipe->dev)
        error = -ENOENT;
    else if ((capacity = fcntl(copy, GET_PIPE_SIZE)) < 0 || ioctl(copy, FIONREAD, &waiting) ||
             poll(&asked, 1, 0) < 0)
        error = -errno;
    close(copy);
    if (!error) {
        pipe->capacity = (uint64_t)capacity;
        pipe->waiting = (uint64_t)waiting;
        pipe->events = asked.revents;
    }
    return error;
}

void pm_pipes_measure(pm_pipe *pipes, size_t count)
{
    int pid = -1, pidfd = -1;
    size_t i;

    for (i = 0; i < count; i++) {
        if (pipes[i].pid != pid) {
            if (pidfd >= 0)
                close(pidfd);
            pid = pipes[i].pid;
            pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        }
        pipes[i].status = pidfd < 0 ? -ESRCH : measure(pidfd, &pipes[i]);
    }
    if (pidfd >= 0)
        close(pidfd);
}
