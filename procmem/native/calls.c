#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "calls.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SYS_mlock2
#define SYS_mlock2 (-1)
#endif
#ifdef SYS_mmap2 /* an offset in units; i386's SYS_mmap is another call, which takes a structure */
#undef SYS_mmap
#define SYS_mmap SYS_mmap2
#define MMAP_UNIT 4096
#else
#define MMAP_UNIT 1
#endif
#ifdef SYS_pread64
#define PREAD SYS_pread64
#else
#define PREAD SYS_pread
#endif

static const long numbers[PM_SYSTEM_CALLS] = {
    [PM_MMAP] = SYS_mmap,         [PM_MUNMAP] = SYS_munmap,   [PM_MPROTECT] = SYS_mprotect,
    [PM_MREMAP] = SYS_mremap,     [PM_MADVISE] = SYS_madvise, [PM_MLOCK] = SYS_mlock,
    [PM_MLOCK2] = SYS_mlock2,     [PM_MUNLOCK] = SYS_munlock, [PM_MINCORE] = SYS_mincore,
    [PM_MSYNC] = SYS_msync,       [PM_BRK] = SYS_brk,
};

/* ---- faults ----
 *
 * While touches and copies run, SIGSEGV and SIGBUS come to on_fault(). Handlers
 * belong to the whole process, so a slot holds which thread's fault in which
 * range is awaited; any other goes to whoever had it before. No thread-local
 * variables: their first use in a thread may call malloc. */

#define SLOTS 64

static struct slot {
    pid_t thread; /* 0: free */
    int signal, code;
    uintptr_t low, high, address;
    sigjmp_buf back;
} slots[SLOTS];

static const int caught[] = {SIGSEGV, SIGBUS};
#define CAUGHT (sizeof caught / sizeof *caught)
static struct sigaction former[CAUGHT];

static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER; /* of what follows and of taking slots */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int users;

static pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    struct sigaction *to = &former[number == SIGBUS], plain;

    if (to->sa_flags & SA_SIGINFO) {
        to->sa_sigaction(number, info, context);
    } else if (to->sa_handler != SIG_DFL && to->sa_handler != SIG_IGN) {
        to->sa_handler(number);
    } else if (to->sa_handler == SIG_DFL || info->si_code > 0) {
        /* The instruction faults again on return, and the kernel does the rest: it
         * also ends who ignores a fault. A signal that was sent is sent again. */
        memset(&plain, 0, sizeof plain);
        plain.sa_handler = SIG_DFL;
        sigaction(number, &plain, NULL);
        if (info->si_code <= 0)
            raise(number);
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    pid_t me;
    int i;

    if (info->si_code > 0) {
        me = thread_id();
        for (i = 0; i < SLOTS; i++) {
            struct slot *slot = &slots[i];

            if (__atomic_load_n(&slot->thread, __ATOMIC_RELAXED) == me && slot->low <= address &&
                address < slot->high) {
                slot->signal = number;
                slot->code = info->si_code;
                slot->address = address;
                siglongjmp(slot->back, 1);
            }
        }
    }
    pass_on(number, info, context);
}

static int is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_fault;
}

static void install(void)
{
    struct sigaction ours, seen;
    size_t i;

    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (i = 0; i < CAUGHT; i++) {
        /* `former` first: a fault may come as soon as the handler is there. */
        sigaction(caught[i], NULL, &seen);
        if (!is_ours(&seen)) {
            former[i] = seen;
            sigaction(caught[i], &ours, NULL);
        }
    }
}

static void restore(void)
{
    struct sigaction seen;
    size_t i;

    for (i = 0; i < CAUGHT; i++) {
        /* Who has set a handler meanwhile keeps it. */
        sigaction(caught[i], NULL, &seen);
        if (is_ours(&seen))
            sigaction(caught[i], &former[i], NULL);
    }
}

static void before_fork(void)
{
    pthread_mutex_lock(&door);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&door);
}

/* Threads that touched memory while another one forked don't exist in the child. */
static void after_fork_in_child(void)
{
    int i;

    if (users)
        restore();
    users = 0;
    for (i = 0; i < SLOTS; i++)
        slots[i].thread = 0;
    pthread_mutex_unlock(&door);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static struct slot *enter(uintptr_t low, uintptr_t high)
{
    struct slot *slot = NULL;
    int i;

    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&door);
    for (i = 0; i < SLOTS && !slot; i++)
        if (!slots[i].thread)
            slot = &slots[i];
    if (slot) {
        slot->low = low;
        slot->high = high;
        slot->signal = 0;
        __atomic_store_n(&slot->thread, thread_id(), __ATOMIC_RELAXED);
        if (!users++)
            install();
    }
    pthread_mutex_unlock(&door);
    return slot;
}

static void leave(struct slot *slot)
{
    pthread_mutex_lock(&door);
    __atomic_store_n(&slot->thread, 0, __ATOMIC_RELAXED);
    if (!--users)
        restore();
    pthread_mutex_unlock(&door);
}

/* ---- operations ----
 *
 * Between the readings every call goes through syscall(3), which the reading
 * before has already faulted in: wrappers of libc that were never called lie
 * on pages that are not resident yet. */

static const uint64_t nothing[6];

static void read_faults(int64_t *minor, int64_t *major)
{
    struct rusage usage;

    memset(&usage, 0, sizeof usage);
    syscall(SYS_getrusage, RUSAGE_THREAD, &usage);
    *minor = usage.ru_minflt;
    *major = usage.ru_majflt;
}

