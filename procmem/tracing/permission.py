"""Why ptrace(2) refuses to trace a program or a process, in words."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd

from procmem.errors import (
    AccessDenied,
    KernelThread,
    NoSuchProcess,
    ProcessError,
    SyscallError,
    ZombieProcess,
)
from procmem.procfs import ProcessFiles, parse_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["refusal"]


def refusal(number: int, pid: int, *, attached: bool) -> Exception:
    """The error to raise where a trace could not begin.

    Args:
        number: the errno of ptrace(2).
        pid: the process.
        attached: whether it ran before; else it was started to be traced.
    """
    if not attached:
        return SyscallError("ptrace", number, "is tracing forbidden here? See ptrace(2)")
    if number == errno.ESRCH:
        return NoSuchProcess(pid)
    if number == errno.ENOSYS:
        return SyscallError(
            "ptrace",
            number,
            "a container's filter refuses it: docker run --cap-add=SYS_PTRACE allows it",
        )
    if number not in (errno.EPERM, errno.EACCES):
        return SyscallError("ptrace", number)
    try:
        return denial(pid)
    except NoSuchProcess as error:
        return error


ALLOWED = {
    "1": "lets only ancestors trace a process: trace a program from its start, or as "
    "root, or let it call prctl(PR_SET_PTRACER)",
    "2": "lets only root trace: run this as root",
    "3": "forbids all tracing until the system is rebooted",
}
"""/proc/sys/kernel/yama/ptrace_scope (Documentation/admin-guide/LSM/Yama.rst)."""

CAP_SYS_PTRACE = 19


def denial(pid: int) -> Exception:
    """Why ptrace(2) refuses to attach to a process: the first of its rules that applies.

    Source: ptrace_attach and __ptrace_may_access (kernel/ptrace.c), yama_ptrace_access_check.

    Raises:
        NoSuchProcess: it has ended meanwhile.
    """
    files = ProcessFiles(pid)
    status = parse_status(files.read("status"))
    if files.stat().is_kernel_thread:
        return KernelThread(pid)
    alive = status
    with contextlib.suppress(ProcessError):
        if files.use_living_thread():
            alive = parse_status(files.read(files.memory_name("status")))
    tracer = int(alive["TracerPid"])
    if tracer:
        name = ""
        with contextlib.suppress(ProcessError, KeyError):
            tracer = int(parse_status(ProcessFiles(tracer).read("status"))["Tgid"])
            name = f" ({parse_status(ProcessFiles(tracer).read('status'))['Name']})"
        return AccessDenied(
            pid,
            f"process {tracer}{name} already traces it, and a process can have only one tracer:"
            " end that one first",
        )
    if alive["State"][:1] in "ZX":
        return ZombieProcess(pid)
    return AccessDenied(pid, f"it may not be traced: {denial_words(files, status)}")


def denial_words(files: ProcessFiles, status: Mapping[str, str]) -> str:
    """The rule that forbids tracing a process that is alive and that nobody traces."""
    own = parse_status(ProcessFiles(os.getpid()).read("status"))
    if int(own["CapEff"], 16) >> CAP_SYS_PTRACE & 1:
        if other_namespace(files):
            return "it is in a user namespace above this one: trace it from there"
        return forbidden()
    uid, gid = int(own["Uid"].split()[1]), int(own["Gid"].split()[1])
    users = {int(each) for each in status["Uid"].split()[:3]}
    if users != {uid}:
        others = ", ".join(map(user_name, sorted(users - {uid})))
        return f"it runs as {others}, and you are {user_name(uid)}: root may (CAP_SYS_PTRACE)"
    if {int(each) for each in status["Gid"].split()[:3]} != {gid}:
        return "it has other group IDs than this process: root may (CAP_SYS_PTRACE)"
    if int(status.get("CapPrm", "0"), 16) & ~int(own["CapPrm"], 16):
        return "it has capabilities that you do not have: root may (CAP_SYS_PTRACE)"
    with contextlib.suppress(ProcessError, OSError):
        if files.owner("maps") not in (uid, None):
            return (
                "it is not dumpable: it has been set-user-ID, its program may not be read, or it "
                "has called prctl(PR_SET_DUMPABLE, 0); root may (CAP_SYS_PTRACE)"
            )
    if other_namespace(files):
        return "it is in another user namespace: root of that namespace may (CAP_SYS_PTRACE)"
    scope = ptrace_scope()
    if scope in ALLOWED:
        return f"/proc/sys/kernel/yama/ptrace_scope is {scope}, which {ALLOWED[scope]}"
    return forbidden()


def ptrace_scope() -> str:
    """The setting of the Yama security module, "0" to "3"; empty if the kernel has none."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/yama/ptrace_scope") as file:
        return file.read().strip()
    return ""


def other_namespace(files: ProcessFiles) -> bool:
    with contextlib.suppress(ProcessError):
        theirs = files.readlink("ns/user")
        return theirs is not None and theirs != ProcessFiles(os.getpid()).readlink("ns/user")
    return False


def user_name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user {uid}"


def forbidden() -> str:
    """Why ptrace(2) is refused where no rule about the two processes explains it."""
    scope = ptrace_scope()
    if scope in ("2", "3"):
        return f"/proc/sys/kernel/yama/ptrace_scope is {scope}, which {ALLOWED[scope]}"
    return (
        "the system's rules (SELinux, AppArmor, or a container's filter: docker run "
        "--cap-add=SYS_PTRACE) forbid it"
    )
