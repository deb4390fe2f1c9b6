/* A process whose memory layout its tests dictate.

   It reads one command per line on standard input and answers each with one line of JSON on
   standard output: {"ok":true,...}, or {"ok":false,"call":...,"errno":...} when the kernel
   refused. Numbers may be decimal or 0x...; names and paths come in hexadecimal, so that any byte
   can be in them ("-" is the empty name). The first line, without being asked, is "truths".

   Nothing here calls malloc or stdio except where a command says so: the process starts without
   a heap, and what a command maps is all that changes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/sched.h>

#ifndef DATA_BYTES
#define DATA_BYTES 16384
#endif
#ifndef BSS_BYTES
#define BSS_BYTES 65536
#endif
#ifndef RODATA_BYTES
#define RODATA_BYTES 16384
#endif

/* Headers older than the kernel lack these. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

extern char **environ;
extern char etext, edata, end, __bss_start;
/* Absent where the first segment does not hold the ELF header. */
extern char __ehdr_start __attribute__((weak, visibility("hidden")));

unsigned char target_data[DATA_BYTES] = {1};
unsigned char target_bss[BSS_BYTES];
const unsigned char target_rodata[RODATA_BYTES] = {1};
/* Addresses as constants: with PIE they need relocation, so they live in .data.rel.ro. */
void *const target_relro[2] = {target_data, target_bss};

#ifdef WITH_LIBRARY
/* Filled in by library.c: addresses of its parts, in the order of library_parts below. */
extern void target_library(uintptr_t parts[5]);
#endif

static long page;
static int in_fd = STDIN_FILENO, out_fd = STDOUT_FILENO;
static uintptr_t libc_text, main_stack;
static unsigned long execs;
static char **main_argv;
/* The parent-death signal belongs to a thread and is not inherited by the ones it starts. */
static int dies_with_parent;

/* Stops the process for good: a reply nobody can read is an end of file as well. */
static _Noreturn void leave(int status);

/* ---- answers ---- */

static char out[1 << 16];
static size_t out_used;
static int first_field;