static int read_statm(int fd, char *text)
{
    ssize_t got = syscall(PREAD, fd, text, (size_t)PM_STATM_ROOM, (off_t)0);

    return got < 0 ? -errno : (int)got;
}

static void touch_to_write(volatile unsigned char *at)
{
#if defined(__x86_64__) || defined(__i386__)
    /* One access that is a write from the start: reading first would take a
     * fault for the zero page and then another. It changes nothing, whoever
     * else writes at the same time. */
    __asm__ volatile("lock; orb $0, %0" : "+m"(*at) : : "cc");
#else
    __atomic_fetch_or(at, 0, __ATOMIC_RELAXED);
#endif
}

static void touch(const uint64_t *arguments, int write)
{
    const uint64_t *order = (const uint64_t *)(uintptr_t)arguments[3];
    uint64_t i;

    for (i = 0; i < arguments[2]; i++) {
        uint64_t offset = order ? order[i] : i * arguments[1];
        volatile unsigned char *at = (volatile unsigned char *)(uintptr_t)(arguments[0] + offset);

        if (write)
            touch_to_write(at);
        else
            (void)*at;
    }
}

static void perform(int operation, const uint64_t *a, pm_outcome *out)
{
    long result = 0;

    if (operation < PM_SYSTEM_CALLS) {
        result = syscall(numbers[operation], a[0], a[1], a[2], a[3], a[4],
                         operation == PM_MMAP ? a[5] / MMAP_UNIT : a[5]);
        out->error = result == -1 ? errno : 0;
    } else if (operation == PM_COPY) {
        memcpy((void *)(uintptr_t)a[0], (const void *)(uintptr_t)a[1], a[2]);
    } else {
        touch(a, operation == PM_TOUCH_WRITE);
    }
    out->result = result;
}

static void measure(int operation, const uint64_t *arguments, int statm, pm_outcome *out)
{
    int64_t minor, major;

    if (statm >= 0)
        out->before_size = read_statm(statm, out->before);
    read_faults(&out->minor, &out->major);
    perform(operation, arguments, out);
    read_faults(&minor, &major);
    out->minor = minor - out->minor;
    out->major = major - out->major;
    if (statm >= 0)
        out->after_size = read_statm(statm, out->after);
}

int pm_perform(int operation, const uint64_t *arguments, uint64_t low, uint64_t high, int statm,
               pm_outcome *out)
{
    struct slot *volatile slot = NULL; /* kept through a siglongjmp */
    sigset_t faults, all, mask;

    memset(out, 0, sizeof *out);
    if (operation >= PM_SYSTEM_CALLS && !(slot = enter((uintptr_t)low, (uintptr_t)high)))
        return -1;
    /* While it is measured, no handler of a signal may use the stack. The kernel ends a
     * thread that faults while it blocks the signal. */
    sigemptyset(&faults);
    sigaddset(&faults, SIGSEGV);
    sigaddset(&faults, SIGBUS);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, statm >= 0 ? &all : NULL, &mask);
    if (slot)
        pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
    /* All that a measurement runs through is faulted in before it is one: code, stack,
     * and after fork(2) the pages that are written to. madvise of no bytes does nothing. */
    if (statm >= 0) {
        measure(PM_MADVISE, nothing, statm, out);
        measure(PM_TOUCH_READ, nothing, statm, out);
        measure(PM_TOUCH_WRITE, nothing, statm, out);
    }
    if (!slot) {
        measure(operation, arguments, statm, out);
    } else if (!sigsetjmp(slot->back, 1)) {
        measure(operation, arguments, statm, out);
    } else {
        out->signal = slot->signal;
        out->code = slot->code;
        out->address = slot->address;
    }
    if (slot)
        leave(slot);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return 0;
}

void pm_brk_trip(int statm, uint64_t grow, uint64_t touched, uint64_t step, pm_trip *out)
{
    uint64_t arguments[6] = {0, step, (touched + step - 1) / step, 0, 0, 0};
    sigset_t all, mask;
    int64_t minor, major;
    int i;

    memset(out, 0, sizeof *out);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    read_faults(&minor, &major);
    touch(nothing, 1);
    for (i = 0; i < PM_TRIP_READINGS; i++)
        out->sizes[i] = read_statm(statm, out->readings[i]);
    out->start = (uint64_t)syscall(SYS_brk, 0);
    /* The first byte that is surely on a new page. */
    arguments[0] = (out->start + step - 1) / step * step;

    out->sizes[0] = read_statm(statm, out->readings[0]);
    if ((uint64_t)syscall(SYS_brk, out->start + grow) == out->start + grow) {
        out->sizes[1] = read_statm(statm, out->readings[1]);
        read_faults(&out->minor, &out->major);
        touch(arguments, 1);
        read_faults(&minor, &major);
        out->sizes[2] = read_statm(statm, out->readings[2]);
        syscall(SYS_brk, out->start);
        out->sizes[3] = read_statm(statm, out->readings[3]);
    } else {
        out->error = ENOMEM;
    }
    out->minor = minor - out->minor;
    out->major = major - out->major;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

int64_t pm_hugetlb_page_size(int fd)
{
    struct statfs info;

    if (fstatfs(fd, &info))
        return -errno;
    /* HUGETLBFS_MAGIC; the field's type, and its sign, differ between machines. */
    return (uint32_t)info.f_type == 0x958458f6u ? (int64_t)info.f_bsize : 0;
}
