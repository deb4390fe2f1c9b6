"""Archives: opened as tar and unzip would, within limits."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from procmem.errors import ProcmemError
from procmem.grade import Submission, SubmissionError
from procmem.grade.errors import MachineError
from procmem.grade.submissions.archives import Allowance, unpack
from tests.support.handed_in import BOTH, GOOD, HOLLOW, LAB, MAKEFILE, placed, there, tree

if TYPE_CHECKING:
    from pathlib import Path


def tar_of(path: Path, members: list[tuple[str, Any]], mode: str = "w") -> Path:
    """Unpacked: a name with its content, or with a tarfile.TarInfo's type and target."""
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                member.type, member.linkname = content
                made.addfile(member)
            else:
                raw = content.encode()
                member.size = len(raw)
                made.addfile(member, io.BytesIO(raw))
    return path


def zip_of(path: Path, members: list[tuple[str, str]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return path


def unpacked(path: Path, tmp_path: Path) -> tuple[dict[str, str], list[str]]:
    allowance, aim = Allowance(), tmp_path / "unpacked"
    shutil.rmtree(aim, ignore_errors=True)
    aim.mkdir()
    before = set(os.listdir(tmp_path))
    try:
        unpack(str(path), str(aim), allowance)
    finally:
        assert set(os.listdir(tmp_path)) == before
    return there(aim), allowance.notes


@pytest.mark.parametrize("top", ["", "my work/", "a/b/"])
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.bz2",
                                  "A.ZIP", "archive"])  # fmt: skip
def test_archives_are_opened_by_their_content(tmp_path: Path, name: str, top: str) -> None:
    members = [(f"{top}{one}", text) for one, text in BOTH.items()]
    path = tmp_path / name
    if path.suffix.lower() == ".zip" or name == "archive":
        zip_of(path, members)
    else:
        tar_of(
            path, members, f"w:{name.rpartition('.')[2].replace('tgz', 'gz').replace('tar', '')}"
        )
    with Submission(path, build=["make"], program=["./page"], files=["page.c", "Makefile"]) as made:
        assert there(made.directory) == BOTH
        assert (made.notes, made.missing, made.refused) == ([], [], "")
    if name == "a.zip":
        path.rename(tmp_path / "a.tar.gz")  # a name that lies
        assert unpacked(tmp_path / "a.tar.gz", tmp_path)[0] == dict(members)


def test_of_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    members = [("page.c", "1"), ("x/y", "1"), ("page.c", "2"), ("./page.c", "3"), ("x/y", "2")]
    wanted = {"page.c": "3", "x/y": "2"}
    assert unpacked(tar_of(tmp_path / "a.tar", members), tmp_path)[0] == wanted
    with pytest.warns(UserWarning, match="Duplicate"):
        zip_of(tmp_path / "a.zip", members)
    assert unpacked(tmp_path / "a.zip", tmp_path)[0] == wanted


@pytest.mark.parametrize("how", ["u", "r"])
def test_what_tar_itself_appends(tmp_path: Path, how: str) -> None:
    """tar(1) unpacks it as well: both have to agree."""
    work = tree(tmp_path / "w", {"page.c": "old", "b": "b"})
    path = tmp_path / "a.tar"
    os.utime(work / "page.c", (1e9, 1e9))
    tar = ["tar", "-C", str(work)]
    subprocess.run([*tar, "-cf", str(path), "page.c", "b"], check=True)
    (work / "page.c").write_text("new")
    # The same file twice, which is stored as a link to itself.
    subprocess.run([*tar, f"-{how}f", str(path), "page.c", "page.c"], check=True)
    (tmp_path / "theirs").mkdir()
    subprocess.run(["tar", "-C", str(tmp_path / "theirs"), "-xf", str(path)], check=True)
    found, _ = unpacked(path, tmp_path)
    assert found == there(tmp_path / "theirs") == {"page.c": "new", "b": "b"}


def test_a_file_and_a_directory_of_one_name(tmp_path: Path) -> None:
    members = [("x", "file"), ("x/y", "inside"), ("z/a", "1"), ("z", "file")]
    found, _ = unpacked(tar_of(tmp_path / "a.tar", members), tmp_path)
    assert found == {"x/y": "inside", "z": "file"}