static void flush(void)
{
    size_t done = 0;
    while (done < out_used) {
        ssize_t n = write(out_fd, out + done, out_used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            leave(3);
        done += (size_t)n;
    }
    out_used = 0;
}

static void put(const char *text)
{
    size_t n = strlen(text);
    if (out_used + n > sizeof out)
        flush();
    memcpy(out + out_used, text, n);
    out_used += n;
}

static void put_number(uint64_t value)
{
    char digits[24];
    char *p = digits + sizeof digits;
    *--p = 0;
    do
        *--p = (char)('0' + value % 10);
    while (value /= 10);
    put(p);
}

static void key(const char *name)
{
    if (!first_field)
        put(",");
    first_field = 0;
    put("\"");
    put(name);
    put("\":");
}

static void field(const char *name, uint64_t value)
{
    key(name);
    put_number(value);
}

static void begin(void)
{
    put("{\"ok\":true");
    first_field = 0;
}

static void finish(void)
{
    put("}\n");
    flush();
}

static void done(void)
{
    begin();
    finish();
}

static void failed(const char *call)
{
    int error = errno;
    put("{\"ok\":false,\"call\":\"");
    put(call);
    put("\",\"errno\":");
    put_number((uint64_t)error);
    finish();
}

static void misuse(const char *what)
{
    errno = EINVAL;
    failed(what);
}

static void answer_mapping(const void *address, size_t length)
{
    begin();
    field("address", (uintptr_t)address);
    field("length", length);
    finish();
}

/* ---- requests ---- */

static char line[1 << 16];
static char input[1 << 12];
static size_t input_start, input_end;
static char *cursor;

static int next_line(void)
{
    size_t n = 0;
    for (;;) {
        while (input_start < input_end) {
            char c = input[input_start++];
            if (c == '\n') {
                line[n] = 0;
                cursor = line;
                return 1;
            }
            if (n + 1 < sizeof line)
                line[n++] = c;
        }
        ssize_t got = read(in_fd, input, sizeof input);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        input_start = 0;
        input_end = (size_t)got;
    }
}

static const char *word(void)
{
    while (*cursor == ' ')
        cursor++;
    char *start = cursor;
    while (*cursor && *cursor != ' ')
        cursor++;
    if (*cursor)
        *cursor++ = 0;
    return start;
}

static uintptr_t number(void)
{
    return strtoull(word(), NULL, 0);
}

static void *pointer(void)
{
    return (void *)number();
}

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* Decodes in place; the request's line holds the result. */
static char *name(void)
{
    char *text = (char *)word(), *to = text, *from = text;
    if (*from == '-')
        *from = 0;
    while (from[0] && from[1]) {
        *to++ = (char)(hex_digit(from[0]) << 4 | hex_digit(from[1]));
        from += 2;
    }
    *to = 0;
    return text;
}

/* ---- mapping ---- */

struct place {
    void *hint;
    size_t length;
    int prot, flags;
};

/* Each mapping gets a place of its own, far from every other one, since neighbours with equal
   attributes are merged by the kernel. 128 GiB is far below whatever the kernel places itself. */
static uintptr_t next_slot = sizeof(void *) == 8 ? (uintptr_t)0x2000 << 24 : 0x20000000;
#define SLOT ((uintptr_t)2 << 20)

static int protection(const char *perms)
{
    return (perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0)
           | (perms[2] == 'x' ? PROT_EXEC : 0);
}

/* AT is "slot" (a place of its own), "any" (the kernel's choice) or an address. */
static struct place placed(const char *at, size_t length, const char *perms)
{
    struct place p = {.length = length, .prot = protection(perms)};
    p.flags = strlen(perms) > 3 && perms[3] == 's' ? MAP_SHARED : MAP_PRIVATE;
    if (!strcmp(at, "slot")) {
        p.hint = (void *)next_slot;
        next_slot += (p.length + 2 * SLOT - 1) / SLOT * SLOT + SLOT;
        p.flags |= MAP_FIXED_NOREPLACE;
    } else if (strcmp(at, "any")) {
        p.hint = (void *)strtoull(at, NULL, 0);
        p.flags |= MAP_FIXED_NOREPLACE;
    }
    return p;
}

/* AT LENGTH PERMS of a request */
static struct place place(void)
{
    const char *at = word();
    size_t length = number();
    return placed(at, length, word());
}

static void *map_at(struct place p, int fd, uint64_t offset)
{
    return mmap(p.hint, p.length, p.prot, p.flags, fd, (off_t)offset);
}

/* Maps a descriptor, closes it, and answers. */
static void map_descriptor(struct place p, int fd, uint64_t offset)
{
    void *at = map_at(p, fd, offset);
    int error = errno;
    close(fd);
    errno = error;
    if (at == MAP_FAILED)
        failed("mmap");
    else
        answer_mapping(at, p.length);
}

/* map AT LENGTH PERMS FLAGS */
static void do_map(void)
{
    struct place p = place();
    p.flags |= MAP_ANONYMOUS | (int)number();
    void *at = map_at(p, -1, 0);
    if (at == MAP_FAILED)
        failed("mmap");
    else
        answer_mapping(at, p.length);
}

/* file AT LENGTH PERMS OFFSET PATH FLAGS */
static void do_file(void)
{
    struct place p = place();
    uint64_t offset = number();
    const char *path = name();
    p.flags |= (int)number();
    int writes = (p.prot & PROT_WRITE) && (p.flags & MAP_SHARED);
    int fd = open(path, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0)
        failed("open");
    else
        map_descriptor(p, fd, offset);
}

/* memfd AT LENGTH PERMS NAME FLAGS */
static void do_memfd(void)
{
    struct place p = place();
    const char *called = name();
    int fd = memfd_create(called, MFD_CLOEXEC | (unsigned)number());
    if (fd < 0) {
        failed("memfd_create");
    } else if (ftruncate(fd, (off_t)p.length)) {
        failed("ftruncate");
        close(fd);
    } else {
        map_descriptor(p, fd, 0);
    }
}

/* shm AT LENGTH PERMS PATH KEEP: a file in /dev/shm, made anew, unlinked unless KEEP. */
static void do_shm(void)
{
    struct place p = place();
    const char *path = name();
    int keep = (int)number();
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        failed("open");
        return;
    }
    if (!keep)
        unlink(path);
    if (ftruncate(fd, (off_t)p.length)) {
        failed("ftruncate");
        close(fd);
        return;
    }
    map_descriptor(p, fd, 0);
}

/* secret AT LENGTH PERMS */
static void do_secret(void)
{
    struct place p = place();
    int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    if (fd < 0) {
        failed("memfd_secret");
    } else if (ftruncate(fd, (off_t)p.length)) {
        failed("ftruncate");
        close(fd);
    } else {
        map_descriptor(p, fd, 0);
    }
}

/* sysv AT LENGTH PERMS KEY FLAGS: removed as soon as it is attached, so nothing is left behind. */
static void do_sysv(void)
{
    struct place p = place();
    key_t id = (key_t)number();
    int flags = (int)number();
    int shm = shmget(id, p.length, IPC_CREAT | IPC_EXCL | 0600 | flags);
    if (shm < 0) {
        failed("shmget");
        return;
    }
    void *at = shmat(shm, p.hint, p.prot & PROT_WRITE ? 0 : SHM_RDONLY);
    int error = errno;
    shmctl(shm, IPC_RMID, NULL);
    errno = error;
    if (at == (void *)-1) {
        failed("shmat");
        return;
    }
    begin();
    field("address", (uintptr_t)at);
    field("length", p.length);
    field("shmid", (uint64_t)shm);
    finish();
}

