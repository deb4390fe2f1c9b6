"""Texts of maps and smaps as kernels and emulators print them, with what each line says."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from procmem import Region, parse_maps
from procmem.regions.counters import ATTRIBUTES, NOT_BYTES

#: Every kind of name that the kernel prints, and some that processes choose.
NAMES = [
    b"/usr/bin/cat",
    b"/usr/lib/x86_64-linux-gnu/libc.so.6",
    b"/lib64/ld-linux-x86-64.so.2",
    b"/tmp/x (deleted)",
    b"/tmp/x (deleted) (deleted)",
    b"/tmp/new\\012line",
    b"/tmp/literal\\\\012",
    b"/tmp/\ttabs\tand\x0bmore\x0c\r",
    b"/tmp/ two  blanks and some behind  ",
    b"/tmp/next\x85line \xc2\x85 \xe2\x80\xa8",
    b"/tmp/\xff\xfe no UTF-8",
    b"/tmp/\xed\xb2\x80 a surrogate in UTF-8",
    b"/tmp/00400000-00401000 rw-p 00000000 00:00 0",
    b"/tmp/Rss:                  44 kB",
    b"/tmp/\x00\x01\x7f",
    b"/dev/zero",
    b"/dev/zero (deleted)",
    b"/dev/shm/x",
    b"/dev/dri/card0",
    b"/anon_hugepage (deleted)",
    b"/SYSV0000beef (deleted)",
    b"/memfd:x (deleted)",
    b"/memfd:\\012[heap] (deleted)",
    b"/memfd: (deleted)",
    b"/secretmem (deleted)",
    b"/[aio] (deleted)",
    b"anon_inode:[io_uring]",
    b"anon_inode:[perf_event]",
    b"socket:[1234]",
    b"[heap]",
    b"[stack]",
    b"[stack:123]",
    b"[vdso]",
    b"[vvar]",
    b"[vvar_vclock]",
    b"[vsyscall]",
    b"[uprobes]",
    b"[uprobes-trampoline]",
    b"[vectors]",
    b"[sigpage]",
    b"[gic]",
    b"[anon:a name]",
    b"[anon:]",
    b"[anon:x (deleted)",
    b"[anon_shmem:shared]",
    b"[page size compat]",
    b"(deleted)",
    b"x" * 4096,
]

CAT = b"00400000-0040b000 r-xp 00001000 fe:01 7                                  /bin/cat\n"


def cat() -> Region:
    return parse_maps(CAT)[0]


U32 = 2**32 - 1
U64 = 2**64 - 1

anything = st.one_of(
    st.sampled_from(NAMES),
    st.binary(min_size=1, max_size=40)
    .map(lambda raw: raw.replace(b"\n", b"\\012"))
    .filter(lambda raw: not raw.startswith(b" ")),
)
names = st.one_of(st.just(b""), anything)

addresses = st.one_of(
    st.integers(0, U64),
    st.integers(0, U32),
    st.integers(0, 1 << 35).map(lambda page: page << 12),
    st.sampled_from([0, 1, 4096, U32, U32 + 1, 2**47, 2**63, U64 - 4095, U64]),
)
numbers = st.one_of(st.integers(0, U64), st.sampled_from([0, 1, U32, U32 + 1, 2**63, U64]))
small = st.one_of(st.integers(0, 255), st.integers(0, U32), st.sampled_from([0, 8, 0xFD, U32]))
letters = st.one_of(
    st.sampled_from(["r--p", "rw-p", "r-xp", "---p", "rw-s", "rwxp", "--xp", "r--s"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=4, max_size=4),
)


@dataclass(frozen=True)
class Line:
    """A region's line and what stands in it."""

    start: int
    end: int
    perms: str
    offset: int
    dev: tuple[int, int]
    inode: int
    name: bytes
    text: bytes

    def says(self) -> tuple[object, ...]:
        return (self.start, self.end, self.perms, self.offset, self.dev, self.inode, self.name)


def kernel_line(
    start: int,
    end: int,
    perms: str,
    offset: int,
    dev: tuple[int, int],
    inode: int,
    name: bytes,
    *,
    column: int = 73,
) -> Line:
    """The line of fs/proc/task_mmu.c: names start in column 73 (32-bit: 49), or after one blank."""
    head = f"{start:08x}-{end:08x} {perms} {offset:08x} {dev[0]:02x}:{dev[1]:02x} {inode} "
    text = head.encode()
    if name:
        text = text.ljust(column - 1) + b" " + name
    return Line(start, end, perms, offset, dev, inode, name, text)


