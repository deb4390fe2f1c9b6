#define _GNU_SOURCE
#include "breakpoints.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define P_PEEKDATA 2
#define P_POKEDATA 5
#define BREAK 0xcc /* int3 */

/* ---- the memory of another ---- */

/* ptrace(2), not process_vm_writev(2): it may write to code, of which the process then has a copy. */
int pm_peek(pid_t tid, uint64_t at, void *out, size_t size)
{
    uint64_t word, base;
    size_t part;

    while (size) {
        base = at & ~(uint64_t)7;
        part = 8 - (at - base) < size ? 8 - (at - base) : size;
        if (syscall(SYS_ptrace, P_PEEKDATA, tid, base, &word) < 0)
            return -errno;
        memcpy(out, (char *)&word + (at - base), part);
        out = (char *)out + part;
        at += part;
        size -= part;
    }
    return 0;
}

int pm_poke(pid_t tid, uint64_t at, const void *bytes, size_t size)
{
    uint64_t word, base;
    size_t part;

    while (size) {
        base = at & ~(uint64_t)7;
        part = 8 - (at - base) < size ? 8 - (at - base) : size;
        if (syscall(SYS_ptrace, P_PEEKDATA, tid, base, &word) < 0)
            return -errno;
        memcpy((char *)&word + (at - base), bytes, part);
        if (syscall(SYS_ptrace, P_POKEDATA, tid, base, word) < 0)
            return -errno;
        bytes = (const char *)bytes + part;
        at += part;
        size -= part;
    }
    return 0;
}

/* ---- one instruction, elsewhere ---- */

#if defined __x86_64__ && defined __LP64__

static int near(uint64_t from, uint64_t to, int32_t *displacement)
{
    int64_t distance = (int64_t)(to - from);

    *displacement = (int32_t)distance;
    return distance == *displacement;
}

/* What follows an opcode of one byte: M a ModRM byte, 1 an immediate of one byte, 4 one of the operand's
 * size (four at most), 8 one of the full size, T by ModRM's reg; 0: no copy runs the same elsewhere, or
 * not known. From the opcode map of the processor's manual (volume 2, appendix A). */
static const char *shape(uint8_t opcode)
{
    if (opcode < 0x40) {
        static const char *const alu[] = {"M", "M", "M", "M", "1", "4", NULL, NULL};

        return alu[opcode & 7];
    }
    if (opcode >= 0x50 && opcode < 0x60)
        return "";
    if (opcode >= 0xb0 && opcode < 0xc0)
        return opcode < 0xb8 ? "1" : "8";
    switch (opcode) {
    case 0x63: case 0x84: case 0x85: case 0x86: case 0x87: case 0x88: case 0x89: case 0x8a:
    case 0x8b: case 0x8d: case 0xd0: case 0xd1: case 0xd2: case 0xd3:
        return "M";
    case 0x80: case 0x83: case 0x6b: case 0xc0: case 0xc1: case 0xc6:
        return "M1";
    case 0x81: case 0x69: case 0xc7:
        return "M4";
    case 0x68: case 0xa9:
        return "4";
    case 0x6a: case 0xa8:
        return "1";
    case 0x90: case 0x98: case 0x99:
        return "";
    case 0xf6: case 0xf7:
        return "MT";
    }
    return NULL;
}

static const char *shape_of_two(uint8_t opcode)
{
    if ((opcode >= 0x10 && opcode < 0x18) || (opcode >= 0x28 && opcode < 0x30) ||
        (opcode >= 0x40 && opcode < 0x60) || (opcode >= 0x90 && opcode < 0xa0))
        return "M";
    switch (opcode) {
    case 0x1e: case 0x1f: case 0x6e: case 0x6f: case 0x7e: case 0x7f: case 0xaf: case 0xb6:
    case 0xb7: case 0xbe: case 0xbf: case 0xd6: case 0xef:
        return "M";
    }
    return NULL;
}

static size_t jump(uint8_t *out, uint64_t at, uint64_t to)
{
    int32_t displacement;

    if (!near(at + 5, to, &displacement))
        return 0;
    out[0] = 0xe9;
    memcpy(out + 1, &displacement, 4);
    return 5;
}

