/* The innermost part of a sandbox: starts one program under its limits, and tells the grader of it.
 *
 *   jail SOCKET FLAGS UID GID CPU PROCESSES DESCRIPTORS FILE_SIZE STDIN STDOUT
 *        DIRECTORY ENVIRONMENT... -- PROGRAM...
 *
 * It is the first process of a PID namespace where there is one: nothing inside can signal it, and
 * all die with it. Elsewhere it adopts orphans, and kills what is left. It ends when the grader closes
 * the socket, or dies.
 *
 * The kernel puts the sender's PID, as the receiver sees it, beside each message (SCM_CREDENTIALS):
 * that is how the grader knows who is who behind a PID namespace.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail.h"

enum {
    SOCKET = 1, FLAGS, UID, GID, CPU, PROCESSES, DESCRIPTORS, FILE_SIZE, STDIN, STDOUT, DIRECTORY,
    ENVIRONMENT
};

static int face;

static void tell(struct jail_message message)
{
    while (send(face, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void limit(int what, const char *word, int more)
{
    struct rlimit now, wanted;
    long long value = atoll(word);

    if (value < 0 || getrlimit(what, &now))
        return;
    wanted.rlim_cur = (rlim_t)value;
    wanted.rlim_max = (rlim_t)value + (rlim_t)more;
    if (now.rlim_max != RLIM_INFINITY && wanted.rlim_max > now.rlim_max)
        wanted.rlim_max = now.rlim_max;
    if (wanted.rlim_cur > wanted.rlim_max)
        wanted.rlim_cur = wanted.rlim_max;
    setrlimit(what, &wanted);
}

/* At exec, all but the standard three. */
static void close_others(void)
{
    DIR *open_ones = opendir("/proc/self/fd");
    struct dirent *one;

    while (open_ones && (one = readdir(open_ones)))
        if (atoi(one->d_name) > 2)
            fcntl(atoi(one->d_name), F_SETFD, FD_CLOEXEC);
    if (open_ones)
        closedir(open_ones);
}

static void become(char **argv, char **program, char **environment, int refused)
{
    uid_t uid = (uid_t)strtoul(argv[UID], NULL, 10);
    gid_t gid = (gid_t)strtoul(argv[GID], NULL, 10);
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;
    char go;
    int error, fd;

    dup2(atoi(argv[STDIN]), 0);
    dup2(atoi(argv[STDOUT]), 1);
    dup2(1, 2);
    close_others();
    signal(SIGTTOU, SIG_IGN);
    setpgid(0, 0);
    tcsetpgrp(0, getpid());
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &usual, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    /* Where nothing else bounds memory, the kernel should take this process first. */
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, "500", 3) < 0) {
            /* It stays as it was. */
        }
        close(fd);
    }
    limit(RLIMIT_CORE, "0", 0);
    /* SIGXCPU at the soft limit, SIGKILL a second later. */
    limit(RLIMIT_CPU, argv[CPU], 1);
    limit(RLIMIT_NPROC, argv[PROCESSES], 0);
    limit(RLIMIT_NOFILE, argv[DESCRIPTORS], 0);
    limit(RLIMIT_FSIZE, argv[FILE_SIZE], 0);
    error = 0;
    if (geteuid() == 0 && uid != 0 &&
        (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)))
        error = errno;
    if (!error && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || chdir(argv[DIRECTORY])))
        error = errno;
    umask(022);
    /* A tracer without privileges may attach from here on. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    tell((struct jail_message){.kind = JAIL_PROGRAM});
    if (recv(face, &go, 1, 0) != 1)
        _exit(127);
    if (!error) {
        execvpe(program[0], program, environment);
        error = errno;
    }
    if (write(refused, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

static void report(int status, const struct rusage *used)
{
    tell((struct jail_message){
        .kind = JAIL_ENDED,
        .status = status,
        .microseconds = (int64_t)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1000000 +
                        used->ru_utime.tv_usec + used->ru_stime.tv_usec,
        .minor = used->ru_minflt,
        .major = used->ru_majflt,
        .peak = (int64_t)used->ru_maxrss * 1024,
    });
}

/* Children of ours, orphans among them: stopped first, so that they can't multiply. */
static int each_child(int number)
{
    char path[64];
    FILE *file;
    int pid, count = 0;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    file = fopen(path, "re");
    if (!file)
        return 0;
    while (fscanf(file, "%d", &pid) == 1) {
        kill(pid, number);
        count++;
    }
    fclose(file);
    return count;
}

static void end_all(int flags)
{
    if (flags & JAIL_FIRST)
        _exit(0); /* The kernel kills the namespace. */
    /* A killed child hands its own children to us: until there is none. */
    for (;;) {
        each_child(SIGKILL);
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            _exit(0);
    }
}

int main(int argc, char **argv)
{
    struct rusage used;
    struct pollfd awaited[2];
    struct signalfd_siginfo info;
    sigset_t children;
    char **environment = argv + ENVIRONMENT, **program;
    int ends[2], error, flags, status, at;
    pid_t pid, child;

    for (at = ENVIRONMENT; at < argc && strcmp(argv[at], "--"); at++)
        ;
    if (at + 1 >= argc) {
        fputs("jail: called by procmem alone\n", stderr);
        return 2;
    }
    argv[at] = NULL;
    program = argv + at + 1;
    face = atoi(argv[SOCKET]);
    flags = atoi(argv[FLAGS]);
    fcntl(face, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!(flags & JAIL_FIRST))
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    setsid();
    ioctl(atoi(argv[STDIN]), TIOCSCTTY, 0);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    awaited[0] = (struct pollfd){.fd = face, .events = POLLIN};
    awaited[1] = (struct pollfd){.fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK),
                                 .events = POLLIN};
    tell((struct jail_message){.kind = JAIL_FIRST_PROCESS});
    if (pipe2(ends, O_CLOEXEC) || (child = fork()) < 0) {
        tell((struct jail_message){.kind = JAIL_REFUSED, .status = errno});
        return 1;
    }
    if (!child)
        become(argv, program, environment, ends[1]);
    close(ends[1]);
    if (read(ends[0], &error, sizeof error) == sizeof error)
        tell((struct jail_message){.kind = JAIL_REFUSED, .status = error});
    else
        tell((struct jail_message){.kind = JAIL_STARTED});
    for (;;) {
        if (poll(awaited, 2, -1) < 0 && errno != EINTR)
            end_all(flags);
        /* The grader sends nothing any more: the other end was closed. */
        if (awaited[0].revents)
            end_all(flags);
        while (read(awaited[1].fd, &info, sizeof info) > 0)
            ;
        while ((pid = wait4(-1, &status, WNOHANG, &used)) > 0)
            if (pid == child)
                report(status, &used);
    }
}
