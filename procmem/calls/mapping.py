"""Mapping: memory that this process has mapped."""

from __future__ import annotations

import os
from array import array
from typing import NamedTuple
from weakref import WeakSet

from procmem.calls import hints, syscall
from procmem.calls.constants import Advice, Mremap, Msync, Prot, advice_of, prot_of, show_prot
from procmem.calls.layout import Piece, PieceTable
from procmem.errors import BadArgument, MappingInUse, SyscallError
from procmem.native import ffi, lib
from procmem.native._memory import Memory

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from typing_extensions import Buffer, Self

__all__ = ["Mapping", "Resident", "Touched", "live", "munmap_quietly"]

PAGE: int = os.sysconf("SC_PAGESIZE")


class Touched(NamedTuple):
    """The result of Mapping.touch().

    Attributes:
        pages: pages touched.
        minor, major: page faults of this thread that it took (getrusage(2)).
    """

    pages: int
    minor: int
    major: int


class Resident(NamedTuple):
    """Resident, private and swapped bytes of a mapping, from the page table.

    Attributes:
        resident: in memory and mapped. The zero page, which is mapped when untouched memory is
            read, does not count, as in Rss of smaps. Huge pages of hugetlbfs do count, unlike in
            Rss.
        private: the part of resident that is anonymous: copied from a file, or never part of one.
        swapped: in swap; None if unknown: the page table has no entry for a page of shared memory
            that is swapped out.
    """

    resident: int
    private: int
    swapped: int | None


def munmap_quietly(
    address: int, length: int, perform: Callable[..., int] = lib.pm_perform, new: Any = ffi.new
) -> None:
    """munmap(2) for finalizers: raises nothing, and is not measured by a bracket."""
    perform(PM_MUNMAP, new("uint64_t[6]", [address, length]), 0, 0, -1, new("pm_outcome *"))


PM_MUNMAP: int = syscall.OPERATIONS["munmap"]

live: WeakSet[Mapping] = WeakSet()
"""All open mappings; functions on plain addresses look up here which one they affect."""


