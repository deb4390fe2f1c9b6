"""ELF files loaded in a process: objects and their sections, page by page."""

from __future__ import annotations

from typing import NamedTuple

from procmem.elf.spec import SHF_TLS, SHF_WRITE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from procmem.elf.image import Image
    from procmem.regions import Region
    from procmem.regions.kinds import Owner

__all__ = ["BridgeStep", "LiveObject", "LiveSection", "Rest"]

ADDRESSES = (1 << 64) - 1


class LiveSection(NamedTuple):
    """A section of an ELF file in a process's memory.

    Pages are shared by neighbours, so the figures are bytes of the section that lie on
    such pages: those of all sections, and of the bytes between them, add up to the pages.

    Attributes:
        name: such as ".text".
        path: the file's, as maps has it; "[vdso]" for the kernel's own.
        address: where it starts in the process.
        size: sh_size, in bytes.
        resident: bytes that lie on pages in memory; the zero page does not count.
        private: bytes of those on pages that the process has written to, or a relative of
            it before fork(2): they are no longer the file's (anonymous in smaps).
        swapped: bytes on pages in swap.
        region: where it starts; None if it is not mapped, as .tbss, whose memory is each
            thread's own.
        counts_as: "text", "data" or "bss", as GNU size counts it.
        object: the file it belongs to.
    """

    name: str
    path: str
    address: int
    size: int
    resident: int
    private: int
    swapped: int
    region: Region | None
    counts_as: str
    object: LiveObject

    def to_record(self) -> dict[str, Any]:
        """A flat dict of plain values."""
        return {
            "name": self.name,
            "path": self.path,
            "address": self.address,
            "size": self.size,
            "resident": self.resident,
            "private": self.private,
            "swapped": self.swapped,
            "region": None if self.region is None else self.region.start,
            "kind": None if self.region is None else self.region.kind.value,
            "counts_as": self.counts_as,
        }


class Rest(NamedTuple):
    """The bytes on an object's pages that are in no section: headers and padding."""

    size: int
    resident: int
    private: int
    swapped: int


class BridgeStep(NamedTuple):
    """One step from the sums of GNU size to the bytes of VSZ that an object occupies."""

    what: str
    bytes: int
    why: str


Row = tuple[int, int, int, "Region | None"]
"""Resident, private and swapped bytes of a section, and where it starts."""


