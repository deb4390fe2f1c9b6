"""Steps: sources of RSS, and calls that the kernel refuses."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from procmem.errors import SyscallError
from procmem.experiments import Specimen
from procmem.procfs import probes
from tests.support.specimens import PAGE, area, moved, refuse

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestLife:
    def test_a_forked_child_has_a_heap_that_is_not_joined(self) -> None:
        """Python's own lies before it; its pages are linked with the parent's."""
        with Specimen(kind="fork") as specimen:
            grown = specimen.sbrk(10 * PAGE)
            moved(grown)
            moved(specimen.touch(-(-area(grown).start // PAGE) * PAGE, pages=5))
            moved(specimen.sbrk(-10 * PAGE))

    @pytest.mark.parametrize("source", ["status", "smaps_rollup"])
    def test_sources(self, source: str) -> None:
        with Specimen(source=source) as specimen:
            mapped = area(specimen.mmap(pages=10))
            step = specimen.touch(mapped, pages=3)
            if source == "status" and probes.counters_lag():
                assert not step.exact
                assert "not exact" in (step.reason or "")
                return
            assert step.delta.rss == 3 * PAGE
            assert step.agrees
            # What lags as VmRSS does, and is not in the other file.
            unknown = {step.delta.rss_file, step.delta.rss_shmem, step.delta.swap}
            assert unknown == {None if source == "smaps_rollup" else 0}

    def test_a_filter_that_forbids_a_call(self) -> None:
        code = """
import ctypes, struct, sys
from procmem.experiments import Specimen
from procmem.errors import SyscallError
from procmem.native import lib
# Allows all but mlock(2), which fails with EPERM (seccomp(2), SECCOMP_MODE_FILTER).
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, lib.SYS_mlock), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
filters = b"".join(struct.pack("=HBBI", *step) for step in steps)
room = ctypes.create_string_buffer(filters)
program = struct.pack("@HP", len(steps), ctypes.addressof(room))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit(77)
with Specimen() as s:
    mapped = s.mmap(pages=2).mapping
    try:
        s.mlock(mapped)
    except SyscallError as error:
        print(error.syscall, error.errno)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode == 77:
            pytest.skip("kernel feature missing: seccomp filters")
        assert (done.stdout, done.stderr) == ("mlock 1\n", "")

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ENOMEM])
    @pytest.mark.parametrize(
        "call",
        [
            *(
                f"madvise {advice}"
                for advice in (
                    "dontneed free guard_install guard_remove populate_write populate_read hugepage"
                    " nohugepage dontfork wipeonfork sequential dontdump mergeable pageout"
                ).split()
            ),
            "mprotect r",
            "mprotect -",
            "munmap",
            "mremap 90",
            "mremap 9",
            "mmap",
        ],
    )
    def test_a_refused_call_has_done_nothing(
        self, specimen: Specimen, call: str, number: int
    ) -> None:
        """As where a kernel is older than the call: MADV_GUARD_INSTALL is of Linux 6.13."""
        s = specimen
        mapped, other = area(s.mmap(pages=64)), area(s.mmap(pages=64))
        s.touch(mapped, pages=9)
        name, _, argument = call.partition(" ")
        refuse(s, name, number)
        with pytest.raises(SyscallError) as caught:
            match name:
                case "madvise":
                    s.madvise(mapped, argument)
                case "mprotect":
                    s.mprotect(mapped, argument.strip("-"))
                case "munmap":
                    s.munmap(mapped)
                case "mremap":
                    s.mremap(mapped, pages=int(argument))
                case _:
                    s.mmap(pages=5)
        assert caught.value.errno == number
        for step in (s.touch(mapped, pages=40), s.touch(other), s.read(mapped)):
            moved(step)

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.ENOMEM, errno.EAGAIN])
    @pytest.mark.parametrize("call", ["mlock", "mlock2", "munlock"])
    def test_refused_locks(self, specimen: Specimen, call: str, number: int) -> None:
        s = specimen
        mapped = area(s.mmap(pages=64))
        s.touch(mapped, pages=9)
        refuse(s, call, number)
        with pytest.raises(SyscallError):
            if call == "munlock":
                s.munlock(mapped)
            else:
                s.mlock(mapped, on_fault=call == "mlock2")
        step = s.touch(mapped, pages=40)
        if number in (errno.ENOMEM, errno.EAGAIN):
            # These come in the middle of it, too.
            assert not step.exact
            assert "what it had changed is unknown" in (step.reason or "")
        else:
            moved(step)

    def test_the_kernel_refuses_for_a_reason_that_the_model_does_not_see(
        self, specimen: Specimen
    ) -> None:
        s = specimen
        mapped = area(s.mmap(pages=64))
        s.touch(mapped, pages=9)
        s.mprotect(mapped, "r", start=50, pages=4)
        refuse(s, "madvise", errno.ENOMEM, but_length=0)
        with pytest.raises(SyscallError):
            s.madvise(mapped, "dontneed", pages=50)  # one region
        moved(s.touch(mapped, pages=40))
        with pytest.raises(SyscallError):
            s.madvise(mapped, "dontneed")  # the first may have been done
        step = s.touch(mapped, pages=40)
        assert not step.exact
        assert "what it had changed is unknown" in (step.reason or "")

    def test_mremap_may_unmap_its_target_and_fail_then(self, specimen: Specimen) -> None:
        s = specimen
        one, two = area(s.mmap(pages=8)), area(s.mmap(pages=8))
        s.touch(two)
        s.munmap(one, start=4, pages=4)
        # Grown from a range with a hole, which no kernel does; some notice it after the unmapping.
        with pytest.raises(SyscallError):
            s.mremap(one, pages=9, to=two.start)
        there = s.process.region_at(two.start) is not None
        step = s.touch(two)
        moved(step)
        assert (step.fault is None) == there
