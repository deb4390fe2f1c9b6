"""Types of files by their first bytes, and why a file cannot be run."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pytest

from procmem.grade import Submission, SubmissionError
from procmem.grade.sandbox.contents import why_not_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
from tests.support.handed_in import GOOD, tree

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
