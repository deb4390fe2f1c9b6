"""What the regions of one reading of maps or smaps share: records, names, kinds."""

from __future__ import annotations

from procmem import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Protocol, TypeVar

    from procmem.native import Record
    from procmem.regions.facts import Facts
    from procmem.regions.kinds import Kind
    from procmem.regions.marks import Marks

    AnyRecord = TypeVar("AnyRecord", bound=Record)

    class AnyReading(Protocol):
        """What a region asks of what it shares with others: a MapsReading, or a SingleReading."""

        count: int
        unterminated: bool

        exe: bytes | None

        @property
        def extras(self) -> dict[int, list[tuple[str, int | str]]]: ...
        def text(self, string: int) -> bytes: ...
        def path(self, name: int, index: int, /) -> tuple[str | None, bool]: ...
        def kind(self, index: int, /) -> Kind: ...

    FindFacts = Callable[[Sequence[Any], "MapsReading"], Facts | None]
    """Finds facts about the regions of a live process when their kinds are asked for."""

__all__ = ["MapsReading", "scan_chunks", "split_deleted"]

DELETED = b" (deleted)"


def unescape(name: bytes) -> str:
    """A name as maps prints it, as a string: the kernel escapes the newline alone."""
    return name.replace(b"\\012", b"\n").decode("utf-8", "surrogateescape")


def split_deleted(raw: bytes) -> tuple[str | None, bool]:
    """The path and whether the kernel marked it deleted, going by the text alone."""
    if raw.endswith(DELETED) and not raw.startswith(b"["):
        return unescape(raw[: -len(DELETED)]), True
    return unescape(raw), False


def scan_chunks(chunks: Iterable[bytes], mode: int, source: str) -> native.Scan:
    """A finished scan of a text that comes in chunks, cut anywhere.

    Raises:
        ParseError
    """
    scan = native.Scan(mode, source)
    feed = scan.feed
    for chunk in chunks:
        feed(chunk)
    scan.finish()
    return scan


class MapsReading:
    """What the regions of one reading of maps or smaps share.

    It keeps the memory of the records alive and has their names and kinds. It never refers to
    a region, so that no reference cycle is made.

    Attributes:
        scan: the records.
        region_type: the class of the regions.
        strings: names and VmFlags as bytes, by the numbers that records hold.
        count: how many records there are; a table may hold some of the regions only.
        source: where the text came from.
        page_size: of the machine that it came from, in bytes.
        exe: the executable's path, as /proc/PID/exe leads to it; None: not known.
        unterminated: whether the text's last line has no newline.
        extras: counters without a word in the record, by index of the region.
        overrides: by index of the region the true path, and whether the file is deleted, where
            the printed name can be read in two ways.
        find_facts: finds facts about the process when kinds are first asked for; None: kinds
            rest on the text alone.
    """

    __slots__ = (
        "_kinds",
        "_marks",
        "_names",
        "count",
        "exe",
        "extras",
        "find_facts",
        "overrides",
        "page_size",
        "region_type",
        "scan",
        "source",
        "strings",
        "unterminated",
    )

    def __init__(
        self,
        scan: native.Scan,
        region_type: type[Record],
        *,
        source: str,
        page_size: int,
        exe: bytes | None,
    ) -> None:
        self.scan = scan
        self.region_type = region_type
        self.strings = scan.strings()
        self._names: dict[int, tuple[str | None, bool]] = {0: (None, False)}
        self.source = source
        self.page_size = page_size
        self.exe = exe
        self.count = scan.count
        self.unterminated = scan.unterminated
        self.extras: dict[int, list[tuple[str, int | str]]] = {}
        for region, name, value, _ in scan.extras():
            self.extras.setdefault(region, []).append(
                (
                    name.decode("utf-8", "surrogateescape"),
                    value if isinstance(value, int) else value.decode("utf-8", "surrogateescape"),
                )
            )
        scan.release_text()
        self.overrides: dict[int, tuple[str | None, bool]] = {}
        self._kinds: list[Kind | None] | None = None
        self._marks: Marks | None = None
        self.find_facts: FindFacts | None = None

    def make(self, region_type: type[AnyRecord]) -> list[AnyRecord]:
        """All regions, as objects of that class."""
        scan = self.scan
        return native.make(region_type, self, scan.address, scan.stride, self.count)

    def raw_records(self, indices: Iterable[int] | None = None) -> bytes:
        """The records as they lie in memory, one after the other.

        Args:
            indices: of the records that are wanted; None: all.
        """
        scan, size = self.scan, self.scan.stride * 8
        raw = bytes(native.ffi.buffer(scan.words, self.count * size)) if self.count else b""
        if indices is None:
            return raw
        return b"".join([raw[index * size : (index + 1) * size] for index in indices])

    def text(self, string: int) -> bytes:
        """A string by its number."""
        return self.strings[string]

    def path(self, name: int, index: int) -> tuple[str | None, bool]:
        """The name of a region and whether its file is deleted."""
        if self.overrides and index in self.overrides:
            return self.overrides[index]
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = split_deleted(self.strings[name])
        return known

    def kind(self, index: int) -> Kind:
        """The kind of a region; those of all regions are found when one is first asked for."""
        known = None if self._kinds is None else self._kinds[index]
        return self._find_kinds()[index] if known is None else known

    @property
    def kinds(self) -> Sequence[Kind] | None:
        """The kinds by index, if they have been found or retold already; None: they have not."""
        if self._kinds is None:
            return None
        known = [kind for kind in self._kinds if kind is not None]
        return known if len(known) == self.count else None

    def retell(self, index: int, kind: Kind) -> None:
        """Sets the kind of a region, where more is known than the text and facts() say."""
        if self._kinds is None:
            self._kinds = [None] * self.count
        self._kinds[index] = kind

    def marks(self) -> Marks:
        """What is known of each region at a glance."""
        if self._marks is None:
            from procmem.regions.marks import Marks

            scan = self.scan
            self._marks = Marks(scan.words, scan.stride, self.count, self.page_size, self.strings)
        return self._marks

    def _find_kinds(self) -> list[Kind]:
        from procmem.regions.classify import classify

        regions: Sequence[Any] = self.make(self.region_type)
        find = self.find_facts
        found = classify(
            regions,
            self.marks(),
            self.exe,
            None if find is None else find(regions, self),
            renamed=bool(self.overrides),
        )
        if self._kinds is not None:
            found = [kind or new for kind, new in zip(self._kinds, found, strict=True)]
        self._kinds = [*found]
        self.find_facts = self._marks = None
        return found
