"""Traced calls as text: a table that explains, strace's lines, JSON."""

from __future__ import annotations

import errno
import json
import os
import signal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from procmem.calls.constants import Advice, Prot, show_prot
from procmem.procfs import probes
from procmem.tracing.allocators import Role
from procmem.tracing.arguments import Clone, signed
from procmem.tracing.events import UNREAD, Breakpoints, Ended, MemoryCall, Refused
from procmem.units import KiB, comparable, kib, signed_in_unit
from procmem.view.columns import columns, prose
from procmem.view.mallocs import Mallocs, Run, function_words
from procmem.view.names import cells, clipped, printable
from procmem.view.places import NAMELESS, Places

if TYPE_CHECKING:
    from procmem.tracing.events import Event, Signal

__all__ = [
    "Summary",
    "Table",
    "call_json",
    "fit",
    "heading",
    "strace_end",
    "strace_line",
    "strace_signal",
    "table_end",
    "table_row",
]

# ---- strace's form ----

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
"""What the kernel says to itself where a signal comes in between (include/linux/errno.h)."""

POINTERS = {"mmap", "mremap", "brk", "shmat", "map_shadow_stack"}


def bits(value: int, names: dict[int, str], none: str = "0") -> str:
    """Flags by their names, what has none in hexadecimal."""
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
    """A string as C has it, cut as strace cuts it."""
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
"""Of these the registers are enough."""


@lru_cache(maxsize=4096)
def map_bits(prot: int, flags: int, fd: int) -> str:
    protection = bits(prot & 0xFFFFFFFF, PROTS, "PROT_NONE")
    return f"{protection}, {map_flags(flags & 0xFFFFFFFF)}, {signed(fd)}"


POINTED = {"ptr", "memptr", "heap"}


def strace_arguments(call: MemoryCall) -> str:
    """What stands between the parentheses."""
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


def strace_end(end: Ended, prefix: str = "") -> str:
    """The end of a process as strace prints it."""
    if end.returncode >= 0:
        return f"{prefix}+++ exited with {end.returncode} +++"
    return f"{prefix}+++ killed by {signal_name(-end.returncode)} +++"


# ---- the table ----


def signed_kib(value: int | None) -> str:
    """A change in KiB; "-" where it is not known."""
    return signed_in_unit()(value) if value else "-" if value is None else "0"


def kib_text(value: int) -> str:
    """A length in whole KiB, rounded up."""
    return kib(value + KiB - 1)


FIGURES = 45
"""Cells in front of what a call does: the thread, both changes and the call's name."""


def fit(text: str, width: int | None) -> str:
    """Rows and sentences of the table in lines of so many cells; None: as they are.

    What a call does goes on in further lines, and the region behind it.
    """
    if width is None:
        return text
    lines = []
    for line in text.splitlines():
        if cells(line) <= width:
            lines.append(line)
        elif set(line) <= {"-", " "}:
            lines.append(line[:width])
        elif line[7:9] == "  ":
            # Of a row the blanks between what it does and the region are no longer needed.
            head, rest = line[:FIGURES], " ".join(line[FIGURES:].split())
            indent = FIGURES if width >= FIGURES + ROOM else 4
            lines += prose(f"{head}{rest}", width, " " * indent).splitlines()
        else:
            lines += prose(line, width, "  ").splitlines()
    return "".join(f"{line}\n" for line in lines)


ROOM = 24
"""Cells that are enough for words on what a call does."""


def heading() -> str:
    """The table's first lines."""
    return row("TID", "ΔVSZ", "ΔRSS", "Call", "What it does", "Region") + row(
        "-" * 7, "-" * 8, "-" * 8, "-" * 14, "-" * 46, "-" * 32
    )


def row(tid: object, vsz: str, rss: str, name: str, told: str, place: str = "") -> str:
    return f"{tid:>7}  {vsz:>8}  {rss:>8}  {name:<14}  {told:<46}  {place}".rstrip() + "\n"


def table_row(call: MemoryCall, told: str = "", places: Places | None = None) -> str:
    """One line of the table. Changes are in KiB.

    Args:
        call: the call.
        told: what it does; empty: what(call).
        places: what earlier calls say of memory without a name.
    """
    tid, name, within, vsz, rss, exact = call.row
    doubt = "" if exact else "~"
    return row(
        tid,
        (doubt if not exact and not call.alone else "") + signed_kib(vsz),
        doubt + signed_kib(rss),
        "  " + name if within else name,
        told or what(call),
        where(call, places or Places()),
    )


