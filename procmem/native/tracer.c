#define _GNU_SOURCE
#include "tracer.h"
#include "breakpoints.h"
#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#if defined __x86_64__ && defined __LP64__
#include <sys/user.h>
#endif
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* From include/uapi/linux/ptrace.h and seccomp.h, written out for older headers. */
#define P_CONT 7
#define P_GETREGS 12
#define P_SETREGS 13
#define P_DETACH 17
#define P_SYSCALL 24
#define P_GETEVENTMSG 0x4201
#define P_GETSIGINFO 0x4202
#define P_SEIZE 0x4206
#define P_INTERRUPT 0x4207
#define P_LISTEN 0x4208
#define P_PEEKSIGINFO 0x4209
#define P_GET_SYSCALL_INFO 0x420e
#define P_SET_SYSCALL_INFO 0x4212
#define O_SYSGOOD 0x1
#define O_FORK 0x2
#define O_VFORK 0x4
#define O_CLONE 0x8
#define O_EXEC 0x10
#define O_SECCOMP 0x80
#define O_EXITKILL 0x100000
enum { E_FORK = 1, E_VFORK, E_CLONE, E_EXEC, E_VFORK_DONE, E_EXIT, E_SECCOMP, E_STOP = 128 };
enum { INFO_ENTRY = 1, INFO_EXIT, INFO_SECCOMP };
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define NO_THREAD 0x20000000 /* __WNOTHREAD */
#define ANY_CHILD 0x40000000 /* __WALL */

struct syscall_info {
    uint8_t op, pad[3];
    uint32_t arch;
    uint64_t ip, sp;
    union {
        struct { uint64_t nr, argument[6]; } entry; /* seccomp's begins alike */
        struct { int64_t result; uint8_t failed; } exit;
    };
    uint64_t more;
};

#if defined __x86_64__ && defined __LP64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#elif defined __riscv && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#elif defined __powerpc64__ && defined __LITTLE_ENDIAN__
#define ARCH AUDIT_ARCH_PPC64LE
#elif defined __s390x__
#define ARCH AUDIT_ARCH_S390X
#endif

static int is_ours(uint32_t arch)
{
#ifdef ARCH
    return arch == ARCH;
#else
    (void)arch;
    return 1; /* no number is known here: each call is taken for one of ours */
#endif
}

/* Of newer kernels; from 424 on all architectures have the same numbers. */
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif
#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450
#endif
#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

/* What a call's region is found by. */
enum { NONE, MADE, BEFORE, AFTER, BREAK };
/* When it is reported. CHANGED: if it changed VSZ or RSS. Those of one argument (`which`) are reported,
 * and stopped at, where that has one of the values of `chosen`. HIDDEN: never; it is only watched. */
enum { ALWAYS, CHANGED, HIDDEN };
enum { ANY, CHOSEN_PRCTL, CHOSEN_ARCH, CHOSEN_IOCTL, CHOSEN_PTRACE };
static const struct {
    unsigned argument, count;
    uint32_t value[10];
} chosen[] = {
    {0, 0, {0}},
    /* PR_SET_MM, _THP_DISABLE, _VMA, _MDWE, _MEMORY_MERGE (linux/prctl.h) */
    {0, 5, {35, 41, 0x53564d41, 65, 67}},
    /* ARCH_MAP_VDSO_X32, _32, _64, ARCH_SHSTK_ENABLE, _DISABLE (asm/prctl.h) */
    {0, 5, {0x2001, 0x2002, 0x2003, 0x5001, 0x5002}},
    /* UFFDIO_REGISTER, _UNREGISTER, _COPY, _ZEROPAGE, _MOVE, _WRITEPROTECT, _CONTINUE, _POISON
     * (linux/userfaultfd.h) */
    {1, 8, {0xc020aa00, 0x8010aa01, 0xc028aa03, 0xc020aa04, 0xc028aa05, 0xc018aa06, 0xc020aa07,
            0xc020aa08}},
    {0, 3, {0 /* PTRACE_TRACEME */, 16 /* PTRACE_ATTACH */, P_SEIZE}},
};
static const struct { long nr; const char *name; int region, told, choice; } calls[] = {
#ifdef SYS_mmap2 /* what libc calls where a register is too small for an offset in bytes */
    {SYS_mmap2, "mmap", MADE, ALWAYS, ANY},
#else
    {SYS_mmap, "mmap", MADE, ALWAYS, ANY},
#endif
    {SYS_munmap, "munmap", BEFORE, ALWAYS, ANY},
    {SYS_brk, "brk", BREAK, ALWAYS, ANY},
    {SYS_mprotect, "mprotect", AFTER, ALWAYS, ANY},
    {SYS_madvise, "madvise", AFTER, ALWAYS, ANY},
    {SYS_mremap, "mremap", MADE, ALWAYS, ANY},
    {SYS_mlock, "mlock", AFTER, ALWAYS, ANY},
#ifdef SYS_mlock2
    {SYS_mlock2, "mlock2", AFTER, ALWAYS, ANY},
#endif
    {SYS_munlock, "munlock", AFTER, ALWAYS, ANY},
    {SYS_mlockall, "mlockall", NONE, ALWAYS, ANY},
    {SYS_munlockall, "munlockall", NONE, ALWAYS, ANY},
#ifdef SYS_pkey_mprotect
    {SYS_pkey_mprotect, "pkey_mprotect", AFTER, ALWAYS, ANY},
#endif
    {SYS_mseal, "mseal", AFTER, ALWAYS, ANY},
    {SYS_map_shadow_stack, "map_shadow_stack", MADE, ALWAYS, ANY},
#ifdef SYS_remap_file_pages
    {SYS_remap_file_pages, "remap_file_pages", AFTER, ALWAYS, ANY},
#endif
#ifdef SYS_mbind
    {SYS_mbind, "mbind", AFTER, ALWAYS, ANY},
#endif
    {SYS_set_mempolicy_home_node, "set_mempolicy_home_node", AFTER, ALWAYS, ANY},
    {SYS_process_madvise, "process_madvise", NONE, ALWAYS, ANY},
    {SYS_process_mrelease, "process_mrelease", NONE, ALWAYS, ANY},
    {SYS_shmat, "shmat", MADE, ALWAYS, ANY},
    {SYS_shmdt, "shmdt", BEFORE, ALWAYS, ANY},
    /* Pages behind a file's new end, and of a hole, leave all who have mapped it. */
    {SYS_ftruncate, "ftruncate", NONE, CHANGED, ANY},
    {SYS_truncate, "truncate", NONE, CHANGED, ANY},
    {SYS_fallocate, "fallocate", NONE, CHANGED, ANY},
    {SYS_prctl, "prctl", NONE, ALWAYS, CHOSEN_PRCTL},
#ifdef SYS_arch_prctl
    {SYS_arch_prctl, "arch_prctl", NONE, ALWAYS, CHOSEN_ARCH},
#endif
    {SYS_ioctl, "ioctl", NONE, ALWAYS, CHOSEN_IOCTL},
    {SYS_clone, "clone", NONE, ALWAYS, ANY},
    {SYS_clone3, "clone3", NONE, ALWAYS, ANY},
#ifdef SYS_fork
    {SYS_fork, "fork", NONE, ALWAYS, ANY},
    {SYS_vfork, "vfork", NONE, ALWAYS, ANY},
#endif
    {SYS_execve, "execve", NONE, ALWAYS, ANY},
#ifdef SYS_execveat
    {SYS_execveat, "execveat", NONE, ALWAYS, ANY},
#endif
    {SYS_exit, "exit", NONE, ALWAYS, ANY},
    {SYS_exit_group, "exit_group", NONE, ALWAYS, ANY},
    {SYS_ptrace, "ptrace", NONE, HIDDEN, CHOSEN_PTRACE},
};
#define CALLS (sizeof calls / sizeof *calls)
const size_t pm_traced_calls = CALLS;
/* The same names in the same order; cffi takes an array of pointers. */
const char *const pm_traced_names[] = {
    "mmap", "munmap", "brk", "mprotect", "madvise", "mremap", "mlock",
#ifdef SYS_mlock2
    "mlock2",
#endif
    "munlock", "mlockall", "munlockall",
#ifdef SYS_pkey_mprotect
    "pkey_mprotect",
#endif
    "mseal", "map_shadow_stack",
#ifdef SYS_remap_file_pages
    "remap_file_pages",
#endif
#ifdef SYS_mbind
    "mbind",
#endif
    "set_mempolicy_home_node", "process_madvise", "process_mrelease", "shmat", "shmdt", "ftruncate",
    "truncate", "fallocate", "prctl",
#ifdef SYS_arch_prctl
    "arch_prctl",
#endif
    "ioctl", "clone", "clone3",
#ifdef SYS_fork
    "fork", "vfork",
#endif
    "execve",
#ifdef SYS_execveat
    "execveat",
#endif
    "exit", "exit_group", "ptrace",
};
_Static_assert(sizeof pm_traced_names / sizeof *pm_traced_names == CALLS, "names");

