"""Pictures as SVG: well-formed whatever the names are, and drawn to the figures."""

from __future__ import annotations

import pytest

from procmem.picture.shapes import CHANGED, GONE, NEW, MapSpan, SizeBar, StepChange, TimeLayer
from procmem.picture.svg import (
    Panel,
    address_map,
    areas,
    bars,
    document,
    is_picture,
    prose,
    size_ticks,
    steps,
    time_ticks,
)
from tests.support.goldens import same_as_golden
from tests.support.svgs import Drawing

KiB = 1 << 10
MiB = 1 << 20

HOSTILE = [
    "</script><img onerror=alert(1)>",
    "</title></desc><script>alert(1)</script>",
    "a" * 4096,
    "\x1b[2J\x00\x07",
    "\udcff\udcfe not text",
    "\u202egpj.exe",
    "日本語" * 400,
    '" onload="alert(1)',
    "&amp;&#x3c;",
    "\ufffe\uffff\U0001ffff",
    "]]>",
]


def drawn(*panels: Panel, title: str = "a title") -> Drawing:
    text = document(title, ["a line"], panels)
    assert is_picture(text.encode()[:256])
    found = Drawing(text)
    assert found.stays_inside()
    return found


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_text(name: str) -> None:
    spans = [MapSpan(4096, 8192, "anon", name, name, 0, NEW, name)]
    found = drawn(
        prose(name, [name]),
        bars(name, ["VSZ", "RSS"], [SizeBar(name, name, (1, None))]),
        address_map(name, spans, spans),
        areas(name, [0.0, 1.0], [TimeLayer(name, name, (1, 2))], peak=(1.0, 2, name), notes=[name]),
        steps(name, ["VSZ"], [StepChange(name, (1,))]),
        title=name,
    )
    assert len(found.title) >= len(name.strip())
    # No line is wider than the picture: 6.2 units are room for a character.
    assert all(len(text) <= 125 for text in found.texts)


def test_bars_are_as_long_as_the_figures_are_large() -> None:
    rows = [SizeBar("one", "heap", (8 * MiB, 40 * KiB)), SizeBar("two", "text", (2 * MiB, None))]
    found = drawn(bars("By kind", ["VSZ", "RSS"], rows, SizeBar("all", "", (10 * MiB, None))))
    [_, vsz, rss] = [float(box.attrib["width"]) for box in found.boxes("t-heap")]
    [_, other] = [float(box.attrib["width"]) for box in found.boxes("t-text")]
    assert vsz == rss == pytest.approx(4 * other, rel=0.01)
    assert "40 KiB" in found.texts
    assert "-" in found.texts  # never 0
    assert "two: VSZ 2,048 KiB, RSS not known." in found.words


def test_a_tiny_figure_is_still_seen_and_zero_is_not() -> None:
    rows = [SizeBar("huge", "anon", (1 << 46,)), SizeBar("tiny", "heap", (1,))]
    rows.append(SizeBar("none", "stack", (0,)))
    found = drawn(bars("By kind", ["VSZ"], rows))
    assert [float(box.attrib["width"]) for box in found.boxes("t-heap")] == [12, 1]
    assert len(list(found.boxes("t-stack"))) == 1  # the legend's


def test_pairs_of_bars_have_their_difference() -> None:
    rows = [SizeBar("heap", "heap", (132 * KiB, None), (0, 4 * KiB))]
    found = drawn(bars("By kind", ["VSZ", "RSS"], rows))
    assert "+132 KiB" in found.texts
    assert "VSZ 0 bytes before, 132 KiB after" in found.words
    assert "RSS 4 KiB before, not known after" in found.words


def test_an_address_space_shows_memory_gaps_and_changes() -> None:
    before = [MapSpan(0x400000, 0x401000, "text", "prog", "r-xp text", 4096)]
    before.append(MapSpan(0x600000, 0x621000, "heap", "heap", "rw-p", 8192, CHANGED))
    before.append(MapSpan(0x900000, 0x901000, "anon", "gone", "rw-p", 0, GONE, "unmapped"))
    after = [before[0], before[1]._replace(end=0x642000, note="VSZ +132 KiB")]
    after.append(MapSpan(0x7F0000000000, 0x7F0000100000, "anon", "new", "rw-p", 512 * KiB, NEW))
    found = drawn(address_map("Address space", after, before))
    assert "gap of 127 TiB" in found.texts
    assert "VSZ +132 KiB" in found.texts
    assert "600000" in found.texts
    assert any("600000-642000 heap rw-p: 264 KiB, RSS 8 KiB" in title for title in found.titles)
    # The new region is half in memory.
    pale, filled = [float(box.attrib["width"]) for box in found.boxes("t-anon")][-2:]
    assert filled == pale / 2
    assert "prog r-xp text: 4 KiB, RSS 4 KiB, unchanged." in found.words
    assert "before: nothing mapped; " not in found.words
    assert "after: nothing mapped." in found.words
    assert {"+", "\u2195", "\u2212"} <= set(found.texts)


def test_what_is_not_known_is_not_drawn_as_empty() -> None:
    found = drawn(address_map("Address space", [MapSpan(0, 4096, "anon", "x")]))
    assert not any("RSS" in text for text in found.texts if text[0] != "F")
    assert "RSS" not in found.words


def test_thirty_thousand_regions_are_a_small_picture() -> None:
    spans = [MapSpan(n * 8192, n * 8192 + 4096, "anon", "x", "rw-p", 4096) for n in range(30_000)]
    panel = address_map("Address space", spans, spans)
    text = document("t", [], [panel])
    assert len(text) < 100_000
    assert "30,000 regions in 40 rows" in Drawing(text).words + " ".join(Drawing(text).texts)


