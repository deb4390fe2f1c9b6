"""Names made safe to show: nothing acts on a terminal, and different names look different."""

from __future__ import annotations

from procmem.names import escaped

HOSTILE = (
    "\x1b[2J",
    "a\nb",
    "\u202egnp.exe",
    "\udcff\udc80",
    "\x9b31m",
    " ends ",
    "back\\slash",
    "\x00\x07\x7f",
    "\u2028",
)


def test_whatever_is_shown_is_printable() -> None:
    for name in HOSTILE:
        for only_ascii in (False, True):
            shown = escaped(name, only_ascii=only_ascii)
            assert shown.isprintable()
            assert shown == shown.strip(" ")
            assert shown.encode()


def test_different_names_look_different() -> None:
    names = [*HOSTILE, "\\x1b[2J", "a\\nb", "ends", "back\\\\slash", "\\xff\\x80", "\xff\x80"]
    assert len({escaped(name) for name in names}) == len(names)
    assert len({escaped(name, only_ascii=True) for name in names}) == len(names)


def test_plain_names_stay_as_they_are() -> None:
    for name in ("/usr/lib/libc.so.6", "日本語", "é", "a b"):
        assert escaped(name) == name
    assert escaped("é日", only_ascii=True) == "\\u00e9\\u65e5"
