"""Reports in a browser: no error, no request, the right figures; click, brush, search, sort."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from procmem import MeasuredRegion, Process, Recording
from procmem.experiments import Specimen
from procmem.recording import reporting
from procmem.snapshots import Identity
from procmem.tracing.saved import SavedCall
from procmem.units import kib, signed
from tests.support.recordings import paced
from tests.support.reports import CHROMIUM, HOSTILE
from tests.support.snapshots import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.slow,
    # Its own sockets and loop are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
pytest.importorskip("bokeh", reason="bokeh is not installed (extra report)")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if not os.access(CHROMIUM, os.X_OK):
    pytest.skip(f"{CHROMIUM} is not installed (Debian package chromium)", allow_module_level=True)

PATIENCE = 120_000
"""Milliseconds: on a busy machine a browser takes long to start."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        play = stack.enter_context(sync_api.sync_playwright())
        made = play.chromium.launch(
            executable_path=CHROMIUM, timeout=PATIENCE, args=["--no-sandbox", "--disable-gpu"],
            env={**os.environ, "HOME": home, "TMPDIR": home},
        )  # fmt: skip
        stack.callback(made.close)
        yield made


class Opened:
    """A report in the browser.

    Attributes:
        page: playwright's page.
        messages: errors and warnings of the console, and uncaught errors.
        requests: what was asked of the network, the file itself left out.
    """

    def __init__(
        self, browser: Browser, path: Path, width: int = 1200, scheme: Any = "light"
    ) -> None:
        self.page: Page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.page.set_default_timeout(PATIENCE)
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on(
            "console",
            lambda one: (
                self.messages.append(one.text) if one.type in ("error", "warning") else None
            ),
        )
        self.page.on("pageerror", lambda one: self.messages.append(str(one)))
        self.page.on("dialog", lambda one: self.messages.append(f"dialog: {one.message}"))
        self.page.on("request", lambda one: self.requests.append(one.url))
        self.page.goto(path.as_uri())
        self.until("globalThis.procmemReport?.ready")
        self.requests.remove(path.as_uri())

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)

    def until(self, script: str) -> None:
        """Waits until an expression is true. playwright's own waiting needs eval: forbidden."""
        deadline = time.monotonic() + PATIENCE / 1000
        while not self.ask(script):
            assert time.monotonic() < deadline, script
            self.page.wait_for_timeout(30)

    def texts(self, selector: str) -> list[str]:
        return [one.strip() for one in self.page.locator(selector).all_inner_texts()]

    def rows(self) -> list[list[str]]:
        """The rows of the table of regions that are drawn."""
        found: list[list[str]] = self.ask(
            "[...document.querySelectorAll('#grid tbody tr:not(.pad)')].map("
            "row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        return found

    def calm(self) -> None:
        """Nothing failed, and nothing was asked of a network."""
        assert self.messages == []
        assert self.requests == []
        self.page.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Opened]]:
    made: list[Opened] = []

    def open_one(path: Path, **how: Any) -> Opened:
        made.append(Opened(browser, path, **how))
        return made[-1]

    yield open_one
    for one in made:
        one.calm()


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, Path]:
    with Specimen() as specimen:

        def work(number: int) -> None:
            area = specimen.mmap(pages=30).mapping
            assert area
            specimen.touch(area)
            if number == 20:
                specimen.munmap(area)

        recording = paced(specimen, work)
    path = tmp_path_factory.mktemp("reports") / "leak.html"
    recording.report(path)
    return recording, path