def table_end(end: Ended) -> str:
    """The end of a process, as a line of the table."""
    told = (
        f"exited with {end.returncode}"
        if end.returncode >= 0
        else f"was killed by {signal_name(-end.returncode)}"
    )
    return f"{end.pid:>7}  {'':8}  {'':8}  process {told}\n"


class Table:
    """The table of a trace as it goes by, with malloc's system calls below malloc's line.

    Args:
        malloc: whether malloc is asked for; its absence is told then.
        every: give each call of malloc a line. If not, those that needed no system call share one.
    """

    def __init__(self, *, malloc: bool = False, every: bool = False) -> None:
        self.summary = Summary()
        self.mallocs = Mallocs() if malloc else None
        self._every = every
        self._held: dict[int, list[MemoryCall]] = {}
        self._run: Run | None = None
        self.refused: dict[str, None] = {}
        self._places = Places()

    def _row(self, call: MemoryCall, told: str = "") -> str:
        return table_row(call, told, self._places)

    def add(self, one: Event) -> str:
        """Takes what happened, and gives the lines that can be told now."""
        if isinstance(one, MemoryCall):
            self.summary.add(one)
            if not one.is_function:
                self._places.watch(one)
            if not self.mallocs:
                return self._row(one)
            if one.within:
                self._held.setdefault(one.tid, []).append(one)
                return ""
            if one.is_function:
                return self._function(one)
            self.mallocs.system_call(one)
            return self._flush() + self._row(one)
        if isinstance(one, Breakpoints):
            self.summary.place(one)
            if self.mallocs:
                self.mallocs.place(one)
            return self._flush() + self._placed(one)
        if isinstance(one, Ended):
            return self._flush() + table_end(one)
        if isinstance(one, Refused):
            self.refused[refusal_words(one)] = None
            return self._flush() + row(one.pid, "", "", "", f"{one.request}: refused, it is traced")
        verb = "stopped by" if one.stopped else "signal"
        return self._flush() + row(one.tid, "", "", "", f"{verb} {signal_name(one.number)}")

    def _placed(self, one: Breakpoints) -> str:
        if one.limited:
            return row(one.pid, "", "", "", "breakpoints at malloc are lifted")
        if not one.names:
            return ""
        name = os.path.basename(clipped(printable(one.path)))
        told = f"breakpoints, to see malloc in {name}"
        return row(one.pid, "0", signed_kib(one.delta_rss), "(procmem)", told)

    def _function(self, call: MemoryCall) -> str:
        inner = self._held.pop(call.tid, [])
        size = self.mallocs.size_at(call) if self.mallocs else None
        if self.mallocs:
            self.mallocs.add(call, inner)
        if inner or self._every or not call.returned:
            told = self._row(call, function_words(call, inner, size))
            return self._flush() + told + "".join(map(self._row, inner))
        lines = ""
        if self._run is None or not self._run.takes(call):
            lines = self._flush()
            self._run = Run(call)
        self._run.add(call, size)
        self._last = size
        return lines

    def _flush(self) -> str:
        run, self._run = self._run, None
        if run is None:
            return ""
        if run.count == 1:
            return self._row(run.last, function_words(run.last, (), self._last))
        rss = ("" if run.exact else "~") + signed_kib(run.rss)
        vsz = "0" if run.exact or run.last.alone else "~0"
        return row(run.tid, vsz, rss, run.title, run.words, where(run.last, self._places))

    def end(self, *, foreign: bool = False) -> str:
        """The rest, and the summary.

        Args:
            foreign: a traced program is of another architecture.
        """
        lines = self._flush() + "".join(
            self._row(call) for held in self._held.values() for call in held
        )
        self._held.clear()
        told = f"{lines}\n{self.summary.text()}"
        if self.mallocs:
            text = self.mallocs.text(foreign=foreign)
            told += f"\n{text}" if text else ""
        return told + "".join(f"{words}\n" for words in self.refused)


def refusal_words(one: Refused) -> str:
    """Why a program could not trace, and the way out."""
    what = f"process {one.pid} wanted to trace " + (
        f"thread {one.thread}" if one.thread != one.pid else "itself"
    )
    if one.request == "PTRACE_TRACEME":
        what = f"process {one.pid} wanted to be traced by its parent"
    return (
        f"{what}, and was refused: procmem traces already, and there can be only one. (A debugger "
        "can't work then. Of LeakSanitizer: ASAN_OPTIONS=detect_leaks=0 does without it.)"
    )


