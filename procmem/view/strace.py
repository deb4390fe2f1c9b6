"""Traced calls in the form of strace(1): arguments, results, signals and ends."""

from __future__ import annotations

import errno
import os
import signal
from functools import lru_cache
from typing import Any

from procmem.calls.constants import Advice
from procmem.tracing.allocators import Role
from procmem.tracing.arguments import Clone, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.tracing.events import MemoryCall, ProcessEnd, Signal

__all__ = ["strace_end", "strace_line", "strace_signal"]

PROTS = {
    0x1: "PROT_READ",
    0x2: "PROT_WRITE",
    0x4: "PROT_EXEC",
    0x8: "PROT_SEM",
    0x1000000: "PROT_GROWSDOWN",
    0x2000000: "PROT_GROWSUP",
}
# In strace's order; MAP_DENYWRITE and MAP_EXECUTABLE do nothing, but the loader passes them.
MAPS = {
    0x10: "MAP_FIXED",
    0x20: "MAP_ANONYMOUS",
    0x40: "MAP_32BIT",
    0x4000: "MAP_NORESERVE",
    0x8000: "MAP_POPULATE",
    0x10000: "MAP_NONBLOCK",
    0x100: "MAP_GROWSDOWN",
    0x800: "MAP_DENYWRITE",
    0x1000: "MAP_EXECUTABLE",
    0x2000: "MAP_LOCKED",
    0x20000: "MAP_STACK",
    0x40000: "MAP_HUGETLB",
    0x80000: "MAP_SYNC",
    0x100000: "MAP_FIXED_NOREPLACE",
}
MAP_TYPES = {1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE", 8: "MAP_DROPPABLE"}
MREMAPS = {1: "MREMAP_MAYMOVE", 2: "MREMAP_FIXED", 4: "MREMAP_DONTUNMAP"}
LOCKALLS = {1: "MCL_CURRENT", 2: "MCL_FUTURE", 4: "MCL_ONFAULT"}
ATTACHES = {0o10000: "SHM_RDONLY", 0o20000: "SHM_RND", 0o40000: "SHM_REMAP", 0o100000: "SHM_EXEC"}
SHADOWS = {1: "SHADOW_STACK_SET_TOKEN", 2: "SHADOW_STACK_SET_MARKER"}
POLICIES = {
    0: "MPOL_DEFAULT", 1: "MPOL_PREFERRED", 2: "MPOL_BIND", 3: "MPOL_INTERLEAVE", 4: "MPOL_LOCAL",
    5: "MPOL_PREFERRED_MANY", 6: "MPOL_WEIGHTED_INTERLEAVE",
}  # fmt: skip
BINDS = {1: "MPOL_MF_STRICT", 2: "MPOL_MF_MOVE", 4: "MPOL_MF_MOVE_ALL"}
FALLOCS = {
    0x1: "FALLOC_FL_KEEP_SIZE", 0x2: "FALLOC_FL_PUNCH_HOLE", 0x4: "FALLOC_FL_NO_HIDE_STALE",
    0x8: "FALLOC_FL_COLLAPSE_RANGE", 0x10: "FALLOC_FL_ZERO_RANGE", 0x20: "FALLOC_FL_INSERT_RANGE",
    0x40: "FALLOC_FL_UNSHARE_RANGE", 0x80: "FALLOC_FL_WRITE_ZEROES",
}  # fmt: skip
# linux/prctl.h, asm/prctl.h, linux/userfaultfd.h
PRCTLS = {
    35: "PR_SET_MM", 41: "PR_SET_THP_DISABLE", 0x53564D41: "PR_SET_VMA", 65: "PR_SET_MDWE",
    67: "PR_SET_MEMORY_MERGE",
}  # fmt: skip
ARCHES = {
    0x2001: "ARCH_MAP_VDSO_X32", 0x2002: "ARCH_MAP_VDSO_32", 0x2003: "ARCH_MAP_VDSO_64",
    0x5001: "ARCH_SHSTK_ENABLE", 0x5002: "ARCH_SHSTK_DISABLE",
}  # fmt: skip
UFFDS = {
    0xC020AA00: "UFFDIO_REGISTER", 0x8010AA01: "UFFDIO_UNREGISTER", 0xC028AA03: "UFFDIO_COPY",
    0xC020AA04: "UFFDIO_ZEROPAGE", 0xC028AA05: "UFFDIO_MOVE", 0xC018AA06: "UFFDIO_WRITEPROTECT",
    0xC020AA07: "UFFDIO_CONTINUE", 0xC020AA08: "UFFDIO_POISON",
}  # fmt: skip
CLONES = {flag.value: str(flag.name) for flag in Clone}

AGAIN = {
    512: "ERESTARTSYS (To be restarted if SA_RESTART is set)",
    513: "ERESTARTNOINTR (To be restarted)",
    514: "ERESTARTNOHAND (To be restarted if no handler)",
    516: "ERESTART_RESTARTBLOCK (Interrupted by signal)",
}
"""Results inside the kernel when a signal interrupts a call (include/linux/errno.h)."""

POINTERS = {"mmap", "mremap", "brk", "shmat", "map_shadow_stack"}


def bits(value: int, names: dict[int, str], none: str = "0") -> str:
    """Flags by name; unknown bits in hexadecimal."""
    found = [name for bit, name in names.items() if value & bit]
    rest = value & ~sum(names)
    return "|".join([*found, *([f"{rest:#x}"] if rest else [])]) or none


def pointer(value: int) -> str:
    return f"{value:#x}" if value else "NULL"


def number(value: int) -> str:
    return f"{value:#x}" if value else "0"


def map_flags(value: int) -> str:
    kind = MAP_TYPES.get(value & 0xF, f"{value & 0xF:#x}")
    rest = bits(value & ~0xF & 0x3FFFFFF, MAPS, "")
    # The page size is a logarithm in the top six bits.
    huge = value >> 26 & 0x3F
    return "|".join(filter(None, (kind, rest, f"{huge}<<MAP_HUGE_SHIFT" if huge else "")))


def quoted(text: str, most: int | None = 32) -> str:
    """A string in C syntax, cut like strace does."""
    raw = os.fsencode(text)
    cut = most is not None and len(raw) > most
    shown = []
    data = raw[:most] if cut else raw
    for at, byte in enumerate(data):
        if byte in b'"\\':
            shown.append("\\" + chr(byte))
        elif 32 <= byte < 127:
            shown.append(chr(byte))
        elif byte in SHORT:
            shown.append(SHORT[byte])
        else:
            digit = at + 1 < len(data) and data[at + 1] in b"0123456789"
            shown.append(f"\\{byte:03o}" if digit else f"\\{byte:o}")
    return f'"{"".join(shown)}"' + ("..." if cut else "")


SHORT = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}


