"""The arguments of traced calls as typed values: six registers, and what they point to."""

from __future__ import annotations

import signal
import struct
from enum import IntFlag

from procmem.calls.constants import Advice, Map, Mremap, Prot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["Attach", "Clone", "LockAll", "LockFlags", "decode", "decode_siginfo"]

WORD = 1 << 64


class Clone(IntFlag):
    """Flags of clone(2) (include/uapi/linux/sched.h)."""

    CLONE_NEWTIME = 0x80
    CLONE_VM = 0x100
    CLONE_FS = 0x200
    CLONE_FILES = 0x400
    CLONE_SIGHAND = 0x800
    CLONE_PIDFD = 0x1000
    CLONE_PTRACE = 0x2000
    CLONE_VFORK = 0x4000
    CLONE_PARENT = 0x8000
    CLONE_THREAD = 0x10000
    CLONE_NEWNS = 0x20000
    CLONE_SYSVSEM = 0x40000
    CLONE_SETTLS = 0x80000
    CLONE_PARENT_SETTID = 0x100000
    CLONE_CHILD_CLEARTID = 0x200000
    CLONE_DETACHED = 0x400000
    CLONE_UNTRACED = 0x800000
    CLONE_CHILD_SETTID = 0x1000000
    CLONE_NEWCGROUP = 0x2000000
    CLONE_NEWUTS = 0x4000000
    CLONE_NEWIPC = 0x8000000
    CLONE_NEWUSER = 0x10000000
    CLONE_NEWPID = 0x20000000
    CLONE_NEWNET = 0x40000000
    CLONE_IO = 0x80000000
    CLONE_CLEAR_SIGHAND = 0x100000000
    CLONE_INTO_CGROUP = 0x200000000


class LockAll(IntFlag):
    """Flags of mlockall(2)."""

    MCL_CURRENT = 1
    MCL_FUTURE = 2
    MCL_ONFAULT = 4


class LockFlags(IntFlag):
    """Flags of mlock2(2)."""

    MLOCK_ONFAULT = 1


class Attach(IntFlag):
    """Flags of shmat(2)."""

    SHM_RDONLY = 0o10000
    SHM_RND = 0o20000
    SHM_REMAP = 0o40000
    SHM_EXEC = 0o100000