class Mapping(Memory):
    """Memory mapped by mmap(). It is unmapped by close(), by `with`, or by garbage collection.

    It supports the buffer protocol: `memoryview(m)`, `numpy.frombuffer(m)`. While a view exists the
    mapping cannot be unmapped, resized or protected (MappingInUse, also a BufferError). `m[i]`,
    `m[i:j]`, `bytes(m)`, assignments and touch() never crash the interpreter: if memory cannot be
    accessed, they raise MemoryFault with the signal and code. Existing views are not protected: if
    a file is truncated under one, an access ends the process, as with Python's mmap.

    Offsets and lengths are in bytes, but touch() counts pages. Offsets do not change when parts are
    unmapped. After fork(2) the child has the mapping, too, unless it was advised MADV_DONTFORK.

    Raises:
        BadArgument: from all methods: the mapping is closed, or the range is outside of it.
        MappingInUse: a view of it exists, or another thread uses it.
        SyscallError: the kernel refused.
    """

    __slots__ = (
        "__weakref__",
        "_address",
        "_fd",
        "_layout",
        "_length",
        "_not_inherited",
        "_offset",
        "_page_size",
        "_pid",
        "_shared",
        "_size",
    )

    def __init__(
        self,
        address: int,
        length: int,
        size: int,
        page_size: int,
        prot: int,
        shared: bool,
        fd: int,
        offset: int,
    ) -> None:
        self._layout = PieceTable([Piece(0, size, int(prot))])
        self._address = address
        self._length = length
        self._size = size
        self._page_size = page_size
        self._shared = shared
        self._fd = fd
        self._offset = offset
        self._pid = os.getpid()
        self._not_inherited: list[tuple[int, int]] = []
        live.add(self)

    # ---- what it is ------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether all of it has been unmapped."""
        self._after_fork()
        return not self._layout.pieces

    @property
    def address(self) -> int:
        """Its start address."""
        self._check_open()
        return self._address

    @property
    def length(self) -> int:
        """The requested length in bytes, also its len()."""
        return self._length

    @property
    def size(self) -> int:
        """Its size in bytes, rounded up to whole pages."""
        return self._size

    @property
    def mapped(self) -> int:
        """Bytes that are still mapped: less than size after unmap()."""
        self._after_fork()
        return self._layout.mapped

    @property
    def page_size(self) -> int:
        """The page size in bytes; for hugetlb that of its huge pages."""
        return self._page_size

    @property
    def pages(self) -> int:
        """The number of pages of page_size bytes."""
        return self._size // self._page_size

    @property
    def prot(self) -> Prot | None:
        """Its protection; None if that is not the same for all pages."""
        self._check_open()
        prots = {piece.prot for piece in self._layout.pieces}
        return Prot(prots.pop()) if len(prots) == 1 else None

    @property
    def shared(self) -> bool:
        """Whether it is MAP_SHARED: writes reach the file, or are seen by child processes."""
        return self._shared

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        if self.closed:
            return "<procmem.Mapping, closed>"
        prots = {show_prot(piece.prot) for piece in self._layout.pieces}
        perms = (prots.pop() if len(prots) == 1 else "???") + ("s" if self._shared else "p")
        end = self._address + self._size
        return f"<procmem.Mapping {self._address:x}-{end:x} {perms}>"

    # ---- access ----------------------------------------------------------

    def touch(
        self,
        pages: int | None = None,
        start: int = 0,
        *,
        write: bool = True,
        stride: int = 1,
        order: str | Sequence[int] = "forward",
        seed: int = 0,
    ) -> Touched:
        """Accesses one byte of each page and counts the page faults. No byte is changed.

        Args:
            pages: how many pages; None: all from start to the end.
            start: the number of the first page, from 0.
            write: write each byte back, or only read it.
            stride: the distance between the pages accessed, in pages.
            order: "forward", "backward", "random", or page numbers, which replace
                pages, start and stride.
            seed: for the random order.

        Raises:
            MemoryFault: an access failed; earlier pages have been touched.

        Source: getrusage(2), RUSAGE_THREAD.
        """
        numbers: Sequence[int]
        if isinstance(order, str):
            if start < 0 or stride < 1 or (pages is not None and pages < 0):
                raise BadArgument("pages and start must be 0 or more, stride 1 or more")
            if pages is None:
                pages = max(0, -(-(self.pages - start) // stride))
            numbers = range(start, start + pages * stride, stride)
            ends = (start, start + (pages - 1) * stride) if pages else (0, 0)
        elif (pages, start, stride) == (None, 0, 1):
            numbers = order
            ends = (min(order), max(order)) if order else (0, 0)
        else:
            raise BadArgument("give either page numbers as order, or pages, start and stride")
        first, last = ends
        if first < 0 or last >= self.pages:
            raise BadArgument(f"the mapping has pages 0 to {self.pages - 1}, not {first} to {last}")
        offsets = self._offsets(numbers, order, seed)
        operation = lib.PM_TOUCH_WRITE if write else lib.PM_TOUCH_READ
        with self._using():
            unit = self._page_size
            if not self._layout.covers(first * unit, (last + 1) * unit):
                for number in numbers:
                    self._check_mapped(number * unit, (number + 1) * unit)
            room = offsets.buffer_info()[0] if offsets is not None else 0
            at = self._address + (0 if room else first * unit)
            minor, major = syscall.access(
                operation,
                self._address,
                self._address + self._size,
                *(at, stride * unit, len(numbers), room),
            )
        return Touched(len(numbers), minor, major)

    def _offsets(
        self, numbers: Sequence[int], order: str | Sequence[int], seed: int
    ) -> array[int] | None:
        if order == "forward":
            return None
        if order == "backward":
            numbers = numbers[::-1]
        elif order == "random":
            from random import Random

            numbers = list(numbers)
            Random(seed).shuffle(numbers)  # noqa: S311 - an order, no secret
        elif isinstance(order, str):
            raise BadArgument(
                f'order must be "forward", "backward", "random" or page numbers, not {order!r}'
            )
        return array("Q", [number * self._page_size for number in numbers])

    def __getitem__(self, key: int | slice) -> int | bytes:
        if isinstance(key, slice):
            start, stop, step = key.indices(self._length)
            if step == 1:
                return self._read(start, max(start, stop))
            wanted = range(start, stop, step)
            if not wanted:
                return b""
            low, high = sorted((wanted[0], wanted[-1]))
            return self._read(low, high + 1)[:: abs(step)][:: 1 if step > 0 else -1]
        return self._read(*self._byte(key))[0]

    def __setitem__(self, key: int | slice, value: int | Buffer) -> None:
        if isinstance(key, slice):
            start, stop, step = key.indices(self._length)
            if step != 1:
                raise BadArgument("slices with a step cannot be assigned: use memoryview(mapping)")
            # bytes() of a number is that many zeros.
            data = b"" if isinstance(value, int) else bytes(value)
            if isinstance(value, int) or len(data) != max(0, stop - start):
                raise BadArgument("a slice can only be assigned a value of the same length")
            self._write(start, data)
        else:
            self._write(self._byte(key)[0], bytes((value,)))  # type: ignore[arg-type]

    def __bytes__(self) -> bytes:
        return self._read(0, self._length)

    def _byte(self, index: int) -> tuple[int, int]:
        at = index + self._length if index < 0 else index
        if not 0 <= at < self._length:
            raise IndexError(f"index {index} is outside of a mapping of {self._length} bytes")
        return at, at + 1

    def _read(self, start: int, end: int) -> bytes:
        room = ffi.new("char[]", max(1, end - start))
        self._copy(start, end, lambda at: (int(ffi.cast("uintptr_t", room)), at))
        return bytes(ffi.buffer(room, end - start))

    def _write(self, start: int, data: bytes) -> None:
        source = ffi.from_buffer(data)
        self._copy(start, start + len(data), lambda at: (at, int(ffi.cast("uintptr_t", source))))

    def _copy(self, start: int, end: int, ends: Callable[[int], tuple[int, int]]) -> None:
        with self._using():
            self._check_mapped(start, end)
            at = self._address + start
            syscall.access(lib.PM_COPY, at, at + end - start, *ends(at), end - start)

    def _lend(self, writable: int) -> tuple[int, int, bool]:
        """Called before a buffer is exported, as for memoryview()."""
        self._check_open()
        if not self._layout.covers(0, self._size):
            raise MappingInUse("parts of this mapping are unmapped: use slices of the rest")
        if any(piece.guarded or not piece.prot & Prot.PROT_READ for piece in self._layout.pieces):
            raise MappingInUse(
                "it contains memory that may not be read, and an access would kill the process"
            )
        if self._fd >= 0:
            end = os.fstat(self._fd).st_size
            if -(-end // self._page_size) * self._page_size < self._offset + self._length:
                raise MappingInUse(
                    f"the file ends after {end} bytes: an access after that would kill the process"
                )
        readonly = not all(piece.prot & Prot.PROT_WRITE for piece in self._layout.pieces)
        if readonly and writable:
            raise MappingInUse("the mapping is read-only")
        return self._address, self._length, readonly

    # ---- system calls ----------------------------------------------------

    def protect(self, prot: int | str, start: int = 0, length: int | None = None) -> None:
        """Changes its protection (mprotect(2))."""
        wanted = int(prot_of(prot))
        with self._using(alone=True):
            low, high = self._range(start, length)
            pieces = list(self._layout.within(low, high))
            try:
                syscall.call("mprotect", self._address + start, self._given(start, length), wanted)
            except SyscallError:
                if len(pieces) > 1:
                    # The kernel goes region by region, and stops in the middle.
                    self._layout = self._layout.changed(
                        low, high, lambda piece: piece._replace(prot=piece.prot & wanted)
                    )
                raise
            self._layout = self._layout.changed(
                low, high, lambda piece: piece._replace(prot=wanted)
            )

    def advise(self, advice: int | str, start: int = 0, length: int | None = None) -> None:
        """Gives the kernel advice about it (madvise(2)).

        Args:
            advice: Advice.MADV_*, or its name: "dontneed".
            start: bytes.
            length: bytes.
        """
        number = advice_of(advice)
        guards = {Advice.MADV_GUARD_INSTALL: True, Advice.MADV_GUARD_REMOVE: False}
        with self._using(alone=number in guards):
            low, high = self._range(start, length)
            syscall.call(
                "madvise",
                *(self._address + start, self._given(start, length), number),
                hint=lambda error: hints.of_advice(error, number),
            )
            if number in guards:
                self._layout = self._layout.changed(
                    low, high, lambda piece: piece._replace(guarded=guards[Advice(number)])
                )
            elif number == Advice.MADV_DONTFORK:
                self._not_inherited.append((low, high))
            elif number == Advice.MADV_DOFORK:
                kept = PieceTable([Piece(a, b, 0) for a, b in sorted(self._not_inherited)])
                self._not_inherited = kept.changed(low, high, lambda _: None).spans()

    def lock(self, start: int = 0, length: int | None = None, *, on_fault: bool = False) -> None:
        """Faults in its pages and locks them in memory (mlock(2)).

        Args:
            start: bytes.
            length: bytes.
            on_fault: lock each page when it is first touched (MLOCK_ONFAULT).
        """
        with self._using():
            self._range(start, length)
            where = (self._address + start, self._given(start, length))
            if on_fault:
                syscall.call("mlock2", *where, lib.MLOCK_ONFAULT, hint=hints.of_lock)
            else:
                syscall.call("mlock", *where, hint=hints.of_lock)

    def unlock(self, start: int = 0, length: int | None = None) -> None:
        """Unlocks it again (munlock(2))."""
        with self._using():
            self._range(start, length)
            syscall.call("munlock", self._address + start, self._given(start, length))

    def sync(
        self, start: int = 0, length: int | None = None, *, flags: int = Msync.MS_SYNC
    ) -> None:
        """Writes changes back to the file (msync(2)).

        Args:
            start: bytes.
            length: bytes.
            flags: Msync.MS_*.
        """
        with self._using():
            self._range(start, length)
            syscall.call("msync", self._address + start, self._given(start, length), int(flags))

    def mincore(self) -> bytes:
        """One byte per page of the system's page size: 1 if the page is in memory (mincore(2)).

        For a file this is the content of the page cache, whoever has read it, and not what this
        process has in its page table: that is residency(). For a file that the caller may not
        write, the kernel returns 1 for every page.
        """
        with self._using():
            self._check_mapped(0, self._size)
            vector = ffi.new("unsigned char[]", self._size // PAGE)
            syscall.call("mincore", self._address, self._size, int(ffi.cast("uintptr_t", vector)))
        return bytes(page & 1 for page in vector)

    def residency(self) -> Resident:
        """Resident, private and swapped bytes, from the process's own page table.

        mincore(2) cannot be used for this: for files it reports the page cache.

        Raises:
            AccessDenied, Unsupported: /proc/self/pagemap cannot be read.

        Source: Documentation/admin-guide/mm/pagemap.rst.
        """
        from procmem.pages.states import read_states
        from procmem.procfs import ProcessFiles

        with self._using():
            spans = [(self._address + a, self._address + b) for a, b in self._layout.spans()]
            files = ProcessFiles(os.getpid())
            fd = files.open("pagemap")
            try:
                resident, private, swapped = read_states(fd, spans, PAGE).total
            finally:
                os.close(fd)
        unknown = self._may_be_shmem() and lib.pm_total_swap()
        return Resident(resident, private, None if unknown else swapped)

    def _may_be_shmem(self) -> bool:
        if self._fd < 0:
            return self._shared
        # Only file systems without a disk have the major number 0.
        return os.major(os.fstat(self._fd).st_dev) == 0

    def resize(
        self, length: int | None = None, *, pages: int | None = None, may_move: bool = True
    ) -> None:
        """Changes its length (mremap(2)); `address` may change.

        Args:
            length: bytes.
            pages: instead of length.
            may_move: MREMAP_MAYMOVE; without it the call fails if the addresses after it are in
                use.
        """
        if (length is None) is (pages is None):
            raise BadArgument("give length, in bytes, or pages")
        wanted = pages * self._page_size if pages is not None else length or 0
        if wanted < 0:
            raise BadArgument(f"a length can't be negative: {wanted}")
        size = -(-syscall.word(wanted, "the length") // self._page_size) * self._page_size
        with self._using(alone=True):
            self._check_mapped(0, self._size)
            flags = Mremap.MREMAP_MAYMOVE if may_move else 0
            self._address = syscall.call(
                "mremap", self._address, self._size, size, flags, hint=hints.of_mremap
            )
            # The kernel extends the last region with all that it was advised.
            self._not_inherited = [
                (low, size if high >= self._size else high) for low, high in self._not_inherited
            ]
            pieces = list(self._layout.within(0, size))
            if size > self._size:
                pieces.append(pieces[-1]._replace(start=self._size, end=size, guarded=False))
            self._layout = PieceTable(pieces).changed(0, 0, lambda piece: piece)
            self._size, self._length = size, wanted

    def unmap(self, start: int = 0, length: int | None = None) -> None:
        """Unmaps all or part of it (munmap(2)). The offsets of the rest do not change."""
        with self._using(alone=True):
            low, high = self._range(start, length)
            before = self._layout
            # First, so that an interrupt never leaves us with memory that is another's.
            self._layout = before.changed(low, high, lambda _: None)
            try:
                syscall.call(
                    "munmap",
                    *(self._address + start, self._given(start, length)),
                    hint=hints.of_room,
                )
            except SyscallError:
                self._layout = before
                raise
            if not self._layout.pieces:
                self._let_go()

    def close(self) -> None:
        """Unmaps what is left of it. May be called more than once."""
        if self.closed:
            self._let_go()
            return
        with self._using(alone=True):
            spans, self._layout = self._layout.spans(), PieceTable([])
            for start, end in spans:
                syscall.call("munmap", self._address + start, end - start)
            self._let_go()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self, munmap: Callable[[int, int], None] = munmap_quietly) -> None:
        if hasattr(self, "_not_inherited"):
            self._after_fork()
            for start, end in self._layout.spans():
                munmap(self._address + start, end - start)
            self._layout = PieceTable([])
            self._let_go()

    # ---- ranges ----------------------------------------------------------

    def _let_go(self) -> None:
        live.discard(self)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _after_fork(self) -> None:
        # What a child did not inherit may be another's memory there.
        if self._not_inherited and self._pid != os.getpid():
            for start, end in self._not_inherited:
                self._layout = self._layout.changed(start, end, lambda _: None)
            self._not_inherited = []

    def _using(self, *, alone: bool = False) -> Using:
        return Using(self._use_alone if alone else self._use, self._check_open, self._done)

    def meets(self, start: int, end: int) -> bool:
        """Whether any mapped part of it overlaps an address range."""
        return any(
            start < self._address + high and self._address + low < end
            for low, high in self._layout.spans()
        )

    def _check_open(self) -> None:
        if self.closed:
            raise BadArgument("this mapping is closed")

    def _check_mapped(self, start: int, end: int) -> None:
        if not self._layout.covers(start, end):
            raise BadArgument(f"bytes {start} to {end} of this mapping have been unmapped")

    def _given(self, start: int, length: int | None) -> int:
        return self._size - start if length is None else length

    def _range(self, start: int, length: int | None) -> tuple[int, int]:
        """The page-aligned range that the kernel will act on; all of it must be mapped here."""
        length = self._given(start, length)
        end = -(-(start + length) // PAGE) * PAGE
        if start < 0 or length < 0 or end > self._size:
            raise BadArgument(
                f"bytes {start} to {start + length} are not within a mapping of {self._size} bytes"
            )
        low = start // PAGE * PAGE
        self._check_mapped(low, end)
        return low, end


class Using:
    """Marks a mapping as in use: shared with other users, or exclusively.

    Raises:
        BadArgument: it is closed.
        MappingInUse
    """

    __slots__ = ("begin", "check_open", "end")

    def __init__(
        self, begin: Callable[[], bool], check_open: Callable[[], None], end: Callable[[], None]
    ) -> None:
        self.begin = begin
        self.check_open = check_open
        self.end = end

    def __enter__(self) -> None:
        if not self.begin():
            raise MappingInUse(
                "the mapping is in use: release its memoryviews first, or wait for the other thread"
            )
        try:
            self.check_open()
        except BadArgument:
            self.end()
            raise

    def __exit__(self, *_: object) -> None:
        self.end()
