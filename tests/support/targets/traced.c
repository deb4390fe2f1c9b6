/* Makes memory calls that are known beforehand: traced WHAT [NUMBER]. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW (PROT_READ | PROT_WRITE)
#define PLACE ((void *)0x10000000000)
enum { PAGE = 4096 };

static volatile sig_atomic_t signals;
static void count(int number) { signals += number > 0; }

static char *map(size_t pages, int flags)
{
    char *at = mmap(PLACE, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
    return at;
}

__attribute__((noinline)) static void touch(volatile char *at, int pages)
{
    for (int i = 0; i < pages; i++)
        at[(size_t)i * PAGE] = 1;
}

static void everything(void)
{
    char *at, *moved, byte;
    int shared;

    /* Code and tables that lie between two of the calls below are in memory from here on. */
    touch(&byte, 1);
    mprotect(NULL, 0, PROT_READ);
    madvise(NULL, 0, MADV_NORMAL);
    at = map(100, MAP_FIXED_NOREPLACE);
    touch(at, 10);
    mprotect(at, 50 * PAGE, PROT_READ);
    mprotect(at, 50 * PAGE, RW);
    madvise(at, 4 * PAGE, MADV_DONTNEED);
    madvise(at, 4 * PAGE, 9999);
    moved = mremap(at, 100 * PAGE, 200 * PAGE, MREMAP_MAYMOVE);
    mlock(moved, PAGE);
    munlock(moved, PAGE);
    mlock2(moved, PAGE, 1);
    munlock(moved, PAGE);
    mlockall(MCL_FUTURE | MCL_ONFAULT);
    munlockall();
    munmap(moved, 200 * PAGE);
    munmap((void *)1, PAGE);
    mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, PAGE);
    if ((shared = shmget(IPC_PRIVATE, 3 * PAGE, 0600)) >= 0) {
        void *attached = shmat(shared, NULL, SHM_RDONLY);
        shmctl(shared, IPC_RMID, NULL);
        shmdt(attached);
    }
    sbrk(5 * PAGE);
}

static void *thread(void *number)
{
    for (long i = 0; i < (long)number; i++)
        munmap(mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
    return NULL;
}

static void *exec_in_thread(void *name)
{
    execl(name, name, "nothing", NULL);
    return NULL;
}

/* So that no compiler knows what they do. */
static void *(*volatile ask)(size_t) = malloc;
static void (*volatile give)(void *) = free;

static void mallocs(size_t small, size_t large)
{
    void *at[20];

    for (int i = 0; i < 20; i++)
        at[i] = ask(i < 10 ? small : large);
    for (int i = 19; i >= 10; i--)
        give(at[i]);
    for (int i = 0; i < 10; i++)
        give(at[i]);
}

static void *kin(void *number)
{
    for (long i = 0; i < (long)number; i++) {
        void *at = ask(100), *aligned;
        at = realloc(at, 50 + (size_t)i);
        if (!posix_memalign(&aligned, 64, 100)) {
            give(aligned);
            give(calloc(3, 5));
            give(at);
        }
    }
    return NULL;
}

static int kin_in_children(long number)
{
    for (long i = 0; i < number; i++) {
        pid_t child = fork();
        int status = 1;
        if (!child) {
            kin((void *)5);
            _exit(3);
        }
        if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 3)
            return 1;
    }
    return 0;
}

static void *until_the_end(void *nothing)
{
    for (;;)
        thread((void *)100);
    return nothing;
}