def test_links_in_archives(tmp_path: Path) -> None:
    outside = tree(tmp_path / "out", {"secret": "s"})
    hard, soft = tarfile.LNKTYPE, tarfile.SYMTYPE
    members = [
        ("a", "1"), ("b", (hard, "a")), ("a", "2"), ("c", (soft, "a")), ("d/e", (soft, "../a")),
        ("out", (soft, str(outside))), ("out/f", "3"), ("up", (soft, "../out/secret")),
        ("none", (hard, "nothing")), ("stolen", (hard, str(outside / "secret"))),
        ("dev", (tarfile.CHRTYPE, "")), ("pipe", (tarfile.FIFOTYPE, "")),
        ("l", (soft, "a")), ("l", "4"), ("m", "5"), ("m", (soft, "a")),
    ]  # fmt: skip
    found, told = unpacked(tar_of(tmp_path / "a.tar", members), tmp_path)
    assert found == {"a": "2", "b": "1", "c": "2", "d/e": "2", "out/f": "3", "l": "4", "m": "2"}
    assert os.listdir(outside) == ["secret"]
    for name in ("up", "none", "stolen", "dev", "pipe"):
        assert any(line.startswith(name) and line.endswith("left out") for line in told), told


def test_names_that_lead_out(tmp_path: Path) -> None:
    """tar and unzip drop what leads out; nothing is written elsewhere."""
    names = ["../a.c", "/tmp/b.c", "x/../../c.c", "..\\d.c", "C:\\home\\e.c", "//f.c", "./g.c"]
    wanted = {"a.c", "tmp/b.c", "x/c.c", "d.c", "home/e.c", "f.c", "g.c"}
    for path in (
        zip_of(tmp_path / "a.zip", [(name, "x") for name in names]),
        tar_of(tmp_path / "a.tar", [(name, "x") for name in names]),
    ):
        found, told = unpacked(path, tmp_path)
        assert set(found) == wanted
        assert len(told) == 6
        assert not any(str(tmp_path) in line for line in told)


