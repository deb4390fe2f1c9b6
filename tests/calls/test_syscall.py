"""The system calls that are made."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from tests.support.calls import PREAMBLE


def test_strace_sees_the_calls() -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace here")
    slot = 1 << 44
    script = f"""
        slot = {slot}
        memory = mmap(pages=8, address=slot, fixed_noreplace=True)
        memory.touch(2)
        memory.protect("r", PAGE, PAGE)
        memory.protect("rw", PAGE, PAGE)
        memory.advise("dontneed", 0, 2 * PAGE)
        memory.lock(0, PAGE)
        memory.lock(0, PAGE, on_fault=True)
        memory.unlock(0, PAGE)
        memory.mincore()
        memory.sync()
        memory.resize(pages=4)
        memory.unmap(3 * PAGE)
        memory.close()
        memory = mmap(pages=1, address=slot, fixed_noreplace=True, shared=True, noreserve=True)
        del memory
        """
    code = PREAMBLE + textwrap.dedent(script)
    done = subprocess.run(
        [strace, "-qq", "-e", "trace=memory", "-e", "signal=none", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip(f"strace may not trace: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    seen = [
        re.sub(r"\s+", " ", line)
        .replace("0x100000000000", "SLOT")
        .replace("0x100000001000", "NEXT")
        for line in done.stderr.splitlines()
        if re.search(r"\b0x10000000[0-9a-f]{4}\b", line)
    ]
    flags = "MAP_ANONYMOUS|MAP_FIXED_NOREPLACE"
    shared = "MAP_SHARED|MAP_ANONYMOUS|MAP_NORESERVE|MAP_FIXED_NOREPLACE"
    assert seen == [
        f"mmap(SLOT, 32768, PROT_READ|PROT_WRITE, MAP_PRIVATE|{flags}, -1, 0) = SLOT",
        "mprotect(NEXT, 4096, PROT_READ) = 0",
        "mprotect(NEXT, 4096, PROT_READ|PROT_WRITE) = 0",
        "madvise(SLOT, 8192, MADV_DONTNEED) = 0",
        "mlock(SLOT, 4096) = 0",
        "mlock2(SLOT, 4096, MLOCK_ONFAULT) = 0",
        "munlock(SLOT, 4096) = 0",
        "mincore(SLOT, 32768, [1, 0, 0, 0, 0, 0, 0, 0]) = 0",
        "msync(SLOT, 32768, MS_SYNC) = 0",
        "mremap(SLOT, 32768, 16384, MREMAP_MAYMOVE) = SLOT",
        "munmap(0x100000003000, 4096) = 0",
        "munmap(SLOT, 12288) = 0",
        f"mmap(SLOT, 4096, PROT_READ|PROT_WRITE, {shared}, -1, 0) = SLOT",
        "munmap(SLOT, 4096) = 0",
    ]
