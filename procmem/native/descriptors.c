#include "descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

static int add(pm_descriptors *found, int fds, const char *name, int pid, unsigned kinds,
               uint64_t pipefs)
{
    struct file_status is;
    pm_descriptor *one;
    int error;

    if (syscall(SYS_statx, fds, name, DONT_SYNC, STATUS_BASIC, &is) || !wanted(&is, kinds))
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

int pm_descriptors_scan(pm_descriptors *found, int root, const char *directory, int pid,
                        unsigned kinds, uint64_t pipefs)
{
    char path[64];
    size_t before = found->count;
    int fds, status = 0;

    snprintf(path, sizeof path, "%.40s/fd", directory);
    fds = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fds < 0)
        return -errno;
    while (!status) {
        long got = syscall(SYS_getdents64, fds, found->buffer, BUFFER), at = 0;

        if (got <= 0) {
            /* The directory of a process that ends may fail in the middle. */
            status = got < 0 && errno != ENOENT && errno != ESRCH ? -errno : 0;
            break;
        }
        while (at < got && !status) {
            const struct entry *entry = (const void *)(found->buffer + at);

            at += entry->size;
            if (entry->name[0] < '0' || entry->name[0] > '9')
                continue;
            found->seen++;
            status = add(found, fds, entry->name, pid, kinds, pipefs);
        }
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

int pm_blocked_scan(pm_descriptors *found, int root, int pid)
{
    char path[300], text[512];
    int tasks, status = 0;

    snprintf(path, sizeof path, "%d/task", pid);
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
            if (read_small(tasks, path, text, sizeof text) > 0)
                status = add_blocked(found, text, pid, atoi(entry->name));
        }
    }
    close(tasks);
    return status;
}

int pm_pipe_measure(int pidfd, int fd, uint64_t dev, uint64_t inode, pm_pipe *out)
{
    struct stat is;
    struct pollfd asked;
    int waiting = 0, capacity, error = 0;
    int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

    if (copy < 0)
        return -errno;
    asked.fd = copy;
    asked.events = POLLIN | POLLOUT;
    asked.revents = 0;
    if (fstat(copy, &is) || !S_ISFIFO(is.st_mode) || is.st_ino != inode ||
        ((uint64_t)major(is.st_dev) << 32 | minor(is.st_dev)) != dev)
        error = -ENOENT;
    else if ((capacity = fcntl(copy, GET_PIPE_SIZE)) < 0 || ioctl(copy, FIONREAD, &waiting) ||
             poll(&asked, 1, 0) < 0)
        error = -errno;
    close(copy);
    if (!error) {
        out->capacity = (uint64_t)capacity;
        out->waiting = (uint64_t)waiting;
        out->events = asked.revents;
    }
    return error;
}
