"""One palette for kinds and uses: on the terminal, in HTML and SVG, and in plots.

A tone has a colour for light backgrounds, one for dark ones, and one for terminals, whose
background is not known. Any two tones can stand side by side: people who can't distinguish red from
green, or blue from yellow, can distinguish them. tests/picture/test_palette.py measures their
distances (CIEDE2000, with the simulations of Machado, Oliveira and Fernandes 2009). Each tone has a
letter and a hatching, too, for those who see no colour.

Contrasts are those of WCAG 2: at least 3 to 1 against the background (1.4.11, Non-text Contrast).
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DARK",
    "KIND_TONES",
    "LIGHT",
    "PAGE_TONES",
    "TONES",
    "USE_TONES",
    "VERDICT_TONES",
    "Tone",
    "contrast",
    "escape_sequence",
    "ink",
    "is_known",
    "kind_tones",
    "page_tone",
    "tone",
]

LIGHT = "#ffffff"
"""The light background that colours are measured against."""

DARK = "#121212"
"""The dark background that colours are measured against."""


class Tone(NamedTuple):
    """How a kind, a use or a state of pages is drawn.

    Attributes:
        name: a kind's value, or what several uses have in common, such as "objects".
        light: the colour on a light background, "#rrggbb".
        dark: the colour on a dark background.
        terminal: the colour on a terminal, readable on black and on white.
        ansi: a terminal's colour of 256, readable on black and on white; 16 to 255.
        mark: a letter or sign that no other tone of its table has.
        hatch: a hatching as matplotlib names it, such as "//" or "xo"; empty: filled evenly.

    >>> tone("heap").mark, tone("heap").name
    ('H', 'heap')
    """

    name: str
    light: str
    dark: str
    terminal: str
    ansi: int
    mark: str
    hatch: str


_TONES = (
    Tone("text", "#1e96ff", "#2e97fe", "#1e96ff", 33, "T", ""),
    Tone("rodata", "#0d425c", "#2d8298", "#13a1b8", 31, "R", "/"),
    Tone("relro", "#281292", "#c1b7ff", "#6740c6", 92, "L", "//"),
    Tone("data", "#448f08", "#a8c68e", "#779f57", 65, "D", "|"),
    Tone("bss", "#4f7565", "#9ccdbe", "#49766c", 66, "B", "||"),
    Tone("heap", "#d77b57", "#f26703", "#90480a", 130, "H", "x"),
    Tone("arena", "#92463b", "#d32d2e", "#c03c47", 131, "A", "xx"),
    Tone("stack", "#524e01", "#fcef44", "#986606", 94, "S", "\\"),
    Tone("thread stack", "#2d3400", "#cec350", "#819204", 100, "W", "\\\\"),
    Tone("guard", "#917151", "#a69c8c", "#9e927d", 246, "G", "o"),
    Tone("anon", "#5e41a9", "#a678c1", "#805cdc", 98, "N", "-"),
    Tone("file", "#243427", "#d5f3d8", "#698063", 101, "F", "."),
    Tone("shared memory", "#ff4ca9", "#d52c7d", "#f950b6", 199, "Y", "O"),
    Tone("hugetlb", "#820e38", "#ab565b", "#7f4e54", 95, "U", "*"),
    Tone("kernel", "#505050", "#697077", "#847d83", 102, "K", ".."),
    Tone("device", "#2b626e", "#57c2c7", "#168598", 30, "V", "+"),
    Tone("other", "#787e84", "#96969d", "#969391", 245, "O", "+-"),
    Tone("objects", "#f44216", "#cb7e5e", "#ff5d38", 202, "J", "--"),
    Tone("code", "#2e6aea", "#7e57d3", "#525889", 60, "C", "/-"),
    Tone("metadata", "#1b9fa7", "#86fefd", "#1c656b", 59, "M", "|-"),
    Tone("reserved", "#9d9282", "#e7f1ae", "#596637", 58, "Z", "xo"),
)

TONES = {one.name: one for one in _TONES}
"""Every tone of kinds and uses, by its name. Four kinds that the kernel maps share "kernel"."""

KIND_TONES = {
    **{name: name for name in TONES},
    "vdso": "kernel",
    "vvar": "kernel",
    "vsyscall": "kernel",
    "uprobes": "kernel",
}
"""The tone of each kind (RegionKind.value), and of each tone's own name."""

