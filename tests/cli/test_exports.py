"""--svg, --perfetto, --speedscope: files beside the output; those of others stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem import Recording
from procmem.experiments import Specimen
from tests.support.commands import shell
from tests.support.recordings import paced
from tests.support.svgs import Drawing
from tests.support.timelines import check_flames, check_timeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        yield one


@pytest.fixture
def recording(specimen: Specimen, tmp_path: Path) -> Path:
    path = tmp_path / "recording.rec"
    one: Recording = paced(specimen, lambda _: specimen.mmap(pages=2))
    one.save(path)
    return path


def test_each_command_draws_what_it_shows(run: Run, target: Target, tmp_path: Path) -> None:
    saved, file = tmp_path / "a.snap", tmp_path / "a.svg"
    # Nothing that other processes change, such as PSS.
    table = ["maps", target.pid, "--columns", "start,size,name"]
    plain = run(*table).out
    for words, title in (
        (["maps", target.pid], f"Memory in /proc/{target.pid}/smaps"),
        (["maps", target.pid, "--fast"], f"Memory in /proc/{target.pid}/maps"),
        (["maps", target.pid, "--kind", "stack"], f"Memory in /proc/{target.pid}/smaps"),
        (["snapshot", target.pid, "-o", saved], f"Memory of process {target.pid} ("),
        (["diff", saved, target.pid], f"What changed in process {target.pid} ("),
        (["experiment", "lazy-allocation"], "Lazy allocation"),
        (["family", target.pid], f"Family of process {target.pid} ("),
    ):
        ran = run(*words, "--svg", file)
        assert (ran.status, ran.err) == (0, "")
        found = Drawing(file.read_text())
        assert found.title.startswith(title), words
        assert found.stays_inside()
    # The table is printed as without a picture.
    assert run(*table, "--svg", file).out == plain


def test_filters_apply_to_the_picture(run: Run, target: Target, tmp_path: Path) -> None:
    file = tmp_path / "a.svg"
    assert run("maps", target.pid, "--kind", "stack", "--svg", file).status == 0
    found = Drawing(file.read_text())
    assert "stack" in found.texts
    assert "text" not in found.texts


def test_a_recording_is_drawn_and_put_on_a_timeline(
    run: Run, recording: Path, tmp_path: Path
) -> None:
    svg, timeline = tmp_path / "a.svg", tmp_path / "a.json"
    ran = run("record", "--report", recording, "--svg", svg, "--perfetto", timeline)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == run("record", "--report", recording).out
    assert Drawing(svg.read_text()).title.endswith(" over time")
    events = check_timeline(timeline.read_text())["traceEvents"]
    assert sum(event["name"] == "VSZ" for event in events) == 40


def test_what_is_recorded_now_is_drawn_at_its_end(
    run: Run, specimen: Specimen, tmp_path: Path
) -> None:
    svg = tmp_path / "a.svg"
    ran = run("record", specimen.pid, "-o", tmp_path / "r", "--for", "50ms", "--svg", svg)
    assert (ran.status, ran.err) == (0, "")
    assert str(specimen.pid) in Drawing(svg.read_text()).title


@pytest.mark.parametrize("form", [[], ["--json"], ["--strace"]])
def test_a_trace_is_written_while_it_is_shown(form: list[str], tmp_path: Path) -> None:
    timeline, flames = tmp_path / "t.json", tmp_path / "f.json"
    words = ["--perfetto", timeline, "--speedscope", flames, "-o", tmp_path / "out"]
    ran = shell("trace", *form, *map(str, words), "--", "/bin/true")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert (tmp_path / "out").stat().st_size
    names = [event["name"] for event in check_timeline(timeline.read_text())["traceEvents"]]
    assert "execve" in names
    assert "mmap" in names
    frames = {one["name"] for one in check_flames(flames.read_text())["shared"]["frames"]}
    assert "mmap" in frames


def test_files_of_others_are_not_overwritten(
    run: Run, target: Target, recording: Path, tmp_path: Path
) -> None:
    other = tmp_path / "thesis.svg"
    for words, option, what in (
        (["maps", target.pid], "--svg", "picture"),
        (["snapshot", target.pid], "--svg", "picture"),
        (["diff", target.pid, target.pid], "--svg", "picture"),
        (["experiment", "brk"], "--svg", "picture"),
        (["record", "--report", recording], "--svg", "picture"),
        (["record", "--report", recording], "--perfetto", "timeline"),
    ):
        other.write_text("<svg>my own</svg>")
        ran = run(*words, option, other)
        assert ran.status == 1
        assert ran.out == ""  # before anything was read
        assert ran.err.endswith(
            f"{other}: it is there and no {what} of procmem: name another file, or overwrite it "
            "with --force\n"
        )
        assert other.read_text() == "<svg>my own</svg>"
        assert run(*words, option, other, "--force").status == 0
        assert run(*words, option, other).status == 0  # ours by now


def test_links_and_places_that_can_not_be_written(run: Run, target: Target, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "else")
    assert "a symbolic link" in run("maps", target.pid, "--svg", link).err
    missing = run("maps", target.pid, "--svg", "/no/such/place")
    assert (missing.status, missing.err) == (
        1,
        "procmem maps: /no/such/place: No such file or directory\n",
    )
    dash = run("maps", target.pid, "--svg", "-")
    assert (dash.status, dash.out) == (1, "")
    assert dash.err == "procmem maps: --svg: name a file; stdout has the command's own output\n"
    full = run("maps", target.pid, "--svg", "/dev/full", "--force")
    assert (full.status, full.err) == (1, "procmem maps: /dev/full: No space left on device\n")
    assert list(tmp_path.iterdir()) == [link]


def test_one_picture_is_of_one_process(run: Run, target: Target, tmp_path: Path) -> None:
    file = tmp_path / "a.svg"
    for command in ("maps", "snapshot"):
        ran = run(command, target.pid, target.pid, "--svg", file)
        assert ran.status == 2
        assert "give one PID" in ran.err
    ran = run("experiment", "all", "--svg", file)
    assert (ran.status, "name one experiment" in ran.err) == (2, True)
    ran = run("record", "--report", file, "--force")
    assert (ran.status, "--force needs --svg FILE" in ran.err) == (2, True)
    assert not file.exists()


def test_a_recording_without_clocks_has_no_timeline(
    run: Run, target: Target, tmp_path: Path
) -> None:
    from dataclasses import replace

    from procmem import Process

    path = tmp_path / "r.rec"
    Recording([replace(Process(target.pid).snapshot(), clock=None)]).save(path)
    ran = run("record", "--report", path, "--perfetto", tmp_path / "t.json")
    assert ran.status == 1
    assert "no clocks" in ran.err
    assert not (tmp_path / "t.json").exists()
