/* Traces programs with ptrace(2) and records their memory calls, with readings of statm before
 * and after each.  One thread traces (launch or attach, then run); another takes the records. */
#ifndef PROCMEM_TRACER_H
#define PROCMEM_TRACER_H

#include <stddef.h>
#include <stdint.h>

#include "scanner.h"

enum { PM_EVENT_CALL, PM_EVENT_END, PM_EVENT_FOREIGN, PM_EVENT_BREAKS, PM_EVENT_LIMIT,
       PM_EVENT_SIGNAL, PM_EVENT_STOPPED, PM_EVENT_REFUSED };

#define PM_CALL_FAILED 1   /* result is a negated errno */
#define PM_CALL_ENDLESS 2  /* it did not return: exit, or the thread died in it */
#define PM_CALL_SHARED 4   /* the process had more than one thread */
#define PM_CALL_BORROWED 8 /* vfork: two processes on one address space */
#define PM_CALL_REGION 16  /* `region` holds one */
#define PM_CALL_MANY 32    /* more than one thread was traced */

#define PM_UNREAD UINT64_MAX

typedef struct {
    uint32_t size; /* of the record with its texts; a multiple of 8 */
    uint16_t kind, call;
    int32_t pid, tid;
    uint32_t flags;
    uint32_t name_size, text_size; /* texts behind the record: the region's name; see tracer.c */
    uint16_t within; /* of a system call: 1 + the number of the function that made it; 0: none */
    uint16_t made;   /* of a function: the reported system calls that it made */
    uint64_t argument[6];
    int64_t result; /* of PM_EVENT_END the status of wait(2) */
    uint64_t began, ns;
    uint64_t vsz_before, rss_before, vsz_after, rss_after; /* bytes, or PM_UNREAD */
    uint64_t region[PM_HEADER_WORDS];
} pm_event;

/* PM_EVENT_BREAKS: the name is the file's. The text has numbers (uint16_t): how many functions have a
 * breakpoint, these functions, how many have none, these functions; then the reason if calls of the
 * file's code are not seen. `result` is -errno of the last function without a breakpoint; rss_before
 * and rss_after are RSS before and after the breakpoints were set. */

/* PM_EVENT_SIGNAL, before it is delivered, and PM_EVENT_STOPPED, of a thread: `result` is the signal; of
 * the former the text is its siginfo_t. */

/* PM_EVENT_REFUSED: the program called ptrace(2), which failed because procmem traces already:
 * argument[0] is the request, argument[1] the thread that it was for. */

/* System calls. Numbers from pm_traced_calls on are functions, in the numbering of `find`. */
extern const char *const pm_traced_names[];
extern const size_t pm_traced_calls;

/* What a function returns: the address of memory; nothing; an int; a size_t; an int, with the address
 * of memory stored where its first argument points. */
enum { PM_GIVES, PM_FREES, PM_COUNTS, PM_SIZES, PM_STORES };
/* The address is that of a resolver, which selects the function to call (STT_GNU_IFUNC). */
#define PM_CHOSEN 0x100

typedef struct {
    uint64_t address; /* 0: its code in memory is not the file's */
    uint16_t function, role;
} pm_symbol;
#define PM_MOST_SYMBOLS 256
#define PM_MOST_WHY 240

typedef struct {
    uint64_t room, room_end; /* unused bytes of the mapping */
    size_t count, why_size;
    pm_symbol one[PM_MOST_SYMBOLS];
    char why[PM_MOST_WHY];
} pm_symbols;

/* Finds the functions in an executable mapping of a file: its header as of the scanner. */
typedef void (*pm_find)(void *who, int pid, const uint64_t *region, const char *name,
                        size_t name_size, pm_symbols *out);

typedef struct {
    /* asked */
    int follow;   /* record children, too */
    int filtered; /* seccomp: stop at memory calls alone */
    int fds[3];   /* the program's standard files; -1: as here */
    pm_find find; /* NULL: functions are not reported */
    void *who;
    int64_t most; /* calls of functions that are reported before breakpoints are lifted; -1: all */
    /* answered */
    int pid;
    int exec_error; /* errno of the program's execve(2), once it is over */
    int ended;      /* a status of wait(2) was seen for `pid` */
    int status;
} pm_tracer;

/* Must be called by the thread whose signal mask the program is to have. NULL: no memory. */
pm_tracer *pm_trace_new(void);
void pm_trace_free(pm_tracer *tracer);

/* Whether the kernel can stop a program at memory calls only (seccomp(2)). */
int pm_trace_can_filter(void);

/* 0, or a negated errno. The thread that calls either of these must call run as well. */
int pm_trace_launch(pm_tracer *tracer, const char *path, char **argv, char **envp,
                    const char *directory);
int pm_trace_attach(pm_tracer *tracer, int pid);

/* Runs until nothing is left to trace. Returns 0 or a negated errno. */
int pm_trace_run(pm_tracer *tracer);

/* May be called by any thread: launched programs are killed, attached processes are detached.
 * With `drop`, records are dropped from now on. */
void pm_trace_end(pm_tracer *tracer, int drop);

/* Moves whole records to `out`; returns their bytes. Never waits. */
size_t pm_trace_take(pm_tracer *tracer, char *out, size_t room);
#define PM_TRACE_ROOM 1048576

#endif
