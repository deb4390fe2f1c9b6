"""The counters of smaps and smaps_rollup: one mapping, in bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

TYPE_CHECKING: bool = False

__all__ = ["ATTRIBUTES", "NOT_BYTES", "Counters"]

ATTRIBUTES = {
    "Size": "size",
    "KernelPageSize": "kernel_page_size",
    "MMUPageSize": "mmu_page_size",
    "Rss": "rss",
    "Pss": "pss",
    "Pss_Dirty": "pss_dirty",
    "Shared_Clean": "shared_clean",
    "Shared_Dirty": "shared_dirty",
    "Private_Clean": "private_clean",
    "Private_Dirty": "private_dirty",
    "Referenced": "referenced",
    "Anonymous": "anonymous",
    "KSM": "ksm",
    "LazyFree": "lazy_free",
    "AnonHugePages": "anon_huge_pages",
    "ShmemPmdMapped": "shmem_pmd_mapped",
    "FilePmdMapped": "file_pmd_mapped",
    "Shared_Hugetlb": "shared_hugetlb",
    "Private_Hugetlb": "private_hugetlb",
    "Swap": "swap",
    "SwapPss": "swap_pss",
    "Locked": "locked",
    "THPeligible": "thp_eligible",
    "ProtectionKey": "protection_key",
    "Pss_Anon": "pss_anon",
    "Pss_File": "pss_file",
    "Pss_Shmem": "pss_shmem",
}
"""The kernel's name of each known counter, and its attribute here."""

KERNEL_NAMES = {attribute: name for name, attribute in ATTRIBUTES.items()}

NOT_BYTES = frozenset({"THPeligible", "ProtectionKey"})
"""Known counters that are plain numbers."""

NOT_ADDITIVE = NOT_BYTES | {"KernelPageSize", "MMUPageSize"}
"""Known counters whose sum over regions means nothing."""


class Counters(Mapping[str, "int | str"]):
    """Counters by the kernel's names, in the kernel's order; sizes in bytes.

    A counter can also be had as an attribute (`Private_Dirty` as
    `.private_dirty`). One that the kernel did not print is None as an
    attribute and absent as a key: never 0. Counters that this version does not
    know are kept under their names.

    Source: proc_pid_smaps(5), Documentation/filesystems/proc.rst.

    >>> counters = Counters({"Rss": 8192, "Private_Clean": 0, "Private_Dirty": 4096})
    >>> counters.rss, counters.pss, counters.uss
    (8192, None, 4096)
    >>> "Pss" in counters
    False
    """

    __slots__ = ("_values",)

    if TYPE_CHECKING:
        size: int | None
        kernel_page_size: int | None
        mmu_page_size: int | None
        rss: int | None
        pss: int | None
        pss_dirty: int | None
        shared_clean: int | None
        shared_dirty: int | None
        private_clean: int | None
        private_dirty: int | None
        referenced: int | None
        anonymous: int | None
        ksm: int | None
        lazy_free: int | None
        anon_huge_pages: int | None
        shmem_pmd_mapped: int | None
        file_pmd_mapped: int | None
        shared_hugetlb: int | None
        private_hugetlb: int | None
        swap: int | None
        swap_pss: int | None
        locked: int | None
        thp_eligible: int | None
        protection_key: int | None
        pss_anon: int | None
        pss_file: int | None
        pss_shmem: int | None

    def __init__(self, values: Mapping[str, int | str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> int | str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, attribute: str) -> int | str | None:
        if attribute in KERNEL_NAMES:
            return self._values.get(KERNEL_NAMES[attribute])
        raise AttributeError(f"no counter has the attribute {attribute!r}", name=attribute)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *KERNEL_NAMES]

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Counters):
            return self._values == other._values
        return NotImplemented if not isinstance(other, Mapping) else self._values == dict(other)

    def __repr__(self) -> str:
        return f"Counters({self._values!r})"

    def __reduce__(self) -> tuple[type[Counters], tuple[dict[str, int | str]]]:
        return type(self), (self._values,)

    @property
    def uss(self) -> int | None:
        """Bytes that no other process maps, which are freed when the process ends.

        Private_Clean + Private_Dirty. Huge pages of hugetlbfs are in none of rss, pss and uss
        (fs/proc/task_mmu.c, smaps_hugetlb_range()): `hugetlb` has them. psutil counts
        Private_Hugetlb in its uss, which can pass its rss.
        """
        return added(self.private_clean, self.private_dirty)

    @property
    def hugetlb(self) -> int | None:
        """Bytes of huge pages of hugetlbfs: Shared_Hugetlb + Private_Hugetlb (Linux 4.4)."""
        return added(self.shared_hugetlb, self.private_hugetlb)

    @property
    def huge(self) -> int | None:
        """Bytes of rss that transparent huge pages map: of memory, shared memory and files.

        AnonHugePages, ShmemPmdMapped (Linux 4.8) and FilePmdMapped (Linux 5.4): those that the
        kernel prints.
        """
        return of_those_shown(self.anon_huge_pages, self.shmem_pmd_mapped, self.file_pmd_mapped)


def of_those_shown(*counters: int | None) -> int | None:
    """The sum of the counters that the kernel prints; None if it prints none of them."""
    known = [value for value in counters if value is not None]
    return sum(known) if known else None


def added(one: int | None, other: int | None) -> int | None:
    """The sum of two counters; None unless the kernel prints both."""
    return None if one is None or other is None else one + other
