/* The innermost part of a sandbox: starts one program under its limits, and reports it to the grader.
 *
 *   jail SOCKET FLAGS UID GID CPU PROCESSES DESCRIPTORS FILE_SIZE TEMPORARY STDIN STDOUT KEPT DIRECTORY
 *        INSIDE ROOM [PATH...] -- [NAME=VALUE...] -- PROGRAM [ARGUMENT...]
 *   jail run PROGRAM [ARGUMENT...]   with all signals as they are by default
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
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
/* The 32-bit calls of the same machine (arch/x86/entry/syscalls/syscall_32.tbl). */
#define OTHER_ARCHITECTURE AUDIT_ARCH_I386
#define OTHER_SOCKET 359
#define OTHER_SOCKETCALL 102
#define OTHER_OPENAT 295
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
/* arch/arm/tools/syscall.tbl; the old socketcall(2) is not reachable in EABI. */
#define OTHER_ARCHITECTURE AUDIT_ARCH_ARM
#define OTHER_SOCKET 281
#define OTHER_SOCKETCALL 102
#define OTHER_OPENAT 322
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#endif

static struct {
    int face, flags, in, out, kept;
    uid_t uid;
    gid_t gid;
    const char *cpu, *processes, *descriptors, *file_size, *temporary, *directory, *inside,
        *room;
    char **paths, **environment, **program;
} job;

