"""What mmap() refuses, and the hint in the error."""

from __future__ import annotations

import errno
import os
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest

from procmem import (
    ProcmemError,
    SyscallError,
    calls,
    mmap,
)
from tests.support.calls import alone, in_slot
from tests.support.targets import PAGE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "options, number, hint",
    [
        ({"length": 0}, errno.EINVAL, "length is 0"),
        ({"length": 1 << 62}, errno.ENOMEM, "exhausted"),
        ({"length": (1 << 64) - 1}, errno.ENOMEM, "exhausted"),
        ({"length": PAGE, "offset": 5, "file": "/proc/self/exe"}, errno.EINVAL, "offset 5"),
        ({"length": 1, "address": 5, "fixed_noreplace": True}, errno.EINVAL, "address 0x5"),
        ({"length": 1, "file": 1 << 20}, errno.EBADF, "not open"),
        ({"length": 1, "file": -5}, errno.EBADF, "not open"),
        ({"length": 1, "file": "/"}, errno.ENODEV, "directories"),
        ({"length": 1, "hugetlb": 1 << 40}, None, "huge pages"),
    ],
)
def test_refusals_of_mmap(options: dict[str, Any], number: int | None, hint: str) -> None:
    with pytest.raises(SyscallError, match=hint) as caught:
        mmap(**options)
    error = caught.value
    assert isinstance(error, OSError)
    assert error.syscall == "mmap"
    assert number in (error.errno, None)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.errno, again.hint) == (str(error), error.errno, error.hint)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"length": 1, "pages": 1},
        {"length": -1},
        {"length": 1 << 64},
        {"length": 1, "offset": -PAGE},
        {"length": 1, "address": -PAGE},
        {"length": 1, "address": 1 << 64},
        {"length": 1, "hugetlb": 3 * PAGE},
        {"length": 1, "fixed_noreplace": True},
        {"length": 1, "flags": calls.Map.MAP_FIXED},
        {"length": 1, "flags": calls.Map.MAP_ANONYMOUS, "file": "/"},
        {"length": 1, "flags": calls.Map.MAP_PRIVATE, "shared": True},
        {"file": "/dev/zero"},
    ],
)
def test_arguments_that_make_no_call(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        mmap(**options)
    assert isinstance(caught.value, ProcmemError)


def test_files_that_can_not_be_mapped(file: Path, tmp_path: Path) -> None:
    with (
        open(file, "rb") as opened,
        pytest.raises(SyscallError, match="open for reading") as caught,
    ):
        mmap(file=opened, shared=True)
    assert caught.value.errno == errno.EACCES
    for path, number in ((tmp_path / "none", errno.ENOENT), (tmp_path, errno.EISDIR)):
        with pytest.raises(SyscallError, match=re.escape(str(path))) as caught:
            mmap(1, file=path, shared=True)
        assert (caught.value.syscall, caught.value.errno) == ("open", number)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SyscallError) as caught:
        mmap(1, file=tmp_path / "fifo")
    assert caught.value.errno == errno.ENODEV


def test_a_place_that_is_taken() -> None:
    with in_slot(2) as memory:
        with pytest.raises(SyscallError, match="is partly mapped already") as caught:
            mmap(1, address=memory.address + PAGE, fixed_noreplace=True)
        assert caught.value.errno == errno.EEXIST
        with mmap(1, address=memory.address + PAGE) as other:
            assert other.address != memory.address + PAGE


def test_limits() -> None:
    said = alone(
        """
        import resource
        with mmap(pages=4) as memory:
            memory.lock()
        def refused(operation, *arguments, **options):
            try:
                operation(*arguments, **options)
            except SyscallError as error:
                return [error.errno, error.hint]
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
        said["as"] = refused(mmap, 1 << 31)
        memory = mmap(pages=64)
        said["grow"] = refused(memory.resize, 1 << 31)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4 * PAGE, 4 * PAGE))
        if os.geteuid() == 0:
            os.setuid(65534)
        said["lock"] = refused(memory.lock)
        """
    )
    assert said["as"][0] == errno.ENOMEM
    assert said["grow"] == [errno.ENOMEM, said["as"][1]]
    assert str(1 << 30) in said["as"][1]
    assert said["lock"][0] == errno.ENOMEM
    assert str(4 * PAGE) in said["lock"][1]
