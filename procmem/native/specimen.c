/* The quiet helper: a process that does one memory operation per request and
 * otherwise sleeps in read(2), so that nothing but that operation
 * shows from outside.
 *
 * Three builds:  (none)        a static program without libc: no malloc, a stack page, nine regions
 *                PM_WITH_LIBC  a program with the system's libc, for malloc and threads
 *                PM_HOSTED     part of the library: a forked child that never leaves serve() */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#if defined(PM_WITH_LIBC) || defined(PM_HOSTED)
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#endif

#include <linux/futex.h>
#include <linux/prctl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "specimen.h"

#ifndef PR_SET_THP_DISABLE
#define PR_SET_THP_DISABLE 41
#endif
#define PAGE_MINIMUM 4096
#ifdef PM_WITH_LIBC
#define STACK_PAGES 16
#else
#define STACK_PAGES 1
#endif
#define SIGNAL_STACK (16 * 1024) /* more than AVX-512 state takes */

/* Raw calls, inlined: nothing is written to memory between the two readings
 * of getrusage, where a page of ours may be shared after a fork. */
#if defined(__x86_64__)
static inline __attribute__((always_inline)) long call(long number, long a, long b, long c, long d,
                                                       long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline __attribute__((always_inline)) long call(long number, long a, long b, long c, long d,
                                                       long e, long f)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#elif defined(PM_HOSTED) || defined(PM_WITH_LIBC)
static long call(long number, long a, long b, long c, long d, long e, long f)
{
    long result = syscall(number, a, b, c, d, e, f);
    return result == -1 ? -errno : result;
}
#else
#error "the program without libc knows x86-64 and aarch64"
#endif

/* Accesses that may fault. Each leaves the stack as it found it, so that a
 * handler which sends the program counter to pm_landing makes it return 1. */
#if defined(__x86_64__)
__asm__(".text\n"
        ".type pm_read, @function\npm_read: movb (%rdi), %al\n xorl %eax, %eax\n ret\n"
        ".type pm_write, @function\npm_write: movb %sil, (%rdi)\n xorl %eax, %eax\n ret\n"
        ".type pm_jump, @function\npm_jump: xorl %eax, %eax\n jmp *%rdi\n"
        ".type pm_landing, @function\npm_landing: movl $1, %eax\n ret\n");
#define PROGRAM_COUNTER(context) ((context)->uc_mcontext.gregs[REG_RIP])
#elif defined(__aarch64__)
__asm__(".text\n"
        ".type pm_read, %function\npm_read: ldrb w1, [x0]\n mov w0, #0\n ret\n"
        ".type pm_write, %function\npm_write: strb w1, [x0]\n mov w0, #0\n ret\n"
        ".type pm_jump, %function\npm_jump: mov x1, x0\n mov w0, #0\n br x1\n"
        ".type pm_landing, %function\npm_landing: mov w0, #1\n ret\n");
#define PROGRAM_COUNTER(context) ((context)->uc_mcontext.pc)
#endif

#ifdef PROGRAM_COUNTER
int pm_read(uint64_t address, int value);
int pm_write(uint64_t address, int value);
int pm_jump(uint64_t address, int value);
void pm_landing(void);
#else
#include <setjmp.h>
static sigjmp_buf landing;
static int pm_read(uint64_t address, int value)
{
    (void)value;
    (void)*(volatile char *)(uintptr_t)address;
    return 0;
}
static int pm_write(uint64_t address, int value)
{
    *(volatile char *)(uintptr_t)address = (char)value;
    return 0;
}
static int pm_jump(uint64_t address, int value)
{
    (void)value;
    ((void (*)(void))(uintptr_t)address)();
    return 0;
}
#endif

static struct {
    int request, reply;
    long parent;
    pm_request asked;
    pm_reply answer;
    struct rusage before, after;
    struct timespec begun, done;
    int ends[2];
    volatile int attempting;
    _Alignas(16) unsigned char scratch[PM_SCRATCH_SIZE];
    _Alignas(16) unsigned char signal_stack[SIGNAL_STACK];
} self;

static void leave(int status)
{
    for (;;)
        call(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

/* PR_SET_PDEATHSIG also signals the end of the thread that started us. */
static void on_parents_end(int signal)
{
    (void)signal;
    if (call(SYS_getppid, 0, 0, 0, 0, 0, 0) != self.parent)
        leave(0);
}

static void handle(int signal, void (*action)(int, siginfo_t *, void *), void (*plain)(int));

static void on_fault(int signal, siginfo_t *info, void *context)
{
    if (!self.attempting) {
        /* libc's, or our own mistake: it happens again, and ends us. */
        handle(signal, NULL, SIG_DFL);
        return;
    }
    self.answer.signal = (uint64_t)signal;
    self.answer.code = info->si_code;
    self.answer.address = (uint64_t)(uintptr_t)info->si_addr;
#ifdef PROGRAM_COUNTER
    PROGRAM_COUNTER((ucontext_t *)context) = (uintptr_t)pm_landing;
#else
    (void)context;
    siglongjmp(landing, 1);
#endif
}

/* 1: the access was answered by a signal. */
static int attempt(int (*access)(uint64_t, int), uint64_t address, int value)
{
    int failed = 1;
    self.attempting = 1;
#ifndef PROGRAM_COUNTER
    if (!sigsetjmp(landing, 1))
#endif
        failed = access(address, value);
    self.attempting = 0;
    return failed;
}

#if defined(PM_WITH_LIBC) || defined(PM_HOSTED)
static void handle(int signal, void (*action)(int, siginfo_t *, void *), void (*plain)(int))
{
    struct sigaction how = {0};
    if (action)
        how.sa_sigaction = action;
    else
        how.sa_handler = plain;
    how.sa_flags = SA_ONSTACK | SA_RESTART | SA_NODEFER | (action ? SA_SIGINFO : 0);
    sigaction(signal, &how, NULL);
}
#else
struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};
#if defined(__x86_64__)
#define SA_RESTORER 0x04000000
void pm_restorer(void);
__asm__(".text\npm_restorer: movl $15, %eax\n syscall\n");
#else
#define SA_RESTORER 0
#define pm_restorer 0
#endif

static void handle(int signal, void (*action)(int, siginfo_t *, void *), void (*plain)(int))
{
    struct kernel_sigaction how = {
        action ? (void *)action : (void *)plain,
        SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESTORER | (action ? SA_SIGINFO : 0),
        (void *)pm_restorer, 0,
    };
    call(SYS_rt_sigaction, signal, (long)&how, 0, sizeof how.mask, 0, 0);
}

/* A compiler may ask for these even where there is no libc. */
void *memset(void *to, int value, size_t size)
{
    unsigned char *p = to;
    while (size--) {
        *p++ = (unsigned char)value;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
    unsigned char *p = to;
    const unsigned char *q = from;
    while (size--) {
        *p++ = *q++;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}
#endif

#ifdef PM_WITH_LIBC
static int warm_object(struct dl_phdr_info *info, size_t size, void *given);
#endif

/* Every page that serving needs becomes ours now, and not in a measured step:
 * at the start, and after a fork, which shares them. */
static void __attribute__((noinline)) warm_up(void)
{
    volatile unsigned char room[STACK_PAGES * PAGE_MINIMUM];
    for (size_t at = 0; at < sizeof room; at += PAGE_MINIMUM)
        room[at] = 0;
    room[sizeof room - 1] = 0;
#ifdef PM_WITH_LIBC
    *(volatile int *)&errno = 0;
    volatile unsigned char *me = (volatile unsigned char *)(uintptr_t)pthread_self();
    *me = *me;
    dl_iterate_phdr(warm_object, NULL);
#endif
    for (size_t at = 0; at < sizeof self; at += PAGE_MINIMUM)
        ((volatile unsigned char *)&self)[at] = ((volatile unsigned char *)&self)[at];
    ((volatile unsigned char *)&self)[sizeof self - 1] =
        ((volatile unsigned char *)&self)[sizeof self - 1];
}

static void settle(long parent)
{
    stack_t stack = {self.signal_stack, 0, SIGNAL_STACK};
    self.parent = parent;
    call(SYS_sigaltstack, (long)&stack, 0, 0, 0, 0, 0);
    handle(SIGSEGV, on_fault, NULL);
    handle(SIGBUS, on_fault, NULL);
    handle(SIGUSR1, NULL, on_parents_end);
    handle(SIGINT, NULL, SIG_IGN); /* the terminal's, meant for whoever asks */
    call(SYS_prctl, PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0, 0);
    if (call(SYS_getppid, 0, 0, 0, 0, 0, 0) != parent)
        leave(0);
}

static int64_t touch(const uint64_t *argument, int (*access)(uint64_t, int))
{
    uint64_t count = argument[1], page = argument[5];
    for (uint64_t done = 0; done < count; done++) {
        if (attempt(access, argument[0] + page * argument[2], (int)argument[3]))
            return (int64_t)done;
        /* factor < count, so that the sum can't wrap */
        page += argument[4];
        if (page >= count)
            page -= count;
    }
    return (int64_t)count;
}

#ifdef PM_WITH_LIBC
/* A thread serves its request on its turn; the main thread does nothing meanwhile. */
static struct thread {
    pthread_t thread;
    int alive;
    uint32_t busy;
    const pm_request *asked;
    int64_t result;
} threads[PM_SPECIMEN_THREADS];

static void wait_while(uint32_t *word, uint32_t value)
{
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
        call(SYS_futex, (long)word, FUTEX_WAIT, (long)value, 0, 0, 0);
}

static void set_and_wake(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    call(SYS_futex, (long)word, FUTEX_WAKE, 1, 0, 0, 0);
}

static int64_t allocate(const pm_request *asked)
{
    const uint64_t *argument = asked->argument;
    void *made;
    errno = 0;
    switch (asked->op) {
    case PM_OP_MALLOC:
        made = malloc(argument[0]);
        break;
    case PM_OP_CALLOC:
        made = calloc(argument[0], argument[1]);
        break;
    case PM_OP_REALLOC:
        made = realloc((void *)(uintptr_t)argument[0], argument[1]);
        break;
    default:
        free((void *)(uintptr_t)argument[0]);
        return 0;
    }
    return made ? (int64_t)(uintptr_t)made : -errno;
}

/* The stack that malloc and the end of the thread may need becomes its own in
 * the step that starts it. */
static void __attribute__((noinline)) take_stack(void)
{
    volatile unsigned char room[2 * PAGE_MINIMUM];
    room[0] = room[PAGE_MINIMUM] = room[sizeof room - 1] = 0;
}

static void *serve_thread(void *given)
{
    struct thread *me = given;
    take_stack();
    for (;;) {
        set_and_wake(&me->busy, 0);
        wait_while(&me->busy, 0);
        if (me->asked->op == PM_OP_JOIN)
            return NULL;
        me->result = allocate(me->asked);
    }
}

static int64_t start_thread(uint64_t stack_size)
{
    pthread_attr_t attributes;
    int status = 0, number = 0;
    while (number < PM_SPECIMEN_THREADS && threads[number].alive)
        number++;
    if (number == PM_SPECIMEN_THREADS)
        return -EAGAIN;
    struct thread *one = &threads[number];
    pthread_attr_init(&attributes);
    if (stack_size)
        status = pthread_attr_setstacksize(&attributes, stack_size);
    one->busy = 1;
    if (!status)
        status = pthread_create(&one->thread, &attributes, serve_thread, one);
    pthread_attr_destroy(&attributes);
    if (status)
        return -status;
    one->alive = 1;
    wait_while(&one->busy, 1);
    return number;
}

static int64_t with_thread(struct thread *one, const pm_request *asked)
{
    if (one < threads || one >= threads + PM_SPECIMEN_THREADS || !one->alive)
        return -ESRCH;
    one->asked = asked;
    set_and_wake(&one->busy, 1);
    if (asked->op == PM_OP_JOIN) {
        pthread_join(one->thread, NULL);
        one->alive = 0;
        return 0;
    }
    wait_while(&one->busy, 1);
    return one->result;
}

static int64_t with_libc(const pm_request *asked)
{
    switch (asked->op) {
    case PM_OP_MALLOC:
    case PM_OP_CALLOC:
    case PM_OP_REALLOC:
    case PM_OP_FREE:
        return asked->argument[5] ? with_thread(threads + (asked->argument[5] - 1), asked)
                                  : allocate(asked);
#ifdef __GLIBC__
    case PM_OP_TRIM:
        return malloc_trim(asked->argument[0]);
#endif
    case PM_OP_THREAD:
        return start_thread(asked->argument[0]);
    case PM_OP_JOIN:
        return with_thread(threads + asked->argument[0], asked);
    default:
        return -ENOSYS;
    }
}

/* Every page of libc's code and data, so that only what it does with memory is
 * seen later. What was relocated is read-only by then. */
static int warm_object(struct dl_phdr_info *info, size_t size, void *given)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), relro = 0, relro_end = 0;
    (void)size;
    (void)given;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) {
            relro = (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr) & -page;
            relro_end = (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr +
                         info->dlpi_phdr[i].p_memsz) & -page;
        }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *one = info->dlpi_phdr + i;
        if (one->p_type != PT_LOAD || !(one->p_flags & PF_R))
            continue;
        uintptr_t at = (info->dlpi_addr + one->p_vaddr) & -page;
        for (; at < info->dlpi_addr + one->p_vaddr + one->p_memsz; at += page) {
            volatile unsigned char *byte = (volatile unsigned char *)at;
            if ((one->p_flags & PF_W) && !(at >= relro && at < relro_end))
                *byte = *byte;
            else
                (void)*byte;
        }
    }
    return 0;
}
#endif

