"""Why programs that hang in pipes hang, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.grade import Limits, ProgramSleeps, Submission

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int ends[2];
    char byte;

    if (pipe(ends) != 0)
        return 1;
"""

CASES = {
    "own-write-end": (
        """
    if (fork() == 0) {
        while (read(ends[0], &byte, 1) > 0)
            ;
        _exit(0);
    }
    close(ends[0]);
    close(ends[1]);
    wait(NULL);
    return 0;
}
""",
        r"\(hangs\) reads from an empty pipe: .*its child \(hangs\) itself \(descriptor 4\);",
    ),
    "parent-keeps-it": (
        """
    if (fork() == 0) {
        close(ends[1]);
        while (read(ends[0], &byte, 1) > 0)
            ;
        _exit(0);
    }
    wait(NULL);
    return 0;
}
""",
        r"its write end is held by the program \(descriptor 4\); the end of file",
    ),
    "nobody-reads": (
        """
    if (fork() == 0) {
        close(ends[0]);
        for (;;)
            if (write(ends[1], "bytes", 5) < 0)
                _exit(0);
    }
    wait(NULL);
    return 0;
}
""",
        r"writes to a full pipe .*: its read end is held by the program \(descriptor 3\); SIGPIPE",
    ),
    "fifo": (
        """
    (void)byte;
    mkfifo("talk", 0600);
    return open("talk", O_RDONLY);
}
""",
        r"the program waits in open\(\) of the FIFO talk until a process opens",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_hang_has_its_cause(tmp_path: Path, case: str) -> None:
    body, words = CASES[case]
    (tmp_path / "hangs.c").write_text(HEAD + body)
    made = Submission(
        tmp_path,
        build=["cc", "-o", "hangs", "hangs.c"],
        program=["./hangs"],
        limits=Limits(wall=4),
    )
    with made, made.program().run() as run, pytest.raises(ProgramSleeps, match=words):
        run.pause()
