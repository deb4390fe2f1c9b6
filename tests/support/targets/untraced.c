/* Children that a tracer is not to follow: untraced HOW; HOW is of the letters below. */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[1 << 16] __attribute__((aligned(16)));
static char *volatile piece;

static int child(void *unused)
{
    char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)unused;
    if (at == MAP_FAILED)
        _exit(9);
    *at = 1;
    munmap(at, 4096);
    piece = malloc(1000);
    free(piece);
    _exit(3);
}

/* The kernel changes rax, rcx and r11 alone: what else is changed was somebody else. */
static long bare(uint64_t flags, int *changed)
{
#if defined __x86_64__
    register uint64_t rdi __asm__("rdi") = flags;
    register uint64_t rsi __asm__("rsi") = 0;
    register uint64_t rdx __asm__("rdx") = 0;
    register uint64_t r10 __asm__("r10") = 0;
    register uint64_t r8 __asm__("r8") = 0;
    long made;

    __asm__ volatile("syscall" : "=a"(made), "+r"(rdi) : "0"(SYS_clone), "r"(rsi), "r"(rdx), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    *changed = rdi != flags;
    return made;
#else
    *changed = 0;
    return syscall(SYS_clone, flags, 0, 0, 0, 0);
#endif
}

int main(int count, char **words)
{
    const char *how = count > 1 ? words[1] : "";
    uint64_t flags = CLONE_UNTRACED;
    int status = -1, changed = 0;
    long pid;

    flags |= strchr(how, 'v') ? CLONE_VM | CLONE_VFORK : 0;
    flags |= strchr(how, 'm') ? CLONE_VM : 0;
    flags |= strchr(how, 'p') ? CLONE_PARENT : 0;
    if (strchr(how, '3')) {
        struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};

        if ((pid = syscall(SYS_clone3, &args, sizeof args)) == 0) {
            if (args.flags != flags)
                _exit(8);
            child(NULL);
        }
        changed = args.flags != flags;
    } else if (strchr(how, 'b')) {
        if ((pid = bare(flags | SIGCHLD, &changed)) == 0) {
            if (changed)
                _exit(8);
            child(NULL);
        }
    } else
        pid = clone(child, stack + sizeof stack, (int)flags | SIGCHLD, NULL);
    if (pid < 0) {
        perror("clone");
        return 1;
    }
    /* The kernel gives a sibling no parent that waits: it is the caller's parent's. */
    if (strchr(how, 'p')) {
        while (!kill((pid_t)pid, 0))
            usleep(1000);
        return changed ? 7 : 3;
    }
    if (waitpid((pid_t)pid, &status, 0) != pid || changed)
        return 7;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}
