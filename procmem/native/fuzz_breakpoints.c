/* Fuzzes what places breakpoints: the reading of instructions, copies of them, and the places where
 * copies are put; scripts/fuzz.py builds and runs it.
 *
 * Of an input, byte 0 chooses how many functions there are, byte 1 where unused bytes begin; the rest
 * is the traced process's memory, code and all. */
#define _GNU_SOURCE
#define FUZZ_BINARY
#include "fuzz_driver.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BASE UINT64_C(0x7f0000000000)
#define ROOM 4096

static uint8_t memory[ROOM], before[ROOM];

/* ptrace(2) of a process that has these bytes alone. */
static long fuzzed(long number, ...)
{
    va_list list;
    long request;
    uint64_t at, word;

    REQUIRE(number == SYS_ptrace);
    va_start(list, number);
    request = va_arg(list, long);
    (void)va_arg(list, pid_t);
    at = va_arg(list, uint64_t);
    word = va_arg(list, uint64_t);
    va_end(list);
    if (at < BASE || at - BASE > ROOM - 8) {
        errno = EIO;
        return -1;
    }
    if (request == 2)
        memcpy((void *)(uintptr_t)word, memory + (at - BASE), 8);
    else
        memcpy(memory + (at - BASE), &word, 8);
    return 0;
}
#define syscall fuzzed
#include "breakpoints.c"
#undef syscall

static uint64_t target(const uint8_t *code, size_t at, uint64_t from)
{
    int32_t far;

    memcpy(&far, code + at, 4);
    return from + at + 4 + (uint64_t)(int64_t)far;
}

#if defined __x86_64__ && defined __LP64__
static void read_one(const uint8_t *code, size_t size, uint64_t seed)
{
    uint8_t *own = malloc(size), out[PM_SLOT], length = 0, moved = 0;
    uint64_t from = BASE + (seed & 0xffff), to = from + (seed >> 16 & 0x7fff) - 0x4000;
    struct user_regs_struct regs, kept;
    size_t made, told, done;

    if (!own)
        abort();
    memcpy(own, code, size);
    made = pm_displace(own, size, from, to, out, &length, &moved);
    told = pm_emulate(own, size, NULL, 0);
    REQUIRE(made <= PM_SLOT && told <= size && told <= 15);
    if (made) {
        REQUIRE(length && length <= size && moved && made == (size_t)moved + 5);
        REQUIRE(out[moved] == 0xe9 && target(out, (size_t)moved + 1, to) == from + length);
        /* Two readings of one instruction. */
        REQUIRE(!told || told == length);
    }
    memset(&regs, 0, sizeof regs);
    for (unsigned i = 0; i < 16; i++)
        *register_of(&regs, i) = BASE + (next_random(&seed) & 0xfff);
    regs.rip = from;
    kept = regs;
    done = pm_emulate(own, size, &regs, 0);
    REQUIRE(done == told || done == 0);
    if (!done)
        REQUIRE(!memcmp(&regs, &kept, sizeof regs));
    else if (own[0] != 0xe9 && own[0] != 0xeb && own[0] != 0xc3)
        REQUIRE(regs.rip == from + done);
    free(own);
}
#else
static void read_one(const uint8_t *code, size_t size, uint64_t seed) { (void)code, (void)size, (void)seed; }
#endif

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static pm_breaks breaks;
    uint64_t state, start;
    size_t room, functions;

    if (size <= HEADER)
        return 0;
    functions = data[0];
    room = ROOM - 1 - data[1] * 4u;
    data += HEADER;
    size -= HEADER;
    state = size * 0x9e3779b97f4a7c15u | 1;
    memset(memory, 0, sizeof memory);
    memcpy(memory, data, size < room ? size : room);
    for (size_t at = 0; at < size && at < 256; at += 8)
        read_one(data + at, size - at < 16 ? size - at : 16, next_random(&state));

    memcpy(before, memory, sizeof memory);
    memset(&breaks, 0, sizeof breaks);
    breaks.users = 1;
    pm_breaks_room(&breaks, BASE + room, BASE + ROOM - 8);
    pm_breaks_room(&breaks, BASE + ROOM, BASE + ROOM + 4096); /* can't be read */
    for (size_t i = 0; i < functions; i++) {
        start = BASE + next_random(&state) % room;
        /* A breakpoint within another instruction that is replaced is no function. */
        start &= ~UINT64_C(15);
        if (pm_breaks_add(&breaks, 1, start, (uint16_t)i, 0))
            continue;
#if defined __x86_64__ && defined __LP64__
        REQUIRE(pm_breaks_at(&breaks, start) && memory[start - BASE] == 0xcc);
#endif
    }
    for (size_t i = 0; i < breaks.slots; i++) {
        const pm_slot *one = breaks.slot + i;

        REQUIRE(one->at >= BASE + room && one->at + one->size <= BASE + ROOM - 8 && one->size <= PM_SLOT);
        REQUIRE(!i || one->at >= breaks.slot[i - 1].at + breaks.slot[i - 1].size);
    }
    for (size_t i = 0; i < breaks.count; i++) {
        const pm_break *one = breaks.one + i;

        REQUIRE(pm_breaks_home(&breaks, one->at) == one->at);
        if (one->slot)
            REQUIRE(pm_breaks_home(&breaks, one->slot) == one->at &&
                    pm_breaks_home(&breaks, one->slot + 1) == one->at + one->length);
    }
    /* Nothing but breakpoints was written to the code. */
    for (size_t i = 0; i < room; i++)
        REQUIRE(memory[i] == before[i] || pm_breaks_at(&breaks, BASE + i));
    if (data[0] & 1)
        pm_breaks_forget(&breaks, BASE, BASE + room / 2);
    pm_breaks_clear(&breaks, 1);
    if (!(data[0] & 1))
        REQUIRE(!memcmp(memory, before, sizeof memory));
    return 0;
}