PLAIN = {"mmap", "munmap", "mlock", "munlock", "brk"}
"""Calls for which the registers are enough."""


@lru_cache(maxsize=4096)
def map_bits(prot: int, flags: int, fd: int) -> str:
    protection = bits(prot & 0xFFFFFFFF, PROTS, "PROT_NONE")
    return f"{protection}, {map_flags(flags & 0xFFFFFFFF)}, {signed(fd)}"


POINTED = {"ptr", "memptr", "heap"}


def strace_arguments(call: MemoryCall) -> str:
    """The arguments as strace prints them."""
    name = call.name
    if call.is_function:
        return ", ".join(
            pointer(value) if key in POINTED else str(value) for key, value in call.args.items()
        )
    args = call.args if name not in PLAIN else {}
    match name:
        case "mmap":
            address, length, prot, flags, fd, offset = call.words
            return f"{pointer(address)}, {length}, {map_bits(prot, flags, fd)}, {number(offset)}"
        case "mprotect" | "pkey_mprotect":
            key = f", {args['pkey']}" if "pkey" in args else ""
            protection = bits(args["prot"], PROTS, "PROT_NONE")
            return f"{pointer(args['addr'])}, {args['length']}, {protection}{key}"
        case "madvise":
            return f"{pointer(args['addr'])}, {args['length']}, {advice_name(args['advice'])}"
        case "mremap":
            flags = int(args["flags"])
            # The last one is read with MREMAP_FIXED or MREMAP_DONTUNMAP alone.
            last = f", {pointer(args['new_address'])}" if flags & 6 else ""
            return (
                f"{pointer(args['old_address'])}, {args['old_size']}, {args['new_size']}, "
                f"{bits(flags, MREMAPS)}{last}"
            )
        case "mlock2":
            locking = bits(args["flags"], {1: "MLOCK_ONFAULT"})
            return f"{pointer(args['addr'])}, {args['length']}, {locking}"
        case "munmap" | "mlock" | "munlock":
            address, length, *_ = call.words
            return f"{pointer(address)}, {length}"
        case "brk":
            return pointer(call.words[0])
        case "mlockall":
            return bits(args["flags"], LOCKALLS)
        case "shmat":
            return f"{args['shmid']}, {pointer(args['shmaddr'])}, {bits(args['shmflg'], ATTACHES)}"
        case "shmdt":
            return pointer(args["shmaddr"])
        case "mseal":
            return f"{pointer(args['addr'])}, {args['length']}, {number(args['flags'])}"
        case "map_shadow_stack":
            shadow = bits(args["flags"], SHADOWS)
            return f"{pointer(args['addr'])}, {args['length']}, {shadow}"
        case "remap_file_pages":
            return (
                f"{pointer(args['addr'])}, {args['size']}, "
                f"{bits(args['prot'], PROTS, 'PROT_NONE')}, {args['pgoff']}, "
                f"{bits(int(args['flags']), MAPS)}"
            )
        case "mbind":
            policy = POLICIES.get(args["mode"] & 0xFF, f"{args['mode']:#x}")
            return (
                f"{pointer(args['addr'])}, {args['length']}, {policy}, "
                f"{pointer(args['nodemask'])}, {args['maxnode']}, {bits(args['flags'], BINDS)}"
            )
        case "set_mempolicy_home_node":
            return (
                f"{pointer(args['addr'])}, {args['length']}, {args['home_node']}, "
                f"{number(args['flags'])}"
            )
        case "process_madvise":
            return (
                f"{args['pidfd']}, {pointer(args['iovec'])}, {args['vlen']}, "
                f"{advice_name(args['advice'])}, {number(args['flags'])}"
            )
        case "process_mrelease":
            return f"{args['pidfd']}, {number(args['flags'])}"
        case "ftruncate":
            return f"{args['fd']}, {args['length']}"
        case "truncate":
            return f"{pointer(args['path'])}, {args['length']}"
        case "fallocate":
            how = bits(args["mode"], FALLOCS)
            return f"{args['fd']}, {how}, {args['offset']}, {args['length']}"
        case "prctl":
            option, *rest = call.words[:5]
            return ", ".join((PRCTLS.get(option, f"{option:#x}"), *map(number, rest)))
        case "arch_prctl":
            return f"{ARCHES.get(args['option'], hex(args['option']))}, {number(args['addr'])}"
        case "ioctl":
            request = UFFDS.get(args["request"], f"{args['request']:#x}")
            return f"{args['fd']}, {request}, {pointer(args['argp'])}"
        case "exit" | "exit_group":
            return str(args["status"])
        case "execve" | "execveat":
            return strace_program(args)
        case "clone":
            return strace_clone(args)
        case "clone3":
            return strace_clone3(args, call.words[0])
        case _:
            return ""


