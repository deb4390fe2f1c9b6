/* Does what no submission should: tests of the sandbox say what to do, and where. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static void ask(void)
{
    char line[256];

    if (read(0, line, sizeof line) < 0)
        exit(9);
}

static void fill(const char *name, long mebibytes)
{
    static char block[1 << 20];
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    memset(block, 'x', sizeof block);
    for (long at = 0; at < mebibytes; at++)
        if (write(fd, block, sizeof block) < 0)
            exit(3);
    close(fd);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *where = argc > 2 ? argv[2] : "";
    int pid = atoi(where), fd;

    if (!strcmp(what, "memory")) {
        for (;;)
            memset(malloc(1 << 20), 1, 1 << 20);
    } else if (!strcmp(what, "memory-shared")) {
        for (;;)
            memset(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 1,
                   1 << 20);
    } else if (!strcmp(what, "fork")) {
        for (;;)
            fork();
    } else if (!strcmp(what, "flood")) {
        for (;;)
            if (write(1, "flood ", 6) < 0)
                return 4;
    } else if (!strcmp(what, "file")) {
        fill("huge", 1 << 20);
    } else if (!strcmp(what, "files")) {
        char name[32];

        for (int at = 0;; at++) {
            snprintf(name, sizeof name, "part-%d", at);
            fill(name, 1);
        }
    } else if (!strcmp(what, "inodes")) {
        char name[32];

        for (int at = 0;; at++) {
            snprintf(name, sizeof name, "empty-%d", at);
            close(open(name, O_WRONLY | O_CREAT, 0644));
        }
    } else if (!strcmp(what, "daemon") || !strcmp(what, "daemons")) {
        /* Twice, so that it is nobody's child. */
        int many = !strcmp(what, "daemons") ? 20 : 1;

        for (int at = 0; at < many; at++)
            if (!fork()) {
                setsid();
                if (fork())
                    _exit(0);
                for (int number = 1; number < NSIG; number++)
                    signal(number, SIG_IGN);
                if (many == 1) {
                    close(0);
                    close(1);
                    close(2);
                }
                prctl(PR_SET_NAME, where);
                for (;;)
                    pause();
            }
        usleep(100000);
    } else if (!strcmp(what, "kill")) {
        kill(pid, SIGKILL);
        kill(pid, SIGSTOP);
        kill(getppid(), SIGKILL);
        kill(getppid(), SIGSTOP);
        kill(1, SIGKILL);
        return kill(-1, SIGKILL) && kill(-1, SIGSTOP) ? 0 : 5;
    } else if (!strcmp(what, "read")) {
        /* How many of the names can be read. */
        int readable = 0;

        for (char **name = argv + 2; *name; name++) {
            char byte;
            DIR *listing = opendir(*name);

            fd = open(*name, O_RDONLY | O_NONBLOCK);
            if (listing || (fd >= 0 && read(fd, &byte, 1) > 0)) {
                readable++;
                printf("%s\n", *name);
            }
        }
        return readable;
    } else if (!strcmp(what, "write")) {
        int written = 0;

        for (char **name = argv + 2; *name; name++) {
            fd = open(*name, O_WRONLY | O_CREAT, 0666);
            if (fd >= 0 || !unlink(*name)) {
                written++;
                printf("%s\n", *name);
            }
        }
        return written;
    } else if (!strcmp(what, "connect")) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)pid)};

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        return fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof to);
    } else if (!strcmp(what, "family")) {
        /* The error of a socket of that family. */
        return socket(pid, SOCK_STREAM, 0) < 0 ? errno : 0;
    } else if (!strcmp(what, "family-32")) {
        long made = -ENOSYS;
#if defined(__x86_64__)
        /* socket(2) by the numbers of 32-bit programs. */
        __asm__ volatile("int $0x80" : "=a"(made) : "a"(359), "b"(pid), "c"(SOCK_STREAM), "d"(0)
                         : "memory");
#endif
        return made < 0 ? (int)-made : 0;
    } else if (!strcmp(what, "abstract")) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};

        strcpy(to.sun_path + 1, where);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        return !connect(fd, (struct sockaddr *)&to,
                        (socklen_t)(sizeof(sa_family_t) + 1 + strlen(where)));
    } else if (!strcmp(what, "ptrace")) {
        char byte;
        struct iovec here = {&byte, 1}, there = {(void *)main, 1};
        char path[64];

        snprintf(path, sizeof path, "/proc/%d/mem", pid);
        return !ptrace(PTRACE_SEIZE, pid, NULL, NULL) ||
               process_vm_readv(pid, &here, 1, &there, 1, 0) == 1 || open(path, O_RDWR) >= 0;
    } else if (!strcmp(what, "neighbours")) {
        /* How many processes can be seen whose memory, environment or files can be read. */
        DIR *listing = opendir("/proc");
        struct dirent *one;
        char path[300], byte;
        int seen = 0;

        while (listing && (one = readdir(listing))) {
            static const char *const names[] = {"environ", "mem", "maps", "root/etc/passwd",
                                                "cwd/Makefile"};

            if (!atoi(one->d_name) || atoi(one->d_name) == getpid())
                continue;
            for (size_t at = 0; at < 5; at++) {
                snprintf(path, sizeof path, "/proc/%s/%s", one->d_name, names[at]);
                fd = open(path, O_RDONLY);
                if (fd >= 0 && at != 1 && read(fd, &byte, 1) == 1) {
                    printf("%s\n", path);
                    seen = 1;
                }
                close(fd);
            }
        }
        return seen;
    } else if (!strcmp(what, "type")) {
        for (int at = 0; at < 3; at++)
            if (ioctl(0, TIOCSTI, "\n"))
                return 6;
        return 0;
    } else if (!strcmp(what, "huge-words") && argc == 2) {
        char *word = malloc(100001), *words[16] = {argv[0], "huge-words"};

        memset(word, '\n', 100000);
        word[100000] = 0;
        for (int at = 2; at < 15; at++)
            words[at] = word;
        execv("/proc/self/exe", words);
        return 7;
    } else if (!strcmp(what, "huge-words")) {
        ask();
    } else if (!strcmp(what, "descriptors")) {
        int count = 0;

        for (int at = 0; at < 4096; at++)
            count += fcntl(at, F_GETFD) >= 0;
        return count;
    } else if (!strcmp(what, "deep")) {
        for (int at = 0; at < 3000; at++)
            if (mkdir("inner", 0755) || chdir("inner"))
                return 8;
        mkdir("locked", 0);
    } else if (!strcmp(what, "odd-names")) {
        close(open("a\nb\xff\x1b[2J", O_WRONLY | O_CREAT, 0));
        if (mkfifo("fifo", 0600) || symlink("/etc/passwd", "link") || mkdir("closed", 0755))
            return 8;
        close(open("closed/in", O_WRONLY | O_CREAT, 0600));
        chmod("closed", 0);
    } else if (!strcmp(what, "shared-memory")) {
        return shmget(IPC_PRIVATE, (size_t)pid, IPC_CREAT | 0600) < 0;
    } else if (!strcmp(what, "preloaded")) {
        for (char **one = environ; *one; one++)
            if (!strncmp(*one, "LD_", 3))
                return 1;
        return 0;
    } else if (!strcmp(what, "hide") || !strcmp(what, "hide-in-turns")) {
        getchar();
        if (!strcmp(what, "hide"))
            prctl(PR_SET_DUMPABLE, 0);
        else if (!fork())
            for (int turn = 0;; turn++) {
                prctl(PR_SET_DUMPABLE, turn & 1);
                usleep(300);
            }
        getchar();
    } else if (!strcmp(what, "wait")) {
        ask();
        ask();
    }
    return 0;
}
