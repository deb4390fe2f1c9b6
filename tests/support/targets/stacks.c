/* Threads whose stacks' depths are known: each recurses a number of pages and then waits.

   stacks KIND PAGES...   one thread for each number of pages; KIND:
     plain    stacks as pthread_create(3) makes them
     own      stacks given by pthread_attr_setstack(3), 256 KiB each
     clone    threads of clone(2) without a thread descriptor, on mmap'ed stacks with a guard
     signal   each waits in a handler on an alternate signal stack (sigaltstack(2))
     runs     each runs in a loop
     beside   both: one region holds the alternate stack and, above guard marks, the stack
     marks    like own, with two pages of guard marks (MADV_GUARD_INSTALL) at the start
   stacks limit ACCESS    maps a page 2 MiB below the main thread's stack, without access if ACCESS
     is 0; at a line on stdin it recurses until SIGSEGV, and prints the last address it has touched
   "exit" before KIND: the main thread exits when all threads wait.

   Prints a line for each thread, the main thread last: its ID, the start and the end of its stack
   and its guard size by pthread_getattr_np(3) (zeros for clone), the lowest address that it has
   written to, its frame's address, and start and size of the alternate stack (zeros: none). */
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OWN (256 << 10)
#define ALTERNATE 65536
#define MAP(n) mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)

static const char *kind;
static volatile int ready;
static volatile unsigned long rounds;
static pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;
static int count;
static char *beside;

static __attribute__((noinline)) uintptr_t descend(int pages) {
    if (pages > 0) {
        volatile char page[4096];
        page[0] = 1;
        uintptr_t low = descend(pages - 1);
        return low + page[0] - 1;
    }
    volatile char here = 0;
    /* In the middle of a page, so that what the compiler puts below is in the same one. */
    volatile char *deepest = alloca(((uintptr_t)&here & 4095) + 2048);
    deepest[0] = here;
    return (uintptr_t)deepest;
}

static void say(uintptr_t low, void *frame, void *alternate, long size) {
    pthread_attr_t attr;
    void *start = 0;
    size_t length = 0, guard = 0;
    if (strcmp(kind, "clone") || getpid() == gettid()) {
        pthread_getattr_np(pthread_self(), &attr);
        pthread_attr_getstack(&attr, &start, &length);
        pthread_attr_getguardsize(&attr, &guard);
        pthread_attr_destroy(&attr);
    }
    pthread_mutex_lock(&printing);
    printf("%d %lx %lx %lx %lx %lx %lx %lx\n", gettid(), (long)start, (long)start + (long)length,
           (long)guard, (long)low, (long)frame, (long)alternate, size);
    fflush(stdout);
    ready++;
    pthread_mutex_unlock(&printing);
}


static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    for (;;) pause();
}

static void *works(void *argument) {
    int pages = (int)(long)argument;
    char name[16];
    snprintf(name, sizeof name, "deep-%d", pages);
    prctl(PR_SET_NAME, name);
    uintptr_t low = descend(pages);
    if (!strcmp(kind, "signal") || !strcmp(kind, "beside")) {
        char *alternate = beside ? beside : MAP(ALTERNATE);
        stack_t stack = {.ss_sp = alternate, .ss_size = ALTERNATE};
        struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_ONSTACK | SA_SIGINFO};
        sigaltstack(&stack, 0);
        sigaction(SIGUSR1, &action, 0);
        say(low, __builtin_frame_address(0), alternate, ALTERNATE);
        syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
    }
    say(low, __builtin_frame_address(0), 0, 0);
    if (!strcmp(kind, "runs"))
        for (;;) rounds++;
    for (;;) pause();
    return 0;
}

/* Without a descriptor of its own a thread must not use the C library. */
static int bare(void *argument) {
    uintptr_t *told = argument;
    told[1] = descend((int)told[0]);
    told[2] = (uintptr_t)__builtin_frame_address(0);
    __atomic_store_n(&told[3], 1, __ATOMIC_SEQ_CST);
    for (;;) __atomic_load_n(&told[4], __ATOMIC_SEQ_CST) ? 0 : syscall(SYS_pause);
    return 0;
}

static volatile uintptr_t touched;

static void overflows(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    printf("%lx\n", (long)touched);
    fflush(stdout);
    for (;;) pause();
}

static int reaches_its_limit(int access) {
    char line[256];
    uintptr_t start = 0, end;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "[stack]")) sscanf(line, "%lx-%lx", &start, &end);
    fclose(maps);
    char *below = (char *)start - (2 << 20);
    if (mmap(below, 4096, access ? PROT_READ : PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != below)
        return 4;
    stack_t stack = {.ss_sp = MAP(65536), .ss_size = 65536};
    struct sigaction action = {.sa_sigaction = overflows, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    sigaltstack(&stack, 0);
    sigaction(SIGSEGV, &action, 0);
    say(0, __builtin_frame_address(0), 0, 0);
    if (!fgets(line, sizeof line, stdin)) return 5;
    for (uintptr_t at = (uintptr_t)line / 4096 * 4096;; at -= 4096) {
        *(volatile char *)at = 1;
        touched = at;
    }
}

int main(int argc, char **argv) {
    int at = 1, leaves = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* each page comes alone */
    if (argc > at && !strcmp(argv[at], "exit")) leaves = 1, at++;
    kind = argv[at++];
    if (!strcmp(kind, "limit")) return reaches_its_limit(atoi(argv[at]));
    for (; at < argc; at++, count++) {
        pthread_t thread;
        pthread_attr_t attr;
        if (!strcmp(kind, "clone")) {
            /* A page below the guard keeps it apart from what the kernel maps there next. */
            char *stack = (char *)MAP(OWN + 2 * 4096) + 4096;
            uintptr_t *told = MAP(4096);
            mprotect(stack, 4096, PROT_NONE);
            /* Keeps the stack's region apart from the next one. */
            mprotect(stack + OWN, 4096, PROT_NONE);
            told[0] = (uintptr_t)atoi(argv[at]);
            int tid = clone(bare, stack + OWN, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                            CLONE_THREAD | CLONE_SYSVSEM, told);
            while (!__atomic_load_n(&told[3], __ATOMIC_SEQ_CST)) usleep(1000);
            printf("%d %lx %lx %x %lx %lx 0 0\n", tid, (long)stack + 4096, (long)stack + OWN, 4096,
                   (long)told[1], (long)told[2]);
            ready++;
            continue;
        }
        pthread_attr_init(&attr);
        if (!strcmp(kind, "own") || !strcmp(kind, "marks") || !strcmp(kind, "beside")) {
            char *stack = MAP(OWN + ALTERNATE);
            beside = stack;
            stack += ALTERNATE;
            if (strcmp(kind, "own") && madvise(stack, 8192, 102)) return 3;
            pthread_attr_setstack(&attr, stack, OWN);
        }
        if (pthread_create(&thread, &attr, works, (void *)(long)atoi(argv[at]))) return 1;
    }
    while (ready < count) usleep(1000);
    say(descend(40), __builtin_frame_address(0), 0, 0);
    if (leaves) pthread_exit(0);
    for (;;) pause();
}
