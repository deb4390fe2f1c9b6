"""procmem snapshot and procmem diff: what they print, their errors and exit codes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem import Process, Snapshot
from procmem.cli import main
from procmem.experiments import Specimen
from procmem.snapshots import diff
from procmem.view.diff import diff_table
from tests.support.paths import FIXTURES
from tests.support.snapshots import anon, table

if TYPE_CHECKING:
    from pathlib import Path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def narrow(text: str) -> None:
    assert all(len(line) <= 80 for line in text.splitlines()), text


def test_from_a_file_to_a_process(capsys: Any, tmp_path: Path) -> None:
    file = tmp_path / "before.snap"
    with Specimen() as s:
        status, out, err = run(capsys, "snapshot", s.pid, "-o", file)
        assert (status, err) == (0, "")
        assert f"process      {s.pid}" in out
        read = [(region.line(), region.rss) for region in Process(s.pid).smaps()]
        assert [(region.line(), region.rss) for region in procmem.load(file).regions] == read
        status, out, err = run(capsys, "diff", file, s.pid)
        assert (status, out, err) == (0, "Nothing changed.\n", "")
        s.mmap(pages=1000)
        status, out, err = run(capsys, "diff", file, s.pid)
        assert (status, err) == (0, "")
        narrow(out)
        page = os.sysconf("SC_PAGE_SIZE")
        assert f"+{1000 * page // 1024}" in out
        assert "pages are allocated when first touched" in " ".join(out.split())
        status, out, err = run(capsys, "diff", file, s.pid, "--json")
        assert (status, err) == (0, "")
        told = json.loads(out)
        assert told["vsz"] == 1000 * page
        assert told["changes"][0]["kinds"] == ["mapped"]
        assert told["changes"][0]["cause"] == "memory mapped"
        assert told == diff(procmem.load(file), Process(s.pid).snapshot()).to_dict() | {
            "elapsed": told["elapsed"]
        }


def test_json_and_many(capsys: Any, tmp_path: Path) -> None:
    with Specimen() as one, Specimen() as other:
        status, out, _ = run(capsys, "snapshot", one.pid, "--json", "--detail", "maps")
        assert status == 0
        told = json.loads(out)
        again = Snapshot.from_json(json.dumps(told[0]))
        assert again.regions == Process(one.pid).maps()
        file = tmp_path / "two.snap"
        status, out, _ = run(capsys, "snapshot", one.pid, other.pid, "-o", file)
        assert status == 0
        assert [s.identity.pid for s in Snapshot.load_all(file)] == [one.pid, other.pid]
        status, out, _ = run(capsys, "diff", one.pid, other.pid)
        assert status == 0
        narrow(out)
        assert "two processes" in out
        with pytest.raises(SystemExit) as stop:
            run(capsys, "snapshot", one.pid, other.pid, "-o", "x.json")
        assert stop.value.code == 2


def test_one_of_several(capsys: Any, tmp_path: Path) -> None:
    file = tmp_path / "three.snap"
    with Specimen() as s:
        process = Process(s.pid)
        taken = [process.snapshot()]
        for pages in (10, 100):
            s.mmap(pages=pages)
            taken.append(process.snapshot())
        Snapshot.save_all(taken, file)
        status, out, err = run(capsys, "diff", f"{file}:0", f"{file}:-1", "--json")
        assert (status, err) == (0, "")
        assert json.loads(out) == diff(taken[0], taken[2]).to_dict()
        assert run(capsys, "diff", f"{file}:2", s.pid) == (0, "Nothing changed.\n", "")
        status, out, err = run(capsys, "diff", file, s.pid)
        assert (status, out) == (1, "")
        assert "holds 3 snapshots, numbers 0 to 2" in err
        assert "three.snap:0" in err
        for number in (3, -4):
            status, out, err = run(capsys, "diff", f"{file}:{number}", s.pid)
            assert (status, out) == (1, "")
            assert (
                f"holds 3 snapshots, numbers 0 to 2 (or -1, the last), and none of number {number}"
                in err
            )
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert run(capsys, "diff", f"{file}:1", f"{file}:1")[0] == 0
    for number in (2, -1):
        status, _, err = run(capsys, "diff", f"{file}:{number}", f"{file}:0")
        assert status == 1
        assert "snapshot 3" in err
        assert "cut off" in err
    odd = tmp_path / "a:1"
    taken[1].save(odd)
    assert run(capsys, "diff", odd, f"{odd}:0") == (0, "Nothing changed.\n", "")
    status, _, err = run(capsys, "diff", f"{odd}:1", odd)
    assert "it holds one snapshot, number 0, and none of number 1" in err


def test_self(capsys: Any) -> None:
    status, out, err = run(capsys, "diff", "self", "self")
    assert (status, err) == (0, "")
    narrow(out)


def test_texts(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ["linux-5.4-x86_64", "linux-5.4-ppc64le", "hostile-names"]
    files = [FIXTURES / f"{name}.maps" for name in names]
    for one in files:
        for other in files:
            status, out, err = run(capsys, "diff", one, other)
            assert (status, err) == (0, "")
            narrow(out)
            assert (out == "Nothing changed.\n") == (one == other)


@pytest.mark.parametrize("name", ["none", "999999999", "12x", "-1x", ""])
def test_what_is_not_there(capsys: Any, name: str) -> None:
    status, out, err = run(capsys, "diff", "--", name, name)
    assert (status, out) == (1, "")
    assert err.count("procmem diff: ") == 2
    assert "Traceback" not in err


def test_foreign_files(capsys: Any, tmp_path: Path) -> None:
    file = tmp_path / "odd\x1b[2J"
    file.write_bytes(b"\x1b[31mhello")
    for command in (("diff", file, file), ("diff", file, "self")):
        status, out, err = run(capsys, *command)
        assert (status, out) == (1, "")
        assert "\x1b" not in err
        assert "line 1" in err


def test_processes_that_are_not_there(capsys: Any, tmp_path: Path) -> None:
    file = tmp_path / "x.snap"
    status, out, err = run(capsys, "snapshot", "999999999", "-o", file)
    assert (status, out) == (1, "")
    assert "999999999" in err
    assert not file.exists()
    with Specimen() as s:
        status, _, err = run(capsys, "snapshot", s.pid, "-o", tmp_path / "no" / "x")
    assert status == 1
    assert "No such file" in err


@pytest.mark.parametrize("words", [[], ["1"], ["1", "2", "3"], ["--what"]])
def test_usage(capsys: Any, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["diff", *words])
    assert stop.value.code == 2


def test_names_of_any_length_fit(tmp_path: Path) -> None:
    text = b"7f0000000000-7f00000%05x r--p 00000000 08:01 7 /" + b"x" * 3000 + b"\n"
    one = Snapshot(procmem.parse_maps(text % 0x10000))
    other = Snapshot(procmem.parse_maps(text % 0x20000))
    found = other - one
    narrow(diff_table(found, width=80))


def many(regions: int, name: str = "data") -> procmem.Diff:
    """A diff of so many regions, the n-th of which has n pages more in memory."""
    sides = []
    for touched in (0, 1):
        lines = []
        for place in range(regions):
            start = 0x10000000 + place * 0x200000
            lines.append(f"{start:x}-{start + 0x100000:x} r--s 00000000 08:01 {place + 7} /{name}")
            lines.append(f"Rss: {touched * (place + 1) * 4} kB")
        sides.append(Snapshot(procmem.parse_smaps("\n".join([*lines, ""]).encode())))
    return sides[1] - sides[0]


def test_sixty_regions_become_ten() -> None:
    found = many(60)
    text = diff_table(found)
    rows = text.split("Change ")[1].splitlines()[2:]
    assert [row.split()[-1] for row in rows[:10]] == ["data"] * 10
    # The largest ten, by address.
    assert [row.split()[3] for row in rows[:10]] == [f"+{pages * 4}" for pages in range(51, 61)]
    others = rows[10]
    assert others.startswith("others ")
    assert others.endswith("and 50 more regions (--all)")
    assert others.split()[2] == f"+{sum(range(1, 51)) * 4}"
    assert len(text.splitlines()) < 24
    assert text.splitlines()[0].startswith("VSZ +0 KiB, RSS +7,320 KiB")
    assert "7.1 MiB of files read for the first time in 60 regions" in text
    every = diff_table(found, every=True)
    assert every.count("touched ") == 60
    assert "--all" not in every


def test_eleven_regions_are_all_shown() -> None:
    assert "--all" not in diff_table(many(11))


@pytest.mark.parametrize("width", [40, 60, 80, 132])
@pytest.mark.parametrize("unit", ["KiB", "B", "MiB", "GiB", "human"])
def test_no_row_breaks(width: int, unit: str) -> None:
    text = diff_table(many(30, "long name " * 20), width=width, unit=unit)
    assert all(len(line) <= width for line in text.splitlines()), text


def test_names_are_whole_where_there_is_room() -> None:
    name = "libsomething-with-a-very-long-name-of-" + "x" * 60 + ".so.1.2.3"
    assert text_has(diff_table(many(1, name), width=200), name)
    assert text_has(diff_table(many(1, name)), name)
    assert not text_has(diff_table(many(1, name), width=80), name)


def text_has(text: str, name: str) -> bool:
    return any(line.endswith(name) for line in text.splitlines())


def test_options(capsys: Any, tmp_path: Path) -> None:
    found = many(30)
    for side, file in ((found.before, "a"), (found.after, "b")):
        side.save(tmp_path / file)
    files = (tmp_path / "a", tmp_path / "b")
    status, out, _ = run(capsys, "diff", *files)
    assert (status, "others" in out) == (0, True)
    status, out, _ = run(capsys, "diff", *files, "--all")
    assert (status, "others" in out, out.count("touched ")) == (0, False, 30)
    status, out, _ = run(capsys, "diff", *files, "--units", "B", "--columns", "region,rss")
    assert "total, B" not in out
    assert f"+{sum(range(1, 31)) * 4096}" in out
    assert "Start" not in out
    for words in (("--all",), ("--units", "B"), ("--columns", "rss")):
        with pytest.raises(SystemExit) as stop:
            run(capsys, "diff", *files, "--json", *words)
        assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        run(capsys, "diff", *files, "--columns", "none")
    assert stop.value.code == 2


def test_causes_in_json(capsys: Any, tmp_path: Path) -> None:
    found = many(30)
    found.before.save(tmp_path / "a")
    found.after.save(tmp_path / "b")
    status, out, _ = run(capsys, "diff", tmp_path / "a", tmp_path / "b", "--json")
    assert status == 0
    (cause,) = json.loads(out)["causes"]
    assert cause["cause"] == "file read"
    assert cause["regions"] == 30
    assert cause["size"] == cause["rss"] == sum(range(1, 31)) * 4096
    assert cause["evidence"] == ["pages of a file, not written here"]


def test_what_was_not_read_is_no_zero(capsys: Any, tmp_path: Path) -> None:
    """One side without resident bytes: its regions have none, not +0."""
    with Specimen() as s:
        process = Process(s.pid)
        process.snapshot().save(tmp_path / "a")
        area = s.mmap(pages=10).mapping
        assert area is not None
        s.touch(area)
        process.snapshot("maps").save(tmp_path / "b")
    for one, other in (("a", "b"), ("b", "a")):
        status, out, _ = run(capsys, "diff", tmp_path / one, tmp_path / other)
        assert status == 0
        (line,) = [line for line in out.splitlines() if line.startswith(("mapped", "unmapped"))]
        assert line.split()[3] == "-"
        status, out, _ = run(capsys, "diff", tmp_path / one, tmp_path / other, "--json")
        (change,) = json.loads(out)["changes"]
        for name in ("rss", "swap", "copied", "unshared", "lazy_free", "minor"):
            assert change[name] is None
        assert [cause["rss"] for cause in json.loads(out)["causes"]] == [None]


def test_swap_huge_pages_and_ksm_have_columns_where_they_changed() -> None:
    huge: dict[str, Any] = {"AnonHugePages": 8192, "Swap": 4096, "KSM": 12288}
    before = table(anon(0, 100, rss=64, AnonHugePages=0, Swap=0, KSM=0), anon(0x900, 100, rss=64))
    after = table(anon(0, 100, rss=64, **huge), anon(0x900, 100, rss=64))
    text = diff_table(diff(before, after))
    heading = text.splitlines()[-5].split()
    assert heading == ["Change", "Start", "VSZ", "RSS", "Copied", "Swap", "Huge", "KSM", "Minor",
                       "Region"]  # fmt: skip
    row = text.splitlines()[-3].split()
    assert {"+4", "+8", "+12"} <= set(row)
    said = " ".join(text.split())
    assert "huge pages +8" in said
    assert "KSM +12" in said
    more = table(anon(0, 100, rss=65, AnonHugePages=0, Swap=0, KSM=0), anon(0x900, 100, rss=64))
    assert "KSM" not in diff_table(diff(before, more))
