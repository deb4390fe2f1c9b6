/* Makes memory calls that are known beforehand: traced WHAT [NUMBER]. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
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
    } else if (!strcmp(what, "sigint")) {
        signal(SIGINT, count);
        if (write(1, "r", 1) == 1)
            while (!signals)
                usleep(1000);
        return 7;
    }
    return 0;
}