typedef struct process {
    struct process *next;
    pid_t pid;
    int threads;
    int statm, maps;
    int recorded, borrows, leader_gone, foreign, quiet;
    int no_query; /* PROCMAP_QUERY is not to be had */
    int untraced; /* made with CLONE_UNTRACED */
    int unread;   /* breakpoints were not searched for yet */
    int fresh;    /* forked: the breakpoints it has inherited were not checked yet */
    pid_t from;   /* whose memory it began with */
    pm_breaks *breaks;
} process;

/* A function that was called and has not returned. Its return address is replaced by that of a
 * breakpoint. */
typedef struct pending {
    struct pending *next;
    uint64_t sp, back; /* where it is stored, and what it was */
    uint16_t role;
    pm_event event;
    char *name;
} pending;

typedef struct traced {
    struct traced *next;
    pid_t tid;
    process *process;
    int in_call, region;
    int unannounced; /* its own first stop came before its parent's event */
    pid_t holder;     /* it is held for a ptrace(2) of this task, which is done in its place */
    int held;         /* and has stopped */
    int stands_in;    /* it holds others: all of its calls are stopped at */
    int answers;      /* the call that it is in is done in its place, with */
    int64_t answer;   /* this result */
    pid_t awaits;     /* it stands in wait4(2) until this task stops */
    uint64_t inherited, inherit_at; /* `stripped` and `strip_at` of its parent, whose registers it has */
    uint64_t shares; /* CLONE_* of the call it is in */
    uint64_t stripped; /* CLONE_UNTRACED was taken from it: the flags as they were */
    uint64_t strip_at; /* where clone3 has them; 0: in a register */
    pm_event event;
    char *name, *text;
    pending *pending;
} traced;

/* A task that came and went before its parent reported it: that report is no news then. */
typedef struct ghost {
    struct ghost *next;
    pid_t tid;
} ghost;

#define BUCKETS 1024

typedef struct {
    pm_tracer face;
    sigset_t mask;
    pthread_mutex_t lock;
    pthread_cond_t taken;
    char *records;
    size_t used;
    int drop;
    /* of the tracing thread alone, but for `bell` */
    int launched, going, all_calls, broken;
    int bell; /* closing it ends the ringer, a child, and so the wait */
    pid_t ringer;
    int exec_pipe;
    size_t tasks;
    int64_t left; /* calls of functions to report; -1: all */
    int kept, most_kept;
    uint64_t page;
    traced *by_tid[BUCKETS];
    process *by_pid[BUCKETS];
    ghost *ghosts;
    pm_vma vma;
} tracer;

static long trace(long request, pid_t tid, uintptr_t address, uintptr_t data)
{
    return syscall(SYS_ptrace, request, tid, address, data);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* ---- records ---- */

static void emit(tracer *t, pm_event *event, const char *name, const char *text)
{
    size_t size = (sizeof *event + event->name_size + event->text_size + 7) & ~(size_t)7;
    char *at;

    event->size = (uint32_t)size;
    pthread_mutex_lock(&t->lock);
    while (!t->drop && t->used + size > PM_TRACE_ROOM)
        pthread_cond_wait(&t->taken, &t->lock);
    if (!t->drop) {
        at = t->records + t->used;
        memcpy(at, event, sizeof *event);
        at += sizeof *event;
        if (event->name_size)
            memcpy(at, name, event->name_size);
        if (event->text_size)
            memcpy(at + event->name_size, text, event->text_size);
        t->used += size;
    }
    pthread_mutex_unlock(&t->lock);
}

size_t pm_trace_take(pm_tracer *face, char *out, size_t room)
{
    tracer *t = (tracer *)face;
    size_t moved = 0, size;

    pthread_mutex_lock(&t->lock);
    while (moved < t->used) {
        size = ((pm_event *)(t->records + moved))->size;
        if (moved + size > room)
            break;
        moved += size;
    }
    memcpy(out, t->records, moved);
    memmove(t->records, t->records + moved, t->used - moved);
    t->used -= moved;
    pthread_cond_signal(&t->taken);
    pthread_mutex_unlock(&t->lock);
    return moved;
}

/* ---- who is traced ---- */

static traced *task_of(tracer *t, pid_t tid)
{
    traced *found = t->by_tid[tid % BUCKETS];

    while (found && found->tid != tid)
        found = found->next;
    return found;
}

static process *process_of(tracer *t, pid_t pid)
{
    process *found = t->by_pid[pid % BUCKETS];

    while (found && found->pid != pid)
        found = found->next;
    return found;
}

static void shut(tracer *t, int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        t->kept--;
    }
    *fd = -1;
}

static void forget_call(traced *task)
{
    free(task->name);
    free(task->text);
    task->name = task->text = NULL;
    task->in_call = 0;
    task->shares = 0;
    task->stripped = 0;
}

static void drop_breaks(process *of)
{
    if (of->breaks && !--of->breaks->users)
        free(of->breaks);
    of->breaks = NULL;
    of->fresh = 0;
}

static void free_pending(pending *one)
{
    free(one->name);
    free(one);
}

/* Functions that will not return any more. */
static void drop_pending(tracer *t, traced *task)
{
    for (pending *one; (one = task->pending);) {
        task->pending = one->next;
        one->event.flags |= PM_CALL_ENDLESS;
        if (!(one->role & PM_CHOSEN))
            emit(t, &one->event, one->name, NULL);
        free_pending(one);
    }
}

static void remove_task(tracer *t, traced *gone)
{
    traced **link = &t->by_tid[gone->tid % BUCKETS];
    process **at, *of = gone->process;

    while (*link != gone)
        link = &(*link)->next;
    *link = gone->next;
    forget_call(gone);
    drop_pending(t, gone);
    free(gone);
    t->tasks--;
    if (--of->threads)
        return;
    at = &t->by_pid[of->pid % BUCKETS];
    while (*at != of)
        at = &(*at)->next;
    *at = of->next;
    shut(t, &of->statm);
    shut(t, &of->maps);
    drop_breaks(of);
    free(of);
}

static void ids(pid_t tid, pid_t *group, pid_t *parent)
{
    char path[40], text[1024], *at;
    ssize_t got;
    int fd;

    *group = tid;
    *parent = 0;
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return;
    got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    if ((at = strstr(text, "\nTgid:")))
        *group = atoi(at + 6);
    if ((at = strstr(text, "\nPPid:")))
        *parent = atoi(at + 6);
}

/* Whether a child shares its parent's memory, and not a copy of it. */
static int same_memory(tracer *t, process *parent, pid_t child)
{
    traced *other;
    int i;

#ifdef SYS_kcmp
    long compared = syscall(SYS_kcmp, parent->pid, child, 1 /* KCMP_VM */, 0, 0);

    if (compared >= 0)
        return !compared;
#endif
    for (i = 0; i < BUCKETS; i++)
        for (other = t->by_tid[i]; other; other = other->next)
            if (other->process == parent && other->shares & CLONE_VM &&
                !(other->shares & CLONE_THREAD))
                return 1;
    return 0;
}

/* Whose memory a new process has, or has a copy of: its parent's, but for CLONE_PARENT. */
static process *maker_of(tracer *t, pid_t parent)
{
    pid_t group, above;

    for (int i = 0; i < BUCKETS; i++)
        for (traced *other = t->by_tid[i]; other; other = other->next)
            if (other->in_call && other->shares & CLONE_PARENT && !(other->shares & CLONE_THREAD)) {
                ids(other->tid, &group, &above);
                if (above == parent)
                    return other->process;
            }
    return process_of(t, parent);
}

static int strips(tracer *t, const process *of)
{
    for (int i = 0; i < BUCKETS; i++)
        for (traced *one = t->by_tid[i]; one; one = one->next)
            if (one->process == of && one->stripped)
                return 1;
    return 0;
}

/* A task that is not known yet. NULL: no memory. */
static traced *new_task(tracer *t, pid_t tid)
{
    traced *made = calloc(1, sizeof *made);
    pid_t group, parent;
    process *of, *from;

    if (!made)
        return NULL;
    ids(tid, &group, &parent);
    if (!(of = process_of(t, group))) {
        if (!(of = calloc(1, sizeof *of))) {
            free(made);
            return NULL;
        }
        of->pid = group;
        of->statm = of->maps = -1;
        /* Once the program has ended, its number may be given to one of its descendants. */
        of->recorded = t->face.follow || (group == t->face.pid && !t->face.ended);
        if ((from = maker_of(t, parent))) {
            of->from = from->pid;
            of->untraced = strips(t, from);
            of->borrows = same_memory(t, from, group);
            if (from->breaks && of->borrows) {
                of->breaks = from->breaks;
                of->breaks->users++;
            } else if (from->breaks && (of->breaks = malloc(sizeof *of->breaks))) {
                *of->breaks = *from->breaks;
                of->breaks->users = 1;
                of->fresh = 1;
            }
        }
        of->next = t->by_pid[group % BUCKETS];
        t->by_pid[group % BUCKETS] = of;
    }
    of->threads++;
    made->tid = tid;
    made->process = of;
    made->next = t->by_tid[tid % BUCKETS];
    t->by_tid[tid % BUCKETS] = made;
    t->tasks++;
    return made;
}