/* uring ENTRIES: the submission ring (with the completion ring in it) and the entries' array. */
static void do_uring(void)
{
    struct io_uring_params params = {0};
    unsigned entries = (unsigned)number();
    int fd = (int)syscall(SYS_io_uring_setup, entries, &params);
    if (fd < 0) {
        failed("io_uring_setup");
        return;
    }
    size_t ring = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t completions = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    if (completions > ring)
        ring = completions;
    struct place p = {.length = ring, .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED};
    map_descriptor(p, fd, IORING_OFF_SQ_RING);
}

/* perf PAGES: a ring of PAGES (a power of two) behind its control page. */
static void do_perf(void)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof attr,
        .config = PERF_COUNT_SW_DUMMY,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    size_t length = (number() + 1) * (size_t)page;
    int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        failed("perf_event_open");
        return;
    }
    struct place p = {.length = length, .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED};
    map_descriptor(p, fd, 0);
}

/* aio EVENTS: the ring's address is the context; its size is the kernel's choice. */
static void do_aio(void)
{
    unsigned long context = 0;
    if (syscall(SYS_io_setup, (unsigned)number(), &context)) {
        failed("io_setup");
        return;
    }
    answer_mapping((void *)context, 0);
}

/* packet BLOCKS: a receive ring of one-page blocks. */
static void do_packet(void)
{
    unsigned blocks = (unsigned)number();
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        failed("socket");
        return;
    }
    struct tpacket_req ring = {
        .tp_block_size = (unsigned)page,
        .tp_block_nr = blocks,
        .tp_frame_size = (unsigned)page,
        .tp_frame_nr = blocks,
    };
    if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring)) {
        failed("setsockopt");
        close(fd);
        return;
    }
    struct place p = {
        .length = blocks * (size_t)page, .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED};
    map_descriptor(p, fd, 0);
}

/* tcp LENGTH: the window for zero-copy receiving that any TCP socket offers. */
static void do_tcp(void)
{
    struct place p = {.length = number(), .prot = PROT_READ, .flags = MAP_SHARED};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        failed("socket");
    else
        map_descriptor(p, fd, 0);
}

/* regions AT COUNT KIND PATH: one page each, never mergeable. KIND "anon" alternates rw-p and
   r--p; "file" maps page 0 of PATH over and over; "touched" is "anon" with the writable written. */
static void do_regions(void)
{
    const char *at = word();
    size_t count = number(), made = 0;
    const char *kind = word();
    const char *path = name();
    int file = !strcmp(kind, "file");
    size_t length = count * (size_t)page;
    struct place p = placed(at, length, file ? "---p" : "rw-p");
    p.flags |= MAP_ANONYMOUS;
    int fd = file ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file && fd < 0) {
        failed("open");
        return;
    }
    char *base = map_at(p, -1, 0);
    int error = 0;
    if (base == MAP_FAILED) {
        failed("mmap");
        if (file)
            close(fd);
        return;
    }
    const char *call = file ? "mmap" : "mprotect";
    for (; made < count; made++) {
        char *region = base + made * (size_t)page;
        if (file) {
            if (mmap(region, (size_t)page, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0)
                == MAP_FAILED)
                break;
        } else if (made % 2 == 1) {
            if (mprotect(region, (size_t)page, PROT_READ))
                break;
        } else if (!strcmp(kind, "touched")) {
            *(volatile char *)region = 1;
        }
    }
    if (made < count) {
        error = errno;
        /* The last writable page is one region with all that follows it. */
        if (!file)
            made -= made % 2;
    }
    if (file)
        close(fd);
    begin();
    field("address", (uintptr_t)base);
    field("length", length);
    field("made", made);
    field("errno", (uint64_t)error);
    key("call");
    put("\"");
    put(call);
    put("\"");
    finish();
}

/* ---- changing what is mapped ---- */

static void result_of(int failure, const char *call)
{
    if (failure)
        failed(call);
    else
        done();
}

/* unmap ADDRESS LENGTH */
static void do_unmap(void)
{
    void *at = pointer();
    result_of(munmap(at, number()), "munmap");
}

/* protect ADDRESS LENGTH PERMS */
static void do_protect(void)
{
    void *at = pointer();
    size_t length = number();
    result_of(mprotect(at, length, protection(word())), "mprotect");
}

/* pkey ADDRESS LENGTH PERMS: under a new protection key */
static void do_pkey(void)
{
    void *at = pointer();
    size_t length = number();
    int prot = protection(word());
    int allocated = pkey_alloc(0, 0);
    if (allocated < 0) {
        failed("pkey_alloc");
    } else if (pkey_mprotect(at, length, prot, allocated)) {
        failed("pkey_mprotect");
    } else {
        begin();
        field("pkey", (uint64_t)allocated);
        finish();
    }
}

/* remap ADDRESS OLD NEW FLAGS */
static void do_remap(void)
{
    void *at = pointer();
    size_t before = number(), after = number();
    /* glibc reads the new address for some flags, so it must be given. */
    void *moved = mremap(at, before, after, (int)number(), NULL);
    if (moved == MAP_FAILED)
        failed("mremap");
    else
        answer_mapping(moved, after);
}