def test_areas_are_stacked_and_the_peak_is_marked() -> None:
    layers = [
        TimeLayer("anon", "anon", (MiB, 2 * MiB, MiB)),
        TimeLayer("heap", "heap", (MiB, None, MiB)),
    ]
    line = [(0.0, 2 * MiB), (1.0, 2 * MiB), (2.0, 2 * MiB)]
    found = drawn(areas("RSS by kind", [0, 1, 2], layers, line=line, peak=(1.0, 2 * MiB, "peak")))
    assert "peak" in found.texts
    assert "anon: first 1,024 KiB, last 1,024 KiB, most 2,048 KiB." in found.words
    paths = {
        path.attrib["class"]: path.attrib["d"]
        for path in found.root.iter()
        if path.attrib.get("class", "").startswith("t-") and "d" in path.attrib
    }
    # What is not known is left out: two pieces.
    assert paths["t-heap"].count("M") == 2
    assert paths["t-anon"].count("M") == 1
    # The plot is 240 high: 2 MiB reach its top at 30, 1 MiB its middle at 150.
    assert paths["t-anon"].startswith("M70 150H")
    assert "V30H" in paths["t-anon"]


def test_a_recording_of_one_snapshot_or_none_is_drawn() -> None:
    drawn(areas("RSS", [0.0], [TimeLayer("anon", "anon", (0,))], line=[(0.0, 0)]))
    drawn(areas("RSS", [], []))


def test_a_line_of_36_000_snapshots_is_a_small_picture() -> None:
    line = [(at / 10, at % 97 * KiB) for at in range(36_000)]
    text = document("t", [], [areas("RSS", [], [], line=line)])
    assert len(text) < 60_000
    assert Drawing(text).words.endswith(f"RSS: first 0 bytes, last {35_999 % 97} KiB.")


def test_steps_grow_to_the_right_and_shrink_to_the_left() -> None:
    rows = [StepChange("map", (4 * MiB, 0)), StepChange("touch", (0, None), judged=False)]
    rows.append(StepChange("unmap", (-4 * MiB, -40 * KiB), judged=True))
    found = drawn(steps("Steps", ["VSZ", "RSS"], rows))
    right, left = [box.attrib for box in found.boxes("t-other")]
    assert float(right["x"]) == pytest.approx(float(left["x"]) + float(left["width"]))
    assert {"+4,096 KiB", "-4,096 KiB", "-40 KiB", "0", "-"} <= set(found.texts)
    assert "1. map: VSZ +4,096 KiB, RSS 0 bytes; not judged." in found.words
    assert "2. touch: VSZ 0 bytes, RSS not known; NOT as predicted." in found.words


@pytest.mark.parametrize("most", [1, 4095, 10 << 20, 3 << 40, (1 << 64) - 1])
def test_ticks_are_few_and_round(most: int) -> None:
    ticks = size_ticks(most)
    assert ticks[0] == 0
    assert ticks[-1] <= most
    assert 2 <= len(ticks) <= 6
    for span in (0.001, 0.7, 59.9, 3599.0, 86_400.0, 1e7):
        assert 2 <= len(time_ticks(span)) <= 8
        assert time_ticks(span)[-1][0] <= span * 1.01


def test_a_text_that_is_no_picture() -> None:
    assert not is_picture(b"<svg>")
    assert not is_picture(b"")


def test_golden() -> None:
    """Every panel, looked at in a browser, light and dark."""
    before = [MapSpan(0x400000, 0x401000, "text", "prog", "r-xp text", 4096)]
    before.append(MapSpan(0x600000, 0x621000, "heap", "heap", "rw-p", 8192, CHANGED))
    before.append(
        MapSpan(0x900000, 0x901000, "anon", "anonymous", "rw-p anon", 0, GONE, "unmapped")
    )
    after = [before[0], before[1]._replace(end=0x642000, note="VSZ +132 KiB")]
    after.append(
        MapSpan(
            0x7F0000000000,
            0x7F0000100000,
            "anon",
            "anonymous",
            "rw-p anon",
            512 * KiB,
            NEW,
            "mapped, touched",
        )
    )
    rows = [SizeBar("heap", "heap", (264 * KiB, 8 * KiB), (132 * KiB, 8 * KiB))]
    rows.append(SizeBar("anon?", "anon", (1 * MiB, 512 * KiB), (4 * KiB, 0)))
    layers = [
        TimeLayer("anon", "anon", (1 * MiB, 3 * MiB, 2 * MiB, 2 * MiB)),
        TimeLayer("heap", "heap", (1 * MiB, 1 * MiB, None, 2 * MiB)),
    ]
    line = [(0.0, 2 * MiB), (1.0, 4 * MiB), (2.0, 3 * MiB), (3.0, 4 * MiB - 4096)]
    same_as_golden(
        "svg/panels.svg",
        document(
            "All that can be drawn",
            ["VSZ +132 KiB, RSS +512 KiB, 3 regions changed."],
            [
                prose("Why", ["anonymous memory was mapped (mmap).", "the heap was grown (brk)."]),
                address_map("Address space", after, before),
                bars("By kind", ["VSZ", "RSS"], rows, SizeBar("all", "", (MiB, 0), (0, 0))),
                areas(
                    "RSS by kind",
                    [0, 1, 2, 3],
                    layers,
                    line=line,
                    peak=(1.0, 4 * MiB, "peak 4,096 KiB at 1.0 s (snapshot 1)"),
                ),
                steps(
                    "Steps",
                    ["VSZ", "RSS"],
                    [
                        StepChange("map 1,000 pages", (4_096_000, 0), judged=True),
                        StepChange("write to 10 of them", (0, 40_960), judged=True),
                        StepChange("unmap all", (-4_096_000, -40_960), judged=False),
                    ],
                ),
            ],
        ),
    )