static inline __attribute__((always_inline)) int64_t do_it(const pm_request *asked)
{
    const uint64_t *a = asked->argument;
    switch (asked->op) {
    case PM_OP_NOTHING:
        return (int64_t)(uintptr_t)self.scratch;
    case PM_OP_TOUCH:
        return touch(a, pm_write);
    case PM_OP_READ:
        return touch(a, pm_read);
    case PM_OP_JUMP:
        return !attempt(pm_jump, a[0], 0);
    case PM_OP_STORE:
        for (int word = 0; word < 5; word++)
            ((volatile uint64_t *)(uintptr_t)a[0])[word] = a[word + 1];
        return 0;
    case PM_OP_PIPE: {
        long status = call(SYS_pipe2, (long)self.ends, 0, 0, 0, 0, 0);
        return status < 0 ? status : (int64_t)self.ends[1] << 32 | self.ends[0];
    }
    case PM_OP_FORK:
#ifdef SYS_fork
        return call(SYS_fork, 0, 0, 0, 0, 0, 0);
#else
        return call(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
#endif
    default:
#ifdef PM_WITH_LIBC
        if (asked->op > PM_OP_FORK)
            return with_libc(asked);
#endif
        if (asked->op >= PM_OP_CALL && asked->op < PM_OP_TOUCH)
            return call((long)(asked->op - PM_OP_CALL), (long)a[0], (long)a[1], (long)a[2],
                        (long)a[3], (long)a[4], (long)a[5]);
        return -38; /* ENOSYS */
    }
}

static void close_pair(uint64_t one, uint64_t other)
{
    call(SYS_close, (long)one, 0, 0, 0, 0, 0);
    call(SYS_close, (long)other, 0, 0, 0, 0, 0);
}

static void rehearse(void);

static void after_fork(void)
{
    long child = self.answer.result;
    if (child == 0) {
        close_pair((uint64_t)self.request, (uint64_t)self.reply);
        self.request = (int)self.asked.argument[0];
        self.reply = (int)self.asked.argument[1];
        settle((long)self.asked.argument[2]);
        rehearse();
    } else {
        close_pair(self.asked.argument[0], self.asked.argument[1]);
    }
    warm_up();
}

static __attribute__((noreturn)) void serve(void)
{
    for (;;) {
        long got = call(SYS_read, self.request, (long)&self.asked, sizeof self.asked, 0, 0, 0);
        if (got == -4) /* EINTR */
            continue;
        if (got != sizeof self.asked)
            leave(0);
        self.answer.signal = 0;
        self.answer.code = 0;
        self.answer.address = 0;
        call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&self.begun, 0, 0, 0, 0);
        call(SYS_getrusage, RUSAGE_SELF, (long)&self.before, 0, 0, 0, 0);
        int64_t result = do_it(&self.asked);
        call(SYS_getrusage, RUSAGE_SELF, (long)&self.after, 0, 0, 0, 0);
        call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&self.done, 0, 0, 0, 0);
        self.answer.result = result;
        self.answer.minor = (uint64_t)(self.after.ru_minflt - self.before.ru_minflt);
        self.answer.major = (uint64_t)(self.after.ru_majflt - self.before.ru_majflt);
        self.answer.ns = (uint64_t)(self.done.tv_sec - self.begun.tv_sec) * 1000000000u +
                         (uint64_t)(self.done.tv_nsec - self.begun.tv_nsec);
        if (self.asked.op == PM_OP_FORK && result >= 0)
            after_fork();
        if (call(SYS_write, self.reply, (long)&self.answer, sizeof self.answer, 0, 0, 0) !=
            sizeof self.answer)
            leave(0);
    }
}