static void remember_ghost(tracer *t, pid_t tid)
{
    ghost *made = malloc(sizeof *made);

    if (made) {
        made->tid = tid;
        made->next = t->ghosts;
        t->ghosts = made;
    }
}

/* The event of a parent: its child is known from now on, if it isn't already, or gone. */
static void announce(tracer *t, const traced *parent, pid_t tid)
{
    traced *task = task_of(t, tid);
    ghost **at = &t->ghosts, *found;

    if (task) {
        task->unannounced = 0;
        return;
    }
    while (*at && (*at)->tid != tid)
        at = &(*at)->next;
    if ((found = *at)) {
        *at = found->next;
        free(found);
    } else if ((task = new_task(t, tid))) {
        task->inherited = parent->stripped;
        task->inherit_at = parent->strip_at;
    }
}

/* ---- readings ---- */

/* Descriptors that are kept, over all processes: a program that forks without end must not use
 * up those of this process. */
#define MOST_KEPT 200

static int open_of(tracer *t, traced *task, const char *file, int *kept)
{
    process *of = task->process;
    char path[64];
    int fd;

    if (*kept >= 0)
        return *kept;
    /* What belongs to a leading thread that has ended shows no memory any more. */
    if (of->leader_gone)
        snprintf(path, sizeof path, "/proc/%d/task/%d/%s", of->pid, task->tid, file);
    else
        snprintf(path, sizeof path, "/proc/%d/%s", of->pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !of->leader_gone && t->kept < t->most_kept) {
        t->kept++;
        *kept = fd;
    }
    return fd;
}

static void read_figures(tracer *t, traced *task, uint64_t *vsz, uint64_t *rss)
{
    process *of = task->process;
    uint64_t number[2];
    char text[128], *at = text;
    ssize_t got;
    int fd, i;

again:
    *vsz = *rss = PM_UNREAD;
    if ((fd = open_of(t, task, "statm", &of->statm)) < 0)
        return;
    got = pread(fd, text, sizeof text - 1, 0);
    if (fd != of->statm)
        close(fd);
    if (got <= 0)
        return;
    text[got] = 0;
    for (i = 0; i < 2; i++) {
        for (number[i] = 0; *at >= '0' && *at <= '9'; at++)
            number[i] = number[i] * 10 + (uint64_t)(*at - '0');
        at++;
    }
    if (!number[0]) {
        if (of->leader_gone || task->tid == of->pid)
            return;
        of->leader_gone = 1;
        shut(t, &of->statm);
        shut(t, &of->maps);
        at = text;
        goto again;
    }
    *vsz = number[0] * t->page;
    *rss = number[1] * t->page;
}

/* Where PROCMAP_QUERY is missing. */
static int look_up(int fd, uint64_t address, uint64_t *record, pm_vma *vma)
{
    pm_scan *scan = pm_scan_new(PM_MAPS, 0);
    int found = -ENOENT;
    size_t i;

    if (!scan || lseek(fd, 0, SEEK_SET) < 0 || pm_scan_read(scan, fd, UINT64_MAX) < 0 ||
        pm_scan_finish(scan)) {
        pm_scan_free(scan);
        return -EIO;
    }
    for (i = 0; i < scan->count; i++) {
        uint64_t *words = scan->words + i * scan->stride;
        uint32_t name = (uint32_t)(words[PM_PERMS_NAME] >> 32);

        if (address < words[PM_START] || address >= words[PM_END])
            continue;
        memcpy(record, words, PM_HEADER_WORDS * sizeof *words);
        vma->name_size = name ? (uint32_t)scan->strings[name].length : 0;
        if (vma->name_size >= sizeof vma->name)
            vma->name_size = sizeof vma->name - 1;
        if (name)
            memcpy(vma->name, scan->arena + scan->strings[name].offset, vma->name_size);
        record[PM_PERMS_NAME] = (uint64_t)(name > 0) << 32 | (uint32_t)words[PM_PERMS_NAME];
        found = 0;
        break;
    }
    pm_scan_free(scan);
    return found;
}

static void read_region(tracer *t, traced *task, pm_event *event, char **name, uint64_t address)
{
    process *of = task->process;
    int fd = open_of(t, task, "maps", &of->maps), status = -ENOTTY;

    if (fd < 0)
        return;
    if (!of->no_query)
        status = pm_query_vma(fd, address, 0, event->region, &t->vma);
    if (status == -ENOTTY || status == -EINVAL) {
        of->no_query = 1;
        status = look_up(fd, address, event->region, &t->vma);
    }
    if (fd != of->maps)
        close(fd);
    if (status)
        return;
    event->flags |= PM_CALL_REGION;
    event->name_size = 0;
    free(*name);
    if ((*name = t->vma.name_size ? malloc(t->vma.name_size) : NULL)) {
        memcpy(*name, t->vma.name, t->vma.name_size);
        event->name_size = t->vma.name_size;
    }
}

static size_t read_memory(pid_t tid, uint64_t address, void *out, size_t size)
{
    struct iovec here = {out, size}, there = {(void *)(uintptr_t)address, size};
    ssize_t got = process_vm_readv(tid, &here, 1, &there, 1, 0);

    return got > 0 ? (size_t)got : 0;
}

/* With its terminating zero; a piece never crosses a page, which may be the last. 0: unreadable. */
static size_t read_string(tracer *t, pid_t tid, uint64_t address, char *out, size_t room)
{
    size_t size = 0, piece, got;
    char *end;

    while (size < room) {
        piece = t->page - (address + size) % t->page;
        if (piece > room - size)
            piece = room - size;
        got = read_memory(tid, address + size, out + size, piece);
        if ((end = memchr(out + size, 0, got)))
            return (size_t)(end - out) + 1;
        if (got < piece)
            return 0;
        size += got;
    }
    if (room)
        out[room - 1] = 0;
    return room;
}

#define TEXT_ROOM 16384
#define MOST_WORDS 65536

static size_t count_words(pid_t tid, uint64_t at)
{
    size_t count = 0;
    uint64_t word;

    while (at && count < MOST_WORDS && read_memory(tid, at, &word, 8) == 8 && word) {
        count++;
        at += 8;
    }
    return count;
}

/* The text of execve: "argc envc", the path, and as many arguments as there is room for, each
 * ended by a zero. That of clone3: its structure. */
static void read_text(tracer *t, traced *task)
{
    pm_event *event = &task->event;
    const char *name = calls[event->call].name;
    int at = !strcmp(name, "execveat");
    uint64_t pointer, place;
    size_t size, more;

    if (!strcmp(name, "clone3")) {
        size = event->argument[1] < 256 ? event->argument[1] : 256;
        if ((task->text = malloc(256)))
            event->text_size = (uint32_t)read_memory(task->tid, event->argument[0], task->text, size);
        if (event->text_size >= 8)
            memcpy(&task->shares, task->text, 8);
        return;
    }
    if (!(task->text = malloc(TEXT_ROOM)))
        return;
    place = event->argument[1 + at];
    size = (size_t)snprintf(task->text, 64, "%zu %zu", count_words(task->tid, place),
                            count_words(task->tid, event->argument[2 + at])) + 1;
    if (!(more = read_string(t, task->tid, event->argument[at], task->text + size, 4097)))
        return;
    size += more;
    while (size < TEXT_ROOM && read_memory(task->tid, place, &pointer, 8) == 8 && pointer &&
           (more = read_string(t, task->tid, pointer, task->text + size, TEXT_ROOM - size))) {
        size += more;
        place += 8;
    }
    event->text_size = (uint32_t)size;
}

/* ---- calls ---- */

static void after_call(tracer *t, traced *task);

static void finish(tracer *t, traced *task)
{
    pm_event *event = &task->event;

    if (task->process->threads > 1)
        event->flags |= PM_CALL_SHARED;
    if (t->tasks > 1)
        event->flags |= PM_CALL_MANY;
    if (task->process->recorded)
        emit(t, event, task->name, task->text);
    if (event->within && task->pending)
        task->pending->event.made++;
    forget_call(task);
}

