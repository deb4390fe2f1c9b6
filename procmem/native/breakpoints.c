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
        if (at || !(back = branch(all, at, from, to, out, length)) || *length > size)
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

/* ---- one instruction, done by the tracer ---- */

static unsigned long long *register_of(struct user_regs_struct *regs, unsigned number)
{
    unsigned long long *const all[] = {
        &regs->rax, &regs->rcx, &regs->rdx, &regs->rbx, &regs->rsp, &regs->rbp, &regs->rsi, &regs->rdi,
        &regs->r8,  &regs->r9,  &regs->r10, &regs->r11, &regs->r12, &regs->r13, &regs->r14, &regs->r15,
    };

    return all[number & 15];
}

#define CARRY 0x1u
#define PARITY 0x4u
#define ADJUST 0x10u
#define ZERO 0x40u
#define SIGN 0x80u
#define OVERFLOW 0x800u

/* The flags that a result of so many bytes has; carry, overflow and adjust are 0, as after AND and XOR
 * (which leave adjust undefined). */
static void set_flags(struct user_regs_struct *regs, uint64_t result, int wide)
{
    unsigned long long flags = regs->eflags & ~(unsigned long long)(CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW);

    if (!__builtin_parity((unsigned)(result & 0xff)))
        flags |= PARITY;
    if (!(wide ? result : (uint32_t)result))
        flags |= ZERO;
    if (result >> (wide ? 63 : 31) & 1)
        flags |= SIGN;
    regs->eflags = flags;
}

/* SUB and CMP. */
static uint64_t subtract(struct user_regs_struct *regs, uint64_t from, uint64_t what, int wide)
{
    unsigned top = wide ? 63 : 31;
    uint64_t result;

    if (!wide) {
        from = (uint32_t)from;
        what = (uint32_t)what;
    }
    result = from - what;
    if (!wide)
        result = (uint32_t)result;
    set_flags(regs, result, wide);
    if (from < what)
        regs->eflags |= CARRY;
    if ((from & 15) < (what & 15))
        regs->eflags |= ADJUST;
    if (((from ^ what) & (from ^ result)) >> top & 1)
        regs->eflags |= OVERFLOW;
    return result;
}

/* [base + displacement] and [rip + displacement], without an index. Returns where it ends, 0: another. */
static size_t address_of(const uint8_t *all, size_t at, unsigned rex, struct user_regs_struct *regs,
                         uint64_t *address, int *from_rip)
{
    uint8_t modrm = all[at++];
    unsigned mode = modrm >> 6, base = modrm & 7;
    int32_t wide = 0;
    int8_t narrow;

    *from_rip = mode == 0 && base == 5;
    if (base == 4 && all[at++] != 0x24)
        return 0;
    if (mode == 1) {
        memcpy(&narrow, all + at, 1);
        wide = narrow;
        at++;
    } else if (mode == 2 || *from_rip) {
        memcpy(&wide, all + at, 4);
        at += 4;
    }
    *address = (uint64_t)(int64_t)wide;
    if (!*from_rip && regs)
        *address += *register_of(regs, base | (rex & 1) << 3);
    return at;
}