class LiveObject:
    """An ELF file that is loaded in a process: the executable, a library, the loader, the vdso.

    Attributes:
        path: as maps has it, without " (deleted)".
        owner: executable, library or loader; None for the vdso.
        bias: what was added to the addresses of the file (0 for one that isn't PIE).
        start: the lowest address of its pages.
        build_id: of what is mapped, in hexadecimal; None: it has none, or it is not known.
        file_build_id: of the file that lies under the path now.
        state: "same" (that file is the mapped one), "replaced" (another one), "deleted"
            (there is none), "unreadable" (`reason` says why), "kernel" (the vdso).
        reason: why there are no sections, or the state is not known; else "".
        size: bytes of VSZ that it occupies: the regions of its file, and of anonymous
            memory what its headers ask for (bss).
        resident, private, swapped: bytes of all its pages, as in LiveSection.
        regions: the regions it lies in.
        image: its headers; None if they can't be read.
    """

    __slots__ = (
        "bias",
        "build_id",
        "file_build_id",
        "gaps",
        "image",
        "owner",
        "path",
        "pieces",
        "private",
        "reason",
        "regions",
        "resident",
        "rest",
        "rows",
        "size",
        "start",
        "state",
        "swapped",
    )

    path: str
    owner: Owner | None
    bias: int
    start: int
    build_id: str | None
    file_build_id: str | None
    state: str
    reason: str
    size: int
    resident: int
    private: int
    swapped: int
    regions: Sequence[Region]
    image: Image | None
    rest: Rest
    # Parts of regions that are its own, ascending; gaps are regions of its file besides.
    pieces: Sequence[tuple[int, int]]
    gaps: int
    rows: Sequence[Row]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1] or self.path

    @property
    def sections(self) -> list[LiveSection]:
        """Its sections that are in memory, by address; empty if `image` is None."""
        if self.image is None:
            return []
        return [
            LiveSection(
                section.name,
                self.path,
                (self.bias + section.address) & ADDRESSES,
                section.size,
                *row,
                section.counts_as,
                self,
            )
            for section, row in zip(self.image.sections, self.rows, strict=True)
        ]

    @property
    def copied(self) -> dict[str, int]:
        """Bytes of each writable section that were mapped from the file and privately copied.

        .data.rel.ro, .got and the like are written by relocation; .data may
        be relocated and written to by the program.
        """
        found: dict[str, int] = {}
        if self.image is not None:
            for section, row in zip(self.image.sections, self.rows, strict=True):
                if section.counts_as == "data" and section.flags & SHF_WRITE and section.size:
                    found[section.name] = found.get(section.name, 0) + row[1]
        return found

    @property
    def relocation_cost(self) -> int:
        """Of `copied`, what relocation alone writes: PT_GNU_RELRO, .got and .data.rel*."""
        cost = 0
        if self.image is not None:
            relro, length = self.image.relro or (0, 0)
            for section, row in zip(self.image.sections, self.rows, strict=True):
                if (
                    section.counts_as == "data"
                    and section.flags & SHF_WRITE
                    and (
                        relro <= section.address < relro + length
                        or section.name.startswith((".got", ".data.rel", ".dynamic"))
                        or section.name in (".init_array", ".fini_array", ".preinit_array")
                    )
                ):
                    cost += row[1]
        return cost

    def _fields(self) -> tuple[Any, ...]:
        return (
            self.path,
            self.bias,
            self.start,
            self.build_id,
            self.file_build_id,
            self.state,
            self.size,
            self.resident,
            self.private,
            self.swapped,
            self.image,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LiveObject):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((self.path, self.start, self.build_id))

    def __repr__(self) -> str:
        return f"<LiveObject {self.path!r} at {self.start:#x}, {self.state}>"

    def to_record(self) -> dict[str, Any]:
        """A dict of plain values, sections and bridge within."""
        return {
            "path": self.path,
            "owner": None if self.owner is None else self.owner.value,
            "start": self.start,
            "bias": self.bias,
            "build_id": self.build_id,
            "file_build_id": self.file_build_id,
            "state": self.state,
            "reason": self.reason or None,
            "size": self.size,
            "resident": self.resident,
            "private": self.private,
            "swapped": self.swapped,
            "relocation_cost": self.relocation_cost,
            "copied": self.copied,
            "rest": self.rest._asdict(),
            "bridge": [step._asdict() for step in self.bridge()],
            "sections": [section.to_record() for section in self.sections],
        }

    # ---- from size to VSZ ------------------------------------------------------

    def bridge(self) -> list[BridgeStep]:
        """The way from text + data + bss of GNU size to `size`; the last step is the remainder.

        The steps come from the headers, `size` from the regions: a remainder that is not 0
        would say that the two disagree. Empty if there are no headers.
        """
        if self.image is None:
            return []
        return bridge(self, self.image)