static void tell(struct jail_message message)
{
    while (send(job.face, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the program ------------------------------------------------------------------------------ */

static void limit(int what, const char *word, int more)
{
    struct rlimit now, wanted;

    if (getrlimit(what, &now))
        return;
    wanted.rlim_cur = strtoull(word, NULL, 10);
    wanted.rlim_max = wanted.rlim_cur + (rlim_t)more;
    if (now.rlim_max != RLIM_INFINITY && wanted.rlim_max > now.rlim_max)
        wanted.rlim_max = now.rlim_max;
    if (wanted.rlim_cur > wanted.rlim_max)
        wanted.rlim_cur = wanted.rlim_max;
    setrlimit(what, &wanted);
}

static void lift(int what)
{
    struct rlimit now;

    if (!getrlimit(what, &now)) {
        now.rlim_cur = now.rlim_max;
        setrlimit(what, &now);
    }
}

/* At exec, all but the standard three, and one more if it was given. */
static void close_others(void)
{
    DIR *listing = opendir("/proc/self/fd");
    struct dirent *one;

    while (listing && (one = readdir(listing))) {
        int fd = atoi(one->d_name);

        if (fd > 2)
            fcntl(fd, F_SETFD, fd == job.kept ? 0 : FD_CLOEXEC);
    }
    if (listing)
        closedir(listing);
}

/* Numbers of include/uapi/linux/landlock.h, which distributions are older than. */
#define RIGHTS_READ (1u << 0 | 1u << 2 | 1u << 3)   /* EXECUTE, READ_FILE, READ_DIR */
#define RIGHTS_FILE (1u << 0 | 1u << 1 | 1u << 2 | 1u << 14 | 1u << 15)
#define RIGHTS_FIRST ((1u << 13) - 1)               /* of the first version */

struct rules {
    uint64_t files, network, scoped;
};

struct rule {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

static int allow(int rules, const char *path, uint64_t rights)
{
    struct rule rule = {.allowed = rights, .parent = open(path, O_PATH | O_CLOEXEC)};
    struct stat found;
    long made;

    if (rule.parent < 0)
        return 0;
    if (!fstat(rule.parent, &found) && !S_ISDIR(found.st_mode))
        rule.allowed &= RIGHTS_FILE;
    made = syscall(445, rules, 1, &rule, 0); /* landlock_add_rule: LANDLOCK_RULE_PATH_BENEATH */
    close(rule.parent);
    return (int)made;
}

static int confine(void)
{
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                          "/dev/urandom", "/dev/tty"};
    long version = syscall(444, NULL, 0, 1); /* landlock_create_ruleset: its version */
    struct rules handled = {.files = RIGHTS_FIRST};
    size_t size = sizeof handled.files;
    int rules, error = 0;

    if (version < 0)
        return errno;
    if (version >= 2)
        handled.files |= 1u << 13; /* REFER */
    if (version >= 3)
        handled.files |= 1u << 14; /* TRUNCATE */
    if (version >= 4) {
        handled.network = 3; /* BIND_TCP, CONNECT_TCP */
        size = offsetof(struct rules, scoped);
    }
    if (version >= 5)
        handled.files |= 1u << 15; /* IOCTL_DEV */
    if (version >= 6) {
        handled.scoped = 3; /* ABSTRACT_UNIX_SOCKET, SIGNAL */
        size = sizeof handled;
    }
    rules = (int)syscall(444, &handled, size, 0);
    if (rules < 0)
        return errno;
    for (char **path = job.paths; *path; path++)
        if (allow(rules, *path, RIGHTS_READ))
            error = errno;
    if (allow(rules, "/proc", RIGHTS_READ & ~1u))
        error = errno;
    for (size_t at = 0; at < sizeof devices / sizeof *devices; at++)
        if (allow(rules, devices[at], (RIGHTS_FILE & handled.files) & ~1u))
            error = errno;
    if (allow(rules, job.inside, handled.files) || allow(rules, job.room, handled.files))
        error = errno;
    if (!error && syscall(446, rules, 0)) /* landlock_restrict_self */
        error = errno;
    close(rules);
    return error;
}

#ifdef ARCHITECTURE
#define IO_URING_SETUP 425 /* on every architecture */
#define OPENAT2 437

static struct {
    struct sock_filter code[48];
    unsigned short length;
} filter;

static void emit(uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    filter.code[filter.length++] = (struct sock_filter)BPF_JUMP(code, k, yes, no);
}

static void refuse(void)
{
    emit(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES, 0, 0);
}

static void refuse_call(uint32_t number)
{
    emit(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
    refuse();
}

/*
 * A network namespace holds these families. It does not hold AF_VSOCK (vsock(7)), which reaches the
 * host of a virtual machine, nor AF_BLUETOOTH, AF_NFC, AF_QIPCRTR. io_uring(7) would make sockets
 * behind the filter's back.
 */
static void refuse_sockets(uint32_t socket_call)
{
    static const uint32_t held[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    uint32_t count = job.flags & JAIL_SOCKETS ? 1 : sizeof held / sizeof *held;

    refuse_call(IO_URING_SETUP);
    emit(BPF_JMP | BPF_JEQ | BPF_K, socket_call, 0, (uint8_t)(count + 2));
    emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args), 0, 0);
    for (uint32_t at = 0; at < count; at++)
        emit(BPF_JMP | BPF_JEQ | BPF_K, held[at], (uint8_t)(count - at), 0);
    refuse();
    emit(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

/* And where no IPC namespace is, no objects that outlive their processes. */
static int refuse_calls(void)
{
    static const uint32_t lasting[] = {SYS_shmget, SYS_msgget, SYS_semget, SYS_mq_open};
    struct sock_fprog program = {.filter = filter.code};

    emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
#ifdef OTHER_ARCHITECTURE
    if (job.flags & JAIL_FIRST) {
        uint32_t count = job.flags & JAIL_SOCKETS ? 1 : 4;

        /* Over the next calls: as many as are emitted here. */
        emit(BPF_JMP | BPF_JEQ | BPF_K, OTHER_ARCHITECTURE, 0, (uint8_t)(9 + count));
        emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
        refuse_call(OTHER_SOCKETCALL);
        refuse_sockets(OTHER_SOCKET);
    }
#endif
    emit(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    refuse();
    emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    /* The other numbers of x32. */
    emit(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    refuse();
    for (size_t at = 0; job.flags & JAIL_LASTING && at < sizeof lasting / sizeof *lasting; at++)
        refuse_call(lasting[at]);
    /* PR_SET_MM moves what the kernel calls heap and stack: the grader would then read other memory. */
    emit(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 4);
    emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args), 0, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_MM, 0, 1);
    refuse();
    emit(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    refuse_sockets(SYS_socket);
    program.len = filter.length;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? errno : 0;
}

/* Stops at each call that opens a file, for whoever traces this process (ptrace(2)). */
static int trace_files(void)
{
    static const uint32_t calls[] = {
#ifdef SYS_open
        SYS_open, SYS_creat,
#endif
        SYS_openat, OPENAT2};
    struct sock_fprog program = {.filter = filter.code};

    filter.length = 0;
#ifdef OTHER_ARCHITECTURE
    emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, OTHER_ARCHITECTURE, 0, 7);
    emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    /* open, creat, openat2: the same numbers in both tables. */
    emit(BPF_JMP | BPF_JEQ | BPF_K, 5, 3, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, 8, 2, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, OTHER_OPENAT, 1, 0);
    emit(BPF_JMP | BPF_JEQ | BPF_K, OPENAT2, 0, 1);
    emit(BPF_RET | BPF_K, SECCOMP_RET_TRACE, 0, 0);
    emit(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
#endif
    emit(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
    for (size_t at = 0; at < sizeof calls / sizeof *calls; at++) {
        emit(BPF_JMP | BPF_JEQ | BPF_K, calls[at], 0, 1);
        emit(BPF_RET | BPF_K, SECCOMP_RET_TRACE, 0, 0);
    }
    emit(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    program.len = filter.length;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? errno : 0;
}
#else
static int refuse_calls(void)
{
    return ENOSYS;
}

static int trace_files(void)
{
    return ENOSYS;
}
#endif

/*
 * execve(2) by the sandbox's PATH. execvpe(3) would hand a file that is no program to /bin/sh.
 * Returns errno.
 */
static int run_program(char **argv, char **environment)
{
    const char *search = "";
    int error = ENOENT;

    if (strchr(argv[0], '/')) {
        execve(argv[0], argv, environment);
        return errno;
    }
    for (char **at = environment; *at; at++)
        if (!strncmp(*at, "PATH=", 5))
            search = *at + 5;
    while (*search) {
        char path[4096];
        size_t length = strcspn(search, ":");

        if (length && (size_t)snprintf(path, sizeof path, "%.*s/%s", (int)length, search,
                                       argv[0]) < sizeof path) {
            execve(path, argv, environment);
            if (errno == EACCES)
                error = EACCES;
            else if (errno != ENOENT && errno != ENOTDIR)
                return errno;
        }
        search += length + (search[length] == ':');
    }
    return error;
}

/* What a caller may have left: ignored and blocked signals stay so over execve(2). */
static void reset_signals(void)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &usual, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become(int go, int refused)
{
    struct __user_cap_header_struct version = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct nothing[2] = {{0}};
    char byte;
    int error = 0, fd;

    dup2(job.in, 0);
    dup2(job.out, 1);
    dup2(1, 2);
    close_others();
    signal(SIGTTOU, SIG_IGN);
    setpgid(0, 0);
    tcsetpgrp(0, getpid());
    reset_signals();

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
    limit(RLIMIT_CPU, job.cpu, 1);
    limit(RLIMIT_NPROC, job.processes, 0);
    limit(RLIMIT_NOFILE, job.descriptors, 0);
    limit(RLIMIT_FSIZE, job.file_size, 0);
    /* These change what is measured: the kernel's own is none. */
    lift(RLIMIT_AS);
    lift(RLIMIT_DATA);
    lift(RLIMIT_RSS);
    umask(022);
    if (geteuid() == 0 && job.uid != 0 &&
        (setgroups(0, NULL) || setresgid(job.gid, job.gid, job.gid) ||
         setresuid(job.uid, job.uid, job.uid)))
        error = errno;
    syscall(SYS_capset, &version, nothing);
    if (!error && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || chdir(job.inside)))
        error = errno;
    if (!error && job.flags & JAIL_LANDLOCK)
        error = confine();
    if (!error) {
        int missing = refuse_calls();

        /* Without seccomp(2) there is no network wall but a namespace. */
        if (job.flags & JAIL_SOCKETS)
            error = missing;
    }
    /* From here on a tracer without privileges may attach. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    tell((struct jail_message){.kind = JAIL_PROGRAM, .status = error});
    if (read(go, &byte, 1) == 1 && !error) {
        /* Without the filter the tracer sees no file opened, and so that it was not there. */
        if (byte == JAIL_GO_TRACED)
            trace_files();
        error = run_program(job.program, job.environment);
    }
    if (write(refused, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

/* ---- above it --------------------------------------------------------------------------------- */

static struct {
    int signal, code;
    uint64_t address;
} fault;

/* A stop of a thread that is watched. */
static void resume(pid_t tid, int status)
{
    int number = WSTOPSIG(status), event = status >> 16;
    siginfo_t info;

    if (event == PTRACE_EVENT_STOP && number != SIGTRAP) {
        ptrace(PTRACE_LISTEN, tid, NULL, NULL);
        return;
    }
    if (event) {
        ptrace(PTRACE_CONT, tid, NULL, NULL);
        return;
    }
    if ((number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL) &&
        !ptrace(PTRACE_GETSIGINFO, tid, NULL, &info)) {
        fault.signal = number;
        fault.code = info.si_code;
        fault.address = (uint64_t)(uintptr_t)info.si_addr;
    }
    ptrace(PTRACE_CONT, tid, NULL, (void *)(intptr_t)number);
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
        .watched = fault.signal && WIFSIGNALED(status) && WTERMSIG(status) == fault.signal,
        .code = fault.code,
        .address = fault.address,
    });
}

static void kill_children(void)
{
    char path[64];
    FILE *file;
    int pid;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    file = fopen(path, "re");
    if (!file)
        return;
    while (fscanf(file, "%d", &pid) == 1)
        kill(pid, SIGKILL);
    fclose(file);
}

static void end_all(void)
{
    pid_t pid;
    int status;

    if (job.flags & JAIL_FIRST)
        _exit(0); /* The kernel kills the namespace. */
    for (;;) {
        /* All at once where the job's user is nobody else's; one of that user's has to do it. */
        if (geteuid() == 0 && job.uid != 0 && (pid = fork()) >= 0) {
            if (!pid) {
                if (!setresuid(job.uid, job.uid, job.uid))
                    kill(-1, SIGKILL);
                _exit(0);
            }
            waitpid(pid, &status, 0);
        }
        kill_children();
        /* Who is killed hands its own children to us: until there is none. */
        if (wait4(-1, &status, __WALL, NULL) < 0 && errno == ECHILD)
            _exit(0);
    }
}

static void serve(void)
{
    struct pollfd awaited[2];
    struct signalfd_siginfo info;
    struct rusage used;
    sigset_t children;
    int going[2], refused[2], error, status;
    pid_t pid, child;
    char byte;

    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!(job.flags & JAIL_FIRST))
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    setsid();
    ioctl(job.in, TIOCSCTTY, 0);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    tell((struct jail_message){.kind = JAIL_INIT});
    if (pipe2(going, O_CLOEXEC) || pipe2(refused, O_CLOEXEC))
        fail("pipe");
    child = fork();
    if (child < 0)
        fail("fork");
    if (!child)
        become(going[0], refused[1]);
    close(going[0]);
    close(refused[1]);
    if (recv(job.face, &byte, 1, 0) != 1)
        end_all();
    if (byte == JAIL_GO_WATCHED)
        ptrace(PTRACE_SEIZE, child, NULL, (void *)(intptr_t)(PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL));
    if (write(going[1], &byte, 1) != 1)
        end_all();
    if (read(refused[0], &error, sizeof error) == sizeof error)
        tell((struct jail_message){.kind = JAIL_REFUSED, .status = error});
    else
        tell((struct jail_message){.kind = JAIL_STARTED});
    awaited[0] = (struct pollfd){.fd = job.face, .events = POLLIN};
    awaited[1] = (struct pollfd){.fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK),
                                 .events = POLLIN};
    for (;;) {
        while ((pid = wait4(-1, &status, WNOHANG | __WALL, &used)) > 0)
            if (WIFSTOPPED(status))
                resume(pid, status);
            else if (pid == child)
                report(status, &used);
        if (poll(awaited, 2, -1) < 0 && errno != EINTR)
            end_all();
        /* The grader sends nothing any more: the other end was closed. */
        if (awaited[0].revents)
            end_all();
        while (read(awaited[1].fd, &info, sizeof info) > 0)
            ;
    }
}

/* ---- namespaces of its own -------------------------------------------------------------------- */

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fail(path);
    close(fd);
}

/* A path below the new root; the directories that lead to it are made. */
static const char *inside(const char *path)
{
    static char made[8192];
    size_t length = (size_t)snprintf(made, sizeof made, "%s%s", job.room, path);

    if (length >= sizeof made)
        fail(path);
    for (char *at = made + strlen(job.room) + 1; *at; at++)
        if (*at == '/') {
            *at = 0;
            mkdir(made, 0755);
            *at = '/';
        }
    return made;
}

static const char *inside_directory(const char *path)
{
    const char *made = inside(path);

    mkdir(made, 0755);
    return made;
}

static void link_to(const char *target, const char *path)
{
    if (symlink(target, inside(path)))
        fail(path);
}

static void show(const char *from, const char *to, int writable)
{
    struct stat found;
    struct statvfs file_system;
    unsigned long flags = MS_BIND | MS_REMOUNT;
    char link[4096];
    ssize_t length;

    if (lstat(from, &found))
        return;
    if (S_ISLNK(found.st_mode)) {
        length = readlink(from, link, sizeof link - 1);
        if (length < 0)
            fail(from);
        link[length] = 0;
        link_to(link, to);
        return;
    }
    to = inside(to);
    if (S_ISDIR(found.st_mode))
        mkdir(to, 0755);
    else
        close(open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (mount(from, to, NULL, MS_BIND | MS_REC, NULL))
        fail(from);
    if (statvfs(to, &file_system))
        fail(to);
    /* What is set above a user namespace can't be taken away in it. */
    if (file_system.f_flag & ST_NODEV)
        flags |= MS_NODEV;
    if (file_system.f_flag & ST_NOEXEC)
        flags |= MS_NOEXEC;
    if (file_system.f_flag & ST_NOATIME)
        flags |= MS_NOATIME;
    if (file_system.f_flag & ST_NODIRATIME)
        flags |= MS_NODIRATIME;
    if (file_system.f_flag & ST_RELATIME)
        flags |= MS_RELATIME;
    if (!writable || file_system.f_flag & ST_RDONLY)
        flags |= MS_RDONLY;
    if (mount(NULL, to, NULL, flags | MS_NOSUID, NULL))
        fail(to);
}

static void temporary(const char *path)
{
    char options[64];

    snprintf(options, sizeof options, "mode=1777,size=%s", job.temporary);
    if (mount("tmpfs", inside_directory(path), "tmpfs", MS_NOSUID | MS_NODEV, options))
        fail(path);
}

static void build_tree(void)
{
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                          "/dev/urandom", "/dev/tty"};
    static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                           {"/proc/self/fd/0", "/dev/stdin"},
                                           {"/proc/self/fd/1", "/dev/stdout"},
                                           {"/proc/self/fd/2", "/dev/stderr"}};

    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
        fail("/");
    if (mount("tmpfs", job.room, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m"))
        fail(job.room);
    for (char **path = job.paths; *path; path++)
        show(*path, *path, 0);
    if (mount("proc", inside_directory("/proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
        fail("/proc");
    for (size_t at = 0; at < sizeof devices / sizeof *devices; at++)
        show(devices[at], devices[at], 1);
    for (size_t at = 0; at < sizeof links / sizeof *links; at++)
        link_to(links[at][0], links[at][1]);
    temporary("/tmp");
    temporary("/dev/shm");
    show(job.directory, job.inside, 1);
    if (mount(NULL, job.room, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL))
        fail(job.room);
    if (chdir(job.room) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) ||
        chdir("/"))
        fail("pivot_root");
    if (sethostname("sandbox", 7))
        fail("sethostname");
}

/* Becomes the first process of a PID namespace; returns in that one alone. */
static void separate(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char map[64];
    pid_t child;
    int status;

    if (uid != 0) {
        if (unshare(CLONE_NEWUSER))
            fail("a user namespace");
        put("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "%u %u 1\n", gid, gid);
        put("/proc/self/gid_map", map);
        snprintf(map, sizeof map, "%u %u 1\n", uid, uid);
        put("/proc/self/uid_map", map);
    }
    if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                CLONE_NEWCGROUP))
        fail("namespaces");
    child = fork();
    if (child < 0)
        fail("fork");
    if (child) {
        close(job.face);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    }
    build_tree();
}

/* The words up to the next "--", which becomes NULL. */
static char **until_dashes(char ***at)
{
    char **first = *at, **now = first;

    while (*now && strcmp(*now, "--"))
        now++;
    if (*now)
        *now++ = NULL;
    *at = now;
    return first;
}

int main(int argc, char **argv)
{
    char **at = argv + 16;

    reset_signals();
    umask(022);
    if (argc > 2 && !strcmp(argv[1], "run")) {
        /* bwrap(1) waits forever for its child where SIGCHLD is ignored: it is never sent then. */
        fprintf(stderr, "%s: %s\n", argv[2], strerror(run_program(argv + 2, environ)));
        return 127;
    }
    if (argc < 19) {
        fputs("jail: this is run by procmem alone\n", stderr);
        return 2;
    }
    job.face = atoi(argv[1]);
    job.flags = atoi(argv[2]);
    job.uid = (uid_t)strtoul(argv[3], NULL, 10);
    job.gid = (gid_t)strtoul(argv[4], NULL, 10);
    job.cpu = argv[5];
    job.processes = argv[6];
    job.descriptors = argv[7];
    job.file_size = argv[8];
    job.temporary = argv[9];
    job.in = atoi(argv[10]);
    job.out = atoi(argv[11]);
    job.kept = atoi(argv[12]);
    job.directory = argv[13];
    job.inside = argv[14];
    job.room = argv[15];
    job.paths = until_dashes(&at);
    job.environment = until_dashes(&at);
    job.program = at;
    if (!*job.program)
        return 2;
    fcntl(job.face, F_SETFD, FD_CLOEXEC);
    if (job.flags & JAIL_NAMESPACES)
        separate();
    serve();
    return 0;
}
