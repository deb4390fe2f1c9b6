"""Tables of regions with hostile names."""

from __future__ import annotations

__all__ = ["smaps_of"]


def smaps_of(names: list[str]) -> bytes:
    lines = []
    for at, name in enumerate(names):
        raw = name.replace("\n", "\\012").encode("utf-8", "surrogateescape")
        start = 0x7F0000000000 + (at << 30)
        lines.append(b"%x-%x r-xp 00000000 08:01 %d %b" % (start, start + (1 << 30), at + 1, raw))
        lines += [b"Size: 1048576 kB", b"Rss: %d kB" % (1000 * at), b"Pss: 3 kB", b"Swap: 0 kB"]
        lines += [b"Private_Clean: 0 kB", b"Private_Dirty: 1 kB", b"VmFlags: rd ex mr mw me"]
    return b"\n".join(lines) + b"\n"
