"""What is graded is what was handed in: built things, cheats, makefiles."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from procmem.grade import Submission, SubmissionError
from tests.support.handed_in import GOOD, HOLLOW, MAKEFILE, there, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CHEAT = "int main(void) { return 7; }\n"


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