#ifndef PM_HOSTED
extern const char __executable_start[], _end[]; /* the linker's */
#endif

/* The code of every access, and with it tables of jumps. */
static void rehearse(void)
{
    uint64_t room = (uint64_t)(uintptr_t)self.scratch;
#ifdef PROGRAM_COUNTER
    attempt(pm_jump, (uint64_t)(uintptr_t)pm_landing, 0);
#endif
    for (self.asked.op = PM_OP_TOUCH; self.asked.op <= PM_OP_READ; self.asked.op++) {
        pm_request one = {self.asked.op, {room, 1, 1, 0, 1, 0}};
        self.asked = one;
        self.answer.result = touch(one.argument, one.op == PM_OP_TOUCH ? pm_write : pm_read);
    }
#ifndef PM_HOSTED
    /* Between segments there may be holes. */
    for (const char *at = __executable_start; at < _end; at += PAGE_MINIMUM)
        attempt(pm_read, (uint64_t)(uintptr_t)at, 0);
#endif
}

static __attribute__((noreturn)) void begin(int request, int reply, long parent, long flags,
                                            long cpu)
{
    self.request = request;
    self.reply = reply;
#ifdef PM_WITH_LIBC
    /* Where libc ends us, as it does for a double free, that is no news for the core handler. */
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
#endif
    if (!(flags & PM_SERVE_THP))
        call(SYS_prctl, PR_SET_THP_DISABLE, 1, 0, 0, 0, 0);
    if (flags & PM_SERVE_PINNED) {
        unsigned long *mask = (unsigned long *)self.scratch;
        size_t word = (size_t)cpu / (8 * sizeof *mask);
        if (word < PM_SCRATCH_SIZE / sizeof *mask)
            mask[word] = 1ul << ((size_t)cpu % (8 * sizeof *mask));
        call(SYS_sched_setaffinity, 0, PM_SCRATCH_SIZE / 4, (long)mask, 0, 0, 0);
        if (word < PM_SCRATCH_SIZE / sizeof *mask)
            mask[word] = 0;
    }
    settle(parent);
    rehearse();
    warm_up();
    serve();
}