def advice_name(advice: int) -> str:
    return str(advice.name) if isinstance(advice, Advice) else f"{advice:#x} /* MADV_??? */"


def strace_program(args: dict[str, Any]) -> str:
    words = [quoted(word) for word in args["argv"][:32]]
    if args["argc"] > len(words):
        words.append("...")
    path = "NULL" if args["pathname"] is None else quoted(args["pathname"], None)
    told = f"{path}, [{', '.join(words)}], "
    variables = f"/* {args['envc']} var{'s' if args['envc'] != 1 else ''} */"
    told += f"{pointer(args['envp'])} {variables}" if args["envp"] else "NULL"
    if "dirfd" in args:
        where = "AT_FDCWD" if args["dirfd"] == -100 else str(args["dirfd"])
        told = f"{where}, {told}, {number(args['flags'])}"
    return told


def strace_clone(args: dict[str, Any]) -> str:
    flags = int(args["flags"])
    shown = bits(flags, CLONES, "")
    if args["exit_signal"]:
        shown = "|".join(filter(None, (shown, signal_name(args["exit_signal"]))))
    told = f"child_stack={pointer(args['stack'])}, flags={shown or '0'}"
    if flags & (Clone.CLONE_PARENT_SETTID | Clone.CLONE_PIDFD):
        told += f", parent_tid={pointer(args['parent_tid'])}"
    if flags & Clone.CLONE_SETTLS:
        told += f", tls={pointer(args['tls'])}"
    if flags & (Clone.CLONE_CHILD_SETTID | Clone.CLONE_CHILD_CLEARTID):
        told += f", child_tidptr={pointer(args['child_tid'])}"
    return told