/* A child made with CLONE_UNTRACED would inherit the filter and have no tracer, so that its memory calls
 * fail with ENOSYS. The flag is taken away while the kernel reads it, and put back before the program
 * runs again: in the caller, and in what the child has a copy of. */
static int set_first_argument(traced *task, const struct syscall_info *info, uint64_t value)
{
    struct syscall_info changed;

    /* Linux 6.16 and newer. */
    memset(&changed, 0, sizeof changed);
    memcpy(&changed, info, sizeof changed);
    changed.op = INFO_ENTRY;
    changed.entry.argument[0] = value;
    memset(changed.pad, 0, sizeof changed.pad);
    if (trace(P_SET_SYSCALL_INFO, task->tid, sizeof changed, (uintptr_t)&changed) >= 0)
        return 0;
#if defined __x86_64__ && defined __LP64__
    struct user_regs_struct regs;

    if (trace(P_GETREGS, task->tid, 0, (uintptr_t)&regs) < 0)
        return -1;
    regs.rdi = value;
    return trace(P_SETREGS, task->tid, 0, (uintptr_t)&regs) < 0 ? -1 : 0;
#else
    return -1;
#endif
}

static void strip(traced *task, const struct syscall_info *info)
{
    uint64_t less = task->shares & ~(uint64_t)CLONE_UNTRACED;
    int clone3 = info->entry.nr == SYS_clone3;

    task->strip_at = clone3 ? info->entry.argument[0] : 0;
    if (clone3 ? !pm_poke(task->tid, task->strip_at, &less, 8) : !set_first_argument(task, info, less))
        task->stripped = task->shares;
}

static void put_back(pid_t tid, uint64_t flags, uint64_t at)
{
    uint64_t there;

    if (at) {
        if (!pm_peek(tid, at, &there, 8) && there == (flags & ~(uint64_t)CLONE_UNTRACED))
            pm_poke(tid, at, &flags, 8);
        return;
    }
#if defined __x86_64__ && defined __LP64__
    struct user_regs_struct regs;

    if (!trace(P_GETREGS, tid, 0, (uintptr_t)&regs) &&
        regs.rdi == (flags & ~(uint64_t)CLONE_UNTRACED)) {
        regs.rdi = flags;
        trace(P_SETREGS, tid, 0, (uintptr_t)&regs);
    }
#endif
}

/* Of a child whose parent's event has not come yet. */
static void put_back_all(tracer *t, const traced *child)
{
    for (int i = 0; i < BUCKETS; i++)
        for (traced *one = t->by_tid[i]; one; one = one->next)
            if (one->stripped)
                put_back(child->tid, one->stripped, one->strip_at);
}

static void unstrip(traced *task)
{
    if (task->stripped)
        put_back(task->tid, task->stripped, task->strip_at);
    task->stripped = 0;
}

static int is_chosen(int choice, const uint64_t *argument)
{
    for (unsigned i = 0; i < chosen[choice].count; i++)
        if (chosen[choice].value[i] == (uint32_t)argument[chosen[choice].argument])
            return 1;
    return choice == ANY;
}

static void entered(tracer *t, traced *task, const struct syscall_info *info)
{
    pm_event *event = &task->event;
    process *of = task->process;
    size_t i;
    const char *name;

    for (i = 0; i < CALLS && (uint64_t)calls[i].nr != info->entry.nr; i++)
        ;
    forget_call(task);
    if (i == CALLS || !is_chosen(calls[i].choice, info->entry.argument))
        return;
    name = calls[i].name;
    if (of->quiet && strcmp(name, "execve") && strcmp(name, "exit_group"))
        return;
    memset(event, 0, sizeof *event);
    event->kind = PM_EVENT_CALL;
    event->call = (uint16_t)i;
    event->pid = of->pid;
    event->tid = task->tid;
    memcpy(event->argument, info->entry.argument, sizeof event->argument);
    event->vsz_before = event->rss_before = event->vsz_after = event->rss_after = PM_UNREAD;
    task->region = calls[i].region;
    if (task->pending && info->sp < task->pending->sp && !(task->pending->role & PM_CHOSEN))
        event->within = (uint16_t)(task->pending->event.call + 1);
    if (!strcmp(name, "clone")) {
        task->shares = event->argument[0];
#ifdef __s390x__
        task->shares = event->argument[1];
#endif
    } else if (!strcmp(name, "vfork"))
        task->shares = CLONE_VM | CLONE_VFORK;
    else if (!strcmp(name, "clone3") || !strncmp(name, "exec", 4))
        read_text(t, task);
    /* Without a filter it may go its way, if it has no breakpoints. */
    if (task->shares & CLONE_UNTRACED && (t->face.filtered || of->breaks))
        strip(task, info);
    if (!of->recorded || calls[i].told == HIDDEN) {
        /* Its new children must be distinguished from threads all the same. */
        task->in_call = task->shares != 0 || calls[i].told == HIDDEN;
        return;
    }
    if (of->threads > 1)
        event->flags |= PM_CALL_SHARED;
    if (of->borrows || (task->shares & CLONE_VFORK && task->shares & CLONE_VM))
        event->flags |= PM_CALL_BORROWED;
    /* Before its first execve(2) the program's memory is a copy of this process's. */
    if (!of->quiet)
        read_figures(t, task, &event->vsz_before, &event->rss_before);
    if (task->region == BEFORE)
        read_region(t, task, event, &task->name, event->argument[0]);
    event->began = now();
    task->in_call = 1;
    if (!strncmp(name, "exit", 4)) {
        event->flags |= PM_CALL_ENDLESS;
        finish(t, task);
    }
}

/* ptrace(2) of the program's own: refused for being traced by this process. */
static void tell_refused(tracer *t, traced *task, int64_t result)
{
    pid_t other = (pid_t)task->event.argument[1];
    pm_event note;

    if (result != -EPERM || ((uint32_t)task->event.argument[0] && !task_of(t, other)))
        return;
    memset(&note, 0, sizeof note);
    note.kind = PM_EVENT_REFUSED;
    note.pid = task->process->pid;
    note.tid = task->tid;
    note.argument[0] = (uint32_t)task->event.argument[0];
    note.argument[1] = (uint64_t)(note.argument[0] ? other : task->tid);
    emit(t, &note, NULL, NULL);
}

static void left(tracer *t, traced *task, const struct syscall_info *info)
{
    pm_event *event = &task->event;
    uint64_t address;

    if (!task->in_call)
        return;
    unstrip(task);
    if (calls[event->call].told == HIDDEN && info->exit.failed)
        tell_refused(t, task, info->exit.result);
    if (!task->process->recorded || calls[event->call].told == HIDDEN) {
        forget_call(task);
        return;
    }
    event->ns = now() - event->began;
    event->result = info->exit.result;
    if (info->exit.failed)
        event->flags |= PM_CALL_FAILED;
    if (!strncmp(calls[event->call].name, "exec", 4) && !info->exit.failed)
        task->process->quiet = 0;
    read_figures(t, task, &event->vsz_after, &event->rss_after);
    if (calls[event->call].told == CHANGED && event->vsz_before == event->vsz_after &&
        event->rss_before == event->rss_after) {
        forget_call(task);
        return;
    }
    address = task->region == MADE ? (uint64_t)event->result
        : task->region == AFTER    ? event->argument[0]
        : task->region == BREAK && event->argument[0] ? (uint64_t)event->result - 1
                                                      : 0;
    if (address && !info->exit.failed)
        read_region(t, task, event, &task->name, address);
    if (task->region == BEFORE && info->exit.failed)
        event->flags &= ~(uint32_t)PM_CALL_REGION;
    if (t->face.find && !info->exit.failed) {
        after_call(t, task);
        return;
    }
    finish(t, task);
}

/* ---- functions ---- */

static void tell_breaks(tracer *t, traced *task, pm_event *note, const char *name, const pm_symbols *found,
                        const uint8_t *lacks)
{
    char text[PM_MOST_WHY + 2 * (PM_MOST_SYMBOLS + 2)], *at = text, *count;
    uint16_t number;

    for (int lacking = 0; lacking < 2; lacking++) {
        number = 0;
        count = at;
        at += sizeof number;
        for (size_t i = 0; i < found->count; i++)
            if (lacks[i] == lacking) {
                memcpy(at, &found->one[i].function, sizeof number);
                at += sizeof number;
                number++;
            }
        memcpy(count, &number, sizeof number);
    }
    memcpy(at, found->why, found->why_size);
    note->text_size = (uint32_t)(at + found->why_size - text);
    note->kind = PM_EVENT_BREAKS;
    note->pid = task->process->pid;
    note->tid = task->tid;
    emit(t, note, name, text);
}

