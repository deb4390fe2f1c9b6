"""Hints why the kernel may have refused a call."""

from __future__ import annotations

import errno
import resource

import pytest

from procmem.calls import hints


def test_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hints.of_room(errno.EINVAL) == ""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert (
        hints.of_room(errno.ENOMEM)
        == "RLIMIT_AS allows this process 1048576 bytes of address space"
    )
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    assert "overcommit" in hints.of_room(errno.ENOMEM)


@pytest.mark.parametrize(
    "length, address, offset, says",
    [
        (0, 0, 0, "the length is 0"),
        (4096, 0, 100, "offset 100 is not a multiple of the page size 4096"),
        (4096, 0x1001, 0, "address 0x1001 is not a multiple of the page size 4096"),
    ],
)
def test_arguments_of_mmap(length: int, address: int, offset: int, says: str) -> None:
    assert hints.of_mmap(errno.EINVAL, length, address, offset, 4096, False) == says


def test_other_errors_have_no_hint() -> None:
    assert hints.of_mmap(errno.EINTR, 4096, 0, 0, 4096, False) == ""
    assert hints.of_mremap(errno.EINTR) == ""