USE_TONES = (
    # The first beginning that fits counts.
    ("Go heap", "objects"),
    ("Go ", "metadata"),
    ("JVM heap", "objects"),
    ("JVM class space", "metadata"),
    ("JVM code", "code"),
    ("JVM reservation", "reserved"),
    ("JVM ", "file"),
    ("V8 cage", "reserved"),
    ("V8 code", "code"),
    ("V8 snapshot", "file"),
    ("V8", "objects"),
    ("CPython", "objects"),
    ("Android runtime", "objects"),
    ("SpiderMonkey", "objects"),
    ("GraalVM", "objects"),
    (".NET heap", "objects"),
    (".NET code", "code"),
    ("PHP memory", "objects"),
    ("PHP code", "code"),
    ("Ruby code", "code"),
    ("Ruby", "objects"),
    ("LuaJIT code", "code"),
    ("Erlang code", "code"),
    ("Erlang JIT code", "code"),
    ("JIT code", "code"),
    ("libffi closures", "code"),
    ("PartitionAlloc", "arena"),
    ("scudo", "arena"),
    ("GWP-ASan", "arena"),
    ("bionic malloc", "arena"),
    ("jemalloc", "arena"),
    ("tcmalloc", "arena"),
    ("mimalloc", "arena"),
    ("malloc arena", "arena"),
    ("malloc", "heap"),
    ("loader malloc", "heap"),
    ("pthread stack", "thread stack"),
    ("pthread user stack", "thread stack"),
    ("AddressSanitizer heap", "arena"),
    ("LeakSanitizer", "arena"),
    ("AddressSanitizer shadow gap", "reserved"),
    ("AddressSanitizer", "metadata"),
    ("ThreadSanitizer", "metadata"),
    ("MemorySanitizer", "metadata"),
    ("HWAddressSanitizer", "metadata"),
    ("sound device", "device"),
    ("sound buffers", "shared memory"),
    ("Wayland buffers", "shared memory"),
    ("X server fence", "shared memory"),
    ("Firefox shared memory", "shared memory"),
    ("Chromium shared memory", "shared memory"),
    ("PostgreSQL", "shared memory"),
    ("POSIX semaphore", "shared memory"),
    ("Python multiprocessing", "shared memory"),
    ("Steam shared memory", "shared memory"),
    ("NCCL shared memory", "shared memory"),
    ("PyTorch shared memory", "shared memory"),
    ("Android shared memory", "shared memory"),
    ("systemd", "shared memory"),
    ("memory of a QEMU guest", "shared memory"),
    ("secret memory", "shared memory"),
    ("copy of runc", "file"),
    ("locale data", "file"),
    ("character set tables", "file"),
    ("Chromium resources", "file"),
    ("ICU data", "file"),
    ("fonts", "file"),
    ("io_uring", "device"),
    ("perf ring buffer", "device"),
    ("asynchronous I/O ring", "device"),
    ("packet socket ring", "device"),
    ("KVM virtual CPU", "device"),
    ("BPF map", "device"),
    ("DMA buffer", "device"),
    ("DRM", "device"),
    ("NVIDIA", "device"),
    ("AMD compute", "device"),
    ("RDMA", "device"),
    ("device ", "device"),
    ("video device", "device"),
    ("framebuffer", "device"),
    ("physical memory", "device"),
    ("Binder", "device"),
)
"""The tone of each use, by the beginning of its name."""


def _like(name: str, kind: str, mark: str) -> Tone:
    return TONES[kind]._replace(name=name, mark=mark)