static void look_at(tracer *t, traced *task, const uint64_t *region, const char *name, size_t size)
{
    process *of = task->process;
    pm_symbols found;
    pm_event note;
    uint8_t lacks[PM_MOST_SYMBOLS];
    int status;

    memset(&found, 0, sizeof found);
    t->face.find(t->face.who, of->pid, region, name, size, &found);
    if (!found.count && found.room >= found.room_end && !found.why_size)
        return;
    if (!of->breaks && !(of->breaks = calloc(1, sizeof *of->breaks)))
        return;
    if (!of->breaks->users)
        of->breaks->users = 1;
    pm_breaks_room(of->breaks, found.room, found.room_end);
    if (!found.count && !found.why_size)
        return;
    memset(&note, 0, sizeof note);
    note.began = now();
    read_figures(t, task, &note.vsz_before, &note.rss_before);
    for (size_t i = 0; i < found.count; i++) {
        status = found.one[i].address
            ? pm_breaks_add(of->breaks, task->tid, found.one[i].address, found.one[i].function,
                            found.one[i].role)
            : -ESTALE;
        lacks[i] = status != 0;
        if (status)
            note.result = status;
    }
    read_figures(t, task, &note.vsz_after, &note.rss_after);
    note.name_size = (uint32_t)size;
    tell_breaks(t, task, &note, name, &found, lacks);
}

/* All executable files that are mapped. */
static void look_at_all(tracer *t, traced *task)
{
    pm_scan *scan = pm_scan_new(PM_MAPS, 0);
    int fd = open_of(t, task, "maps", &task->process->maps);

    if (scan && fd >= 0 && lseek(fd, 0, SEEK_SET) >= 0 && pm_scan_read(scan, fd, UINT64_MAX) >= 0 &&
        !pm_scan_finish(scan))
        for (size_t i = 0; i < scan->count; i++) {
            uint64_t *words = scan->words + i * scan->stride;
            uint32_t name = (uint32_t)(words[PM_PERMS_NAME] >> 32), perms = (uint32_t)words[PM_PERMS_NAME];

            if (words[PM_INODE] && name && ((const char *)&perms)[2] == 'x')
                look_at(t, task, words, scan->arena + scan->strings[name].offset,
                        scan->strings[name].length);
        }
    if (fd >= 0 && fd != task->process->maps)
        close(fd);
    pm_scan_free(scan);
}

/* A system call that has come back, and may have brought code or taken it away. */
static void after_call(tracer *t, traced *task)
{
    process *of = task->process;
    pm_event event = task->event;
    char *name = task->name;
    const char *call = calls[event.call].name;

    task->name = NULL;
    if (event.name_size && (task->name = malloc(event.name_size)))
        memcpy(task->name, name, event.name_size);
    else
        task->event.name_size = 0;
    finish(t, task);
    if (of->recorded && !strncmp(call, "exec", 4) && t->left)
        look_at_all(t, task);
    else if (!strcmp(call, "munmap") && of->breaks)
        pm_breaks_forget(of->breaks, event.argument[0], event.argument[0] + event.argument[1]);
    else if (!strcmp(call, "mmap") && event.argument[2] & 4 /* PROT_EXEC */ && name &&
             event.flags & PM_CALL_REGION && event.region[PM_INODE] && t->left)
        look_at(t, task, event.region, name, event.name_size);
    free(name);
}

#if defined __x86_64__ && defined __LP64__

static int holds_trap(const process *of, pid_t tid, uint64_t sp)
{
    uint64_t word;

    return !pm_peek(tid, sp, &word, 8) && word == of->breaks->trap;
}

static void called(tracer *t, traced *task, const struct user_regs_struct *regs, const pm_break *found)
{
    process *of = task->process;
    pending **at = &task->pending, *one;
    pm_event *event;
    int nested = 0;

    /* Those whose return address is gone were left by longjmp(3). */
    while ((one = *at)) {
        if (!holds_trap(of, task->tid, one->sp)) {
            *at = one->next;
            free_pending(one);
            continue;
        }
        /* Equal: it jumps to the function in its own place, which returns for it. */
        nested |= one->sp >= regs->rsp;
        at = &one->next;
    }
    /* What malloc calls itself (realloc calls malloc) is its own affair. */
    if (((nested || !of->recorded) && !(found->role & PM_CHOSEN)) || !(one = calloc(1, sizeof *one)))
        return;
    one->sp = regs->rsp;
    one->role = found->role;
    if (pm_peek(task->tid, one->sp, &one->back, 8)) {
        free(one);
        return;
    }
    event = &one->event;
    event->kind = PM_EVENT_CALL;
    event->call = found->function;
    event->pid = of->pid;
    event->tid = task->tid;
    event->argument[0] = regs->rdi;
    event->argument[1] = regs->rsi;
    event->argument[2] = regs->rdx;
    event->argument[3] = regs->rcx;
    event->argument[4] = regs->r8;
    event->argument[5] = regs->r9;
    event->vsz_after = event->rss_after = PM_UNREAD;
    if (of->threads > 1)
        event->flags |= PM_CALL_SHARED;
    if (of->borrows)
        event->flags |= PM_CALL_BORROWED;
    if (t->tasks > 1)
        event->flags |= PM_CALL_MANY;
    if (found->role == PM_FREES && regs->rdi)
        read_region(t, task, event, &one->name, regs->rdi);
    read_figures(t, task, &event->vsz_before, &event->rss_before);
    if (pm_poke(task->tid, one->sp, &of->breaks->trap, 8)) {
        free_pending(one);
        return;
    }
    event->began = now();
    one->next = task->pending;
    task->pending = one;
    if (t->left > 0 && !(found->role & PM_CHOSEN))
        t->left--;
}

/* Takes the function that has returned to the breakpoint, with its stack where it is now. */
static pending *take_pending(traced *task, uint64_t sp)
{
    pending **at = &task->pending, *one;

    while ((one = *at) && one->sp + 8 != sp)
        at = &one->next;
    if (one)
        *at = one->next;
    return one;
}

/* The dynamic loader now knows which function to call from now on. */
static void has_chosen(tracer *t, traced *task, const pending *one, uint64_t address)
{
    pm_symbols found;
    pm_event note;
    uint8_t lacks = 1;
    int status = pm_breaks_add(task->process->breaks, task->tid, address, one->event.call,
                               one->role & ~PM_CHOSEN);

    if (!status)
        return;
    memset(&note, 0, sizeof note);
    memset(&found, 0, sizeof found);
    found.count = 1;
    found.one[0].function = one->event.call;
    note.result = status;
    note.vsz_before = note.rss_before = note.vsz_after = note.rss_after = PM_UNREAD;
    tell_breaks(t, task, &note, NULL, &found, &lacks);
}

static void returned(tracer *t, traced *task, pending *one, const struct user_regs_struct *regs)
{
    pm_event *event = &one->event;
    uint64_t address;

    if (one->role & PM_CHOSEN) {
        has_chosen(t, task, one, regs->rax);
        free_pending(one);
        return;
    }
    event->ns = now() - event->began;
    read_figures(t, task, &event->vsz_after, &event->rss_after);
    address = (uint64_t)(event->result = (int64_t)regs->rax);
    if (one->role != PM_GIVES)
        address = 0;
    switch (one->role) {
    case PM_FREES:
        event->result = 0;
        break;
    case PM_COUNTS:
        event->result = (int32_t)regs->rax;
        break;
    case PM_STORES:
        event->result = (int32_t)regs->rax;
        event->argument[5] = 0;
        if (!event->result && !pm_peek(task->tid, event->argument[0], &address, 8))
            event->argument[5] = address;
        break;
    }
    if (address)
        read_region(t, task, event, &one->name, address);
    if (task->process->threads > 1)
        event->flags |= PM_CALL_SHARED;
    if (task->process->recorded)
        emit(t, event, one->name, NULL);
    free_pending(one);
}

static void tell_limit(tracer *t, traced *task)
{
    pm_event note;

    memset(&note, 0, sizeof note);
    note.kind = PM_EVENT_LIMIT;
    note.pid = task->process->pid;
    note.tid = task->tid;
    emit(t, &note, NULL, NULL);
}

/* A SIGTRAP: whether it is of one of our breakpoints, and not the program's own. */
static int trapped(tracer *t, traced *task)
{
    pm_breaks *breaks = task->process->breaks;
    struct user_regs_struct regs;
    siginfo_t info;
    pending *one;
    pm_break *found;
    uint64_t at;

    if (!breaks || trace(P_GETSIGINFO, task->tid, 0, (uintptr_t)&info) < 0 ||
        info.si_code != SI_KERNEL || trace(P_GETREGS, task->tid, 0, (uintptr_t)&regs) < 0)
        return 0;
    at = regs.rip - 1;
    if (at == breaks->trap) {
        if (!(one = take_pending(task, regs.rsp)))
            return 0;
        regs.rip = one->back;
        trace(P_SETREGS, task->tid, 0, (uintptr_t)&regs);
        returned(t, task, one, &regs);
        return 1;
    }
    if (!(found = pm_breaks_at(breaks, at)))
        return 0;
    if (!t->left && !breaks->lifted) {
        pm_breaks_lift(breaks, task->tid);
        tell_limit(t, task);
    }
    if (breaks->lifted) {
        pm_poke(task->tid, at, found->code, 1);
        regs.rip = at;
    } else {
        called(t, task, &regs, found);
        regs.rip = at;
        if (found->slot)
            regs.rip = found->slot;
        else if (!pm_emulate(found->code, sizeof found->code, &regs, task->tid))
            /* It reaches for memory that isn't there, and shall find out itself. */
            pm_poke(task->tid, at, found->code, 1);
    }
    trace(P_SETREGS, task->tid, 0, (uintptr_t)&regs);
    return 1;
}