def test_figures_of_the_recording_are_shown(
    opened: Callable[..., Opened], leaking: tuple[Recording, Path]
) -> None:
    recording, path = leaking
    page = opened(path)
    for name in ("vsz", "rss"):
        assert page.ask(f"procmemReport.time.figures.{name}") == recording.values(name)
    last = len(recording) - 1
    first_row = page.texts("#range-figures tbody tr:nth-child(2) td")
    first, behind = recording[0].rss, recording[last].rss
    assert first
    assert behind
    assert first_row[1:] == [kib(first), kib(behind), signed(behind - first)]
    peak = recording.peak()
    assert peak
    assert kib(peak.value) in page.texts("[data-total='Peak RSS'] b")
    shown = page.texts("#causes li")
    for one in recording.diff().causes:
        assert any(text.startswith(f"{one.words}.") for text in shown)
    regions = recording[last].regions
    assert page.texts("[data-bar=rss]") == [kib(regions.total("rss") or 0)]
    assert page.texts("#found") == [f"{len(regions)} regions"]


def test_a_range_is_brushed_and_has_its_own_causes(
    opened: Callable[..., Opened], leaking: tuple[Recording, Path]
) -> None:
    recording, path = leaking
    page = opened(path)
    anchors = page.ask("procmemReport.data.series.anchors")
    before, after = anchors[3], anchors[7]
    page.page.locator("#from").fill(str(before))
    page.page.locator("#to").fill(str(after))
    page.page.locator("#to").press("Tab")
    page.until(
        f"document.querySelector('#range-figures caption').innerText == 'Snapshots {before} and "
        f"{after}'"
    )
    found = recording.diff(before, after)
    assert page.texts("#range-figures tbody tr:first-child td")[3] == signed(found.vsz)
    shown = page.texts("#causes li")
    for one in found.causes:
        assert any(text.startswith(f"{one.words}.") for text in shown)
    # A drag over the small chart.
    figures = page.page.locator("#chart .bk-Figure")
    figures.last.scroll_into_view_if_needed()
    box = figures.last.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.page.locator("#whole").click()
    page.until("procmemReport.time.state.from == 0")
    # The brush covers all: its right edge is dragged to the middle.
    page.ask("procmemReport.time.choose(0, 10)")
    page.until("document.querySelector('#to').value == '10'")
    page.page.mouse.move(box["x"] + box["width"] * 0.5, y)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=4)
    page.page.mouse.move(box["x"] + box["width"] * 0.8, y, steps=4)
    page.page.mouse.up()
    page.until("procmemReport.time.state.from > 12")
    brushed = page.ask("procmemReport.time.state")
    page.until(f"document.querySelector('#from').value == '{brushed['from']}'")
    assert brushed["from"] < brushed["to"] < len(recording) - 1