def test_names_in_zip_files(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zip_of(path, [("é.c", "x")])
    raw = path.read_bytes()
    assert b"\xc3\xa9.c" in raw
    # macOS says nothing of UTF-8 (general purpose bit 11).
    path.write_bytes(raw.replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00"))
    assert list(unpacked(path, tmp_path)[0]) == ["é.c"]


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", [("page.c", "x")])
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(SubmissionError, match="encrypted"):
        unpacked(path, tmp_path)


@pytest.mark.parametrize(
    "magic, kind",
    [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\0", "rar"), (b"\x28\xb5\x2f\xfd", "zstd")],
)
def test_kinds_that_are_not_opened_are_named(tmp_path: Path, magic: bytes, kind: str) -> None:
    (tmp_path / "a.bin").write_bytes(magic + bytes(100))
    with pytest.raises(SubmissionError, match=f"of the kind {kind} can't be opened.*a zip"):
        unpacked(tmp_path / "a.bin", tmp_path)


def test_bombs(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("zeros", "w") as file:
        for _ in range(65):
            file.write(bytes(1 << 20))
    sparse = tarfile.TarInfo("sparse")
    with tarfile.open(tmp_path / "sparse.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        sparse.pax_headers = {
            "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "sparse",
            "GNU.sparse.size": f"{1 << 40}", "GNU.sparse.numblocks": "0", "GNU.sparse.map": "",
        }  # fmt: skip
        tar.addfile(sparse)
    subprocess.run(["truncate", "-s", "1T", tmp_path / "hole"], check=True)
    with open(tmp_path / "real.tar", "wb") as file:
        subprocess.run(["tar", "-C", tmp_path, "-cS", "hole"], stdout=file, check=True)
    os.unlink(tmp_path / "hole")
    for name in ("bomb.zip", "real.tar"):
        with pytest.raises(SubmissionError, match="more than 64 MiB"):
            unpacked(tmp_path / name, tmp_path)
    many = zip_of(tmp_path / "many.zip", [(f"{number}", "") for number in range(2001)])
    with pytest.raises(SubmissionError, match="more than 2000 files"):
        unpacked(many, tmp_path)
    deep = tar_of(tmp_path / "deep.tar", [("d/" * 500 + "x", "x"), ("n" * 300, "x"), ("ok", "x")])
    found, told = unpacked(deep, tmp_path)
    assert (found, len(told)) == ({"ok": "x"}, 2)


def test_broken_archives_say_so_and_nothing_of_the_grader(tmp_path: Path) -> None:
    for name in ("b.zip", "b.tar", "b.tar.gz", "b.tar.xz", "b.tar.bz2", "b.tgz"):
        (tmp_path / name).write_bytes(b"\x1f\x8b no archive at all" * 100)
    whole = zip_of(tmp_path / "whole.zip", [("a/x", "x" * 9999), ("a/y", os.urandom(999).hex())])
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "empty.zip").write_bytes(b"")
    for path in sorted(tmp_path.glob("[bce]*.*")):
        with pytest.raises(SubmissionError, match="archive") as caught:
            unpacked(path, tmp_path)
        assert "/tmp" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_a_single_compressed_file(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "page.c.gz").write_bytes(gzip.compress(GOOD.encode()))
    assert unpacked(tmp_path / "page.c.gz", tmp_path)[0] == {"page.c": GOOD}


@pytest.mark.parametrize("depth", [1, 2])
def test_archives_in_folders(tmp_path: Path, depth: int) -> None:
    inner = zip_of(tmp_path / "page.zip", [("lab/page.c", GOOD), ("lab/Makefile", MAKEFILE)])
    if depth == 2:
        inner = tar_of(tmp_path / "page.tar", [])
        with tarfile.open(inner, "w") as tar:
            tar.add(tmp_path / "page.zip", "x/page.zip")
    folder = tree(tmp_path / "Doe Jane_1_assignsubmission_file_", {inner.name: inner.read_bytes()})
    with Submission(folder, build=["make"], program=["./page"], files=LAB.files) as made:
        assert there(made.directory) == BOTH
        assert made.notes == []


def test_an_old_archive_beside_the_sources_does_not_count(tmp_path: Path) -> None:
    old = zip_of(tmp_path / "o.zip", [("page.c", HOLLOW), ("Makefile", MAKEFILE)]).read_bytes()
    found, done = placed(tmp_path, {**BOTH, "backup/o.zip": old})
    assert found == BOTH
    assert done.notes == ["left out, because nothing is built from archives: backup/o.zip"]


def test_a_hand_in_that_can_not_be_opened_has_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("no zip")
    with Submission(tmp_path / "a.zip", build=["make"], files=LAB.files) as made:
        assert made.refused.startswith("the archive is broken")
        assert os.listdir(made.directory) == []
        assert not made.build.ok
        with pytest.raises(SubmissionError, match="could not be opened: the archive is broken"):
            made.program("./page")
    os.mkfifo(tmp_path / "fifo")
    os.symlink("nowhere", tmp_path / "link")
    for name in ("fifo", "link"):
        with Submission(tmp_path / name) as made:
            assert made.refused == "it is neither a directory nor a file"
    (tmp_path / "essay.txt").write_text("about pages")
    with Submission(tmp_path / "essay.txt", files=LAB.files) as made:
        assert made.refused == "it contains nothing that the lab asks for: Makefile, page.c"


def test_a_full_disk_is_no_fault_of_a_hand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    path = zip_of(tmp_path / "a.zip", [("page.c", GOOD)])
    folder = tree(tmp_path / "folder", BOTH)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/grader/path")

    monkeypatch.setattr("procmem.grade.submissions.archives.unzip", full)
    monkeypatch.setattr("procmem.grade.sandbox.untrusted.copy_file", full)
    for source in (path, folder):
        with pytest.raises(MachineError, match="No space"):
            Submission(source, files=LAB.files)
    with pytest.raises(ProcmemError, match="no such file"):
        Submission(tmp_path / "none")