/* madvise ADDRESS LENGTH ADVICE */
static void do_madvise(void)
{
    void *at = pointer();
    size_t length = number();
    int advice = (int)number();
    if (advice == MADV_HUGEPAGE || advice == MADV_COLLAPSE)
        prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
    result_of(madvise(at, length, advice), "madvise");
}

/* lock ADDRESS LENGTH FLAGS (MLOCK_ONFAULT is 1) */
static void do_lock(void)
{
    void *at = pointer();
    size_t length = number();
    result_of(mlock2(at, length, (unsigned)number()), "mlock2");
}

/* unlock ADDRESS LENGTH */
static void do_unlock(void)
{
    void *at = pointer();
    result_of(munlock(at, number()), "munlock");
}

/* seal ADDRESS LENGTH: from then on it can't be unmapped, moved or protected otherwise */
static void do_seal(void)
{
    uintptr_t at = number();
    result_of((int)syscall(SYS_mseal, at, number(), 0), "mseal");
}

/* name ADDRESS LENGTH NAME: shown as [anon:NAME] or [anon_shmem:NAME] */
static void do_name(void)
{
    uintptr_t at = number();
    size_t length = number();
    result_of(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, length, name()), "prctl");
}

/* touch ADDRESS PAGES: writes one byte in each */
static void do_touch(void)
{
    volatile char *at = pointer();
    for (size_t n = number(); n; n--, at += page)
        *at = 1;
    done();
}

/* read ADDRESS PAGES */
static void do_read(void)
{
    volatile const char *at = pointer();
    for (size_t n = number(); n; n--, at += page)
        (void)*at;
    done();
}

/* poke ADDRESS BYTES */
static void do_poke(void)
{
    char *at = pointer();
    char *from = (char *)word();
    for (; from[0] && from[1]; from += 2)
        *at++ = (char)(hex_digit(from[0]) << 4 | hex_digit(from[1]));
    done();
}

/* stack PAGES: lets the stack of the serving thread grow below where it is. */
static __attribute__((noinline)) void do_stack(void)
{
    size_t pages = number();
    char *top = __builtin_frame_address(0);
    volatile char *deep = __builtin_alloca(pages * (size_t)page + 1);
    for (size_t n = 0; n <= pages; n++)
        deep[(pages - n) * (size_t)page] = 1;
    begin();
    field("top", (uintptr_t)top);
    field("bottom", (uintptr_t)deep);
    finish();
}

/* brk BYTES (may be negative): the bare system call, malloc not asked. */
static void do_brk(void)
{
    long change = (long)number();
    uintptr_t before = (uintptr_t)syscall(SYS_brk, 0);
    uintptr_t wanted = before + (uintptr_t)change;
    uintptr_t after = (uintptr_t)syscall(SYS_brk, wanted);
    if (after != wanted) {
        errno = ENOMEM;
        failed("brk");
        return;
    }
    begin();
    field("before", before);
    field("after", after);
    finish();
}

/* malloc BYTES: not touched beyond malloc's own header */
static void do_malloc(void)
{
    size_t size = number();
    void *chunk = malloc(size);
    if (!chunk)
        failed("malloc");
    else
        answer_mapping(chunk, size);
}

/* free ADDRESS */
static void do_free(void)
{
    free(pointer());
    done();
}

/* ---- threads that sleep ---- */

struct sleeper {
    pthread_t thread;
    sem_t wake;
    size_t want;
    char *chunk;
    uintptr_t local;
    int tid;
    char called[16];
};

#define MAX_SLEEPERS 1024
static struct sleeper sleepers[MAX_SLEEPERS];
static size_t sleeping;
static sem_t settled;

static void *sleep_here(void *argument)
{
    struct sleeper *self = argument;
    volatile char local = 1;
    self->local = (uintptr_t)&local;
    self->tid = (int)syscall(SYS_gettid);
    if (self->called[0])
        prctl(PR_SET_NAME, self->called);
    if (self->want) {
        self->chunk = malloc(self->want);
        if (self->chunk)
            *(volatile char *)self->chunk = 1;
    }
    sem_post(&settled);
    while (sem_wait(&self->wake))
        continue;
    return NULL;
}

/* threads COUNT STACK GUARD MALLOC NAME: STACK and GUARD in bytes, 0 for what glibc picks;
   MALLOC is how much each allocates itself. */
