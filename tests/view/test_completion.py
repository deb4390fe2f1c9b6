"""Completion, run in the shells themselves."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem.cli.tables import all_pages
from procmem.labs import labs
from procmem.view.completion import SHELLS, every_page, first_sentence
from procmem.view.manual import CommandPage, ManualOption, Operand
from tests.support.sleepers import copied, sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@cache
def script(shell: str) -> str:
    return SHELLS[shell](all_pages(), [lab.name for lab in labs()])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the three scripts, a file and a directory."""
    for shell in SHELLS:
        (tmp_path / f"script.{shell}").write_text(script(shell))
    work = tmp_path / "work"
    (work / "some dir").mkdir(parents=True)
    (work / "before.snap").touch()
    return tmp_path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    yield from sleepers(tmp_path)


def needed(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


def bash(place: Path, line: str) -> list[str]:
    """What bash offers at the end of a line."""
    words = re.findall(r"=|[^\s=]+", line) + ([""] if line[-1:] in (" ", "=") else [])
    if line.endswith("="):
        words = words[:-1]
    code = (
        f"source {shlex.quote(str(place / 'script.bash'))}; "
        f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); "
        f"COMP_CWORD={len(words) - 1}; _procmem; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        [needed("bash"), "--norc", "--noprofile", "-c", code],
        cwd=place / "work", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return [word for word in done.stdout.splitlines() if word]


def fish(place: Path, line: str) -> list[str]:
    """What fish offers at the end of a line."""
    quoted = "'" + line.replace("\\", "\\\\").replace("'", "\\'") + "'"
    code = f"source {place / 'script.fish'}; complete -C {quoted}"
    done = subprocess.run(
        [needed("fish"), "--no-config", "-c", code],
        cwd=place / "work", capture_output=True, text=True, check=True,
        env={**os.environ, "HOME": str(place)},
    )  # fmt: skip
    # A process may end before its name is read.
    assert [row for row in done.stderr.splitlines() if "/proc/" not in row] == []
    return [row.partition("\t")[0] for row in done.stdout.splitlines()]


class Zsh:
    """A zsh on a terminal, which is asked by the key that lists completions."""

    def __init__(self, place: Path) -> None:
        functions = place / "functions"
        functions.mkdir(exist_ok=True)
        shutil.copy(place / "script.zsh", functions / "_procmem")
        (place / ".zshrc").write_text(
            f"fpath=({functions} $fpath)\nautoload -Uz compinit\ncompinit -u -D\n"
            "PS1='ready> '\nunsetopt zle_bracketed_paste\nunset zle_bracketed_paste\n"
            "LISTMAX=10000\nzstyle ':completion:*' list-prompt ''\n"
            "zstyle ':completion:*' verbose no\nbindkey '^X?' _complete_help\n"
            "bindkey '^O' list-choices\nunsetopt auto_menu prompt_sp\n"
            "list-done() { zle list-choices; zle -M '' }\n"
        )
        self.master, slave = pty.openpty()
        subprocess.run(["stty", "rows", "500", "cols", "200"], stdin=slave, check=True)
        self.process = subprocess.Popen(
            [needed("zsh"), "-i"],
            stdin=slave, stdout=slave, stderr=slave, cwd=place / "work", start_new_session=True,
            env={**os.environ, "ZDOTDIR": str(place), "HOME": str(place), "TERM": "dumb"},
        )  # fmt: skip
        os.close(slave)
        self.text = ""
        self.until("ready> ")

    def until(self, wanted: str) -> str:
        """What came up to a text."""
        deadline = time.monotonic() + 300
        while wanted not in self.text and time.monotonic() < deadline:
            if select.select([self.master], [], [], 1)[0]:
                self.text += os.read(self.master, 65536).decode("utf-8", "replace")
        assert wanted in self.text, self.text
        found, _, self.text = self.text.partition(wanted)
        return found

    def offers(self, line: str) -> list[str]:
        """The words that it lists at the end of a line."""
        os.write(self.master, line.encode() + b"\x0f")
        os.write(self.master, b"\x15print -r -- fin''ished\n")
        shown = self.until("finished")
        self.until("ready> ")
        return re.findall(r"\S+", re.sub(r"\x1b\[[\d;?]*[A-Za-z]|[\x00-\x09\x0b-\x1f]", " ", shown))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def zsh(place: Path, line: str) -> list[str]:
    one = Zsh(place)
    try:
        return one.offers(line)
    finally:
        one.close()


ASK = {"bash": bash, "zsh": zsh, "fish": fish}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line, offered, not_offered",
    [
        ("procmem ma", ["maps"], ["pmap"]),
        ("procmem maps --k", ["--kind"], ["--sort"]),
        ("procmem maps --kind he", ["heap"], ["stack"]),
        ("procmem maps --json --sort p", ["pss"], ["rss"]),
        ("procmem lab sh", ["show"], ["list"]),
        ("procmem lab new mmap", ["mmap-demo"], ["copy"]),
        ("procmem grade mmap", ["mmap-demo"], []),
        ("procmem experiment la", ["lazy-allocation"], ["brk"]),
        ("procmem experiment lazy-allocation --pa", ["--pages"], ["--json"]),
        ("procmem size bef", ["before.snap"], []),
        ("procmem size --format=be", ["berkeley"], ["gnu"]),
        ("procmem completion fi", ["fish"], ["bash"]),
    ],
)  # fmt: skip
def test_words(
    place: Path, shell: str, line: str, offered: list[str], not_offered: list[str]
) -> None:
    found = [word.rpartition("=")[2] for word in ASK[shell](place, line)]
    for word in offered:
        # zsh puts a single match onto the line.
        assert any(one.startswith(word) for one in found), found
    assert not set(not_offered) & set(found)