static void *spawn(void *program)
{
    char *words[] = {program, "blocked", "1", NULL};
    for (int i = 0; i < 20; i++) {
        pid_t child = vfork();
        if (!child) {
            execv(program, words);
            _exit(1);
        }
        waitpid(child, NULL, 0);
        child = vfork();
        if (!child)
            _exit(4);
        waitpid(child, NULL, 0);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *what = argv[1];
    long number = argc > 2 ? atol(argv[2]) : 0;
    pthread_t threads[4];

    if (!strcmp(what, "everything"))
        everything();
    else if (!strcmp(what, "many"))
        thread((void *)number);
    else if (!strcmp(what, "threads")) {
        for (int i = 0; i < 4; i++)
            pthread_create(threads + i, NULL, thread, (void *)number);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    } else if (!strcmp(what, "forks")) {
        for (long i = 0; i < number; i++) {
            pid_t child = fork();
            if (!child) {
                map(7, 0);
                _exit((int)i);
            }
            waitpid(child, NULL, 0);
        }
    } else if (!strcmp(what, "vfork")) {
        pid_t child = vfork();
        if (!child) {
            execl(argv[0], argv[0], "nothing", NULL);
            _exit(9);
        }
        waitpid(child, NULL, 0);
    } else if (!strcmp(what, "exec-in-thread")) {
        pthread_create(threads, NULL, exec_in_thread, argv[0]);
        pause();
    } else if (!strcmp(what, "kill"))
        kill(getpid(), (int)number);
    else if (!strcmp(what, "signals")) {
        signal(SIGUSR1, count);
        for (long i = 0; i < number; i++) {
            raise(SIGUSR1);
            map(1, 0);
        }
        return signals == number ? 0 : 1;
    } else if (!strcmp(what, "stop")) {
        raise(SIGSTOP);
        map(3, 0);
    } else if (!strcmp(what, "wait")) {
        char byte;
        ssize_t got;
        if (write(1, "r", 1) == 1)
            while ((got = read(0, &byte, 1)) == 1 || (got < 0 && errno == EINTR))
                munmap(map((size_t)number, 0), (size_t)number * PAGE);
    } else if (!strcmp(what, "leader-gone")) {
        pthread_create(threads, NULL, thread, (void *)number);
        syscall(SYS_exit, 0);
    } else if (!strcmp(what, "mallocs"))
        mallocs(32 * 1024, 256 * 1024);
    else if (!strcmp(what, "malloc-threads")) {
        for (int i = 0; i < 4; i++)
            pthread_create(threads + i, NULL, kin, (void *)number);
        int failed = kin_in_children(argc > 3 ? atol(argv[3]) : 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        return failed;
    } else if (!strcmp(what, "malloc-vfork")) {
        pid_t child = vfork();
        if (!child) {
            give(ask(1000));
            _exit(4);
        }
        int status;
        waitpid(child, &status, 0);
        mallocs(10, 10);
        return WEXITSTATUS(status);
    } else if (!strcmp(what, "malloc-traps")) {
        signal(SIGTRAP, count);
        give(ask(10));
        raise(SIGTRAP);
        give(ask(10));
        kill(getpid(), SIGTRAP);
#if defined __x86_64__
        __asm__ volatile("int3");
#else
        raise(SIGTRAP);
#endif
        give(ask(10));
        return signals == 3 ? 0 : 1;
    } else if (!strcmp(what, "malloc-forever")) {
        /* Ends when its input does; a child now and then. */
        char byte;
        for (int i = 0; i < 3; i++)
            pthread_create(threads + i, NULL, kin, (void *)0x7fffffffffff);
        if (write(1, "r", 1) == 1)
            while (read(0, &byte, 1) == 1)
                if (kin_in_children(1))
                    _exit(1);
        _exit(0);
    } else if (!strcmp(what, "blocked")) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        map((size_t)number, 0);
        give(ask(10));
    } else if (!strcmp(what, "exit-amid")) {
        for (int i = 0; i < 4; i++)
            pthread_create(threads + i, NULL, until_the_end, NULL);
        thread((void *)number);
        _exit(6);
    } else if (!strcmp(what, "children-at-once")) {
        int ends[2];
        char byte;
        if (pipe(ends))
            return 1;
        for (long i = 0; i < number; i++)
            if (!fork()) {
                close(ends[1]);
                map(2, 0);
                _exit(read(ends[0], &byte, 1) != 0);
            }
        close(ends[1]);
        for (int status; wait(&status) > 0 && !status; number--)
            ;
        return number != 0;
    } else if (!strcmp(what, "euid")) {
        printf("%d\n", (int)geteuid());
    } else if (!strcmp(what, "posix-spawn")) {
        pid_t child;
        char *words[] = {argv[0], "blocked", "5", NULL};
        int status = 1;
        if (posix_spawn(&child, argv[0], NULL, NULL, words, environ))
            return 1;
        waitpid(child, &status, 0);
        return status;
    } else if (!strcmp(what, "vfork-threads")) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, spawn, argv[0]);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        return 0;
    } else if (!strcmp(what, "sigint")) {
        signal(SIGINT, count);
        if (write(1, "r", 1) == 1)
            while (!signals)
                usleep(1000);
        return 7;
    }
    return 0;
}