static void do_threads(void)
{
    size_t count = number(), stack = number(), guard = number(), want = number();
    const char *called = name();
    size_t first = sleeping;
    pthread_attr_t attr;
    if (count > MAX_SLEEPERS - sleeping) {
        misuse("threads");
        return;
    }
    pthread_attr_init(&attr);
    if (stack)
        pthread_attr_setstacksize(&attr, stack);
    if (guard)
        pthread_attr_setguardsize(&attr, guard);
    pthread_attr_getstacksize(&attr, &stack);
    pthread_attr_getguardsize(&attr, &guard);
    for (size_t n = 0; n < count; n++) {
        struct sleeper *s = &sleepers[sleeping];
        memset(s, 0, sizeof *s);
        s->want = want;
        strncpy(s->called, called, sizeof s->called - 1);
        sem_init(&s->wake, 0, 0);
        int error = pthread_create(&s->thread, &attr, sleep_here, s);
        if (error) {
            errno = error;
            failed("pthread_create");
            return;
        }
        /* One at a time, so that each finds the state that the one before it left. */
        while (sem_wait(&settled))
            continue;
        sleeping++;
    }
    pthread_attr_destroy(&attr);
    begin();
    field("stack", stack);
    field("guard", guard);
    key("threads");
    put("[");
    for (size_t n = first; n < sleeping; n++) {
        put(n == first ? "{" : ",{");
        first_field = 1;
        field("tid", (uint64_t)sleepers[n].tid);
        field("local", sleepers[n].local);
        field("chunk", (uintptr_t)sleepers[n].chunk);
        put("}");
    }
    put("]");
    finish();
}

/* join: every sleeping thread ends; glibc keeps up to 40 MiB of their stacks mapped. */
static void do_join(void)
{
    for (size_t n = 0; n < sleeping; n++) {
        sem_post(&sleepers[n].wake);
        pthread_join(sleepers[n].thread, NULL);
    }
    sleeping = 0;
    done();
}

/* ---- threads that work ---- */

struct worker {
    pthread_t thread;
    atomic_int stop;
    atomic_ulong rounds;
    char *base;
    size_t first, count;
    int tid, used;
};

#define MAX_WORKERS 64
static struct worker workers[MAX_WORKERS];

static struct worker *start_worker(void *(*body)(void *), char *base, size_t first, size_t count)
{
    for (struct worker *w = workers; w < workers + MAX_WORKERS; w++) {
        if (w->used)
            continue;
        memset(w, 0, sizeof *w);
        w->base = base;
        w->first = first;
        w->count = count;
        int error = pthread_create(&w->thread, NULL, body, w);
        if (error) {
            errno = error;
            return NULL;
        }
        w->used = 1;
        while (sem_wait(&settled))
            continue;
        return w;
    }
    errno = EAGAIN;
    return NULL;
}

static void worker_is_up(struct worker *w)
{
    w->tid = (int)syscall(SYS_gettid);
    sem_post(&settled);
}

static void answer_worker(struct worker *w)
{
    if (!w) {
        failed("pthread_create");
        return;
    }
    begin();
    field("worker", (uint64_t)(w - workers));
    field("tid", (uint64_t)w->tid);
    field("address", (uintptr_t)w->base);
    finish();
}

static struct worker *worker(void)
{
    size_t n = number();
    if (n < MAX_WORKERS && workers[n].used)
        return &workers[n];
    misuse("worker");
    return NULL;
}

/* rounds WORKER */
static void do_rounds(void)
{
    struct worker *w = worker();
    if (!w)
        return;
    begin();
    field("rounds", atomic_load(&w->rounds));
    finish();
}

/* stop WORKER */
static void do_stop(void)
{
    struct worker *w = worker();
    if (!w)
        return;
    atomic_store(&w->stop, 1);
    pthread_join(w->thread, NULL);
    w->used = 0;
    begin();
    field("rounds", atomic_load(&w->rounds));
    finish();
}

static void *spin(void *argument)
{
    struct worker *w = argument;
    worker_is_up(w);
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed))
        atomic_fetch_add_explicit(&w->rounds, 1, memory_order_relaxed);
    return NULL;
}

/* spin: a thread that burns its CPU and maps nothing */
static void do_spin(void)
{
    answer_worker(start_worker(spin, NULL, 0, 0));
}

static void *churn(void *argument)
{
    struct worker *w = argument;
    worker_is_up(w);
    while (!atomic_load(&w->stop)) {
        for (size_t n = 0; n < w->count; n++)
            *(volatile char *)(w->base + n * (size_t)page) = 1;
        madvise(w->base, w->count * (size_t)page, MADV_DONTNEED);
        atomic_fetch_add(&w->rounds, 1);
    }
    return NULL;
}

/* churn ADDRESS PAGES: a thread that touches and drops the pages of a mapping without end */
static void do_churn(void)
{
    char *base = pointer();
    answer_worker(start_worker(churn, base, 0, number()));
}

static void *fork_on(void *argument)
{
    struct worker *w = argument;
    worker_is_up(w);
    while (!atomic_load(&w->stop)) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child > 0)
            while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
                continue;
        atomic_fetch_add(&w->rounds, 1);
    }
    return NULL;
}

/* forks: a thread that makes children which exit at once, and reaps each */
static void do_forks(void)
{
    answer_worker(start_worker(fork_on, NULL, 0, 0));
}