/* A relative jump, conditional or not: the same one with a wide displacement. */
static size_t branch(const uint8_t *code, size_t at, uint64_t from, uint64_t to, uint8_t *out,
                     uint8_t *length)
{
    uint8_t opcode = code[at], condition = 0;
    int32_t far;
    int8_t narrow;
    uint64_t target;
    size_t size = 0;

    if (opcode == 0xeb || (opcode >= 0x70 && opcode < 0x80)) {
        memcpy(&narrow, code + at + 1, 1);
        far = narrow;
        *length = (uint8_t)(at + 2);
        condition = opcode == 0xeb ? 0 : (uint8_t)(opcode + 0x10);
    } else if (opcode == 0xe9) {
        memcpy(&far, code + at + 1, 4);
        *length = (uint8_t)(at + 5);
    } else {
        memcpy(&far, code + at + 2, 4);
        *length = (uint8_t)(at + 6);
        condition = code[at + 1];
    }
    target = from + *length + (uint64_t)(int64_t)far;
    if (!condition)
        return jump(out, to, target);
    if (!near(to + 6, target, &far))
        return 0;
    out[size++] = 0x0f;
    out[size++] = condition;
    memcpy(out + size, &far, 4);
    return 6;
}

size_t pm_displace(const uint8_t *code, size_t size, uint64_t from, uint64_t to,
                   uint8_t out[PM_SLOT], uint8_t *length, uint8_t *moved)
{
    uint8_t all[16] = {0}, modrm;
    size_t at = 0, back, relative = 0, narrow = 0;
    int wide = 0, byte;
    int32_t displacement;
    const char *what;

    memcpy(all, code, size < 15 ? size : 15);
    for (; at < 4; at++) {
        if (all[at] == 0x66)
            narrow = 1;
        else if (all[at] != 0xf2 && all[at] != 0xf3 && all[at] != 0x2e && all[at] != 0x3e &&
                 all[at] != 0x64 && all[at] != 0x65)
            break;
    }
    if ((all[at] & 0xf0) == 0x40)
        wide = all[at++] & 8;
    if (all[at] == 0xe9 || all[at] == 0xeb || (all[at] & 0xf0) == 0x70 ||
        (all[at] == 0x0f && (all[at + 1] & 0xf0) == 0x80)) {
        if (at || !(back = branch(all, at, from, to, out, length)))
            return 0;
        *moved = (uint8_t)back;
        goto ret;
    }
    if (all[at] == 0x0f)
        what = shape_of_two(all[++at]);
    else
        what = shape(all[at]);
    if (!what)
        return 0;
    byte = all[at] == 0xf6;
    modrm = all[++at];
    for (; *what; what++)
        switch (*what) {
        case 'M':
            at++;
            if (modrm >> 6 != 3) {
                if ((modrm & 7) == 4) {
                    if (modrm >> 6 == 0 && (all[at] & 7) == 5)
                        at += 4;
                    at++;
                } else if ((modrm & 0xc7) == 5) {
                    relative = at;
                    at += 4;
                }
                at += modrm >> 6 == 1 ? 1 : modrm >> 6 == 2 ? 4 : 0;
            }
            break;
        case '1':
            at++;
            break;
        case '4':
            at += narrow && !wide ? 2 : 4;
            break;
        case '8':
            at += wide ? 8 : narrow ? 2 : 4;
            break;
        case 'T': /* TEST alone has an immediate */
            if ((modrm >> 3 & 7) < 2)
                at += byte ? 1 : narrow && !wide ? 2 : 4;
            break;
        }
    if (at > 15 || at > size)
        return 0;
    memcpy(out, all, at);
    if (relative) {
        memcpy(&displacement, all + relative, 4);
        if (!near(to + at, from + at + (uint64_t)(int64_t)displacement, &displacement))
            return 0;
        memcpy(out + relative, &displacement, 4);
    }
    *length = *moved = (uint8_t)at;
ret:
    if (!(back = jump(out + *moved, to + *moved, from + *length)))
        return 0;
    return *moved + back;
}

#else

size_t pm_displace(const uint8_t *code, size_t size, uint64_t from, uint64_t to,
                   uint8_t out[PM_SLOT], uint8_t *length, uint8_t *moved)
{
    (void)code, (void)size, (void)from, (void)to, (void)out, (void)length, (void)moved;
    return 0;
}

#endif

/* ---- breakpoints ---- */

void pm_breaks_room(pm_breaks *breaks, uint64_t start, uint64_t end)
{
    start = (start + 15) & ~(uint64_t)15;
    if (start >= end || breaks->rooms == PM_MOST_ROOMS)
        return;
    breaks->room[breaks->rooms].start = start;
    breaks->room[breaks->rooms++].end = end;
}

#if defined __x86_64__ && defined __LP64__