def strace_clone3(args: dict[str, Any], address: int) -> str:
    if "flags" not in args:
        return f"{pointer(address)}, {args['size']}"
    flags = int(args["flags"])
    told = [f"flags={bits(flags, CLONES)}"]
    if flags & Clone.CLONE_PIDFD:
        told.append(f"pidfd={pointer(args.get('pidfd', 0))}")
    if flags & (Clone.CLONE_CHILD_SETTID | Clone.CLONE_CHILD_CLEARTID):
        told.append(f"child_tid={pointer(args.get('child_tid', 0))}")
    if flags & Clone.CLONE_PARENT_SETTID:
        told.append(f"parent_tid={pointer(args.get('parent_tid', 0))}")
    ending = args.get("exit_signal", 0)
    told += [
        f"exit_signal={signal_name(ending) if ending else 0}",
        f"stack={pointer(args.get('stack', 0))}",
        f"stack_size={number(args.get('stack_size', 0))}",
    ]
    if flags & Clone.CLONE_SETTLS:
        told.append(f"tls={pointer(args.get('tls', 0))}")
    return f"{{{', '.join(told)}}}, {args['size']}"


def signal_name(value: int) -> str:
    # The kernel's first real-time signal is 32; libc keeps two for itself.
    if value >= 32:
        return f"SIGRT_{value - 32}"
    try:
        return signal.Signals(value).name
    except ValueError:
        return str(value)


def strace_result(call: MemoryCall) -> str:
    if not call.returned:
        return "?"
    failed = call.errno
    if failed in AGAIN:
        return f"? {AGAIN[failed]}"
    if failed:
        return f"-1 {errno.errorcode.get(failed, failed)} ({os.strerror(failed)})"
    result = call.result or 0
    if call.is_function:
        role = call.function.role if call.function else None
        if role is Role.FREES:
            return "<void>"
        return pointer(result) if call.address is not None or not result else str(result)
    return f"{result:#x}" if call.name in POINTERS else str(result)


def strace_line(call: MemoryCall, prefix: str = "") -> str:
    """One call as strace prints it, "=" in column 40; without a newline.

    Args:
        call: the call.
        prefix: such as "[pid 7] ".
    """
    return f"{prefix + call.name + '(' + strace_arguments(call) + ')':<39} = {strace_result(call)}"


# include/uapi/asm-generic/siginfo.h
CODES = {
    0: "SI_USER", 128: "SI_KERNEL", -1: "SI_QUEUE", -2: "SI_TIMER", -3: "SI_MESGQ",
    -4: "SI_ASYNCIO", -5: "SI_SIGIO", -6: "SI_TKILL",
}  # fmt: skip
OWN_CODES: dict[int, tuple[str, ...]] = {
    signal.SIGILL: ("ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC",
                    "ILL_PRVREG", "ILL_COPROC", "ILL_BADSTK"),
    signal.SIGFPE: ("FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND",
                    "FPE_FLTRES", "FPE_FLTINV", "FPE_FLTSUB"),
    signal.SIGSEGV: ("SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"),
    signal.SIGBUS: ("BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"),
    signal.SIGTRAP: ("TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"),
    signal.SIGCHLD: ("CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED",
                     "CLD_CONTINUED"),
}  # fmt: skip


def code_name(number: int, code: int) -> str:
    own = OWN_CODES.get(number, ())
    return own[code - 1] if 0 < code <= len(own) else CODES.get(code, f"{code:#x}")


def strace_signal(one: Signal, prefix: str = "") -> str:
    """A signal, or a stop by one, as strace prints it."""
    name = signal_name(one.number)
    if one.stopped:
        return f"{prefix}--- stopped by {name} ---"
    told = []
    info = one.info
    for key, value in info.items():
        shown = str(value)
        if key == "si_signo":
            shown = signal_name(value)
        elif key == "si_code":
            shown = code_name(one.number, value)
        elif key in ("si_addr", "si_ptr"):
            shown = pointer(value)
        elif key == "si_timerid":
            shown = number(value)
        elif key == "si_status" and info["si_code"] != 1:
            shown = signal_name(value)
        told.append(f"{key}={shown}")
    return f"{prefix}--- {name} {{{', '.join(told)}}} ---"


def strace_end(end: ProcessEnd, prefix: str = "") -> str:
    """The end of a process as strace prints it."""
    if end.returncode >= 0:
        return f"{prefix}+++ exited with {end.returncode} +++"
    return f"{prefix}+++ killed by {signal_name(-end.returncode)} +++"