/* The pages of a storm's area, AREA of them:
      0..3   always rw-p, but merged with their neighbours and split off again
      4..7   mapped and unmapped
      8..11  always mapped, protection changes
     12..15  always rw-p, merged and split as 0..3
     16..19  r--p, a region whose bounds never change
     20..23  a hole */
#define AREA 24

static void *storm(void *argument)
{
    struct worker *w = argument;
    size_t four = 4 * (size_t)page;
    worker_is_up(w);
    while (!atomic_load(&w->stop)) {
        for (size_t n = w->first; n < w->first + w->count; n++) {
            char *area = w->base + n * AREA * (size_t)page;
            mmap(area + four, four, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            mprotect(area + 2 * four, four, PROT_NONE);
            mprotect(area + 2 * four, four, PROT_READ | PROT_WRITE);
            munmap(area + four, four);
        }
        atomic_fetch_add(&w->rounds, 1);
    }
    return NULL;
}

/* storm AREAS THREADS: threads that map, unmap, split and merge as fast as they can */
static void do_storm(void)
{
    size_t areas = number(), threads = number();
    size_t four = 4 * (size_t)page, length = areas * AREA * (size_t)page;
    if (!threads || areas < threads) {
        misuse("storm");
        return;
    }
    struct place p = placed("slot", length, "---p");
    p.flags |= MAP_ANONYMOUS;
    char *base = map_at(p, -1, 0);
    if (base == MAP_FAILED || munmap(base, length)) {
        failed("mmap");
        return;
    }
    for (size_t n = 0; n < areas; n++) {
        char *area = base + n * AREA * (size_t)page;
        if (mmap(area, 4 * four, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED
            || mmap(area + 4 * four, four, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED) {
            failed("mmap");
            return;
        }
    }
    begin();
    field("address", (uintptr_t)base);
    field("length", length);
    field("area", AREA);
    key("workers");
    put("[");
    for (size_t n = 0; n < threads; n++) {
        size_t first = areas * n / threads, next = areas * (n + 1) / threads;
        struct worker *w = start_worker(storm, base, first, next - first);
        if (!w) {
            out_used = 0;
            failed("pthread_create");
            return;
        }
        put(n ? "," : "");
        put_number((uint64_t)(w - workers));
    }
    put("]");
    finish();
}

/* ---- processes ---- */

static void hello(void);
static void serve(void);

struct child {
    pid_t pid;
    int to, from;
};

#define MAX_CHILDREN 256
static struct child children[MAX_CHILDREN];

static struct child *find_child(pid_t pid)
{
    for (struct child *c = children; c < children + MAX_CHILDREN; c++)
        if (c->pid == pid)
            return c;
    errno = ECHILD;
    return NULL;
}

static _Noreturn void leave(int status)
{
    for (struct child *c = children; c < children + MAX_CHILDREN; c++)
        if (c->pid) {
            kill(c->pid, SIGKILL);
            waitpid(c->pid, NULL, 0);
        }
    _exit(status);
}

/* Copies one line of a child's answer to our own output. */
static int relay(struct child *c)
{
    char byte;
    for (;;) {
        ssize_t n = read(c->from, &byte, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        if (out_used == sizeof out)
            flush();
        out[out_used++] = byte;
        if (byte == '\n') {
            flush();
            return 1;
        }
    }
}

/* fork(), with a PID of choice where that is not 0. */
static pid_t fork_as(pid_t pid)
{
    if (!pid)
        return fork();
    struct clone_args how = {
        .exit_signal = SIGCHLD,
        .set_tid = (uintptr_t)&pid,
        .set_tid_size = 1,
    };
    return (pid_t)syscall(SYS_clone3, &how, sizeof how);
}

/* fork PID: a child that shares every page until one of both writes, and that serves "tell". PID
   is that of a process now gone, or 0. The child's first answer, the truths, is ours. */
static void do_fork(void)
{
    pid_t wanted = (pid_t)number();
    int down[2], up[2];
    struct child *c = find_child(0);
    if (!c) {
        failed("fork");
        return;
    }
    if (pipe2(down, O_CLOEXEC)) {
        failed("pipe2");
        return;
    }
    if (pipe2(up, O_CLOEXEC)) {
        failed("pipe2");
        close(down[0]);
        close(down[1]);
        return;
    }
    pid_t pid = fork_as(wanted);
    if (pid < 0) {
        failed(wanted ? "clone3" : "fork");
        close(down[0]);
        close(down[1]);
        close(up[0]);
        close(up[1]);
        return;
    }
    if (pid == 0) {
        /* fork() clears it; the parent thread is the one that serves. */
        dies_with_parent = 1;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(down[1]);
        close(up[0]);
        in_fd = down[0];
        out_fd = up[1];
        input_start = input_end = 0;
        /* A brother ends when its pipe does: nobody else may hold it open. */
        for (struct child *brother = children; brother < children + MAX_CHILDREN; brother++)
            if (brother->pid && brother->to >= 0) {
                close(brother->to);
                close(brother->from);
            }
        memset(children, 0, sizeof children);
        memset(workers, 0, sizeof workers);
        sleeping = 0;
        hello();
        serve();
        leave(0);
    }
    close(down[0]);
    close(up[1]);
    *c = (struct child){pid, down[1], up[0]};
    if (!relay(c)) {
        errno = ECHILD;
        failed("fork");
    }
}

/* tell PID COMMAND...: the child obeys and its answer is ours */
static void do_tell(void)
{
    struct child *c = find_child((pid_t)number());
    if (!c || !c->pid || c->to < 0) {
        errno = ECHILD;
        failed("tell");
        return;
    }
    size_t n = strlen(cursor);
    cursor[n] = '\n';
    if (write(c->to, cursor, n + 1) != (ssize_t)(n + 1)) {
        failed("write");
        return;
    }
    if (!relay(c)) {
        errno = ECHILD;
        failed("tell");
    }
}

/* zombie: a child that has exited and that nobody has waited for */
static void do_zombie(void)
{
    struct child *c = find_child(0);
    siginfo_t info;
    if (!c) {
        failed("fork");
        return;
    }
    pid_t pid = fork();
    if (pid < 0) {
        failed("fork");
        return;
    }
    if (pid == 0)
        _exit(0);
    *c = (struct child){pid, -1, -1};
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        continue;
    begin();
    field("pid", (uint64_t)pid);
    finish();
}

/* reap PID: waits for a child; one that serves is told to leave first */
static void do_reap(void)
{
    struct child *c = find_child((pid_t)number());
    if (!c || !c->pid) {
        errno = ECHILD;
        failed("waitpid");
        return;
    }
    if (c->to >= 0) {
        close(c->to);
        close(c->from);
    }
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    memset(c, 0, sizeof *c);
    done();
}

static void *serve_instead(void *unused)
{
    static char path[64], text[512];
    (void)unused;
    if (dies_with_parent)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    for (;;) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            failed("open");
            break;
        }
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        text[n > 0 ? n : 0] = 0;
        /* The name may hold a parenthesis too: the last one ends it. */
        const char *state = strrchr(text, ')');
        if (state && state[1] && state[2] == 'Z') {
            begin();
            field("tid", (uint64_t)syscall(SYS_gettid));
            finish();
            break;
        }
        sched_yield();
    }
    serve();
    leave(0);
}

/* leader: the thread that the process is named after ends; another one serves on */
static void do_leader(void)
{
    pthread_t thread;
    if (syscall(SYS_gettid) != getpid()) {
        errno = ESRCH;
        failed("leader");
        return;
    }
    int error = pthread_create(&thread, NULL, serve_instead, NULL);
    if (error) {
        errno = error;
        failed("pthread_create");
        return;
    }
    /* pthread_exit would load libgcc_s to unwind; the bare call maps nothing. */
    syscall(SYS_exit, 0);
}

static void do_exec_of(const char *path, char *const argv[])
{
    execve(path, argv, environ);
    failed("execve");
}

static char *executable(void)
{
    return (char *)getauxval(AT_EXECFN);
}

/* exec PATH ("-" is this program): the answer is the new image's truths */
static void do_exec(void)
{
    char *path = name();
    char *argv[] = {main_argv[0], NULL};
    do_exec_of(*path ? path : executable(), argv);
}

static char loop_count[24], loop_regions[24];

static void write_number(char *to, unsigned long value)
{
    snprintf(to, 24, "%lu", value);
}

/* execs REGIONS: execs itself over and over, with so many regions mapped before each, until a
   line can be read; the truths of the last image then come first. */
static void do_execs(void)
{
    write_number(loop_regions, number());
    write_number(loop_count, 1);
    char *argv[] = {main_argv[0], "exec-loop", loop_count, loop_regions, NULL};
    done();
    do_exec_of(executable(), argv);
}

static void exec_on(char **argv)
{
    struct pollfd waiting = {.fd = STDIN_FILENO, .events = POLLIN};
    size_t count = strtoul(argv[3], NULL, 10);
    execs = strtoul(argv[2], NULL, 10);
    if (poll(&waiting, 1, 0) > 0)
        return;
    char *base = mmap(NULL, (count + 1) * (size_t)page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base != MAP_FAILED)
        for (size_t n = 1; n < count; n += 2)
            mprotect(base + n * (size_t)page, (size_t)page, PROT_READ);
    write_number(loop_count, execs + 1);
    char *again[] = {argv[0], argv[1], loop_count, argv[3], NULL};
    execve(executable(), again, environ);
}

/* deathsig ON: the process ends with the thread that started it */
static void do_deathsig(void)
{
    dies_with_parent = number() != 0;
    result_of(prctl(PR_SET_PDEATHSIG, dies_with_parent ? SIGKILL : 0), "prctl");
}

/* dumpable ON: a process that is not hides its memory from its own user */
static void do_dumpable(void)
{
    result_of(prctl(PR_SET_DUMPABLE, number()), "prctl");
}

/* comm NAME: of the serving thread */
static void do_comm(void)
{
    result_of(prctl(PR_SET_NAME, name()), "prctl");
}

/* personality FLAGS: takes effect at the next exec */
static void do_personality(void)
{
    result_of(personality(number()) == -1, "personality");
}

/* limit RESOURCE VALUE ("-1" is no limit) */
static void do_limit(void)
{
    int resource = (int)number();
    rlim_t value = (rlim_t)number();
    struct rlimit both = {value, value};
    result_of(setrlimit(resource, &both), "setrlimit");
}

/* chdir PATH: for files whose full path no system call takes */
static void do_chdir(void)
{
    result_of(chdir(name()), "chdir");
}

/* exit STATUS */
static void do_exit(void)
{
    leave((int)number());
}

/* truths: what only the process itself knows */
static void hello(void)
{
    begin();
    field("pid", (uint64_t)getpid());
    field("tid", (uint64_t)syscall(SYS_gettid));
    field("page_size", (uint64_t)page);
    field("execs", execs);
    field("brk", (uintptr_t)syscall(SYS_brk, 0));
    field("main", (uintptr_t)&hello);
    field("data", (uintptr_t)target_data);
    field("data_bytes", sizeof target_data);
    field("bss", (uintptr_t)target_bss);
    field("bss_bytes", sizeof target_bss);
    field("rodata", (uintptr_t)target_rodata);
    field("rodata_bytes", sizeof target_rodata);
    field("relro", (uintptr_t)target_relro);
    field("image", (uintptr_t)&__ehdr_start);
    field("etext", (uintptr_t)&etext);
    field("edata", (uintptr_t)&edata);
    field("bss_start", (uintptr_t)&__bss_start);
    field("end", (uintptr_t)&end);
    field("stack", main_stack);
    field("argv", (uintptr_t)main_argv);
    field("argv0", (uintptr_t)main_argv[0]);
    field("environ", (uintptr_t)environ);
    field("execfn", (uintptr_t)executable());
    field("loader", (uintptr_t)getauxval(AT_BASE));
    field("vdso", (uintptr_t)getauxval(AT_SYSINFO_EHDR));
    field("libc_text", libc_text);
    field("libc_data", (uintptr_t)stdout);
#ifdef WITH_LIBRARY
    uintptr_t parts[5];
    target_library(parts);
    field("library_text", parts[0]);
    field("library_data", parts[1]);
    field("library_bss", parts[2]);
    field("library_rodata", parts[3]);
    field("library_relro", parts[4]);
#endif
    finish();
}

static const struct {
    const char *called;
    void (*obey)(void);
} commands[] = {
    {"truths", hello},          {"ping", done},
    {"map", do_map},            {"file", do_file},
    {"memfd", do_memfd},        {"shm", do_shm},
    {"secret", do_secret},      {"sysv", do_sysv},
    {"uring", do_uring},        {"perf", do_perf},
    {"aio", do_aio},            {"packet", do_packet},
    {"tcp", do_tcp},            {"regions", do_regions},
    {"unmap", do_unmap},        {"protect", do_protect},
    {"pkey", do_pkey},          {"remap", do_remap},
    {"madvise", do_madvise},    {"lock", do_lock},
    {"unlock", do_unlock},      {"name", do_name},
    {"seal", do_seal},
    {"touch", do_touch},        {"read", do_read},
    {"poke", do_poke},          {"stack", do_stack},
    {"brk", do_brk},            {"malloc", do_malloc},
    {"free", do_free},          {"threads", do_threads},
    {"join", do_join},          {"rounds", do_rounds},
    {"stop", do_stop},          {"spin", do_spin},
    {"churn", do_churn},        {"forks", do_forks},
    {"storm", do_storm},        {"fork", do_fork},
    {"tell", do_tell},          {"zombie", do_zombie},
    {"reap", do_reap},          {"leader", do_leader},
    {"exec", do_exec},          {"execs", do_execs},
    {"deathsig", do_deathsig},  {"dumpable", do_dumpable},
    {"comm", do_comm},          {"personality", do_personality},
    {"limit", do_limit},        {"chdir", do_chdir},
    {"exit", do_exit},
};

static void serve(void)
{
    while (next_line()) {
        const char *verb = word();
        size_t n = 0;
        while (n < sizeof commands / sizeof *commands && strcmp(verb, commands[n].called))
            n++;
        if (n < sizeof commands / sizeof *commands)
            commands[n].obey();
        else
            misuse("unknown command");
    }
}

int main(int argc, char **argv)
{
    char local;
    page = sysconf(_SC_PAGESIZE);
    /* Each page comes alone, also where the kernel makes huge pages unasked. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    main_argv = argv;
    main_stack = (uintptr_t)&local;
    libc_text = (uintptr_t)__builtin_return_address(0);
    sem_init(&settled, 0, 0);
    if (argc == 4 && !strcmp(argv[1], "exec-loop"))
        exec_on(argv);
    hello();
    serve();
    leave(0);
}