def bridge(live: LiveObject, image: Image) -> list[BridgeStep]:
    from procmem.regions.region import PAGE_SIZE as PAGE

    text, data, bss = image.sums()
    steps = [
        BridgeStep("text", text, "code and read-only data"),
        BridgeStep("data", data, "writable, with contents in the file"),
        BridgeStep("bss", bss, "writable, zero at the start"),
    ]

    def step(what: str, number: int, why: str) -> None:
        if number:
            steps.append(BridgeStep(what, number, why))

    loaded = [each for each in image.sections if each.loaded and each.size]
    unloaded = [each for each in image.sections if not each.loaded and each.size]
    tbss = sum(each.size for each in unloaded if each.flags & SHF_TLS)
    step(".tbss", -tbss, "in bss, but each thread has its own")
    step(
        "not in a segment",
        tbss - sum(each.size for each in unloaded),
        "sections that no segment maps",
    )
    covered = union((each.address, each.address + each.size) for each in loaded)
    step(
        "overlap",
        length(covered) - sum(each.size for each in loaded),
        "bytes that two sections share",
    )
    segments = union((load.vaddr, load.vaddr + load.memsz) for load in image.loads)
    first = next((load for load in image.loads if load.offset == 0 and load.filesz), None)
    head = relro = 0
    relro_end = sum(image.relro) if image.relro else -1
    gaps = 0
    for start, end in without(segments, covered):
        if first is not None and start == first.vaddr:
            head = min(image.head, end - start)
            start += head  # noqa: PLW2901 - the rest of the gap
        if start < relro_end <= end:
            relro = end - start
        else:
            gaps += end - start
    step("headers", head, "ELF and program headers, in no section")
    step("relro", relro, "so that PT_GNU_RELRO ends with a page")
    step("alignment", gaps, "between sections")
    pages = union(load.pages(PAGE) for load in image.loads)
    lone = sum(end - start for start, end in (load.pages(PAGE) for load in image.loads))
    shared, rounding = page_rounding(image, PAGE)
    step(
        "shared file pages",
        shared,
        "pages of the file mapped for two segments",
    )
    step("page rounding", rounding, "segments are mapped in whole pages")
    step(
        "shared pages",
        length(pages) - lone + sum(load.memsz for load in image.loads) - length(segments),
        "segments meet within a page of memory",
    )
    own = union(live.pieces)
    biased = [(start + live.bias, end + live.bias) for start, end in pages]
    inside = length(biased) - length(without(biased, own))
    step("not mapped", inside - length(pages), "pages unmapped by now, or others'")
    step("between segments", live.gaps, "kept by the loader, often without access")
    walked = sum(each.bytes for each in steps)
    steps += [
        BridgeStep("VSZ", live.size, "the bytes of its regions in maps"),
        BridgeStep("remainder", live.size - walked, ""),
    ]
    return steps


def page_rounding(image: Image, page: int) -> tuple[int, int]:
    """Bytes that the segments' pages add to them: others' file bytes, and all else."""
    shared = rounding = 0
    contents = union((load.offset, load.offset + load.filesz) for load in image.loads)
    for load in image.loads:
        start, end = load.pages(page)
        total = end - start - load.memsz
        low = load.offset - (load.vaddr - start)
        tail = load.offset + load.filesz
        before = [(low, load.offset)]
        # Behind a writable segment with bss, the rest of its last file page is zeroed.
        behind = [(tail, tail + end - load.vaddr - load.memsz)] if load.filesz else []
        others = 0
        for span in before + (behind if load.memsz == load.filesz else []):
            others += length([span]) - length(without([span], contents))
        shared += others
        rounding += total - others
    return shared, rounding


# ---- ranges ------------------------------------------------------------------


def union(spans: Any) -> list[tuple[int, int]]:
    """The same bytes as ascending ranges that don't touch."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            if end > found[-1][1]:
                found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found


def length(spans: Sequence[tuple[int, int]]) -> int:
    """Bytes of ranges that don't overlap."""
    return sum(end - start for start, end in spans)


def without(
    spans: Sequence[tuple[int, int]], holes: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The first ranges without the second, both as union() returns them."""
    found = []
    at = 0
    for start, end in spans:
        while at < len(holes) and holes[at][1] <= start:
            at += 1
        hole = at
        while start < end:
            if hole == len(holes) or holes[hole][0] >= end:
                found.append((start, end))
                break
            if holes[hole][0] > start:
                found.append((start, holes[hole][0]))
            start = max(start, holes[hole][1])  # noqa: PLW2901 - goes on behind the hole
            hole += 1
    return found