def test_memory_calls_of_a_range(
    opened: Callable[..., Opened], leaking: tuple[Recording, Path], tmp_path: Path
) -> None:
    recording, _ = leaking
    clock = recording[0].clock
    assert clock

    def call(name: str, seconds: float, vsz: int, path: str = "") -> SavedCall:
        began, args = clock.monotonic + round(seconds * 1e9), {"pathname": path}
        return SavedCall(name, recording[0].identity.pid or 0, 7, args, 0, None, began, 0, vsz, 0,
                         None, False, None, "", True)  # fmt: skip

    calls = [
        *(call("mmap", 0.05 + at / 10, 120 * 1024) for at in range(39)),
        call("munmap", 2.05, -120 * 1024),
        *(call("execve", 3.05, 0, name) for name in HOSTILE),
        *(call(f"call{at}", 3.15, 0) for at in range(8)),
    ]
    path = tmp_path / "traced.html"
    recording.report(path, trace=calls)  # type: ignore[arg-type]
    page = opened(path)
    shown = (
        "[...document.querySelectorAll('#range-calls tbody tr')].map("
        "row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    assert page.ask(shown)[0] == ["mmap", "39", "0", "+4,680 KiB", "0 KiB", ""]
    page.ask("procmemReport.time.choose(10, 30)")
    page.until("document.querySelector('#range-calls tbody tr').cells[1].innerText == '20'")
    assert page.ask(shown) == [
        ["mmap", "20", "0", "+2,400 KiB", "0 KiB", ""],
        ["munmap", "1", "0", "-120 KiB", "0 KiB", ""],
        ["all", "21", "0", "+2,280 KiB", "0 KiB", ""],
    ]
    page.ask("procmemReport.time.choose(32, 39)")
    page.until("document.querySelectorAll('#range-calls tbody tr').length != 3")
    assert page.ask("procmemReport.time.lanes.y_range.factors.includes('other calls')")
    events = page.texts("#events td")
    assert "execve: </script><img src=x onerror=alert(1)>" in events
    assert page.ask("document.querySelectorAll('img').length") == 0
    # What is pointed at is shown as text, too.
    lanes = page.page.locator("#chart .bk-Figure").nth(1)
    lanes.scroll_into_view_if_needed()
    page.ask("procmemReport.time.choose(0, 39)")
    box = lanes.bounding_box()
    assert box
    for step in range(200):
        page.page.mouse.move(box["x"] + box["width"] * (0.7 + step / 1000), box["y"] + 20)
        if page.ask("document.body.innerText.includes('execve: ')"):
            break
    assert page.ask("document.querySelectorAll('img').length") == 0
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")


def test_a_range_whose_ends_were_not_compared(
    opened: Callable[..., Opened],
    leaking: tuple[Recording, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording, _ = leaking
    monkeypatch.setattr(reporting, "ANCHORS", (5, 5))
    path = tmp_path / "few.html"
    recording.report(path)
    page = opened(path)
    anchors = page.ask("procmemReport.data.series.anchors")
    first, second = anchors[1], anchors[2]
    assert page.ask("document.querySelector('#nearest').hidden")
    page.ask(f"procmemReport.time.choose({first + 1}, {second - 1})")
    page.until("!document.querySelector('#nearest').hidden")
    said = page.texts("#causes-of")[0]
    assert f"From snapshot {first} (" in said
    assert f"“procmem diff FILE:{first + 1} FILE:{second - 1}” with the recording" in said
    page.page.locator("#to-nearest").click()
    page.until("document.querySelector('#nearest').hidden")
    assert page.texts("#causes-of")[0].startswith("Between these snapshots: ")
    assert page.ask("procmemReport.time.state") == {"from": first, "to": second}
    shown = page.texts("#causes li")
    for one in recording.diff(first, second).causes:
        assert any(text.startswith(f"{one.words}.") for text in shown)


def test_a_click_filters_everything_below(
    opened: Callable[..., Opened], leaking: tuple[Recording, Path]
) -> None:
    recording, path = leaking
    page = opened(path)
    regions = recording[len(recording) - 1].regions
    anonymous = [one for one in regions if one.kind.value == "anon" and not one.kind_guess]
    page.page.locator("#key button[data-word=anon]").click()
    assert page.texts("#found") == [f"{len(anonymous)} of {len(regions)} regions"]
    assert page.ask("procmemReport.regions.shown()") == [
        list(regions).index(one) for one in anonymous
    ]
    assert {row[3].split()[-1] for row in page.rows()} == {"anon"}
    assert page.page.locator("#key button[data-word=anon]").get_attribute("aria-pressed") == "true"
    page.page.locator("#all").click()
    assert page.texts("#found") == [f"{len(regions)} regions"]
    page.page.locator("#bars .bar >> nth=0 >> i >> nth=0").click()
    assert "of" in page.texts("#found")[0]


def test_search_and_sort(opened: Callable[..., Opened], leaking: tuple[Recording, Path]) -> None:
    recording, path = leaking
    page = opened(path)
    regions = list(recording[len(recording) - 1].regions)
    page.page.locator("#search").fill("[stack]")
    assert [row[0] for row in page.rows()] == [
        f"{one.start:x}" for one in regions if one.pathname == "[stack]"
    ]
    stack = next(one for one in regions if one.pathname == "[stack]")
    page.page.locator("#search").fill(f"0x{stack.start + 5:x}")
    assert [row[0] for row in page.rows()] == [f"{stack.start:x}"]
    page.page.locator("#search").fill("")
    page.page.locator("#grid th[data-field=rss] button").click()
    assert page.page.locator("#grid th[data-field=rss]").get_attribute("aria-sort") == "descending"
    shown = page.ask("procmemReport.regions.shown()")
    found = [regions[number].rss for number in shown]
    assert found == sorted(found, reverse=True)
    assert page.rows()[0][5] == kib(found[0])


def test_regions_are_pointed_at_and_chosen(opened: Callable[..., Opened], tmp_path: Path) -> None:
    with Specimen() as specimen:
        area = specimen.mmap(pages=64).mapping
        assert area
        specimen.touch(area, pages=16)
        path = tmp_path / "one.html"
        Process(specimen.pid).report(path)
        page = opened(path)
        page.page.locator("#search").fill(f"{area.start:x}")
        page.page.locator("#grid tbody tr").first.click()
        assert f"{area.start:x}-" in page.texts("#chosen")[0]
        counts = page.texts("#page-counts tbody tr:first-child td")
        assert counts == ["in memory, mapped here alone", "16", "64 KiB"]
        space = page.page.locator("#space")
        space.focus()
        space.press("Home")
        first = page.texts("#chosen")[0]
        space.press("ArrowRight")
        assert page.texts("#chosen")[0] != first
        space.scroll_into_view_if_needed()
        box = space.bounding_box()
        assert box
        page.page.mouse.move(box["x"] + 3, box["y"] + 15)
        assert "size " in page.texts("#tip")[0]


def test_hostile_names_are_shown_as_text(opened: Callable[..., Opened], tmp_path: Path) -> None:
    names = [name.replace("\0", "") for name in HOSTILE]
    regions = [
        MeasuredRegion(0x1000_0000 + at * 0x2000, 0x1000_0000 + at * 0x2000 + 0x1000, "rw-p",
                       inode=1, pathname=f"/{name}", Rss=4096)
        for at, name in enumerate(names)
    ]  # fmt: skip
    path = tmp_path / "one.html"
    one = replace(
        table(*regions), identity=Identity(7, 7, "boot", names[0], names[1], tuple(names))
    )
    one.report(path)
    page = opened(path)
    assert page.ask("document.querySelectorAll('img, svg, iframe').length") == 0
    shown = "\n".join(cell for row in page.rows() for cell in row)
    assert "/</script><img src=x onerror=alert(1)>" in shown
    assert "a\\u2028b\\u2029c\\u202ed" in shown
    assert "lone \\xff\\xe9 bytes" in shown
    page.page.locator("#search").fill("nnnn")
    assert [len(row[-1]) for row in page.rows()] == [len(names[-1]) + 1]
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_nothing_is_wider_than_the_window(
    opened: Callable[..., Opened], leaking: tuple[Recording, Path], width: int, scheme: str
) -> None:
    page = opened(leaking[1], width=width, scheme=scheme)
    assert page.ask("document.documentElement.scrollWidth") <= width
    back = page.ask("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(18, 18, 18)" if scheme == "dark" else "rgb(255, 255, 255)")


def test_a_script_that_is_not_the_file_s_does_not_run(
    opened: Callable[..., Opened], leaking: tuple[Recording, Path], tmp_path: Path
) -> None:
    """The policy is the second line of defence, should a name ever get through."""
    raw = leaking[1].read_bytes()
    path = tmp_path / "worse.html"
    path.write_bytes(
        raw.replace(
            b"</h1>", b"</h1><img src=x onerror='window.hurt=1'><script>window.hurt=1</script>", 1
        )
    )
    page = opened(path)
    assert page.ask("window.hurt === undefined")
    assert any("Content Security Policy" in one for one in page.messages)
    page.messages.clear()
    page.requests.clear()


def test_printing_has_the_table(
    opened: Callable[..., Opened], leaking: tuple[Recording, Path]
) -> None:
    recording, path = leaking
    page = opened(path)
    page.page.emulate_media(media="print")
    page.ask("dispatchEvent(new Event('beforeprint'))")
    assert len(page.rows()) == len(recording[len(recording) - 1].regions)
    assert page.page.locator("#grid").evaluate("one => one.scrollHeight <= one.clientHeight + 1")
