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
    free(found->text);
    free(found->buffer);
    free(found);
}

static int make_room(pm_descriptors *found)
{
    if (found->count == found->room) {
        size_t room = found->room ? found->room * 2 : 256;
        pm_descriptor *list = realloc(found->list, room * sizeof *list);

        if (!list)
            return -ENOMEM;
        found->list = list;
        found->room = room;
    }
    if (found->text_room - found->text_size < LINK_ROOM) {
        size_t room = found->text_room ? found->text_room * 2 : 4 * LINK_ROOM;
        char *text;

        if (room > UINT32_MAX || !(text = realloc(found->text, room)))
            return -ENOMEM;
        found->text = text;
        found->text_room = room;
    }
    return 0;
}

/* The flags of a descriptor, if it still leads to that inode. */
static uint32_t flags_of(int fdinfo, const char *name, uint64_t inode)
{
    char text[512], *at;
    uint32_t flags = PM_NO_FLAGS;
    ssize_t got;
    int fd = openat(fdinfo, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return flags;
    got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return flags;
    text[got] = 0;
    if ((at = strstr(text, "\nino:\t")) && strtoull(at + 6, NULL, 10) != inode)
        return flags; /* ino: since Linux 5.14 */
    if ((at = strstr(text, "flags:\t")))
        flags = (uint32_t)strtoul(at + 7, NULL, 8);
    return flags;
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

static int add(pm_descriptors *found, int fds, int *fdinfo, const char *name, int pid,
               unsigned kinds, uint64_t pipefs)
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
    one->flags = PM_NO_FLAGS;
    if (S_ISFIFO(is.mode)) {
        if (*fdinfo == -1)
            *fdinfo = openat(fds, "../fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        one->flags = flags_of(*fdinfo, name, is.inode);
        if (one->flags == PM_NO_FLAGS)
            return 0; /* closed, or another file's by now */
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

int pm_descriptors_scan(pm_descriptors *found, int root, const char *directory, int pid,
                        unsigned kinds, uint64_t pipefs)
{
    char path[64];
    int fds, fdinfo = -1, status = 0;

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
            status = add(found, fds, &fdinfo, entry->name, pid, kinds, pipefs);
        }
    }
    if (fdinfo >= 0)
        close(fdinfo);
    close(fds);
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