size_t pm_emulate(const uint8_t *code, size_t size, struct user_regs_struct *regs, pid_t tid)
{
    static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
    uint8_t all[24] = {0}, opcode, modrm;
    unsigned rex = 0, reg, rm;
    size_t at = 0, operand;
    uint64_t address = 0, value = 0;
    int wide, from_rip = 0;
    int32_t number;
    int8_t narrow;

    memcpy(all, code, size < 15 ? size : 15);
    if (!memcmp(all, endbr64, sizeof endbr64)) {
        at = sizeof endbr64;
        goto next;
    }
    if ((all[0] & 0xf0) == 0x40)
        rex = all[at++];
    wide = rex & 8;
    operand = wide ? 8 : 4;
    opcode = all[at++];
    modrm = all[at];
    reg = (modrm >> 3 & 7) | (rex & 4) << 1;
    rm = (modrm & 7) | (rex & 1) << 3;
    if (opcode == 0x90 && !rex)
        goto next;
    if ((opcode & 0xf8) == 0x50) { /* push */
        if (!regs || at > size)
            goto next;
        value = *register_of(regs, (opcode & 7) | (rex & 1) << 3);
        if (pm_poke(tid, regs->rsp - 8, &value, 8))
            return 0;
        regs->rsp -= 8;
        goto next;
    }
    if (opcode == 0xc3 && !rex) { /* ret */
        if (regs && at <= size) {
            if (pm_peek(tid, regs->rsp, &value, 8))
                return 0;
            regs->rsp += 8;
            regs->rip = value;
        }
        return at <= size ? at : 0;
    }
    if ((opcode & 0xf8) == 0xb8) { /* mov $, register */
        memcpy(&value, all + at, operand);
        at += operand;
        if (regs && at <= size)
            *register_of(regs, (opcode & 7) | (rex & 1) << 3) = value;
        goto next;
    }
    if (opcode == 0xe9 || opcode == 0xeb) {
        if (rex)
            return 0;
        if (opcode == 0xe9) {
            memcpy(&number, all + at, 4);
            at += 4;
        } else {
            memcpy(&narrow, all + at, 1);
            number = narrow;
            at++;
        }
        if (at > size)
            return 0;
        if (regs)
            regs->rip += at + (uint64_t)(int64_t)number;
        return at;
    }
    switch (opcode) {
    case 0x8b: /* mov */
    case 0x8d: /* lea */
        if (modrm >> 6 != 3) {
            if (!(at = address_of(all, at, rex, regs, &address, &from_rip)) || at > size)
                return 0;
            if (!regs)
                goto next;
            if (from_rip)
                address += regs->rip + at;
            value = address;
            if (opcode == 0x8b) {
                value = 0;
                if (pm_peek(tid, address, &value, operand))
                    return 0;
            }
            *register_of(regs, reg) = wide ? value : (uint32_t)value;
            goto next;
        }
        if (opcode == 0x8d)
            return 0;
        rm ^= reg, reg ^= rm, rm ^= reg; /* the other way round */
        /* fall through */
    case 0x89:
    case 0x85: /* test */
    case 0x31: /* xor */
    case 0x33:
        if (modrm >> 6 != 3)
            return 0;
        if (++at > size)
            return 0;
        if (!regs)
            goto next;
        value = *register_of(regs, reg);
        if (opcode == 0x85)
            set_flags(regs, value & *register_of(regs, rm), wide);
        else if (opcode == 0x31 || opcode == 0x33) {
            if (opcode == 0x33)
                rm ^= reg, reg ^= rm, rm ^= reg;
            value = *register_of(regs, reg) ^ *register_of(regs, rm);
            if (!wide)
                value = (uint32_t)value;
            set_flags(regs, value, wide);
            *register_of(regs, rm) = value;
        } else
            *register_of(regs, rm) = wide ? value : (uint32_t)value;
        goto next;
    case 0x83:
    case 0x81: /* sub $, cmp $ */
        if (modrm >> 6 != 3 || ((modrm >> 3 & 7) != 5 && (modrm >> 3 & 7) != 7))
            return 0;
        at++;
        if (opcode == 0x81) {
            memcpy(&number, all + at, 4);
            at += 4;
        } else {
            memcpy(&narrow, all + at, 1);
            number = narrow;
            at++;
        }
        if (at > size)
            return 0;
        if (regs) {
            value = subtract(regs, *register_of(regs, rm), (uint64_t)(int64_t)number, wide);
            if ((modrm >> 3 & 7) == 5)
                *register_of(regs, rm) = value;
        }
        goto next;
    case 0x0f: /* movzbl of a register's low byte */
        if (modrm != 0xb6)
            return 0;
        modrm = all[++at];
        if (modrm >> 6 != 3 || (!rex && (modrm & 4)) || ++at > size)
            return 0;
        if (regs)
            *register_of(regs, (modrm >> 3 & 7) | (rex & 4) << 1) =
                *register_of(regs, (modrm & 7) | (rex & 1) << 3) & 0xff;
        goto next;
    }
    return 0;
next:
    if (at > size)
        return 0;
    if (regs)
        regs->rip += at;
    return at;
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
    if (start >= end || breaks->rooms == PM_MOST_ROOMS)
        return;
    breaks->room[breaks->rooms].start = start;
    breaks->room[breaks->rooms++].end = end;
}

#if defined __x86_64__ && defined __LP64__