def signed(word: int) -> int:
    """The int in a register, as C reads it."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >= 1 << 31 else word


def plain(word: int) -> int:
    return word


def low(word: int) -> int:
    return word & 0xFFFFFFFF


def prot(word: int) -> Prot:
    return Prot(word & 0xFFFFFFFF)


def advice(word: int) -> int:
    number = signed(word)
    try:
        return Advice(number)
    except ValueError:
        return number


Shape = tuple[tuple[str, "Callable[[int], Any]"], ...]

RANGE: Shape = (("addr", plain), ("length", plain))
SHAPES: dict[str, Shape] = {
    "mmap": (
        *RANGE,
        ("prot", prot),
        ("flags", lambda word: Map(word & 0xFFFFFFFF)),
        ("fd", signed),
        ("offset", plain),
    ),
    "munmap": RANGE,
    "brk": (("addr", plain),),
    "mprotect": (*RANGE, ("prot", prot)),
    "pkey_mprotect": (*RANGE, ("prot", prot), ("pkey", signed)),
    "madvise": (*RANGE, ("advice", advice)),
    "mremap": (
        ("old_address", plain),
        ("old_size", plain),
        ("new_size", plain),
        ("flags", lambda word: Mremap(word & 0xFFFFFFFF)),
        ("new_address", plain),
    ),
    "mlock": RANGE,
    "mlock2": (*RANGE, ("flags", lambda word: LockFlags(word & 0xFFFFFFFF))),
    "munlock": RANGE,
    "mlockall": (("flags", lambda word: LockAll(word & 0xFFFFFFFF)),),
    "munlockall": (),
    "shmat": (
        ("shmid", signed),
        ("shmaddr", plain),
        ("shmflg", lambda word: Attach(word & 0xFFFFFFFF)),
    ),
    "shmdt": (("shmaddr", plain),),
    "mseal": (*RANGE, ("flags", plain)),
    "map_shadow_stack": (*RANGE, ("flags", low)),
    "remap_file_pages": (
        ("addr", plain),
        ("size", plain),
        ("prot", prot),
        ("pgoff", plain),
        ("flags", lambda word: Map(word & 0xFFFFFFFF)),
    ),
    "mbind": (*RANGE, ("mode", low), ("nodemask", plain), ("maxnode", plain), ("flags", low)),
    "set_mempolicy_home_node": (*RANGE, ("home_node", plain), ("flags", plain)),
    "process_madvise": (
        ("pidfd", signed),
        ("iovec", plain),
        ("vlen", plain),
        ("advice", advice),
        ("flags", low),
    ),
    "process_mrelease": (("pidfd", signed), ("flags", low)),
    "ftruncate": (("fd", signed), ("length", plain)),
    "truncate": (("path", plain), ("length", plain)),
    "fallocate": (("fd", signed), ("mode", low), ("offset", plain), ("length", plain)),
    "prctl": (
        ("option", low),
        ("arg2", plain),
        ("arg3", plain),
        ("arg4", plain),
        ("arg5", plain),
    ),
    "arch_prctl": (("option", low), ("addr", plain)),
    "ioctl": (("fd", signed), ("request", low), ("argp", plain)),
    "fork": (),
    "vfork": (),
    "exit": (("status", signed),),
    "exit_group": (("status", signed),),
}

# The order of clone's last two differs between architectures (clone(2)).
CLONE = ("flags", "stack", "parent_tid", "child_tid", "tls")
CLONE_BACKWARDS = ("flags", "stack", "parent_tid", "tls", "child_tid")

CLONE3 = (
    "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup"
).split()


def decode(name: str, words: Sequence[int], text: bytes, *, x86: bool) -> dict[str, Any]:
    r"""Typed arguments by the names of the manual pages.

    Args:
        name: the name of the call.
        words: its six argument registers.
        text: the strings of execve or the structure of clone3, as far as the tracer could read
            them.
        x86: whether the arguments of clone are in the order of x86-64.

    >>> decode("munmap", (4096, 8192, 0, 0, 0, 0), b"", x86=True)
    {'addr': 4096, 'length': 8192}
    >>> decode("execve", (1, 2, 3, 0, 0, 0), b"2 9\0/bin/ls\0ls\0-l\0", x86=True)
    {'pathname': '/bin/ls', 'argv': ('ls', '-l'), 'argc': 2, 'envc': 9, 'envp': 3}
    """
    if name == "clone":
        named = dict(zip(CLONE if x86 else CLONE_BACKWARDS, words, strict=False))
        flags = named.pop("flags") & 0xFFFFFFFF
        return {"flags": Clone(flags & ~0xFF), "exit_signal": flags & 0xFF, **named}
    if name == "clone3":
        count = len(text) // 8
        fields = dict(zip(CLONE3, struct.unpack_from(f"={count}Q", text), strict=False))
        if "flags" in fields:
            fields["flags"] = Clone(fields["flags"])
        return {**fields, "size": words[1]}
    if name in ("execve", "execveat"):
        return program(name, words, text)
    return {key: read(word) for (key, read), word in zip(SHAPES[name], words, strict=False)}


def program(name: str, words: Sequence[int], text: bytes) -> dict[str, Any]:
    """The arguments of execve(2); pathname is None if it could not be read."""
    at = int(name == "execveat")
    head, *strings = text.split(b"\0")[:-1] or [b"0 0"]
    argc, _, envc = head.decode().partition(" ")
    texts = [string.decode("utf-8", "surrogateescape") for string in strings]
    made: dict[str, Any] = {"dirfd": signed(words[0])} if at else {}
    made |= {
        "pathname": texts[0] if texts else None,
        "argv": tuple(texts[1:]),
        "argc": int(argc),
        "envc": int(envc),
        "envp": words[2 + at],
    }
    if at:
        made["flags"] = signed(words[4])
    return made


FAULTS = {signal.SIGILL, signal.SIGFPE, signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP}
SI_KERNEL, SI_QUEUE, SI_TIMER, SI_SIGIO = 128, -1, -2, -5


def decode_siginfo(raw: bytes) -> dict[str, int]:
    r"""The members of siginfo_t that a signal has, by its number and si_code (sigaction(2)).

    >>> decode_siginfo(struct.pack("=iiiiiI", 10, 0, -6, 0, 4711, 1000).ljust(128, b"\0"))
    {'si_signo': 10, 'si_code': -6, 'si_pid': 4711, 'si_uid': 1000}
    """
    if len(raw) < 48:
        return {}
    number, _, code = struct.unpack_from("=iii", raw)
    made = {"si_signo": number, "si_code": code}
    first, second = struct.unpack_from("=iI", raw, 16)
    if code > 0 and number == signal.SIGCHLD:
        status, spent, kernel = struct.unpack_from("=i4xqq", raw, 24)
        made |= {"si_pid": first, "si_uid": second, "si_status": status}
        return made | {"si_utime": spent, "si_stime": kernel}
    if code > 0 and number in FAULTS:
        return made | {"si_addr": struct.unpack_from("=Q", raw, 16)[0]}
    if code == SI_TIMER:
        return made | {"si_timerid": first, "si_overrun": int(second)}
    if code in (SI_SIGIO, SI_KERNEL):
        return made
    made |= {"si_pid": first, "si_uid": second}
    if code == SI_QUEUE:
        made |= {"si_int": struct.unpack_from("=i", raw, 24)[0]}
        made |= {"si_ptr": struct.unpack_from("=Q", raw, 24)[0]}
    return made