@pytest.mark.parametrize("shell", SHELLS)
def test_processes_by_pid_and_name(
    place: Path, shell: str, start: Callable[..., int], tmp_path: Path
) -> None:
    name = f"pmsh{os.getpid()}"
    pid = start(copied(tmp_path, name), "600")
    assert str(pid) in " ".join(ASK[shell](place, f"procmem maps {str(pid)[:-1]}"))
    assert any(word.startswith(name) for word in ASK[shell](place, f"procmem maps {name[:-1]}"))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_hostile_name_is_not_run(
    place: Path, shell: str, start: Callable[..., int], tmp_path: Path
) -> None:
    pid = start(copied(tmp_path, "$(touch own)"), "600")
    assert Path(f"/proc/{pid}/comm").read_text() == "$(touch own)\n"
    ASK[shell](place, "procmem maps $")
    ASK[shell](place, f"procmem maps {pid}")
    assert sorted(os.listdir(place / "work")) == ["before.snap", "some dir"]


def test_bash_counts_operands_and_ends_options(place: Path) -> None:
    assert bash(place, "procmem grade copy some") == ["some dir"]
    assert "--jobs" in bash(place, "procmem grade --jobs 3 copy x --j")
    assert bash(place, "procmem trace -f -- --nothing") == []
    assert bash(place, "procmem nothing ") == []
    assert bash(place, "procmem --v") == ["--version"]
    assert bash(place, "procmem maps --units=") == ["KiB", "B", "MiB", "GiB", "human"]
    assert bash(place, "procmem maps --units Mi") == ["MiB"]


def test_bash_completes_on_a_terminal(place: Path) -> None:
    """Bash itself splits the line and calls the function."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [needed("bash"), "--norc", "--noprofile", "-i"],
        stdin=slave, stdout=slave, stderr=slave, cwd=place / "work", start_new_session=True,
        env={**os.environ, "HOME": str(place), "TERM": "dumb", "INPUTRC": "/dev/null"},
    )  # fmt: skip
    os.close(slave)
    text = ""
    try:
        os.write(master, b"source ../script.bash\n")
        os.write(master, b"echo procmem maps --ki\t heap --units=Mi\t\n")
        os.write(master, b"echo procmem\x01\x0b")  # the line is taken back: nothing is run
        os.write(master, b"procmem maps --ki\theap --units=Mi\t\x01echo \n")
        deadline = time.monotonic() + 300
        while "\nprocmem maps --kind heap --units=MiB" not in text and time.monotonic() < deadline:
            if select.select([master], [], [], 1)[0]:
                text += os.read(master, 65536).decode().replace("\r", "")
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert "\nprocmem maps --kind heap --units=MiB" in text


@pytest.mark.parametrize("shell", SHELLS)
def test_it_has_each_option_of_each_command(shell: str) -> None:
    text = script(shell)
    for page in every_page(all_pages()):
        assert page.words[-1] in text
        if shell == "fish":
            part = "\n".join(r for r in text.splitlines() if f"__procmem_is {page.name}'" in r)
        elif shell == "zsh":
            part = text.partition(f"\n        '{page.name}')\n")[2].partition(" ;;")[0]
        else:
            whole = text[text.index("_procmem_options() {") :]
            part = whole.partition(f"        '{page.name}'")[2].partition(" ;;")[0]
        for option in page.options:
            for flag in option.flags:
                shown = flag
                if shell == "fish":
                    dashes = flag[: len(flag) - len(flag.lstrip("-"))]
                    kind = "l" if dashes == "--" else "s" if len(flag) == 2 else "o"
                    shown = f"-{kind} {flag[len(dashes) :]}"
                pattern = rf"(?<![\w-]){re.escape(shown)}(?![\w-])"
                assert re.search(pattern, part), (page.name, flag)


def test_odd_texts_are_quoted(tmp_path: Path) -> None:
    page = CommandPage(
        ("odd",), "it's: [odd]", (), "",
        (ManualOption(("--it",), "X:Y", "a 'quote', [brackets]: and \\ $(x)", ("a'b", "c:d")),),
        (Operand("FILE", "", (), "file", repeats=True),),
    )  # fmt: skip
    for shell, make in SHELLS.items():
        path = tmp_path / shell
        path.write_text(make([page], ["o'lab"]))
        found = shutil.which(shell)
        if found is not None:
            done = subprocess.run([found, "-n", path], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), shell
    assert bash_of(tmp_path / "bash", "odd", "--it", "") == ["a'b", "c:d"]


def bash_of(path: Path, *words: str) -> list[str]:
    needed("bash")
    line = " ".join(map(shlex.quote, ("procmem", *words)))
    code = f"source {path}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _procmem"
    code += "; printf '%s\\n' \"${COMPREPLY[@]}\""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_descriptions_are_short() -> None:
    assert first_sentence("show it: all of it") == "show it"
    assert first_sentence("show whole paths") == "show whole paths"
    assert len(first_sentence("word " * 40)) <= 61