/* Where a copy could be put, its bytes kept. NULL: no place that is near enough. */
static pm_slot *find_slot(pm_breaks *breaks, pid_t tid, uint64_t close_to, size_t least, size_t *room)
{
    pm_slot *slot = breaks->slot + breaks->slots;
    size_t i = breaks->rooms;

    if (breaks->slots == PM_MOST_BREAKS + 1)
        return NULL;
    while (i--) {
        uint64_t at = breaks->room[i].start;
        int64_t distance = (int64_t)(at - close_to);

        if (at + least > breaks->room[i].end || distance > INT32_MAX - 4096 ||
            distance < INT32_MIN + 4096)
            continue;
        slot->size = (uint8_t)(breaks->room[i].end - at < PM_SLOT ? breaks->room[i].end - at : PM_SLOT);
        if (pm_peek(tid, at, slot->bytes, slot->size))
            continue;
        *room = i;
        slot->at = at;
        return slot;
    }
    return NULL;
}

static void take_slot(pm_breaks *breaks, pm_slot *slot, size_t room, size_t size)
{
    slot->size = (uint8_t)size;
    breaks->room[room].start += size;
    breaks->slots++;
}

/* Copies the instruction at one->at to a slot, with a jump back. */
static int give_slot(pm_breaks *breaks, pid_t tid, pm_break *one)
{
    uint8_t copy[PM_SLOT], moved;
    size_t size, room;
    pm_slot *slot;
    int error;

    if (!pm_displace(one->code, sizeof one->code, one->at, one->at, copy, &one->length, &moved))
        return -ENOEXEC;
    /* A jump back takes five bytes. */
    if (!(slot = find_slot(breaks, tid, one->at, (size_t)moved + 5, &room)))
        return -ENOSPC;
    memset(copy, BREAK, sizeof copy);
    size = pm_displace(one->code, sizeof one->code, one->at, slot->at, copy, &one->length, &moved);
    if (!size)
        return -ENOEXEC;
    if ((error = pm_poke(tid, slot->at, copy, size)))
        return error;
    take_slot(breaks, slot, room, size);
    one->slot = slot->at;
    one->room = (uint8_t)size;
    return 0;
}

int pm_breaks_add(pm_breaks *breaks, pid_t tid, uint64_t at, uint16_t function, uint16_t role)
{
    static const uint8_t stop = BREAK;
    pm_break *one = breaks->one + breaks->count;
    pm_slot *slot;
    size_t room;
    int error;

    if (pm_breaks_at(breaks, at))
        return 0;
    if (breaks->count == PM_MOST_BREAKS)
        return -ENOSPC;
    memset(one, 0, sizeof *one);
    if ((error = pm_peek(tid, at, one->code, sizeof one->code)))
        return error;
    if (!breaks->trap) {
        if (!(slot = find_slot(breaks, tid, at, 1, &room)))
            return -ENOSPC;
        if ((error = pm_poke(tid, slot->at, &stop, 1)))
            return error;
        take_slot(breaks, slot, room, 1);
        breaks->trap = slot->at;
    }
    one->at = at;
    one->function = function;
    one->role = role;
    if ((error = give_slot(breaks, tid, one))) {
        if (error != -ENOSPC && error != -ENOEXEC)
            return error;
        if (!(one->length = (uint8_t)pm_emulate(one->code, sizeof one->code, NULL, 0)))
            return error;
    }
    if ((error = pm_poke(tid, at, &stop, 1)))
        return error;
    breaks->count++;
    return 0;
}

#else

int pm_breaks_add(pm_breaks *breaks, pid_t tid, uint64_t at, uint16_t function, uint16_t role)
{
    (void)breaks, (void)tid, (void)at, (void)function, (void)role;
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

        if (!one->slot)
            continue;
        if (ip == one->slot)
            return one->at;
        /* Behind the copy stands the jump alone. */
        if (ip > one->slot && ip < one->slot + one->room)
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
            pm_poke(tid, breaks->one[i].at, breaks->one[i].code, 1);
    breaks->lifted = 1;
}

void pm_breaks_clear(pm_breaks *breaks, pid_t tid)
{
    pm_breaks_lift(breaks, tid);
    for (size_t i = 0; i < breaks->slots; i++)
        pm_poke(tid, breaks->slot[i].at, breaks->slot[i].bytes, breaks->slot[i].size);
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
