"""The palette: every kind and use has a tone, and tones are told apart by everyone."""

from __future__ import annotations

import ast
import re
from itertools import combinations

import pytest

from procmem.picture import palette
from procmem.picture.palette import (
    DARK,
    KIND_TONES,
    LIGHT,
    PAGE_TONES,
    TONES,
    USE_TONES,
    contrast,
    escape_sequence,
    ink,
    tone,
)
from procmem.regions import uses
from procmem.regions.kinds import RegionKind
from tests.support.colours import SIGHTS, ciede2000, lab
from tests.support.paths import ROOT

# ---- names ----


def test_every_kind_has_a_tone() -> None:
    for kind in RegionKind:
        assert kind.value in KIND_TONES
    assert set(KIND_TONES.values()) == TONES.keys()


def names_of_uses() -> set[str]:
    """Every use that regions/uses.py names: those of its tables, and those that code gives."""
    found = set()
    for table in (uses.ANON_NAMES, uses.MEMFD_NAMES, uses.SHM_NAMES, uses.DEVICES, uses.FILES):
        found |= {use.replace("\\1", "x") for _, use, *_ in table if use != "\\1 of glibc"}
    found |= {f"io_uring {ring}" for ring in uses.RINGS.values()}
    found |= {*uses.RUNTIMES.values(), *uses.ALIGNED, *(what for _, _, what in uses.ASAN)}
    found |= {
        f"{title} {what}" for title in uses.SANITIZERS.values() for what in ("heap", "shadow")
    }
    tree = ast.parse((ROOT / "procmem/regions/uses.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Use":
            first = node.args[0]
            if isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


def test_every_use_has_a_tone() -> None:
    names = names_of_uses()
    assert {"Go heap", "CPython objects", "V8 cage", "JIT code", "fonts"} <= names
    for name in names:
        assert any(name.startswith(start) for start, _ in USE_TONES), name
        assert tone(name) is not TONES["other"]
    assert {name for _, name in USE_TONES} <= TONES.keys()


def test_a_table_of_uses_has_no_dead_line() -> None:
    """A beginning that an earlier one covers would never be found."""
    for at, (start, _) in enumerate(USE_TONES):
        assert not any(start.startswith(before) for before, _ in USE_TONES[:at]), start


def test_marks_of_guesses_change_nothing() -> None:
    assert tone("heap?") is tone("heap")
    assert tone("Go heap, reserved") is tone("Go heap")


def test_malloc_of_glibc_is_drawn_as_its_kind() -> None:
    assert tone("malloc arena of glibc").name == "arena"
    assert tone("pthread stack: 7 of glibc").name == "thread stack"
    assert tone("something new of glibc").name == "anon"


# ---- what people see ----


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_any_two_tones_are_told_apart(theme: str, sight: str) -> None:
    seen = {name: lab(getattr(one, theme), sight) for name, one in TONES.items()}
    close = {
        (a, b): distance
        for a, b in combinations(seen, 2)
        if (distance := ciede2000(seen[a], seen[b])) < (7 if sight == "tritanopia" else 8)
    }
    assert close == {}


def test_fills_stand_out_from_their_background() -> None:
    for one in TONES.values():
        assert contrast(one.light, LIGHT) >= 3, one.name
        assert contrast(one.dark, DARK) >= 3, one.name
        assert contrast(ink(one.light), one.light) >= 4.5
        assert contrast(ink(one.dark), one.dark) >= 4.5


def colour_of_256(number: int) -> str:
    """A terminal's colour, as xterm defines it: a cube of six steps, then greys."""
    if number >= 232:
        return f"#{8 + 10 * (number - 232):02x}" + f"{8 + 10 * (number - 232):02x}" * 2
    steps = (0, 95, 135, 175, 215, 255)
    number -= 16
    return "#" + "".join(f"{steps[number // scale % 6]:02x}" for scale in (36, 6, 1))


def test_words_on_a_terminal_are_readable_on_black_and_on_white() -> None:
    for one in TONES.values():
        assert 16 <= one.ansi <= 255  # the first 16 are what the user's theme makes of them
        for colour in (one.terminal, colour_of_256(one.ansi)):
            assert contrast(colour, "#000000") >= 3, one.name
            assert contrast(colour, "#ffffff") >= 3, one.name


def test_without_colour_tones_differ_by_mark_and_by_hatch() -> None:
    assert len({one.mark for one in TONES.values()}) == len(TONES)
    assert len({one.mark for one in PAGE_TONES.values()}) == len(PAGE_TONES)
    assert len({one.hatch for one in TONES.values()}) == len(TONES)
    assert "?" not in {one.mark for one in TONES.values()}  # the mark of a guess
    assert all(re.fullmatch(r"[/\\|xoO.*+-]*", one.hatch) for one in TONES.values())
    assert len({one.ansi for one in TONES.values()}) == len(TONES)


def test_the_measure_is_ciede2000() -> None:
    """Pairs of Sharma, Wu and Dalal 2005, whose table implementations are checked with."""
    assert ciede2000((50, 2.6772, -79.7751), (50, 0, -82.7485)) == pytest.approx(2.0425, abs=1e-4)
    assert ciede2000((50, -1, 2), (50, 0, 0)) == pytest.approx(2.3669, abs=1e-4)
    assert ciede2000((50, 2.5, 0), (73, 25, -18)) == pytest.approx(27.1492, abs=1e-4)
    assert ciede2000((90.8027, -2.0831, 1.441), (91.1528, -1.6435, 0.0447)) == pytest.approx(
        1.4441, abs=1e-4
    )


# ---- terminals ----


def test_escape_sequences() -> None:
    one = tone("heap")
    assert escape_sequence(one) == f"\x1b[38;5;{one.ansi}m"
    red, green, blue = bytes.fromhex(one.terminal[1:])
    assert escape_sequence(one, truecolor=True) == f"\x1b[38;2;{red};{green};{blue}m"


def test_contrast_of_wcag() -> None:
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert palette.luminance("#ffffff") == pytest.approx(1)