@st.composite
def lines(draw: st.DrawFn, *, canonical: bool | None = None) -> Line:
    """A line of maps; ``canonical`` False: as no 64-bit kernel prints it (mostly)."""
    start, end = sorted((draw(addresses), draw(addresses)))
    perms, offset = draw(letters), draw(numbers)
    dev, inode, name = (draw(small), draw(small)), draw(numbers), draw(names)
    if canonical is None:
        canonical = draw(st.booleans())
    if canonical:
        return kernel_line(start, end, perms, offset, dev, inode, name)
    form = draw(st.sampled_from(["x", "X", "04x", "08x", "012x", "016x", "016X", "020x"]))
    narrow = draw(st.sampled_from(["x", "02x", "02X", "04x"]))
    zeros = draw(st.sampled_from(["", "", "0", "000"]))
    head = (
        f"{start:{form}}-{end:{form}} {perms} {offset:{form}} "
        f"{dev[0]:{narrow}}:{dev[1]:{narrow}} {zeros}{inode}"
    ).encode()
    gap = draw(st.integers(1, 60)) if name else draw(st.integers(0, 3))
    return Line(start, end, perms, offset, dev, inode, name, head + b" " * gap + name)


@dataclass(frozen=True)
class Text:
    """A whole text of maps."""

    lines: list[Line]
    terminated: bool

    @property
    def data(self) -> bytes:
        body = b"\n".join(line.text for line in self.lines)
        return body + b"\n" * (self.terminated and bool(self.lines))


maps_texts = st.builds(Text, st.lists(lines(), max_size=12), st.booleans())
kernel_texts = st.builds(Text, st.lists(lines(canonical=True), max_size=12), st.just(True))


# ---- smaps ----


UNKNOWN = ["Pss_Kernel", "Zones", "Colour", "x", "rss", "vm_flags", "size", "N", "Rss_", "VmFlagz"]
FLAGS = ["rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "gd", "ac", "lo", "ht", "??", "zz", "q9"]

unknown_names = st.one_of(
    st.sampled_from(UNKNOWN),
    st.binary(min_size=1, max_size=30)
    .filter(lambda raw: not set(raw) & set(b" :-\n"))
    .map(lambda raw: raw.decode("utf-8", "surrogateescape")),
).filter(lambda name: name not in ATTRIBUTES and name != "VmFlags")
unknown_texts = (
    st.binary(min_size=0, max_size=20)
    .filter(lambda raw: b"\n" not in raw and not raw[:1].isdigit() and raw[:1] not in (b" ", b"\t"))
    .map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
kilobytes = st.one_of(
    st.integers(0, 99_999_999), st.integers(0, 2**54 - 1), st.sampled_from([0, 4, 2**54 - 1])
).map(lambda kb: kb * 1024)
plain = st.one_of(st.integers(0, 15), st.integers(0, U64 - 1), st.sampled_from([0, 1, U64 - 1]))


@dataclass(frozen=True)
class Counted:
    """A region of smaps: its line, its counters in bytes in the text's order, its flags."""

    line: Line
    counters: dict[str, int | str] = field(default_factory=dict)
    flags: str | None = None
    text: bytes = b""


def printed(name: str, value: int | str, *, in_kb: bool, blank: str = " ") -> bytes:
    text = value if isinstance(value, str) else f"{value:8}"
    if in_kb and isinstance(value, int):
        text = f"{value >> 10:8} kB"
    gap = blank * max(0, 16 - len(name) - 1) if blank == " " else blank
    return f"{name}:{gap}{text}".encode("utf-8", "surrogateescape")


@st.composite
def counted(draw: st.DrawFn) -> Counted:
    """A region of smaps with any counters, known and unknown, or none."""
    line = draw(lines())
    known = draw(st.lists(st.sampled_from(sorted(ATTRIBUTES)), unique=True))
    if draw(st.booleans()):
        known = sorted(known, key=list(ATTRIBUTES).index)
    unknown = draw(st.lists(unknown_names, unique=True, max_size=3))
    counters: dict[str, int | str] = {}
    text = [line.text]
    for name in [*known, *unknown]:
        in_kb = draw(st.booleans()) if name in unknown else name not in NOT_BYTES
        if draw(st.integers(0, 9)) == 0:
            in_kb = not in_kb
        value: int | str = draw(kilobytes if in_kb else plain)
        if name in unknown and draw(st.booleans()):
            value = draw(unknown_texts)
        counters[name] = value
        blank = draw(st.sampled_from([" ", " ", " ", "\t", "", "\t \t"]))
        text.append(printed(name, value, in_kb=in_kb, blank=blank))
    flags = None
    if draw(st.booleans()):
        flags = " ".join(draw(st.lists(st.sampled_from(FLAGS), unique=True)))
        text.append(f"VmFlags: {flags}".encode() + b" " * draw(st.integers(0, 2)))
    return Counted(line, counters, flags, b"\n".join(text))


smaps_texts = st.lists(counted(), max_size=6)


def smaps_data(regions: list[Counted]) -> bytes:
    return b"".join(region.text + b"\n" for region in regions)


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The data in chunks, cut anywhere; some are empty."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
