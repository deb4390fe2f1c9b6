"""Who wrote a program: cheats that unpack one in the build, and honest builds of many kinds."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from procmem.grade import Sandbox, Submission, SubmissionError
from procmem.grade.sandbox.kinds import KINDS
from procmem.grade.sandbox.sandbox import why_not

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")

HOLLOW = "int main(void) { return 1; }\n"
GOOD = "int main(void) { return 0; }\n"
CHEAT = "int main(void) { return 7; }\n"
RULE = "page: page.c\n"


def text_of(data: bytes) -> str:
    return base64.encodebytes(gzip.compress(data, 9)).decode()


@pytest.fixture
def payload(tmp_path: Path) -> Callable[..., str]:
    """A program of another source, or what a compiler makes of it, as text."""

    def make(source: str = CHEAT, *options: str) -> str:
        came, made = tmp_path / "friend.c", tmp_path / "friend.out"
        came.write_text(source)
        subprocess.run(["gcc", *options, "-o", made, came], check=True)
        return text_of(made.read_bytes())

    return make


@pytest.fixture
def outcome(tmp_path: Path) -> Callable[..., Any]:
    """The exit status of ./page as it was built, and what was said."""

    def build(files: Mapping[str, str], *tools: str) -> tuple[int | None, str]:
        work = tmp_path / "work"
        work.mkdir()
        for name, text in files.items():
            (work / name).write_text(text)
            (work / name).chmod(0o755)
        with Submission(
            work, build=["make"], program=["./page"], files=["page.c", "Makefile"], tools=tools
        ) as submission:
            try:
                with submission.program().run() as run:
                    return run.finish().status, "\n".join(submission.notes)
            except SubmissionError as error:
                return None, "\n".join([str(error), *submission.notes, submission.build.output])

    return build


UNPACK = "base64 -d friend.txt | gzip -d"

SHELL = "written by a shell command"

CHEATS = {
    "base64": (f"\t{UNPACK} > page\n\tchmod +x page\n", SHELL),
    "hidden": (f"\t{UNPACK} > .hidden\n\tcp .hidden page\n\tchmod +x page\n", "written by cp"),
    "moved": (f"\t{UNPACK} > .hidden\n\tchmod +x .hidden\n\tmv .hidden page\n", SHELL),
    "linked": (f"\t{UNPACK} > .hidden\n\tchmod +x .hidden\n\tln .hidden page\n", SHELL),
    "over": (f"\tgcc -o page page.c\n\t{UNPACK} > page\n", SHELL),
    "dd": (f"\t{UNPACK} | dd of=page\n\tchmod +x page\n", "written by dd"),
    "python": (
        (f"\t{UNPACK} | python3 -c 'import sys; b = sys.stdin.buffer.read(); "
        'open("page", "wb").write(b)\'\n\tchmod +x page\n'),
        "written by python3",
    ),
    "held": (
        ("\tbash -c 'exec 3<>page; gcc -o obj page.c; objcopy obj page;"
        f" test page -ef /dev/fd/3; {UNPACK} >&3; chmod +x page'\n"),
        SHELL,
    ),
    "memory": (f"\t{UNPACK} > /tmp/page; chmod +x /tmp/page; cp /tmp/page page\n", "written by cp"),
    "compiler": ("\tCC=./mycc; $$CC -o page page.c\n", "written by"),
    "variable": ("CC = ./mycc\n", "written by"),
    "strip": (f"\t{UNPACK} > page\n\tchmod +x page\n\tstrip page\n", "from what a shell command"),
    "system": ("\tcp /bin/true page\n", "written by cp"),
}  # fmt: skip

MYCC = f"#!/bin/sh\n{UNPACK} > page\nchmod +x page\n"


@pytest.mark.parametrize("name", CHEATS)
def test_a_program_unpacked_by_the_makefile_does_not_count(
    name: str, outcome: Any, payload: Callable[..., str]
) -> None:
    recipe, words = CHEATS[name]
    makefile = RULE + recipe if recipe.startswith("\t") else recipe + RULE
    files = {"page.c": HOLLOW, "Makefile": makefile, "friend.txt": payload(), "mycc": MYCC}
    status, said = outcome(files)
    assert status is None
    assert words in said
    assert "has to be compiled and linked from the sources that were handed in" in said


LINKS = {
    "object": f"\t{UNPACK} > friend.o\n\tgcc -o page friend.o\n",
    "beside": f"\t{UNPACK} > friend.o\n\tgcc -Dmain=x -c page.c\n\tgcc -o page page.o friend.o\n",
    "archive": f"\t{UNPACK} > friend.o\n\tar rc friend.a friend.o\n\tgcc -o page friend.a\n",
    "partly": f"\t{UNPACK} > friend.o\n\tld -r -o all.o friend.o\n\tgcc -o page all.o\n",
    "pipe": f"\t{UNPACK} | gcc -o page -x none /dev/stdin\n",
}


@pytest.mark.parametrize("name", LINKS)
def test_an_object_unpacked_by_the_makefile_does_not_count(
    name: str, outcome: Any, payload: Callable[..., str]
) -> None:
    files = {"page.c": HOLLOW, "Makefile": RULE + LINKS[name], "friend.txt": payload(CHEAT, "-c")}
    status, said = outcome(files)
    assert status is None
    assert name == "pipe" or "from what a shell command" in said


CODE = "int main(void) { return 7; }"
INCBIN = r"""
__asm__(".text\n.globl main\n.type main, @function\nmain: .incbin \"code.bin\"\n");
"""


@pytest.fixture
def code(tmp_path: Path) -> bytes:
    """The bare machine code of a main that returns 7."""
    came, made = tmp_path / "code.c", tmp_path / "code.o"
    came.write_text(CODE)
    options = ["-c", "-O1", "-fcf-protection=none"]
    tried = subprocess.run(["gcc", *options, "-o", made, came], check=False)
    if tried.returncode:
        subprocess.run(["gcc", "-c", "-O1", "-o", made, came], check=True)
    bare = tmp_path / "code.bin"
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made, bare], check=True)
    return bare.read_bytes()


@pytest.mark.parametrize("how", ["base64 -d", "xxd -r -p", "printf", "objcopy"])
def test_machine_code_that_is_included(how: str, outcome: Any, code: bytes) -> None:
    text = code.hex() if how.startswith("xxd") else base64.encodebytes(code).decode()
    if how.startswith("xxd") and shutil.which("xxd") is None:
        pytest.skip("there is no xxd")
    files = {"page.c": INCBIN, "code.txt": text}
    octal = "".join(f"\\{byte:03o}" for byte in code)
    recipe = {
        "printf": f"\tprintf '{octal}' > code.bin\n\tgcc -o page page.c\n",
        "objcopy": "\tbase64 -d code.txt > code.bin\n"
        "\tobjcopy -I binary -O elf64-x86-64 -B i386:x86-64 --rename-section .data=.text,code "
        "--redefine-sym _binary_code_bin_start=main code.bin code.o\n\tgcc -o page code.o\n",
    }.get(how, f"\t{how} code.txt > code.bin\n\tgcc -o page page.c\n")
    status, said = outcome({**files, "Makefile": RULE + recipe})
    assert status is None
    assert "wrote" in said


def test_an_array_is_no_main(outcome: Any, code: bytes) -> None:
    numbers = ", ".join(map(str, code))
    source = f'const char main[] __attribute__((section(".text"))) = {{{numbers}}};\n'
    status, said = outcome({"page.c": source, "Makefile": RULE})
    assert status is None
    assert "./page has an array for its main, not a function" in said


def test_a_plugin_that_writes_another_program(outcome: Any, payload: Callable[..., str]) -> None:
    """It is compiled of a source, and a linker runs it; what it writes is not what was linked."""
    preload = "__attribute__((constructor)) static void swap(void) {}\n"
    recipe = "\tgcc -shared -fPIC -o swap.so swap.c\n\tLD_PRELOAD=./swap.so gcc -o page page.c\n"
    files = {"page.c": HOLLOW, "swap.c": preload, "Makefile": RULE + recipe}
    status, said = outcome(files)
    assert status is None
    assert "with swap.so loaded into it" in said


HONEST = {
    "implicit": "",
    "two steps": "page: page.o\npage.o: page.c\n",
    "pipe": "\tgcc -pipe -o page page.c\n",
    "lto": "\tgcc -flto -o page page.c\n",
    "copied": "\tmkdir -p obj\n\tgcc -o obj/page page.c\n\tcp obj/page page\n\trm -r obj\n",
    "installed": "\tgcc -g -o obj page.c\n\tinstall -s obj page\n",
    "moved": "\tgcc -o obj page.c\n\tmv obj page\n",
    "cat": "\tgcc -o obj page.c\n\tcat obj > page\n\tchmod +x page\n",
    "touched": "\ttouch page\n\tgcc -o page page.c\n",
    "stripped": "\tgcc -g -o page page.c\n\tstrip page\n\tobjcopy --remove-section=.comment page\n",
    "library": "\tgcc -c -o all.o page.c\n\tar rcs liball.a all.o\n\tgcc -o page liball.a\n",
    "assembly": "\tgcc -S -o all.s page.c\n\tas -o all.o all.s\n\tgcc -o page all.o\n",
    "generated": "\tsed s/0/0/ page.c > other.c\n\tgcc -o page other.c\n",
    "stdin": "\tcat page.c | gcc -x c -o page -\n",
    "wrapper": "CC = ./mycc\npage: page.c\n",
    "data": "\thead -c 5000 /dev/urandom > data.bin\n\tgcc -o page page.c\n",
    "temporary": "\tgcc -o /tmp/page page.c\n\tcp /tmp/page page\n",
    "packed": "\tgcc -o obj page.c\n\ttar cf a.tar obj\n\trm obj\n\ttar xf a.tar\n\tmv obj page\n",
    "script": "\tprintf '#!/bin/sh\\nexit 0\\n' > page\n\tchmod +x page\n",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_builds_count(name: str, outcome: Any) -> None:
    rule = HONEST[name]
    makefile = rule if "page:" in rule else RULE + rule
    files = {"page.c": GOOD, "Makefile": makefile, "mycc": '#!/bin/sh\nexec gcc -O1 "$@"\n'}
    status, said = outcome(files)
    assert status == 0, said
    assert "written by" not in said


def test_a_lab_may_name_more_tools(outcome: Any, payload: Callable[..., str]) -> None:
    recipe = f"\t{UNPACK} > page\n\tchmod +x page\n"
    files = {"page.c": HOLLOW, "Makefile": RULE + recipe, "friend.txt": payload()}
    assert outcome(files, "sh")[0] == 7


@pytest.mark.parametrize("kind", KINDS)
def test_in_each_kind_of_sandbox(kind: str, tmp_path: Path, payload: Callable[..., str]) -> None:
    if why := why_not(kind):
        pytest.skip(f"no sandbox of the kind {kind}: {why}")
    for recipe, good in (("", True), (f"\t{UNPACK} > page\n\tchmod +x page\n", False)):
        work = tmp_path / f"{good}"
        work.mkdir()
        (work / "page.c").write_text(GOOD)
        (work / "Makefile").write_text(RULE + recipe)
        (work / "friend.txt").write_text(payload())
        with Submission(work, build=["make"], sandbox=Sandbox(kind)) as submission:
            assert submission.build.ok
            assert list(submission.faults) == ([] if good else ["page"])
            assert submission.notes == [] or not good


def test_a_program_for_another_machine_is_called_that(outcome: Any) -> None:
    """What it is says more than who wrote it, though it is left out as well."""
    machine = r"\363\000" if os.uname().machine == "aarch64" else r"\267\000"
    header = r"\177ELF\002\001\001" + r"\000" * 9 + r"\002\000" + machine + r"\001\000\000\000"
    make = f"page:\n\tprintf '{header}' >page\n\tchmod +x page\n"
    status, said = outcome({"page.c": HOLLOW, "Makefile": make})
    assert status is None
    assert "page can't be run: it is not a program for this machine, but for" in said
    assert SHELL in said
