"""Permissions, device numbers and VmFlags of a region, as types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["VM_FLAG_MEANINGS", "Device", "Perms", "VmFlags"]


class Perms(str):
    """The permission letters of a region, as /proc/PID/maps prints them.

    A str of four letters, so it compares with and prints as one.
    Source: proc_pid_maps(5).

    >>> perms = Perms("rw-p")
    >>> perms.write, perms.execute, perms.private
    (True, False, True)
    >>> perms == "rw-p"
    True
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Perms({str(self)!r})"

    @property
    def read(self) -> bool:
        """Whether pages may be read."""
        return self[:1] == "r"

    @property
    def write(self) -> bool:
        """Whether pages may be written."""
        return self[1:2] == "w"

    @property
    def execute(self) -> bool:
        """Whether code in it may be executed."""
        return self[2:3] == "x"

    @property
    def shared(self) -> bool:
        """Whether writes reach the file and other processes (MAP_SHARED)."""
        return self[3:4] == "s"

    @property
    def private(self) -> bool:
        """Whether writes are copied (MAP_PRIVATE)."""
        return self[3:4] == "p"


class Device(tuple[int, int]):
    """A device number: the pair (major, minor), printed as maps prints it.

    >>> str(Device(254, 0)), Device(8, 1).major
    ('fe:00', 8)
    """

    __slots__ = ()

    def __new__(cls, major: int, minor: int) -> Device:  # noqa: D102 - the class says it
        return super().__new__(cls, (major, minor))

    def __getnewargs__(self) -> tuple[int, int]:
        """For copying and pickling."""
        return self[0], self[1]

    def __str__(self) -> str:
        return f"{self[0]:02x}:{self[1]:02x}"

    def __repr__(self) -> str:
        return f"Device(major={self[0]}, minor={self[1]})"

    @property
    def major(self) -> int:
        """The driver's number."""
        return self[0]

    @property
    def minor(self) -> int:
        """The number of the device among those of its driver."""
        return self[1]


VM_FLAG_MEANINGS = {
    "rd": "readable",
    "wr": "writable",
    "ex": "executable",
    "sh": "shared",
    "mr": "may be made readable",
    "mw": "may be made writable",
    "me": "may be made executable",
    "ms": "may be made shared",
    "gd": "grows down, as a stack does",
    "pf": "pure page frame numbers, no struct page",
    "dw": "writes to the mapped file are denied",
    "lo": "locked in memory",
    "io": "maps the memory of a device",
    "sr": "advised to be read in sequence",
    "rr": "advised to be read at random",
    "dc": "not copied on fork",
    "de": "not expanded by mremap",
    "ac": "counted against the limit of committed memory",
    "nr": "no swap space is reserved for it",
    "ht": "uses huge pages of hugetlbfs",
    "sf": "synchronous page faults (DAX)",
    "nl": "not linear",
    "ar": "flag of the architecture",
    "wf": "zeroed in the child on fork",
    "dd": "left out of core dumps",
    "sd": "soft-dirty",
    "mm": "holds a mixture of pages",
    "hg": "advised to use transparent huge pages",
    "nh": "advised not to use transparent huge pages",
    "mg": "advised to merge equal pages (KSM)",
    "bt": "guarded by branch target identification (arm64)",
    "mt": "memory tagging is on (arm64)",
    "um": "userfaultfd tracks missing pages",
    "uw": "userfaultfd tracks writes",
    "ui": "userfaultfd tracks minor faults",
    "ss": "shadow stack",
    "sl": "sealed",
    "gu": "may hold lightweight guard pages",
    "dp": "dropped under memory pressure",
    "lf": "locked when faulted in",
    "mp": "memory protection extension (x86)",
    "ur": "userfaultfd tracks reads and writes",
    "??": "a flag the kernel has no letters for",
}
"""What each two-letter code of the VmFlags line says (proc_pid_smaps(5))."""


class VmFlags(Set[str]):
    """The flags of a region, as a set of the kernel's two-letter codes.

    Codes that this version of procmem does not know are kept. Printed as the
    kernel prints them and in its order.

    >>> flags = VmFlags("rd wr mr mw me ac zz")
    >>> "wr" in flags, "sh" in flags
    (True, False)
    >>> str(flags), flags.unknown
    ('rd wr mr mw me ac zz', ('zz',))
    """

    __slots__ = ("_codes",)

    def __init__(self, codes: str | Iterable[str] = ()) -> None:
        if isinstance(codes, str):
            codes = codes.split()
        self._codes = tuple(codes)

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return cls(it)

    def __contains__(self, code: object) -> bool:
        return code in self._codes

    def __iter__(self) -> Iterator[str]:
        return iter(self._codes)

    def __len__(self) -> int:
        return len(self._codes)

    def __hash__(self) -> int:
        return self._hash()

    def __str__(self) -> str:
        return " ".join(self._codes)

    def __repr__(self) -> str:
        return f"VmFlags({str(self)!r})"

    @property
    def unknown(self) -> tuple[str, ...]:
        """Codes without a known meaning."""
        return tuple(code for code in self._codes if code not in VM_FLAG_MEANINGS)

    def meanings(self) -> dict[str, str | None]:
        """The meaning of each code; None where it is not known."""
        return {code: VM_FLAG_MEANINGS.get(code) for code in self._codes}
