/* Waits for input, sleeps, computes or ends in the ways that tests of grading name. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile long sink;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static double now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void compute(double seconds)
{
    for (double end = now() + seconds; now() < end;)
        for (int i = 0; i < 100000; i++)
            sink += i;
}

static void take(void)
{
    char line[256];

    if (read(0, line, sizeof line) < 0)
        exit(9);
}

static void *reads(void *nothing)
{
    take();
    return nothing;
}

static void *computes(void *nothing)
{
    compute(0.4);
    printf("computed\n");
    return nothing;
}

static void *locks(void *nothing)
{
    pthread_mutex_lock(&mutex);
    return nothing;
}

/* Two threads wake each other without end: one of them always runs, or is about to. */
static int hands[2][2];

static void *hands_on(void *which)
{
    long at = (long)which;
    char byte = 0;

    while (read(hands[at][0], &byte, 1) == 1 && byte < 2)
        if (write(hands[!at][1], &byte, 1) != 1)
            break;
    return NULL;
}

static void alloc(void)
{
    void *blocks[10];

    getchar();
    for (int i = 0; i < 10; i++)
        blocks[i] = malloc(32 * 1024);
    getchar();
    free(blocks[9]);
    getchar();
}

static int waits(const char *how)
{
    struct pollfd asked = {.fd = 0, .events = POLLIN};
    struct epoll_event event = {.events = EPOLLIN};
    char line[64];
    struct iovec into = {line, sizeof line};
    fd_set set;
    int fd;
    pid_t child;
    pthread_t thread;

    FD_ZERO(&set);
    FD_SET(0, &set);
    if (!strcmp(how, "readv")) {
        return readv(0, &into, 1) < 0;
    } else if (!strcmp(how, "poll")) {
        poll(&asked, 1, -1);
    } else if (!strcmp(how, "ppoll")) {
        ppoll(&asked, 1, &(struct timespec){60, 0}, NULL);
    } else if (!strcmp(how, "select")) {
        select(1, &set, NULL, NULL, NULL);
    } else if (!strcmp(how, "pselect")) {
        pselect(1, &set, NULL, NULL, NULL, NULL);
    } else if (!strcmp(how, "epoll")) {
        fd = epoll_create1(0);
        epoll_ctl(fd, EPOLL_CTL_ADD, 0, &event);
        epoll_wait(fd, &event, 1, -1);
    } else if (!strcmp(how, "dup")) {
        fd = dup(0);
        close(0);
        return read(fd, line, sizeof line) < 0 || dup2(fd, 0);
    } else if (!strcmp(how, "tty")) {
        fd = open("/dev/tty", O_RDWR);
        return fd < 0 || read(fd, line, sizeof line) < 0;
    } else if (!strcmp(how, "thread")) {
        pthread_create(&thread, NULL, reads, NULL);
        pthread_join(thread, NULL);
        return 0;
    } else if (!strcmp(how, "child")) {
        child = fork();
        if (!child) {
            take();
            _exit(0);
        }
        return waitpid(child, NULL, 0) != child;
    } else if (!strcmp(how, "late")) {
        compute(0.3);
    } else if (!strcmp(how, "beside")) {
        /* It asks at once, but another thread still computes. */
        pthread_create(&thread, NULL, computes, NULL);
        take();
        pthread_join(thread, NULL);
        return 0;
    } else if (!strcmp(how, "bytes")) {
        /* What is left of a line is read without waiting. */
        do
            if (read(0, line, 1) != 1)
                return 1;
        while (line[0] != '\n');
        return 0;
    } else if (!strcmp(how, "hands")) {
        pthread_t other;

        if (pipe(hands[0]) || pipe(hands[1]))
            return 1;
        pthread_create(&thread, NULL, hands_on, (void *)0);
        pthread_create(&other, NULL, hands_on, (void *)1);
        if (write(hands[0][1], "\1", 1) != 1)
            return 1;
        take();
        return 0;
    }
    take();
    return 0;
}

static void wakes(int number)
{
    (void)number;
}

static int sleeps(const char *how)
{
    sigset_t none;
    pthread_t thread;
    int ends[2];
    char byte;

    sigemptyset(&none);
    if (!strcmp(how, "pause"))
        pause();
    else if (!strcmp(how, "sigsuspend"))
        sigsuspend(&none);
    else if (!strcmp(how, "nanosleep"))
        sleep(1000);
    else if (!strcmp(how, "naps"))
        for (;;)
            usleep(1000);
    else if (!strcmp(how, "poll"))
        poll(NULL, 0, -1);
    else if (!strcmp(how, "stop"))
        raise(SIGSTOP);
    else if (!strcmp(how, "pipe") && !pipe(ends))
        return (int)read(ends[0], &byte, 1);
    else if (!strcmp(how, "deadlock")) {
        pthread_mutex_lock(&mutex);
        pthread_create(&thread, NULL, locks, NULL);
        pthread_join(thread, NULL);
    } else if (!strcmp(how, "closed")) {
        close(0);
        sleep(1000);
    } else if (!strcmp(how, "twice")) {
        /* Each ends at a signal, whenever that comes. */
        signal(SIGUSR1, wakes);
        sleep(1000);
        sleep(1000);
    } else if (!strcmp(how, "deaf")) {
        for (int number = 1; number < NSIG; number++)
            signal(number, SIG_IGN);
        for (;;)
            pause();
    }
    return 0;
}

static int crashes(const char *how)
{
    char *at = NULL;
    int fd;

    if (!strcmp(how, "null"))
        *(volatile char *)at = 1;
    if (!strcmp(how, "readonly")) {
        at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *(volatile char *)at = 1;
    }
    if (!strcmp(how, "past")) {
        fd = open("/tmp/one-byte", O_RDWR | O_CREAT, 0600);
        if (fd < 0)
            fd = memfd_create("one-byte", 0);
        if (ftruncate(fd, 1))
            return 1;
        at = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
        return at[4096];
    }
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "kill"))
        kill(getpid(), SIGKILL);
    if (!strcmp(how, "thread")) {
        pthread_t thread;

        pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))crashes, "null");
        pthread_join(thread, NULL);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *how = argc > 2 ? argv[2] : "";

    if (!strcmp(what, "alloc")) {
        alloc();
    } else if (!strcmp(what, "wait")) {
        int failed = waits(how);

        printf("had it\n");
        fflush(stdout);
        take();
        return failed;
    } else if (!strcmp(what, "sleep")) {
        return sleeps(how);
    } else if (!strcmp(what, "crash")) {
        return crashes(how);
    } else if (!strcmp(what, "exit")) {
        if (how[0] == '-')
            take();
        return abs(atoi(how));
    } else if (!strcmp(what, "ask-on")) {
        for (;;)
            take();
    } else if (!strcmp(what, "spin")) {
        for (;;)
            sink++;
    } else if (!strcmp(what, "print")) {
        for (long left = atol(how); left; left--)
            putchar('a');
        fflush(stdout);
        take();
    } else if (!strcmp(what, "echo")) {
        char line[4200];

        while (fgets(line, sizeof line, stdin)) {
            printf("<%s>", line);
            fflush(stdout);
        }
        printf("end\n");
    } else if (!strcmp(what, "threads")) {
        pthread_t threads[3];

        for (int i = 0; i < 3; i++)
            pthread_create(threads + i, NULL, reads, NULL);
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
    } else if (!strcmp(what, "environment")) {
        extern char **environ;

        for (char **one = environ; *one; one++)
            puts(*one);
    }
    return 0;
}