/* Whether a stopped thread has met a breakpoint, and its signal has not been reported yet. */
static int will_trap(traced *task)
{
    struct { uint64_t from; uint32_t flags; int32_t count; } ask = {0, 0, 8};
    siginfo_t waiting[8];
    long got = trace(P_PEEKSIGINFO, task->tid, (uintptr_t)&ask, (uintptr_t)waiting);

    for (long i = 0; i < got; i++)
        if (waiting[i].si_signo == SIGTRAP && waiting[i].si_code == SI_KERNEL)
            return 1;
    return 0;
}

/* Puts a stopped thread into the state it would have without breakpoints. 0: not now, since a
 * signal of one is on its way. */
static int restore(traced *task)
{
    process *of = task->process;
    pm_breaks *breaks = of->breaks;
    struct user_regs_struct regs;
    pending *one;
    uint64_t before;

    if (!breaks)
        return 1;
    pm_breaks_lift(breaks, task->tid);
    if (trace(P_GETREGS, task->tid, 0, (uintptr_t)&regs) < 0)
        return 1;
    before = regs.rip;
    if ((before - 1 == breaks->trap || pm_breaks_at(breaks, before - 1)) && will_trap(task))
        return 0;
    if (before == breaks->trap && (one = take_pending(task, regs.rsp))) {
        regs.rip = one->back;
        free_pending(one);
    } else
        regs.rip = pm_breaks_home(breaks, before);
    if (regs.rip != before)
        trace(P_SETREGS, task->tid, 0, (uintptr_t)&regs);
    for (one = task->pending; one; one = one->next)
        if (holds_trap(of, task->tid, one->sp))
            pm_poke(task->tid, one->sp, &one->back, 8);
    if (of->threads == 1 && breaks->users == 1)
        pm_breaks_clear(breaks, task->tid);
    return 1;
}

#else

static int trapped(tracer *t, traced *task) { (void)t, (void)task; return 0; }
static int restore(traced *task) { (void)task; return 1; }

#endif

/* A forked child at its first stop. One that is not reported has no use for breakpoints; and no function
 * that its parent was in returns to a breakpoint in it. */
static void settle(tracer *t, traced *task)
{
    process *of = task->process;
    uint64_t word;

    of->fresh = 0;
    /* Those of the parent may have been lifted since the child got its copy. */
    of->breaks->lifted = 0;
    for (int i = 0; i < BUCKETS; i++)
        for (traced *other = t->by_tid[i]; other; other = other->next)
            for (pending *one = other->process->pid == of->from ? other->pending : NULL; one;
                 one = one->next)
                if (!pm_peek(task->tid, one->sp, &word, 8) && word == of->breaks->trap)
                    pm_poke(task->tid, one->sp, &one->back, 8);
    if (!of->recorded) {
        pm_breaks_clear(of->breaks, task->tid);
        drop_breaks(of);
    }
}

/* execve(2) of any thread: it has its leader's ID now, and the others are gone. */
static void replaced(tracer *t, traced **leader, pid_t before)
{
    process *of = (*leader)->process;
    traced *old = before == (*leader)->tid ? NULL : task_of(t, before), *one, *next, kept;
    int i;

    if (old) {
        kept = **leader;
        (*leader)->in_call = old->in_call;
        (*leader)->shares = old->shares;
        (*leader)->region = old->region;
        (*leader)->event = old->event;
        (*leader)->name = old->name;
        (*leader)->text = old->text;
        old->in_call = kept.in_call;
        old->event = kept.event;
        old->name = kept.name;
        old->text = kept.text;
    }
    for (i = 0; i < BUCKETS; i++)
        for (one = t->by_tid[i]; one; one = next) {
            next = one->next;
            if (one->process != of || one == *leader)
                continue;
            if (one->in_call) {
                one->event.flags |= PM_CALL_ENDLESS;
                finish(t, one);
            }
            remove_task(t, one);
        }
    drop_pending(t, *leader);
    drop_breaks(of);
    shut(t, &of->statm);
    shut(t, &of->maps);
    of->leader_gone = of->borrows = 0;
}

/* ---- stops ---- */

static void resume(tracer *t, traced *task, int signal)
{
    int all = task->in_call || task->stands_in || (t->all_calls && task->process->recorded);

    /* ESRCH: it was killed meanwhile, and wait(2) will say so. */
    trace(all ? P_SYSCALL : P_CONT, task->tid, 0, (uintptr_t)signal);
}

/* ---- a tracer among the traced ---- */

/* LeakSanitizer stops the threads of its program by a child made with CLONE_UNTRACED, which attaches to
 * each of them. There can be one tracer: what the child asks for is done in its place. */

#if defined __x86_64__ && defined __LP64__

#define P_CONT_OTHER 7
#define P_KILL 8
#define P_ATTACH 16
#define P_GETREGSET 0x4204
#define STOPPED_BY_SIGSTOP (SIGSTOP << 8 | 0x7f)

/* The call is left out, and has this result. */
static void answer(traced *task, int64_t result)
{
    struct user_regs_struct regs;

    if (trace(P_GETREGS, task->tid, 0, (uintptr_t)&regs) < 0)
        return;
    regs.orig_rax = (unsigned long long)-1;
    if (trace(P_SETREGS, task->tid, 0, (uintptr_t)&regs) < 0)
        return;
    task->answers = 1;
    task->answer = result;
}

static void give_answer(traced *task)
{
    struct user_regs_struct regs;

    task->answers = 0;
    if (trace(P_GETREGS, task->tid, 0, (uintptr_t)&regs) < 0)
        return;
    regs.rax = (unsigned long long)task->answer;
    trace(P_SETREGS, task->tid, 0, (uintptr_t)&regs);
}

static int64_t copy_registers(traced *task, traced *other, uint64_t request, uint64_t type, uint64_t to)
{
    static _Thread_local char registers[16384];
    struct iovec here = {registers, sizeof registers}, there;

    if (request == P_GETREGS) {
        if (trace(P_GETREGS, other->tid, 0, (uintptr_t)registers) < 0)
            return -errno;
        return pm_poke(task->tid, to, registers, sizeof(struct user_regs_struct));
    }
    if (read_memory(task->tid, to, &there, sizeof there) != sizeof there)
        return -EFAULT;
    if (there.iov_len < here.iov_len)
        here.iov_len = there.iov_len;
    if (trace(P_GETREGSET, other->tid, type, (uintptr_t)&here) < 0)
        return -errno;
    there.iov_len = here.iov_len;
    if (pm_poke(task->tid, (uint64_t)(uintptr_t)there.iov_base, registers, here.iov_len))
        return -EFAULT;
    return pm_poke(task->tid, to, &there, sizeof there);
}

static void release(tracer *t, traced *other)
{
    int held = other->held;

    other->holder = 0;
    other->held = 0;
    if (held)
        resume(t, other, 0);
}

static void release_all(tracer *t, pid_t holder)
{
    for (int i = 0; i < BUCKETS; i++)
        for (traced *one = t->by_tid[i]; one; one = one->next)
            if (one->holder == holder)
                release(t, one);
}

/* At the entry of a call. 1: it waits, and is not to go on yet. */
static int stand_in(tracer *t, traced *task, const struct syscall_info *info)
{
    const uint64_t *argument = info->entry.argument;
    traced *other;
    int status = STOPPED_BY_SIGSTOP;

    if (!task->process->untraced || info->arch != ARCH)
        return 0;
    if (info->entry.nr == SYS_wait4 && task->stands_in &&
        (other = task_of(t, (pid_t)argument[0])) && other->holder == task->tid) {
        if (!other->held) {
            task->awaits = other->tid;
            return 1;
        }
        if (argument[1])
            pm_poke(task->tid, argument[1], &status, sizeof status);
        answer(task, other->tid);
        return 0;
    }
    if (info->entry.nr != SYS_ptrace || !(other = task_of(t, (pid_t)argument[1])))
        return 0;
    if (argument[0] == P_ATTACH && !other->holder && other->process->pid == task->process->from) {
        task->stands_in = 1;
        other->holder = task->tid;
        trace(P_INTERRUPT, other->tid, 0, 0);
        answer(task, 0);
    } else if (other->holder == task->tid) {
        int64_t result = other->held ? -EIO : -ESRCH;

        if (other->held && (argument[0] == P_GETREGS || argument[0] == P_GETREGSET))
            result = copy_registers(task, other, argument[0], argument[2], argument[3]);
        else if (argument[0] == P_DETACH || argument[0] == P_CONT_OTHER || argument[0] == P_KILL) {
            if (argument[0] == P_KILL)
                kill(other->process->pid, SIGKILL);
            release(t, other);
            result = 0;
        }
        answer(task, result);
    }
    return 0;
}

