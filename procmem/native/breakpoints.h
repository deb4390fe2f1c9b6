/* Breakpoints at functions of a traced program. The instruction under one is not put back to be stepped
 * over, which other threads could slip through: it is copied to unused bytes of an executable page,
 * with a jump back behind it, and run there. Where there are no such bytes the tracer does what the
 * instruction would do, if it is one of the simple ones that functions begin with. */
#ifndef PROCMEM_BREAKPOINTS_H
#define PROCMEM_BREAKPOINTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PM_MOST_BREAKS 512
#define PM_MOST_ROOMS 64
#define PM_SLOT 32

typedef struct {
    uint64_t at, slot; /* slot 0: the instruction is emulated */
    uint16_t function, role;
    uint8_t length, room; /* of the instruction; of the slot, its jump included */
    uint8_t code[16];     /* at `at`, without the breakpoint */
} pm_break;

typedef struct {
    uint64_t at;
    uint8_t size, bytes[PM_SLOT];
} pm_slot;

/* Those of one address space. */
typedef struct {
    int users;
    int lifted;
    uint64_t trap; /* a breakpoint that functions return to; 0: none yet */
    size_t count, slots, rooms;
    pm_break one[PM_MOST_BREAKS];
    pm_slot slot[PM_MOST_BREAKS + 1];
    struct { uint64_t start, end; } room[PM_MOST_ROOMS];
} pm_breaks;

/* Rewrites the instruction at `code`, which lies at `from`, for `to`, with a jump back. Gives its
 * old and new length, and returns the bytes written; 0: it is not one of those that can be moved. */
size_t pm_displace(const uint8_t *code, size_t size, uint64_t from, uint64_t to,
                   uint8_t out[PM_SLOT], uint8_t *length, uint8_t *moved);

#if defined __x86_64__ && defined __LP64__
#include <sys/user.h>
/* Does to `regs`, and to the memory of `tid`, what the instruction at `code` would; rip is its address.
 * Returns its length. 0: it is not one of those that are emulated, or memory could not be reached, and
 * nothing was changed. NULL for `regs`: only whether it is one of them. */
size_t pm_emulate(const uint8_t *code, size_t size, struct user_regs_struct *regs, pid_t tid);
#endif

/* Unused bytes of an executable mapping. */
void pm_breaks_room(pm_breaks *breaks, uint64_t start, uint64_t end);

/* `tid` is of the address space, and stands still; so below. 0, or a negated errno: ENOSPC (no
 * room), ENOEXEC (the instruction can be neither moved nor
 * emulated), ENOSYS, or that of ptrace(2). */
int pm_breaks_add(pm_breaks *breaks, pid_t tid, uint64_t at, uint16_t function, uint16_t role);

pm_break *pm_breaks_at(pm_breaks *breaks, uint64_t at);

/* Where a thread is that runs a copy: in the original. Elsewhere as it is. */
uint64_t pm_breaks_home(const pm_breaks *breaks, uint64_t ip);

/* Takes the breakpoints away; copies stay for those that run them. Clear: these, too. */
void pm_breaks_lift(pm_breaks *breaks, pid_t tid);
void pm_breaks_clear(pm_breaks *breaks, pid_t tid);

/* The range has been unmapped. */
void pm_breaks_forget(pm_breaks *breaks, uint64_t start, uint64_t end);

int pm_peek(pid_t tid, uint64_t at, void *out, size_t size);
int pm_poke(pid_t tid, uint64_t at, const void *bytes, size_t size);

#endif