#ifdef PM_HOSTED
/* Forks a child that serves on its ends of two pipes. Returns its PID, or -errno. */
long pm_specimen_fork(int request, int reply, long flags, long cpu)
{
    long parent = (long)getpid();
    pid_t child = fork();
    if (child)
        return child < 0 ? -errno : (long)child;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int fd = 3; fd < 1024; fd++)
        if (fd != request && fd != reply)
            close(fd);
    begin(request, reply, parent, flags, cpu);
}
#else
static long number(const char *text)
{
    long value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (*text++ - '0');
    return value;
}

/* argv: the program's name, the parent's PID, flags, CPU. */
#ifdef PM_WITH_LIBC
int main(int count, char **argument)
{
    if (count != 4)
        return 2;
    begin(0, 1, number(argument[1]), number(argument[2]), number(argument[3]));
}
#else
__attribute__((noreturn, used)) static void start(long *stack)
{
    char **argument = (char **)(stack + 1);
    if (stack[0] != 4)
        leave(2);
    begin(0, 1, number(argument[1]), number(argument[2]), number(argument[3]));
}
#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start: xorl %ebp, %ebp\n movq %rsp, %rdi\n andq $-16, %rsp\n"
        " call start\n");
#else
__asm__(".text\n.globl _start\n_start: mov x0, sp\n bl start\n");
#endif
#endif
#endif