def where(call: MemoryCall, places: Places) -> str:
    told = call.region_row
    if told is None:
        stack = places.stack_made(call) if call.name in ("clone", "clone3") else None
        if stack is None:
            return ""
        return f"{stack.start:x}-{stack.end:x} {stack.perms or '    '} stack of thread {stack.tid}"
    start, end, perms, name = told
    if name in NAMELESS and (known := places.known(call)) is not None:
        name = known.word
    return f"{start:x}-{end:x} {perms} {shown_name(name)}"


@lru_cache(maxsize=4096)
def shown_name(name: str) -> str:
    return clipped(printable(name), 24)


def what(call: MemoryCall) -> str:
    """What a call does, in words."""
    if call.result is None:
        if call.errno:
            return f"failed: {AGAIN.get(call.errno) or os.strerror(call.errno)}"
        if not call.name.startswith("exit"):
            return "killed in the middle of it"
    return words(call)


@lru_cache(maxsize=4096)
def map_words(length: int, prot: int, flags: int, fd: int) -> str:
    kind = "shared" if flags & 3 in {1, 3} else "private"
    of = "anonymous" if flags & 0x20 else f"fd {signed(fd)}"
    place = ", in place" if flags & 0x100010 else ""
    return f"map {kib_text(length)} {show_prot(Prot(prot & 0xFFFFFFFF))} {kind} {of}{place}"


def words(call: MemoryCall) -> str:
    name = call.name
    if name == "mmap":
        return map_words(*call.words[1:5])
    if name == "munmap":
        return f"unmap {kib_text(call.words[1])}"
    if name == "brk":
        return break_words(call, call.words[0])
    args = call.args
    match name:
        case "mprotect" | "pkey_mprotect":
            return f"{kib_text(args['length'])} become {show_prot(args['prot'])}"
        case "madvise":
            return f"{advice_name(args['advice'])} for {kib_text(args['length'])}"
        case "mremap":
            moved = "" if call.result == args["old_address"] else ", moved"
            return f"from {kib_text(args['old_size'])} to {kib_text(args['new_size'])}{moved}"
        case "mlock" | "mlock2":
            return f"lock {kib_text(args['length'])} into memory"
        case "munlock":
            return f"unlock {kib_text(args['length'])}"
        case "mlockall":
            return f"lock everything ({bits(args['flags'], LOCKALLS)})"
        case "munlockall":
            return "unlock everything"
        case "shmat":
            return f"attach shared memory {args['shmid']}"
        case "shmdt":
            return "detach shared memory"
        case "execve" | "execveat":
            return f"start {clipped(printable(str(args['pathname'])), 36)}"
        case "exit":
            return "the thread ends"
        case "exit_group":
            status = args["status"] & 0o377
            cut = "" if status == args["status"] else f" ({args['status']} & 0377)"
            return f"the process ends with {status}{cut}"
        case "mseal":
            return f"seal {kib_text(args['length'])}: no unmapping, no change any more"
        case "map_shadow_stack":
            return f"map a shadow stack of {kib_text(args['length'])}"
        case "remap_file_pages":
            return f"{kib_text(args['size'])} show page {args['pgoff']:,} of the file"
        case "mbind":
            mode = args["mode"] & 0xFF
            return f"{POLICIES.get(mode, mode)} for {kib_text(args['length'])}"
        case "set_mempolicy_home_node":
            return f"node {args['home_node']} for {kib_text(args['length'])}"
        case "process_madvise":
            ranges = f"{args['vlen']} range{'s' if args['vlen'] != 1 else ''}"
            return f"{advice_name(args['advice'])} for {ranges} of pidfd {args['pidfd']}"
        case "process_mrelease":
            return f"free the memory of pidfd {args['pidfd']}, which is dying"
        case "ftruncate":
            return f"the file (fd {args['fd']}) ends after {comparable(args['length'])}"
        case "truncate":
            return f"the file ends after {comparable(args['length'])}"
        case "fallocate":
            what = "punch a hole of" if args["mode"] & 2 else "allocate"
            return f"{what} {kib_text(args['length'])} in the file (fd {args['fd']})"
        case "prctl":
            return prctl_words(call.words)
        case "arch_prctl":
            return ARCHES.get(args["option"], hex(args["option"]))
        case "ioctl":
            return f"{UFFDS.get(args['request'], hex(args['request']))} (fd {args['fd']})"
        case _:
            thread = int(args.get("flags", 0)) & Clone.CLONE_THREAD
            return f"new {'thread' if thread else 'process'} {call.result}"


