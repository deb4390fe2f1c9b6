"""What is graded is what was handed in: archives, folders in folders, built things, cheats."""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from procmem.errors import ProcmemError
from procmem.grade import Submission, SubmissionError
from procmem.grade.errors import MachineError
from procmem.grade.sandbox.contents import why_not_run
from procmem.grade.submissions.archives import Allowance, unpack
from procmem.grade.submissions.placing import Asked, Placed, place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GOOD = "int main(void) { return 0; }\n"
HOLLOW = "int main(void) { return 1; }\n"
CHEAT = "int main(void) { return 7; }\n"
MAKEFILE = "page: page.c\n"


def tree(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def there(directory: str | Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text(errors="replace")
        for path in sorted(Path(directory).rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., bytes]:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")

    def compile_it(source: str, *options: str, suffix: str = ".c") -> bytes:
        made, came = tmp_path / "compiled.out", tmp_path / f"compiled{suffix}"
        came.write_text(source)
        subprocess.run(["gcc", *options, "-o", made, came], check=True)
        return made.read_bytes()

    return compile_it


# ---- what came along is not graded ----


@pytest.fixture
def status(tmp_path: Path) -> Callable[..., tuple[int | None, str]]:
    """The exit status of ./page, built of a hand-in, and what its author is told."""

    def run(
        files: Mapping[str, str | bytes],
        asked: tuple[str, ...] = ("page.c", "Makefile"),
        starter: Mapping[str, str | bytes] | None = None,
        when: float = 3600,
    ) -> tuple[int | None, str]:
        work = tree(tmp_path / "work", files)
        now = time.time()
        for path in work.rglob("*"):
            if path.is_file():
                path.chmod(0o755)
            # All that came along is newer than its sources; or the sources are of the future.
            newer = path.suffix not in (".c", ".h") and path.name != "Makefile"
            os.utime(path, (now, now + (when if newer else -when)))
        with Submission(
            work, build=["make"], program=["./page"], files=asked,
            starter=None if starter is None else tree(tmp_path / "starter", starter),
        ) as submission:  # fmt: skip
            try:
                with submission.program().run() as ran:
                    return ran.finish().status, "\n".join(submission.notes)
            except SubmissionError:
                return None, "\n".join([*submission.notes, submission.build.output])
            finally:
                shutil.rmtree(work)

    return run


def test_a_program_that_came_along(status: Any, compiled: Callable[..., bytes]) -> None:
    came = {"page.c": HOLLOW, "Makefile": MAKEFILE, "page": compiled(CHEAT)}
    found, told = status(came)
    assert (found, told) == (1, "left out, because the build creates it: page")


def test_sources_of_the_future(status: Any, compiled: Callable[..., bytes]) -> None:
    came = {"page.c": HOLLOW, "Makefile": MAKEFILE, "page": compiled(CHEAT)}
    assert status(came, when=-1e8)[0] == 1


@pytest.mark.parametrize(
    "name, options",
    [
        ("page.o", ["-c"]),
        ("obj/page.o", ["-c"]),
        ("libpage.so", ["-shared", "-fPIC"]),
        ("page.bin", []),
        ("data.txt", []),
        (".hidden/page", []),
        (".page", []),
    ],
)
def test_what_a_compiler_made(
    name: str, options: list[str], status: Any, compiled: Callable[..., bytes]
) -> None:
    """Whatever its name: a Makefile may copy it."""
    rules = f"page: {name}\n\t(file $< | grep -q relocatable && gcc -o page $< ) || cp $< page\n"
    came = {"page.c": HOLLOW, "Makefile": rules, name: compiled(CHEAT, *options)}
    found, told = status(came)
    assert found != 7
    assert name.split("/", maxsplit=1)[0] in told


def test_a_program_within_a_file_of_data(status: Any, compiled: Callable[..., bytes]) -> None:
    rules = "page: page.dat\n\ttail -c +1001 page.dat >page; chmod +x page\n"
    came = {"page.c": HOLLOW, "Makefile": rules, "page.dat": bytes(1000) + compiled(CHEAT)}
    found, told = status(came)
    assert found is None
    assert "left out, because the build creates it: page.dat" in told


def test_a_static_library(status: Any, compiled: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "page.o").write_bytes(compiled(CHEAT, "-c"))
    subprocess.run(["ar", "rc", tmp_path / "lib.a", tmp_path / "page.o"], check=True)
    came = (tmp_path / "lib.a").read_bytes()
    rules = "page: libpage.x\n\tgcc -o page -Wl,--whole-archive libpage.x\n"
    for name in ("libpage.a", "libpage.x"):
        makefile = rules.replace("libpage.x", name)
        found, told = status({"page.c": HOLLOW, "Makefile": makefile, name: came})
        assert found is None
        assert f"left out, because the build creates it: {name}" in told


def test_a_precompiled_header(status: Any, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    (tmp_path / "x.h").write_text("#define STATUS 7\n")
    subprocess.run(["gcc", "-o", tmp_path / "x.gch", tmp_path / "x.h"], check=True)
    source = '#include "x.h"\nint main(void) { return STATUS; }\n'
    made = (tmp_path / "x.gch").read_bytes()
    for name in ("x.h.gch", "x.h.gch/c", "x.gch"):
        came = {"page.c": source, "x.h": "#define STATUS 1\n", "Makefile": MAKEFILE, name: made}
        found, told = status(came)
        assert found == 1
        assert name.split("/")[0] in told


@pytest.mark.parametrize("name", ["page.c", "Makefile"])
def test_a_program_by_the_name_of_a_source(
    name: str, status: Any, compiled: Callable[..., bytes]
) -> None:
    came: dict[str, str | bytes] = {"page.c": HOLLOW, "Makefile": "page:\n\tcp page.c page\n"}
    came[name] = compiled(CHEAT)
    found, told = status(came)
    assert found is None
    assert f"{name} is not a source file: it is a program or library (ELF)" in told


def test_a_link_to_a_program(status: Any, compiled: Callable[..., bytes], tmp_path: Path) -> None:
    tree(tmp_path / "work", {"stuff/real": compiled(CHEAT)})
    for name in ("page", "page.o"):
        (tmp_path / "work" / name).symlink_to("stuff/real")
    assert status({"page.c": HOLLOW, "Makefile": MAKEFILE})[0] == 1


@pytest.mark.parametrize("name", ["page", "PAGE.O", "all"])
def test_a_script_in_the_place_of_what_is_built(name: str, status: Any) -> None:
    rules = "all: page\npage: page.c\n"
    came = {"page.c": HOLLOW, "Makefile": rules, name: "#!/bin/sh\nexit 7\n"}
    assert status(came)[0] == 1


def test_a_directory_in_the_place_of_the_program(status: Any) -> None:
    came = {"page.c": HOLLOW, "Makefile": MAKEFILE, "page/readme": "x"}
    found, told = status(came)
    assert (found, told) == (1, "left out, because the build creates it: page/")


def test_generated_files_are_made_anew(status: Any) -> None:
    source = '#include "number.h"\nint main(void) { return N; }\n'
    rules = "page: page.c number.h\n\tgcc -o page page.c\nnumber.h:\n\techo '#define N 1' >$@\n"
    came = {"page.c": source, "Makefile": rules, "number.h": "#define N 7\n"}
    found, told = status(came, when=-3600)
    assert (found, told) == (1, "overwritten by the build: number.h")


def test_dependencies_of_another_machine(status: Any) -> None:
    rules = "page: page.c\n-include page.d\n"
    came = {"page.c": HOLLOW, "Makefile": rules, "page.d": "page: /no/such/stddef.h\n"}
    assert status(came)[0] == 1


def test_a_python_program_is_its_source(tmp_path: Path) -> None:
    import py_compile

    work = tree(tmp_path / "w", {"grow.py": "import part\n", "part.py": "raise SystemExit(1)\n"})
    (tmp_path / "part.py").write_text("raise SystemExit(7)\n")
    came = py_compile.compile(
        str(tmp_path / "part.py"), str(tmp_path / "part.pyc"),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip
    assert came is not None
    cached = work / "__pycache__" / f"part.{__import__('sys').implementation.cache_tag}.pyc"
    cached.parent.mkdir()
    shutil.copy(came, cached)
    shutil.copy(came, work / "other.pyc")
    with Submission(work, program=["python3", "grow.py"], files=["grow.py"]) as submission:
        assert sorted(there(submission.directory)) == ["grow.py", "part.py"]
        assert submission.notes == [
            "left out, because the build creates it: __pycache__, other.pyc"
        ]
        with submission.program().run() as run:
            assert run.finish().status == 1
    shutil.copy(came, work / "grow.py")
    with Submission(work, program=["python3", "grow.py"], files=["grow.py"]) as submission:
        assert submission.refused == "grow.py is not a source file: it is Python bytecode"


# ---- makefiles ----


def test_of_several_makefiles_the_one_that_is_asked_for_counts(status: Any) -> None:
    cheat = "page:\n\tprintf '#!/bin/sh\\nexit 7\\n' >page; chmod +x page\n"
    for name in ("GNUmakefile", "makefile"):
        found, told = status({"page.c": HOLLOW, "Makefile": MAKEFILE, name: cheat})
        assert found == 1
        assert name in told
        assert "the lab asks for Makefile" in told


def test_a_makefile_by_another_of_its_names(status: Any) -> None:
    for name in ("makefile", "GNUmakefile", "MAKEFILE"):
        found, told = status({"page.c": GOOD, name: MAKEFILE})
        assert (found, told) == (0, f"Makefile: found as {name}")


@pytest.mark.parametrize("name", ["Makefile", "GNUmakefile", "makefile"])
def test_the_labs_own_makefile_wins_where_none_is_asked_for(name: str, status: Any) -> None:
    cheat = "page:\n\tprintf '#!/bin/sh\\nexit 7\\n' >page; chmod +x page\n"
    found, told = status(
        {"page.c": HOLLOW, name: cheat}, ("page.c",), {"Makefile": MAKEFILE, "page.c": GOOD}
    )
    assert (found, told) == (1, f"left out, because the lab's own is used: {name}")


# ---- where files are found ----


LAB = Asked(("page.c", "Makefile"), ("./page",), ("make",))


def placed(tmp_path: Path, files: Mapping[str, str | bytes], asked: Asked = LAB
           ) -> tuple[dict[str, str], Placed]:  # fmt: skip
    source, target = tree(tmp_path / "source", files), tmp_path / "target"
    target.mkdir()
    done = place(str(source), str(target), asked)
    return there(target), done


BOTH = {"page.c": GOOD, "Makefile": MAKEFILE}


@pytest.mark.parametrize(
    "at",
    ["", "a/", "a/b/", "a b/c d/é/", "page/", "build/", "Doe Jane_123_assignsubmission_file_/"],
)
def test_folders_in_folders(tmp_path: Path, at: str) -> None:
    found, done = placed(tmp_path, {f"{at}{name}": text for name, text in BOTH.items()})
    assert found == BOTH
    assert (done.notes, done.missing) == ([], [])


def test_files_in_several_folders(tmp_path: Path) -> None:
    found, done = placed(tmp_path, {"src/page.c": GOOD, "src/x.h": "", "mk/Makefile": MAKEFILE})
    assert found["page.c"] == GOOD
    assert found["Makefile"] == MAKEFILE
    assert "x.h" in found  # beside page.c, which includes it
    assert len(done.notes) == 1 or "Makefile: found as mk/Makefile" in done.notes


def test_the_students_own_folders_stay(tmp_path: Path) -> None:
    files = {"Makefile": "page: src/page.c\n", "src/page.c": GOOD, "src/x.h": "", "inc/y.h": ""}
    found, done = placed(tmp_path, files)
    assert files.items() <= found.items()
    assert found["page.c"] == GOOD
    assert done.notes == ["page.c: found as src/page.c"]


@pytest.mark.parametrize(
    "name", ["PAGE.C", "Page.c", "page (1).c", "page-1.c", "page - Copy.c", "page(2).c", "page2.c",
             "page.c.txt", "doejane_12345_67890_page.c", "doejane_LATE_12345_67890_page-1.c",
             "my own work.c"]
)  # fmt: skip
def test_names_that_systems_change(tmp_path: Path, name: str) -> None:
    found, done = placed(tmp_path, {name: GOOD, "Makefile": MAKEFILE})
    assert found == BOTH
    assert done.notes == [f"page.c: found as {name}"]


def test_a_lab_may_ask_for_a_directory(tmp_path: Path) -> None:
    asked = Asked(("Makefile", "src"), ("./page",), ("make",))
    found, done = placed(tmp_path, {"a/Makefile": MAKEFILE, "a/src/page.c": GOOD}, asked)
    assert found == {"Makefile": MAKEFILE, "src/page.c": GOOD}
    assert (done.notes, done.missing) == ([], [])


def test_decomposed_letters(tmp_path: Path) -> None:
    asked = Asked(("ü.c",), ("./ü",), ("make",))
    found, _ = placed(tmp_path, {"u\u0308.c": GOOD}, asked)
    assert found == {"ü.c": GOOD}


def test_a_file_that_the_students_makefile_names_keeps_its_name(tmp_path: Path) -> None:
    files = {"main.c": GOOD, "Makefile": "page: main.c\n\tgcc -o page main.c\n"}
    found, done = placed(tmp_path, files)
    assert found == files
    assert done.missing == ["page.c"]
    assert done.notes == ["not handed in: page.c"]


def test_which_one_counts_is_said(tmp_path: Path) -> None:
    found, done = placed(tmp_path, {**BOTH, "old/page.c": HOLLOW, "older/page.c": GOOD})
    assert found["page.c"] == GOOD
    assert done.notes == ["page.c: page.c counts, not old/page.c"]


def test_two_that_may_be_meant_are_refused_and_named(tmp_path: Path) -> None:
    for number, files in enumerate((
        {"v1/page.c": GOOD, "v2/page.c": HOLLOW},
        {"page-1.c": GOOD, "page-2.c": HOLLOW},
        {"v1/page.c": GOOD, "v1/Makefile": "", "v2/page.c": HOLLOW, "v2/Makefile": ""},
    )):  # fmt: skip
        with pytest.raises(SubmissionError, match=r"more than one page\.c: .*1.*2.*; hand in one"):
            placed(tmp_path / str(number), files)


def test_two_that_are_alike_are_one(tmp_path: Path) -> None:
    found, done = placed(tmp_path, {"v1/page.c": GOOD, "v2/page.c": GOOD})
    assert found["page.c"] == GOOD
    assert "which" not in " ".join(done.notes)


def test_the_starter_stands_in(tmp_path: Path) -> None:
    starter = tree(tmp_path / "starter", {**BOTH, "page.c": HOLLOW, "predictions.toml": "a = 1",
                                          "help.h": "", "old.o": b"\x7fELF"})  # fmt: skip
    asked = Asked((*LAB.files, "predictions.toml"), LAB.program, LAB.build, str(starter))
    found, done = placed(tmp_path, {"x/page.c": GOOD}, asked)
    assert found == {**BOTH, "predictions.toml": "a = 1", "help.h": ""}
    assert done.notes == ["not handed in, the starter's is used: Makefile, predictions.toml"]
    assert done.missing == ["Makefile", "predictions.toml"]


@pytest.mark.parametrize("files", [{}, {"notes.txt": "x"}, {"other.py": "x"}])
def test_who_hands_in_nothing_gets_no_starter(tmp_path: Path, files: dict[str, str]) -> None:
    starter = tree(tmp_path / "starter", BOTH)
    asked = Asked(LAB.files, LAB.program, LAB.build, str(starter))
    found, done = placed(tmp_path, files, asked)
    assert found == files
    assert done.notes == ["not handed in: Makefile, page.c"]


def test_one_of_two_sources(tmp_path: Path) -> None:
    starter = tree(tmp_path / "starter", {"a.c": "1", "b.c": "2", "Makefile": "x"})
    asked = Asked(("a.c", "b.c", "Makefile"), ("./a",), ("make",), str(starter))
    found, _ = placed(tmp_path, {"b.c": "mine"}, asked)
    assert found == {"a.c": "1", "b.c": "mine", "Makefile": "x"}


def test_what_systems_leave_is_no_part_of_it(tmp_path: Path) -> None:
    files = {
        "lab/page.c": GOOD, "lab/Makefile": MAKEFILE, "lab/._page.c": "x", "lab/.DS_Store": "x",
        "__MACOSX/lab/page.c": HOLLOW, "__MACOSX/lab/._page.c": "x", "lab/.git/config": "x",
        "lab/.vscode/tasks.json": "x", "Thumbs.db": "x",
    }  # fmt: skip
    found, done = placed(tmp_path, files)
    assert found == BOTH
    assert done.notes == []


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    files = {**BOTH, ".gdbinit": "", ".cache/x": "", ".ccache/ccache.conf": "", ".valgrindrc": ""}
    found, done = placed(tmp_path, files)
    assert found == BOTH
    assert done.notes == [
        (
            "left out, because hidden files can change how tools work: .cache, .ccache, .gdbinit, "
            ".valgrindrc"
        )
    ]


@pytest.mark.parametrize("text", [GOOD.encode("utf-16"), GOOD.encode() + b"\0", b"\0"])
def test_a_source_is_text(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(SubmissionError, match=r"page\.c is not text, as a source file has to be"):
        placed(tmp_path, {"page.c": text, "Makefile": MAKEFILE})


def test_programs_for_other_machines_are_no_cheat(tmp_path: Path) -> None:
    """They can't be run; whoever copies one shall read what it is."""
    macho = b"\xcf\xfa\xed\xfe\x07\0\0\1"
    found, _ = placed(tmp_path, {**BOTH, "page.bin": macho, "page": macho})
    assert sorted(found) == ["Makefile", "page.bin", "page.c"]


def test_a_lab_may_ask_for_a_program(tmp_path: Path, compiled: Callable[..., bytes]) -> None:
    asked = Asked(("crackme", "notes.txt"), ("./crackme",))
    found, done = placed(tmp_path, {"crackme": compiled(GOOD), "notes.txt": "x"}, asked)
    assert sorted(found) == ["crackme", "notes.txt"]
    assert done.notes == []


def test_without_a_build_and_a_list_all_is_kept(tmp_path: Path) -> None:
    files = {".hidden": "x", "a.o": "x", "sub/x": "y"}
    found, done = placed(tmp_path, files, Asked())
    assert found == files
    assert done.notes == []


# ---- archives ----


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


# ---- what is no program ----


ELF = b"\x7fELF\2\1\1" + bytes(9)


@pytest.mark.parametrize(
    "number, data, words",
    [
        (8, b"", "it is an empty file"),
        (8, b"echo x\n", "it is text, and a script begins with a line such as #!/bin/sh"),
        (8, b"MZ\x90\0\3\0", "it is a program for Windows"),
        (8, b"\xca\xfe\xba\xbe\0\0\0\2", "it is a program for macOS"),
        (8, b"\xca\xfe\xba\xbe\0\0\0\x34", "it is a Java class"),
        (8, ELF + b"\1\0\x3e\0" + bytes(44), "an object file, not a program: it was compiled"),
        (8, ELF + b"\4\0\x3e\0" + bytes(44), "it is a core dump, not a program"),
        (8, ELF + b"\2\0\xf3\0" + bytes(44), "but for RISC-V, 64 bits, and this is"),
        (8, ELF + b"\2\0\x99\x99" + bytes(44), "but for machine 39321"),
        (8, b"\x7fEL", "it is not a program for this machine"),
        (8, b"PK\3\4" + bytes(40), "it is a zip file"),
        (8, b"\x89PNG\r\n\x1a\n\0", "it is not a program for this machine"),
        (2, b"#!/bin/sh\r\nexit\r\n", "Windows .CR LF..*'/bin/sh'"),
        (2, b"#!/no/such -x\n", "its interpreter, /no/such, does not exist here"),
        (2, b"#!\n", "interpreter"),
        (13, b"#!/etc/passwd\n", "its interpreter is not executable"),
        (26, b"x", "open for writing"),
        (40, b"#!./x\n", "its first line names a script"),
    ],
)  # fmt: skip
def test_why_a_file_can_not_be_run(number: int, data: bytes, words: str) -> None:
    assert re.search(words, why_not_run(number, data, 0o755)), why_not_run(number, data, 0o755)


def test_the_loader_that_is_not_there_is_named(compiled: Callable[..., bytes]) -> None:
    made = compiled(GOOD, "-Wl,--dynamic-linker=/lib/ld-none.so.1")
    assert "its loader, /lib/ld-none.so.1, does not exist here" in why_not_run(2, made, 0o755)


def test_what_can_not_be_run_is_said_of_real_files(
    tmp_path: Path, compiled: Callable[..., bytes]
) -> None:
    files: dict[str, tuple[str | bytes, str]] = {
        "empty": ("", "an empty file"),
        "text": ("touch ran\n", "it is text"),
        "crlf": ("#!/bin/sh\r\n", "Windows"),
        "none": ("#!/no/such\n", "/no/such, does not exist here"),
        "object": (compiled(GOOD, "-c"), "an object file"),
        "loader": (compiled(GOOD, "-Wl,--dynamic-linker=/lib/ld-none.so.1"), "/lib/ld-none.so.1"),
        "macho": (b"\xcf\xfa\xed\xfe\7\0\0\1", "macOS"),
    }
    work = tree(tmp_path / "w", {name: content for name, (content, _) in files.items()})
    for name in files:
        (work / name).chmod(0o755)
    (work / "folder").mkdir()
    with Submission(work) as submission:
        for name, words in [*((n, w) for n, (_, w) in files.items()), ("folder", "directory")]:
            with pytest.raises(SubmissionError, match=words), submission.program(f"./{name}").run():
                pass
        assert not os.path.exists(os.path.join(submission.directory, "ran"))
        assert stat.S_ISREG(os.stat(os.path.join(submission.directory, "text")).st_mode)