/* A task that is held has stopped. */
static void is_held(tracer *t, traced *task)
{
    traced *holder = task_of(t, task->holder);
    struct syscall_info info;

    if (!holder) {
        release(t, task);
        return;
    }
    task->held = 1;
    if (holder->awaits != task->tid)
        return;
    holder->awaits = 0;
    memset(&info, 0, sizeof info);
    if (trace(P_GET_SYSCALL_INFO, holder->tid, sizeof info, (uintptr_t)&info) >= 0)
        stand_in(t, holder, &info);
    resume(t, holder, 0);
}

/* A task that is held has ended. */
static void has_died(tracer *t, traced *task)
{
    traced *holder = task_of(t, task->holder);

    task->holder = 0;
    if (!holder || holder->awaits != task->tid)
        return;
    holder->awaits = 0;
    answer(holder, -ECHILD);
    resume(t, holder, 0);
}

#else

static void has_died(tracer *t, traced *task) { (void)t, (void)task; }
static void give_answer(traced *task) { (void)task; }
static void release_all(tracer *t, pid_t holder) { (void)t, (void)holder; }
static void is_held(tracer *t, traced *task) { (void)t, (void)task; }
static int stand_in(tracer *t, traced *task, const struct syscall_info *info)
{
    (void)t, (void)task, (void)info;
    return 0;
}

#endif

static void let_go(tracer *t, traced *task, int signal)
{
    if (!restore(task)) {
        resume(t, task, signal);
        return;
    }
    if (!trace(P_DETACH, task->tid, 0, (uintptr_t)signal)) {
        if (task->in_call) {
            task->event.flags |= PM_CALL_ENDLESS;
            finish(t, task);
        }
        /* Else its parent would announce one that nothing is heard of any more. */
        if (task->unannounced)
            remember_ghost(t, task->tid);
        remove_task(t, task);
    }
}

static void tell_signal(tracer *t, traced *task, int kind, int signal)
{
    pm_event note;
    siginfo_t info;

    if (!task->process->recorded || task->process->quiet)
        return;
    memset(&note, 0, sizeof note);
    note.kind = (uint16_t)kind;
    note.pid = task->process->pid;
    note.tid = task->tid;
    note.flags = t->tasks > 1 ? PM_CALL_MANY : 0;
    note.result = signal;
    note.began = now();
    if (kind == PM_EVENT_SIGNAL && !trace(P_GETSIGINFO, task->tid, 0, (uintptr_t)&info))
        note.text_size = sizeof info;
    emit(t, &note, NULL, (const char *)&info);
}

static void stopped(tracer *t, pid_t tid, int status)
{
    int signal = status >> 8 & 0xff, event = status >> 16;
    int stops = signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
    struct syscall_info info;
    traced *task = task_of(t, tid);
    unsigned long message = 0;
    pm_event note;

    if (!task) {
        if (!(task = new_task(t, tid))) {
            t->broken = ENOMEM;
            kill(tid, SIGKILL);
            return;
        }
        task->unannounced = 1;
        put_back_all(t, task);
    }
    if (task->inherited) {
        put_back(task->tid, task->inherited, task->inherit_at);
        task->inherited = 0;
    }
    if (task->process->fresh)
        settle(t, task);
    if (task->process->unread && !t->going) {
        task->process->unread = 0;
        look_at_all(t, task);
    }
    if (signal == SYSCALL_STOP || event == E_SECCOMP) {
        memset(&info, 0, sizeof info);
        if (trace(P_GET_SYSCALL_INFO, tid, sizeof info, (uintptr_t)&info) < 0) {
            if (errno == EIO || errno == EINVAL) {
                t->broken = ENOSYS;
                t->going = 1;
            }
        } else {
            if (!is_ours(info.arch) && !task->process->foreign && task->process->recorded) {
                task->process->foreign = 1;
                memset(&note, 0, sizeof note);
                note.kind = PM_EVENT_FOREIGN;
                note.pid = task->process->pid;
                note.tid = tid;
                emit(t, &note, NULL, NULL);
            }
            if (info.op == INFO_EXIT && task->answers)
                give_answer(task);
            else if (info.op != INFO_EXIT && stand_in(t, task, &info))
                return;
            else if (task->answers)
                ;
            else if (info.op == INFO_EXIT)
                left(t, task, &info);
            /* Under the filter a second stop follows, which is the one that counts. */
            else if (is_ours(info.arch) && !(task->stands_in && info.op == INFO_ENTRY && t->face.filtered))
                entered(t, task, &info);
        }
        signal = 0;
    } else if (event) {
        if (event >= E_FORK && event <= E_EXEC)
            trace(P_GETEVENTMSG, tid, 0, (uintptr_t)&message);
        if (event == E_EXEC)
            replaced(t, &task, (pid_t)message);
        else if (event <= E_CLONE && message)
            announce(t, task, (pid_t)message);
        if (event == E_STOP && task->holder && !t->going) {
            is_held(t, task);
            if (task->held)
                return;
        }
        if (event == E_STOP && stops && !t->going && task->process->recorded + t->launched) {
            tell_signal(t, task, PM_EVENT_STOPPED, signal);
            trace(P_LISTEN, tid, 0, 0);
            return;
        }
        signal = 0;
    } else if (signal == SIGTRAP && trapped(t, task))
        signal = 0;
    else
        tell_signal(t, task, PM_EVENT_SIGNAL, signal);
    /* Under a filter none can go; and who uses others' memory must know their breakpoints. */
    if ((!t->launched && t->going) ||
        (!t->face.filtered && !task->process->recorded && !task->process->breaks)) {
        let_go(t, task, signal);
        return;
    }
    if (t->going)
        kill(task->process->pid, SIGKILL);
    resume(t, task, signal);
}

static void gone(tracer *t, pid_t tid, int status)
{
    traced *task = task_of(t, tid);
    pm_event note;

    if (tid == t->face.pid && !t->face.ended) {
        t->face.ended = 1;
        t->face.status = status;
    }
    if (!task || task->unannounced)
        remember_ghost(t, tid);
    if (!task)
        return;
    if (task->stands_in)
        release_all(t, tid);
    if (task->holder)
        has_died(t, task);
    if (task->in_call) {
        task->event.flags |= PM_CALL_ENDLESS;
        finish(t, task);
    }
    if (task->process->recorded && tid == task->process->pid) {
        memset(&note, 0, sizeof note);
        note.kind = PM_EVENT_END;
        note.pid = note.tid = tid;
        note.result = status;
        note.began = now();
        note.flags = t->tasks > 1 ? PM_CALL_MANY : 0;
        emit(t, &note, NULL, NULL);
    }
    remove_task(t, task);
}

static void interrupt_all(tracer *t)
{
    traced *one;
    int i;

    for (i = 0; i < BUCKETS; i++)
        for (one = t->by_tid[i]; one; one = one->next) {
            if (t->launched)
                kill(one->process->pid, SIGKILL);
            else
                trace(P_INTERRUPT, one->tid, 0, 0);
        }
}

static void hang_up(tracer *t)
{
    pthread_mutex_lock(&t->lock);
    if (t->bell >= 0)
        close(t->bell);
    t->bell = -1;
    pthread_mutex_unlock(&t->lock);
}