def prctl_words(words: tuple[int, ...]) -> str:
    option, second, address, length, _, _ = words
    match PRCTLS.get(option):
        case "PR_SET_VMA":
            return f"name {kib_text(length)} at {address:#x}"
        case "PR_SET_THP_DISABLE":
            return f"transparent huge pages {'off' if second else 'as the system has them'}"
        case "PR_SET_MEMORY_MERGE":
            return f"merge equal pages (KSM): {'on' if second else 'off'}"
        case "PR_SET_MDWE":
            return "no memory may become executable from now on"
        case other:
            return str(other or hex(option))


def break_words(call: MemoryCall, asked: int) -> str:
    if not asked:
        return "where is the break?"
    if call.result != asked:
        return "refused: the break stays"
    delta = call.delta_vsz
    if not delta or not call.exact:
        return f"the break is {asked:#x} now"
    return f"heap {'grows' if delta > 0 else 'shrinks'} by {kib_text(abs(delta))}"


class Summary:
    """Counts and sums of a trace, as it goes by."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}
        self.last: dict[int, tuple[int, int]] = {}
        self.between = [0, 0]
        self.ours = [0, 0]
        self.known = True
        self.late = False
        self.reasons: dict[str, None] = {}

    def place(self, found: Breakpoints) -> None:
        """Breakpoints are our doing: they are told apart."""
        if found.before and found.after:
            last = self.last.get(found.pid)
            if last:
                self.between[0] += found.before.vsz - last[0]
                self.between[1] += found.before.rss - last[1]
            self.last[found.pid] = found.after
            self.ours[0] += found.after.vsz - found.before.vsz
            self.ours[1] += found.after.rss - found.before.rss

    def add(self, call: MemoryCall) -> None:
        """Takes one system call; what a function does are its system calls, and touching."""
        if not call.exact:
            self.known = False
            if call.alone:
                self.late = True
            else:
                self.reasons[call.reason] = None
        if call.is_function:
            return
        name, pid, exact = call.name, call.pid, call.exact
        vsz_before, rss_before, vsz, rss = call.figures
        row = self.rows.get(name)
        if row is None:
            row = self.rows[name] = [0, 0, 0, 0]
        row[0] += 1
        row[1] += call.errno is not None
        last = self.last.get(pid)
        # execve(2) puts a new memory into the place of the old one: no growth of either.
        if vsz_before != UNREAD:
            if vsz != UNREAD and name not in ("execve", "execveat"):
                row[2] += vsz - vsz_before
                row[3] += rss - rss_before
            if last and exact:
                self.between[0] += vsz_before - last[0]
                self.between[1] += rss_before - last[1]
        if vsz != UNREAD:
            self.last[pid] = vsz, rss

    def text(self) -> str:
        """The table below the table, in KiB."""
        if not self.rows:
            return "no memory calls\n"
        rows = [
            (name, str(count), str(failed), signed_kib(vsz), signed_kib(rss))
            for name, (count, failed, vsz, rss) in sorted(
                self.rows.items(), key=lambda item: -item[1][0]
            )
        ]
        if self.known:
            vsz, rss = map(signed_kib, self.between)
            rows.append(("between the calls", "", "", vsz, rss))
            if any(self.ours):
                vsz, rss = map(signed_kib, self.ours)
                rows.append(("(breakpoints)", "", "", vsz, rss))
        told = columns(("Call", "Calls", "Failed", "ΔVSZ", "ΔRSS"), rows, "<>>>>")
        if self.known and self.between[1] > 0:
            told += (
                "Between the calls pages are touched for the first time: that is when RSS grows.\n"
            )
        told += "".join(f"~: {reason}.\n" for reason in self.reasons)
        if self.late:
            bound = probes.rss_bound(1) >> 10
            told += (
                f"~: this kernel counts pages late: RSS may be off by up to {bound:,} KiB, sums of "
                "many calls by no more.\n"
            )
        return told


# ---- JSON ----


def call_json(call: MemoryCall, places: Places) -> str:
    """One call on one line, its region called as `procmem maps` calls it."""
    return json.dumps(places.record(call))
