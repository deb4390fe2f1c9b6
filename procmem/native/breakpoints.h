/* Breakpoints at functions of a traced program. The instruction under a breakpoint is not restored and
 * single-stepped, because other threads could then pass it unseen: it is copied to unused bytes of an
 * executable page, with a jump back after it, and executed there. If there are no such bytes, the
 * tracer emulates the instruction, if it is one of the simple ones that functions begin with. */
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

/* The breakpoints of one address space. */
typedef struct {
    int users;
    int lifted;
    uint64_t trap; /* a breakpoint that functions return to; 0: none yet */
    size_t count, slots, rooms;
    pm_break one[PM_MOST_BREAKS];
    pm_slot slot[PM_MOST_BREAKS + 1];
    struct { uint64_t start, end; } room[PM_MOST_ROOMS];
} pm_breaks;

/* Rewrites the instruction at `code`, whose address is `from`, for the address `to`, with a jump back.
 * Stores its old and new length, and returns the bytes written; 0: the instruction can't be moved. */
size_t pm_displace(const uint8_t *code, size_t size, uint64_t from, uint64_t to,
                   uint8_t out[PM_SLOT], uint8_t *length, uint8_t *moved);

#if defined __x86_64__ && defined __LP64__
#include <sys/user.h>
/* Emulates the instruction at `code` on `regs` and the memory of `tid`; rip is its address. Returns its
 * length. 0: this instruction is not emulated, or its memory could not be accessed, and nothing was
 * changed. `regs` NULL: nothing is changed, and the result is 0 if it would not be emulated. */
size_t pm_emulate(const uint8_t *code, size_t size, struct user_regs_struct *regs, pid_t tid);
#endif

/* Adds unused bytes of an executable mapping. */
void pm_breaks_room(pm_breaks *breaks, uint64_t start, uint64_t end);

/* `tid` is a stopped thread of the address space, here and below. Returns 0 or a negated errno: ENOSPC
 * (no space), ENOEXEC (the instruction can be neither moved nor emulated), ENOSYS, or that of
 * ptrace(2). */
int pm_breaks_add(pm_breaks *breaks, pid_t tid, uint64_t at, uint16_t function, uint16_t role);

pm_break *pm_breaks_at(pm_breaks *breaks, uint64_t at);

/* The address in the original code for an address in a copy; any other address is returned as is. */
uint64_t pm_breaks_home(const pm_breaks *breaks, uint64_t ip);

/* Removes the breakpoints; copies stay for threads that are in them. Clear removes copies, too. */
void pm_breaks_lift(pm_breaks *breaks, pid_t tid);
void pm_breaks_clear(pm_breaks *breaks, pid_t tid);

/* The range has been unmapped. */
void pm_breaks_forget(pm_breaks *breaks, uint64_t start, uint64_t end);

int pm_peek(pid_t tid, uint64_t at, void *out, size_t size);
int pm_poke(pid_t tid, uint64_t at, const void *bytes, size_t size);

#endif