int pm_trace_run(pm_tracer *face)
{
    tracer *t = (tracer *)face;
    int status, error;
    pid_t tid;

    for (;;) {
        if (!t->tasks)
            hang_up(t);
        /* Of this thread alone: other children of this process are not ours to reap. */
        tid = (pid_t)syscall(SYS_wait4, -1, &status, ANY_CHILD | NO_THREAD, NULL);
        if (tid < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (tid == t->ringer) {
            t->ringer = -1;
            if (t->tasks) {
                t->going = 1;
                interrupt_all(t);
            }
        } else if (WIFSTOPPED(status)) {
            int was = t->going;

            stopped(t, tid, status);
            if (t->going && !was)
                interrupt_all(t);
        } else
            gone(t, tid, status);
    }
    error = errno;
    if (t->exec_pipe >= 0) {
        if (read(t->exec_pipe, &t->face.exec_error, sizeof(int)) != sizeof(int))
            t->face.exec_error = 0;
        close(t->exec_pipe);
        t->exec_pipe = -1;
    }
    return t->broken ? -t->broken : error == ECHILD ? 0 : -error;
}

/* ---- start and end ---- */

pm_tracer *pm_trace_new(void)
{
    tracer *t = calloc(1, sizeof *t);

    if (!t || !(t->records = malloc(PM_TRACE_ROOM))) {
        free(t);
        return NULL;
    }
    pthread_sigmask(SIG_BLOCK, NULL, &t->mask);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->taken, NULL);
    t->bell = t->exec_pipe = -1;
    t->ringer = -1;
    t->page = (uint64_t)sysconf(_SC_PAGESIZE);
    t->most_kept = (int)(sysconf(_SC_OPEN_MAX) / 4);
    if (t->most_kept < 0 || t->most_kept > MOST_KEPT)
        t->most_kept = MOST_KEPT;
    t->face.fds[0] = t->face.fds[1] = t->face.fds[2] = -1;
    return &t->face;
}

void pm_trace_free(pm_tracer *face)
{
    tracer *t = (tracer *)face;

    if (!t)
        return;
    hang_up(t);
    pthread_cond_destroy(&t->taken);
    pthread_mutex_destroy(&t->lock);
    for (ghost *next; t->ghosts; t->ghosts = next) {
        next = t->ghosts->next;
        free(t->ghosts);
    }
    free(t->records);
    free(t);
}

void pm_trace_end(pm_tracer *face, int drop)
{
    tracer *t = (tracer *)face;

    pthread_mutex_lock(&t->lock);
    if (drop) {
        t->drop = 1;
        t->used = 0;
        pthread_cond_signal(&t->taken);
    }
    pthread_mutex_unlock(&t->lock);
    hang_up(t);
}

int pm_trace_can_filter(void)
{
#ifdef ARCH
    return 1;
#else
    return 0;
#endif
}

static void close_others(int from)
{
#ifdef SYS_close_range
    if (!syscall(SYS_close_range, from, ~0U, 0))
        return;
#endif
    for (int fd = sysconf(_SC_OPEN_MAX) < 65536 ? (int)sysconf(_SC_OPEN_MAX) : 65536; fd >= from; fd--)
        close(fd);
}

/* A child that ends when `bell` is closed: wait(2) hears of that whatever the traced do, and no
 * signal handler is needed. It ends with this process, too. */
static int start_ringer(tracer *t)
{
    int ends[2];
    char byte;

    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    if ((t->ringer = fork()) < 0) {
        int error = errno;

        close(ends[0]);
        close(ends[1]);
        return -error;
    }
    if (!t->ringer) {
        /* Signals of the terminal stay blocked here. */
        dup2(ends[0], 0);
        close_others(1);
        while (read(0, &byte, 1) < 0 && errno == EINTR)
            ;
        _exit(0);
    }
    close(ends[0]);
    t->bell = ends[1];
    return 0;
}

static int install_filter(void)
{
#ifdef ARCH
    enum { BIG = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ };
    struct sock_filter code[4 + 2 * CALLS + 64];
    struct sock_fprog program = {0, code};
    unsigned short size = 0;
    size_t i;

    code[size++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4); /* arch */
    code[size++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    code[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[size++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0); /* nr */
    for (i = 0; i < CALLS; i++) {
        unsigned count = chosen[calls[i].choice].count;

        if (!count) {
            code[size++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                        (uint32_t)calls[i].nr, 0, 1);
            code[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
            continue;
        }
        code[size++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                    (uint32_t)calls[i].nr, 0, (uint8_t)(count + 3));
        /* The low half of the argument. */
        code[size++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
            16 + 8 * chosen[calls[i].choice].argument + (BIG ? 4 : 0));
        for (unsigned j = 0; j < count; j++)
            code[size++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                chosen[calls[i].choice].value[j], (uint8_t)(count - j), 0);
        code[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        code[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    }
    code[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program.len = size;
    /* Root needs no promise, and its setuid programs keep their rights. */
    if (!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 0;
    if (errno != EACCES || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
#else
    errno = ENOSYS;
    return -1;
#endif
}

static void become(tracer *t, int go, int say, const char *path, char **argv, char **envp,
                   const char *directory)
{
    int error, i, fds[3];
    char byte;

    while ((i = (int)read(go, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (i != 1)
        _exit(127);
    for (i = 0; i < 3; i++)
        fds[i] = t->face.fds[i] < 0 ? -1 : fcntl(t->face.fds[i], F_DUPFD_CLOEXEC, 3);
    for (i = 0; i < 3; i++)
        if (fds[i] >= 0)
            dup2(fds[i], i);
    signal(SIGPIPE, SIG_DFL); /* Python ignores these two */
    signal(SIGXFSZ, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &t->mask, NULL);
    if (!(directory && chdir(directory)) && !(t->face.filtered && install_filter()))
        execve(path, argv, envp);
    error = errno;
    if (write(say, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

#define BASIC (O_SYSGOOD | O_CLONE | O_EXEC)
#define CHILDREN (O_FORK | O_VFORK)

int pm_trace_launch(pm_tracer *face, const char *path, char **argv, char **envp,
                    const char *directory)
{
    tracer *t = (tracer *)face;
    int go[2] = {-1, -1}, say[2] = {-1, -1}, error;
    unsigned long options = BASIC | O_EXITKILL;
    traced *first;
    pid_t pid;

    t->launched = 1;
    t->all_calls = !face->filtered;
    /* Whoever has inherited the filter needs a tracer: without one its calls fail with ENOSYS. */
    if (face->filtered)
        options |= O_SECCOMP;
    t->left = face->most;
    /* Whoever has inherited breakpoints must be rid of them. */
    if (face->filtered || face->follow || face->find)
        options |= CHILDREN;
    if ((error = start_ringer(t)))
        return error;
    if (pipe2(go, O_CLOEXEC) || pipe2(say, O_CLOEXEC) || (pid = fork()) < 0) {
        error = -errno;
        goto out;
    }
    if (!pid) {
        close(go[1]);
        become(t, go[0], say[1], path, argv, envp, directory);
    }
    face->pid = pid;
    if (trace(P_SEIZE, pid, 0, options) < 0 || !(first = new_task(t, pid))) {
        error = -errno;
        close(go[1]);
        go[1] = -1;
        syscall(SYS_wait4, pid, NULL, ANY_CHILD, NULL);
        goto out;
    }
    first->process->quiet = 1;
    if (t->all_calls)
        trace(P_INTERRUPT, pid, 0, 0);
    if (write(go[1], "", 1) != 1)
        error = -errno;
    t->exec_pipe = say[0];
    say[0] = -1;
out:
    for (int i = 0; i < 2; i++) {
        if (go[i] >= 0)
            close(go[i]);
        if (say[i] >= 0)
            close(say[i]);
    }
    if (error) {
        hang_up(t);
        pm_trace_run(face);
    }
    return error;
}

int pm_trace_attach(pm_tracer *face, int pid)
{
    tracer *t = (tracer *)face;
    unsigned long options = BASIC | (face->follow || face->find ? CHILDREN : 0);
    struct dirent *entry;
    char path[40];
    int error, refused = 0, found = 1;
    pid_t tid;
    DIR *tasks;

    pid_t group, parent;

    /* It may be the ID of a thread that does not lead. */
    ids(pid, &group, &parent);
    face->pid = pid = group;
    face->filtered = 0;
    t->all_calls = 1;
    t->left = face->most;
    if ((error = start_ringer(t)))
        return error;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    /* Until a round finds no thread that is new. */
    while (found && !error) {
        found = 0;
        if (!(tasks = opendir(path))) {
            error = t->tasks ? 0 : -ESRCH;
            break;
        }
        while (!error && (entry = readdir(tasks)))
            if ((tid = atoi(entry->d_name)) > 0 && !task_of(t, tid)) {
                if (trace(P_SEIZE, tid, 0, options) < 0) {
                    /* ESRCH: it has ended. EPERM: it was attached as it began, it is a leader that
                     * has ended while others go on, or it may not be traced at all. */
                    if (!refused)
                        refused = errno;
                } else if (!new_task(t, tid))
                    error = -ENOMEM;
                else {
                    found = 1;
                    trace(P_INTERRUPT, tid, 0, 0);
                }
            }
        closedir(tasks);
    }
    if (!error && !t->tasks)
        error = refused ? -refused : -ESRCH;
    if (!error && !task_of(t, pid))
        process_of(t, pid)->leader_gone = 1;
    if (error) {
        hang_up(t);
        pm_trace_run(face);
    } else if (face->find)
        process_of(t, pid)->unread = 1;
    return error;
}