PAGE_TONES = {
    "absent": _like("absent", "other", "."),
    "anonymous": _like("anonymous", "objects", "A"),
    "anonymous shared": _like("anonymous shared", "anon", "a"),
    "file": _like("file", "text", "F"),
    "file shared": _like("file shared", "device", "f"),
    "zero": _like("zero", "kernel", "z"),
    "swapped": _like("swapped", "code", "s"),
    "guard": _like("guard", "guard", "g"),
    # For pictures of one property alone.
    "resident": _like("resident", "text", "r"),
    "dirty": _like("dirty", "objects", "d"),
    "shared": _like("shared", "shared memory", "S"),
    "huge": _like("huge", "metadata", "H"),
}
"""The tones of the states of pages, for page maps; the letters are those of PageState."""

VERDICT_TONES = {
    "good": Tone("good", "#006d8f", "#56b4e9", "#0087af", 31, "+", ""),
    "bad": Tone("bad", "#b5332e", "#ff8170", "#d7432a", 160, "!", "xx"),
    "warning": Tone("warning", "#8f5b00", "#f0b429", "#a86f00", 136, "!", "//"),
    "faint": Tone("faint", "#6b6b6b", "#9a9a9a", "#7f7f7f", 244, " ", ""),
}
"""The tones of verdicts: blue and red, not green and red."""


def tone(name: str | None) -> Tone:
    """The tone of a kind, of a use, or of a tone's own name.

    The mark of a guess ("heap?") and ", reserved" behind a name change nothing. What has no name
    (None) is drawn as anonymous memory, and what the palette does not know as "other".

    >>> tone("vdso").name, tone("Go heap?").name, tone("V8 cage, reserved").name
    ('kernel', 'objects', 'reserved')
    >>> tone(None).name, tone("a use of tomorrow").name
    ('anon', 'other')
    """
    if name is None:
        return TONES["anon"]
    plain = name.removesuffix("?").removesuffix(", reserved")
    known = KIND_TONES.get(plain)
    if known is None:
        other = "anon" if plain.endswith(" of glibc") else "other"
        known = next((found for start, found in USE_TONES if plain.startswith(start)), other)
    return TONES[known]


def is_known(name: str) -> bool:
    """Whether the palette has a tone for a kind or a use; it draws all others as "other".

    >>> is_known("Go heap?"), is_known("slab")
    (True, False)
    """
    return name == "other" or tone(name).name != "other"


def page_tone(state: str) -> Tone:
    """The tone of a state of pages: one of PAGE_TONES.

    Raises:
        KeyError: it is none of them.
    """
    return PAGE_TONES[state]


def kind_tones(names: Iterable[str | None]) -> list[Tone]:
    """The tones of some kinds and uses, each once, in the order of the palette, as for a legend.

    >>> [one.name for one in kind_tones(["heap", "text", "heap?", "Go heap"])]
    ['text', 'heap', 'objects']
    """
    used = {tone(name).name for name in names}
    return [one for one in _TONES if one.name in used]


def contrast(one: str, other: str) -> float:
    """The contrast of two colours "#rrggbb", from 1 to 21 (WCAG 2, relative luminance).

    >>> round(contrast("#000000", "#ffffff"), 1), contrast("#123456", "#123456")
    (21.0, 1.0)
    """
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """The relative luminance of a colour "#rrggbb", from 0 to 1 (sRGB, IEC 61966-2-1)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ink(fill: str) -> str:
    """The colour of text on a colour: black or white, whichever has the higher contrast.

    >>> ink("#ffff00"), ink("#000080")
    ('#000000', '#ffffff')
    """
    return max("#000000", "#ffffff", key=lambda text: contrast(text, fill))


def escape_sequence(one: Tone, *, truecolor: bool = False) -> str:
    r"""What switches a terminal's text to a tone (ECMA-48 SGR; ISO 8613-6 for the colours).

    Args:
        one: the tone.
        truecolor: whether the terminal has 24 bits of colour (COLORTERM says so), not 256 colours.

    >>> escape_sequence(tone("heap")) == f"\x1b[38;5;{tone('heap').ansi}m"
    True
    """
    if not truecolor:
        return f"\x1b[38;5;{one.ansi}m"
    red, green, blue = (int(one.terminal[at : at + 2], 16) for at in (1, 3, 5))
    return f"\x1b[38;2;{red};{green};{blue}m"