/* A place for a copy, its bytes kept. NULL: none that is near enough. */
static pm_slot *take_slot(pm_breaks *breaks, pid_t tid, uint64_t close_to)
{
    pm_slot *slot = breaks->slot + breaks->slots;
    size_t i = breaks->rooms;

    if (breaks->slots == PM_MOST_BREAKS + 1)
        return NULL;
    while (i--) {
        uint64_t at = breaks->room[i].start;
        int64_t distance = (int64_t)(at - close_to);

        if (at + PM_SLOT > breaks->room[i].end || distance > INT32_MAX - 4096 ||
            distance < INT32_MIN + 4096 || pm_peek(tid, at, slot->bytes, PM_SLOT))
            continue;
        breaks->room[i].start += PM_SLOT;
        breaks->slots++;
        slot->at = at;
        return slot;
    }
    return NULL;
}

int pm_breaks_add(pm_breaks *breaks, pid_t tid, uint64_t at, uint16_t function)
{
    static const uint8_t stop = BREAK;
    uint8_t code[16], copy[PM_SLOT], moved;
    pm_break *one = breaks->one + breaks->count;
    pm_slot *slot;
    size_t size;
    int error;

    if (pm_breaks_at(breaks, at))
        return 0;
    if (breaks->count == PM_MOST_BREAKS)
        return -ENOSPC;
    if ((error = pm_peek(tid, at, code, sizeof code)))
        return error;
    if (!breaks->trap) {
        if (!(slot = take_slot(breaks, tid, at)))
            return -ENOSPC;
        if ((error = pm_poke(tid, slot->at, &stop, 1)))
            return error;
        breaks->trap = slot->at;
    }
    if (!(slot = take_slot(breaks, tid, at)))
        return -ENOSPC;
    memset(copy, BREAK, sizeof copy);
    size = pm_displace(code, sizeof code, at, slot->at, copy, &one->length, &moved);
    if (!size)
        return -ENOEXEC;
    if ((error = pm_poke(tid, slot->at, copy, size)))
        return error;
    one->at = at;
    one->slot = slot->at;
    one->function = function;
    one->under = code[0];
    if ((error = pm_poke(tid, at, &stop, 1)))
        return error;
    breaks->count++;
    return 0;
}

#else

int pm_breaks_add(pm_breaks *breaks, pid_t tid, uint64_t at, uint16_t function)
{
    (void)breaks, (void)tid, (void)at, (void)function;
    return -ENOSYS;
}

#endif

pm_break *pm_breaks_at(pm_breaks *breaks, uint64_t at)
{
    for (size_t i = 0; i < breaks->count; i++)
        if (breaks->one[i].at == at)
            return breaks->one + i;
    return NULL;
}

uint64_t pm_breaks_home(const pm_breaks *breaks, uint64_t ip)
{
    for (size_t i = 0; i < breaks->count; i++) {
        const pm_break *one = breaks->one + i;

        if (ip == one->slot)
            return one->at;
        /* Behind the copy stands the jump alone. */
        if (ip > one->slot && ip < one->slot + PM_SLOT)
            return one->at + one->length;
    }
    return ip;
}

void pm_breaks_lift(pm_breaks *breaks, pid_t tid)
{
    uint8_t now;

    if (breaks->lifted)
        return;
    for (size_t i = 0; i < breaks->count; i++)
        /* Not if the code has been unmapped, or is another's by now. */
        if (!pm_peek(tid, breaks->one[i].at, &now, 1) && now == BREAK)
            pm_poke(tid, breaks->one[i].at, &breaks->one[i].under, 1);
    breaks->lifted = 1;
}

void pm_breaks_clear(pm_breaks *breaks, pid_t tid)
{
    pm_breaks_lift(breaks, tid);
    for (size_t i = 0; i < breaks->slots; i++)
        pm_poke(tid, breaks->slot[i].at, breaks->slot[i].bytes, PM_SLOT);
    breaks->slots = breaks->count = 0;
    breaks->trap = 0;
}

void pm_breaks_forget(pm_breaks *breaks, uint64_t start, uint64_t end)
{
    size_t kept = 0;

    for (size_t i = 0; i < breaks->count; i++)
        if (breaks->one[i].at < start || breaks->one[i].at >= end)
            breaks->one[kept++] = breaks->one[i];
    breaks->count = kept;
    kept = 0;
    for (size_t i = 0; i < breaks->slots; i++)
        if (breaks->slot[i].at < start || breaks->slot[i].at >= end)
            breaks->slot[kept++] = breaks->slot[i];
    breaks->slots = kept;
    for (size_t i = 0; i < breaks->rooms; i++)
        if (breaks->room[i].start >= start && breaks->room[i].start < end)
            breaks->room[i].end = 0;
    if (breaks->trap >= start && breaks->trap < end)
        breaks->trap = 0;
}
