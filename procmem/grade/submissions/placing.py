"""Which of the files that were handed in are the ones that a lab asks for, and which don't count.

A plan is made of names and contents alone; carry_out() moves the files.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import unicodedata
from dataclasses import dataclass, field

from procmem.grade.errors import SubmissionError
from procmem.grade.sandbox.contents import built, foreign, packed
from procmem.grade.sandbox.untrusted import shown
from procmem.grade.submissions.archives import Allowance, kind_of, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Asked", "Placed", "place"]

JUNK = frozenset((
    ".ds_store", ".git", ".gitignore", ".gitattributes", ".gitkeep", ".github", ".svn", ".hg",
    ".vscode", ".idea", ".vs", ".editorconfig", ".clang-format", ".clang-tidy", ".clangd",
    ".procmem-lab", ".directory", ".localized", ".fseventsd", ".spotlight-v100", ".trashes",
    "__macosx", "thumbs.db", "desktop.ini",
))  # fmt: skip
"""What systems and editors leave: not worth a word."""

MADE = (
    ".o", ".a", ".so", ".obj", ".lib", ".dll", ".exe", ".dylib", ".lo", ".la", ".gch", ".pch",
    ".pcm", ".gcm", ".pyc", ".pyo", ".d", ".dep", ".gcda", ".gcno", ".class", ".ko",
    ".elf", ".dwo", ".rlib", ".rmeta", ".hi", ".cmi", ".cmo", ".cmx",
)  # fmt: skip
"""Suffixes of what compilers make, and make(1) would take for up to date, or include."""

MADE_NAMES = frozenset((
    "__pycache__", "cmakefiles", "cmakecache.txt", "cmake_install.cmake", "build.ninja",
    "autom4te.cache", "config.cache", "config.status", "a.out", "gmon.out",
))  # fmt: skip
MADE_ENDINGS = (".dsym", ".gch", ".egg-info")
"""Of directories."""

COMPILED = (".c", ".cc", ".cpp", ".cxx", ".s", ".asm", ".f", ".f90", ".rs", ".go", ".pas", ".d")
"""Suffixes of sources of which a program of the same name is made."""

TEXTS = (*COMPILED, ".h", ".hh", ".hpp", ".py", ".toml", ".txt", ".md", ".sh", ".mk", ".csv")

MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
"""In the order in which make(1) looks for them."""

COPY = re.compile(r"[ _-]?(\(\d+\)|\d+|copy|Copy|Kopie|copie|copia)(?=\.[^.]*$|$)")
"""What browsers, desktops and learning systems add to a name that is there already."""

LARGEST_LOOKED_AT = 16 << 20

NESTED = 3
"""Archives in archives that are opened."""


@dataclass(frozen=True)
class Asked:
    """What a lab says of files.

    Attributes:
        files: what is handed in; empty: anything.
        program: the command that is run.
        build: the command that builds; empty: nothing is built.
        starter: a directory whose files stand in for those that were not handed in; "": there
            is none.
    """

    files: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    starter: str = ""

    @property
    def strict(self) -> bool:
        """Whether it is known what is handed in and what is made of it."""
        return bool(self.files or self.build)

    def made(self) -> set[str]:
        """Names of the programs that a build makes, as far as they are known."""
        found = {os.path.splitext(name)[0] for name in self.files if name.endswith(COMPILED)}
        if self.build and self.program and "/" in self.program[0].lstrip("/"):
            found.add(os.path.normpath(self.program[0]))
        return {name for name in found if name not in self.files}

    def sources(self) -> list[str]:
        """Names of the files of which the program is made; all files if none is known as one."""
        found = [name for name in self.files if name.endswith((*COMPILED, ".py"))]
        return found or list(self.files)


@dataclass
class Placed:
    """What became of a submission's files.

    Attributes:
        notes: a sentence for each thing that its author should know.
        missing: names of `files` that were not handed in.
        found: where each of the others was found.
    """

    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    found: dict[str, str] = field(default_factory=dict)


def place(source: str, target: str, asked: Asked, *, unwrap: bool = False) -> Placed:
    """Moves what counts of a submission from one directory to another.

    Args:
        source: what was handed in, a private copy; what is left of it is of no use.
        target: an empty directory on the same file system.
        asked: what the lab says.
        unwrap: whether a directory around all files goes, though the lab names none.

    Raises:
        SubmissionError: it can't be known which files are meant, or one is no text; or an archive
            that holds them can't be opened.
    """
    placed = Placed()
    if asked.strict:
        broken = open_archives(source, asked, placed)
        leave_out(source, asked, placed)
    base, chosen = choose(source, asked, placed, unwrap=unwrap or asked.strict)
    if asked.strict and broken and not chosen:
        raise SubmissionError(broken)
    for name in os.listdir(os.path.join(source, base)):
        os.rename(os.path.join(source, base, name), os.path.join(target, name))
    inner = f"{base}/" if base else ""
    for name, path in chosen.items():
        at = path[len(inner) :] if path.startswith(inner) else ""
        put(os.path.join(target, at) if at else os.path.join(source, path), target, name)
        if path != f"{inner}{name}":
            placed.notes.append(f"{shown(name)}: found as {shown(path)}")
    placed.found = chosen
    placed.missing = [
        name
        for name in asked.files
        if name not in chosen and not os.path.isdir(os.path.join(target, name))
    ]
    if asked.strict:
        one_makefile(target, asked, placed)
        from_starter(target, asked, placed)
        clear_programs(target, asked, placed)
    drop_links(target, placed)
    return placed


def listed(words: Iterable[str], most: int = 8) -> str:
    """Names in one line.

    >>> listed(["b", "a"]), listed(map(str, range(10)), 3)
    ('a, b', '0, 1, 2 and 7 more')
    """
    names = sorted(set(words))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


# ---- what is there ---------------------------------------------------------------------------


def walk(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Each file, link and directory below one, by its path from there; directories first."""
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        for name in sorted(os.listdir(os.path.join(directory, inner))):
            path = f"{inner}/{name}" if inner else name
            found = os.lstat(os.path.join(directory, path))
            yield path, found
            if stat.S_ISDIR(found.st_mode) and os.path.isdir(os.path.join(directory, path)):
                waiting.append(path)


def files_of(directory: str) -> list[str]:
    """Paths of files, those behind links that stay inside among them; the shallowest first."""
    found = [
        path for path, about in walk(directory)
        if stat.S_ISREG(about.st_mode) or (
            stat.S_ISLNK(about.st_mode) and os.path.isfile(os.path.join(directory, path)))
    ]  # fmt: skip
    return sorted(found, key=lambda path: (path.count("/"), path))


def head_of(path: str, size: int = 300) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def plain(name: str) -> str:
    """A file's name as those of systems that keep no case, and decompose letters, are alike."""
    return unicodedata.normalize("NFC", os.path.basename(name)).casefold()


def asked_for(path: str, asked: Asked) -> bool:
    return any(plain(path) == plain(name) for name in asked.files)


# ---- archives in it --------------------------------------------------------------------------


def open_archives(source: str, asked: Asked, placed: Placed) -> str:
    """Unpacks archives where no source of the program lies outside of them.

    Returns:
        Why the last one could not be opened; empty: all could.
    """
    allowance = Allowance()
    broken = ""
    for _ in range(NESTED):
        there = files_of(source)
        if not asked.files or any(matches(name, there) for name in asked.sources()):
            break
        archives = [
            path for path in there
            if kind_of(os.path.join(source, path)) and not asked_for(path, asked)
            and not hidden(path)
        ]  # fmt: skip
        if not archives:
            break
        for path in archives:
            at = os.path.join(source, path)
            half = f"{at}.procmem"
            try:
                os.mkdir(half)
                unpack(at, half, allowance)
            except SubmissionError as error:
                shutil.rmtree(half)
                os.unlink(at)
                broken = f"{shown(path)}: {error}"
                placed.notes.append(broken)
                continue
            os.unlink(at)
            os.rename(half, at)
    placed.notes += allowance.notes
    return broken


# ---- what does not count ---------------------------------------------------------------------


def hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def leave_out(source: str, asked: Asked, placed: Placed) -> None:
    """Removes what would stand in for what the build makes, or change its tools."""
    out: dict[str, list[str]] = {}
    gone: list[str] = []
    programs = {os.path.basename(name) for name in asked.made()}
    wanted = {part for name in asked.files for part in name.split("/")}
    for path, about in list(walk(source)):
        if any(path.startswith(f"{one}/") for one in gone):
            continue
        name = os.path.basename(path)
        whole = os.path.join(source, path)
        why = ""
        if name.lower() in JUNK or name.startswith("._"):
            why = "junk" if name not in wanted else ""
        elif name.startswith(".") and name not in wanted:
            why = "hidden"
        elif stat.S_ISDIR(about.st_mode):
            if (name.lower() in MADE_NAMES or name.lower().endswith(MADE_ENDINGS)) and (
                name not in wanted
            ):
                why = "made"
        else:
            why = why_out(whole, path, about, asked, programs)
        if why:
            gone.append(path)
            out.setdefault(why, []).append(path)
            if stat.S_ISDIR(about.st_mode):
                shutil.rmtree(whole)
            else:
                os.unlink(whole)
    for why, words in WHY_OUT.items():
        if why in out:
            placed.notes.append(f"{words}: {listed(out[why])}")
    # Directories that held nothing else, such as obj/: the build makes them, too.
    for at in sorted({os.path.dirname(one) for one in gone}, key=len, reverse=True):
        above = at
        while above and not os.listdir(os.path.join(source, above)):
            os.rmdir(os.path.join(source, above))
            above = os.path.dirname(above)


WHY_OUT = {
    "made": "left out, because the build creates it",
    "hidden": "left out, because hidden files can change how tools work",
    "packed": "left out, because nothing is built from archives",
}


def why_out(whole: str, path: str, about: os.stat_result, asked: Asked, programs: set[str]) -> str:
    """Why a file does not count: "made", "packed"; empty: it does.

    Raises:
        SubmissionError: one that is asked for can't be what it should be.
    """
    name = os.path.basename(path)
    head = head_of(whole) if stat.S_ISREG(about.st_mode) else b""
    kind = built(head[:64])
    if asked_for(path, asked):
        if (name.lower().endswith(TEXTS) or name in MAKEFILES) and stat.S_ISREG(about.st_mode):
            check_text(whole, path, kind)
        return ""
    suffix = os.path.splitext(name)[1].lower()
    if suffix == ".d" and any(one.endswith(".d") for one in asked.files):
        suffix = ""
    if head and not kind and inside(whole):
        return "made"
    if (
        (kind and not foreign(head))
        or suffix in MADE
        or name.lower() in MADE_NAMES
        or ".so." in name
    ):
        return "made"
    if asked.build and (name in programs or path in asked.made()):
        return "made"
    if head and packed(head):
        return "packed"
    return ""


def inside(whole: str) -> bool:
    """Whether a file of data holds a program: a Makefile could cut it out."""
    data = head_of(whole, LARGEST_LOOKED_AT)
    at = data.find(b"\x7fELF")
    return at >= 0 and not foreign(data[at : at + 64])


def check_text(whole: str, path: str, kind: str) -> None:
    """Whether a source is text: a compiled program by the name of a source could be copied.

    Raises:
        SubmissionError: it is none.
    """
    if kind:
        raise SubmissionError(f"{shown(path)} is not a source file: it is {kind}")
    with open(whole, "rb") as file:
        data = file.read()
    if b"\0" in data or b"PK\x05\x06" in data[-65557:]:
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        more = ": save it as UTF-8, not as UTF-16" if wide else ""
        raise SubmissionError(f"{shown(path)} is not text, as a source file has to be{more}")


# ---- which files are meant -------------------------------------------------------------------


def exact(name: str, paths: Sequence[str]) -> list[str]:
    """Those of some files whose name is one that is asked for, in its directory if possible."""
    same = [path for path in paths if path == name or path.endswith(f"/{name}")]
    return same or [p for p in paths if os.path.basename(p) == os.path.basename(name)]


def like(name: str, paths: Sequence[str]) -> list[str]:
    """Those of some files that have a name like that of one that is asked for."""
    wanted = plain(name)
    found = [path for path in paths if plain(path) == wanted]
    if not found:
        found = [path for path in paths if plain(path) == f"{wanted}.txt"]
    if not found and wanted == "makefile":
        found = [path for path in paths if os.path.basename(path) == "GNUmakefile"]
    if not found:
        # Learning systems put names and numbers before it, browsers behind.
        found = [p for p in paths if COPY.sub("", plain(p)) == wanted]
    if not found:
        ends = (f"_{wanted}", f"-{wanted}", f" {wanted}")
        found = [
            path for path in paths
            if plain(path).endswith(ends) or COPY.sub("", plain(path)).endswith(ends)
        ]  # fmt: skip
    return found


def matches(name: str, paths: Sequence[str]) -> list[str]:
    return exact(name, paths) or like(name, paths)


def choose(
    source: str, asked: Asked, placed: Placed, *, unwrap: bool
) -> tuple[str, dict[str, str]]:
    """The directory that the submission is, and the path of each file that is asked for.

    Raises:
        SubmissionError: several may be meant.
    """
    paths = files_of(source)
    base = base_of(source, paths, asked, unwrap=unwrap)
    inner = f"{base}/" if base else ""
    chosen: dict[str, str] = {}
    for name in asked.files:
        here = f"{inner}{name}"
        found = exact(name, paths)
        if here in paths:
            chosen[name] = here
            others = [one for one in found if one != here and not same(source, one, here)]
            if others:
                placed.notes.append(f"{shown(name)}: {shown(here)} counts, not {listed(others)}")
        elif found:
            chosen[name] = the_one(source, name, found)
    for name in asked.files:
        left = [path for path in paths if path not in chosen.values()]
        if name not in chosen and (found := like(name, left)):
            chosen[name] = the_one(source, name, found)
    by_suffix(source, paths, asked, chosen)
    return base, chosen


def base_of(source: str, paths: Sequence[str], asked: Asked, *, unwrap: bool) -> str:
    """The directory in which most of the files lie; without any, the innermost around all.

    Raises:
        SubmissionError: several have as many, and differ.
    """
    counts: dict[str, int] = {}
    for name in asked.files:
        for path in paths:
            if path == name or path.endswith(f"/{name}"):
                at = path[: -len(name)].rstrip("/")
                counts[at] = counts.get(at, 0) + 1
    if not counts:
        return common(paths) if unwrap else ""
    most = max(counts.values())
    best = [at for at, count in counts.items() if count == most]
    least = min(depth(at) for at in best)
    best = sorted(at for at in best if depth(at) == least)
    for other in best[1:]:
        for name in asked.files:
            one, two = (f"{at}/{name}" if at else name for at in (best[0], other))
            if one in paths and two in paths and not same(source, one, two):
                raise SubmissionError(twice(name, [one, two]))
    return best[0]


def depth(path: str) -> int:
    return path.count("/") + 1 if path else 0


def common(paths: Sequence[str]) -> str:
    """The innermost directory around some files."""
    if not paths:
        return ""
    if len(paths) == 1:
        return os.path.dirname(paths[0])
    return os.path.commonpath([os.path.dirname(path) for path in paths]) if all(
        os.path.dirname(path) for path in paths) else ""  # fmt: skip


def the_one(source: str, name: str, found: Sequence[str]) -> str:
    """The one of several that is meant: they are alike, or one lies above the others.

    Raises:
        SubmissionError: that can't be known.
    """
    first = found[0]
    rivals = [one for one in found[1:] if not same(source, one, first)]
    if [one for one in rivals if one.count("/") == first.count("/")]:
        raise SubmissionError(twice(name, found))
    return first


def twice(name: str, found: Sequence[str]) -> str:
    return f"there is more than one {shown(name)}: {listed(found)}; hand in one"


def same(source: str, one: str, other: str) -> bool:
    with open(os.path.join(source, one), "rb") as a, open(os.path.join(source, other), "rb") as b:
        return a.read() == b.read()


def by_suffix(source: str, paths: Sequence[str], asked: Asked, chosen: dict[str, str]) -> None:
    """The only C file that was handed in is the only one that the lab asks for, whatever its name.

    Unless the student's own Makefile names it, and so needs it where it is.
    """
    rules = "".join(
        head_of(os.path.join(source, path), 1 << 20).decode(errors="replace")
        for path in paths
        if os.path.basename(path) in MAKEFILES
    )
    for name in asked.files:
        suffix = os.path.splitext(name)[1].lower()
        if name in chosen or not suffix:
            continue
        if [one for one in asked.files if os.path.splitext(one)[1].lower() == suffix] != [name]:
            continue
        found = [
            path for path in paths
            if os.path.splitext(path)[1].lower() == suffix and path not in chosen.values()
        ]  # fmt: skip
        if len(found) == 1 and os.path.basename(found[0]) not in rules:
            chosen[name] = found[0]


def put(path: str, target: str, name: str) -> None:
    """Puts a file where the lab wants it, with the files that lie beside it, such as headers."""
    aim = os.path.join(target, name)
    if path == aim:
        return
    os.makedirs(os.path.dirname(aim), exist_ok=True)
    if os.path.isdir(aim) and not os.path.islink(aim):
        shutil.rmtree(aim)
    beside = os.path.dirname(path)
    if beside == os.path.dirname(aim):
        os.rename(path, aim)
        return
    shutil.copyfile(path, aim)
    for other in os.listdir(beside):
        came, goes = os.path.join(beside, other), os.path.join(os.path.dirname(aim), other)
        if os.path.isfile(came) and not os.path.islink(came) and not os.path.lexists(goes):
            shutil.copyfile(came, goes)


# ---- the lab's own files ---------------------------------------------------------------------


def one_makefile(target: str, asked: Asked, placed: Placed) -> None:
    """Of several makefiles make(1) takes one by its name: not always the one that is asked for."""
    there = [name for name in MAKEFILES if os.path.lexists(os.path.join(target, name))]
    named = [name for name in MAKEFILES if name in asked.files]
    ours = [name for name in MAKEFILES if os.path.isfile(os.path.join(asked.starter, name))] if (
        asked.starter and asked.files and not named) else []  # fmt: skip
    stays = named[0] if named and named[0] in there else None
    if stays is None and not ours:
        return
    out = [name for name in there if name != stays]
    for name in out:
        os.unlink(os.path.join(target, name))
    if out:
        wins = "the lab's own is used" if ours else f"the lab asks for {stays}"
        placed.notes.append(f"left out, because {wins}: {listed(out)}")


def from_starter(target: str, asked: Asked, placed: Placed) -> None:
    """Files of the starter take the place of those that were not handed in, if any was."""
    if not asked.starter or not placed.found:
        if placed.missing:
            placed.notes.append(f"not handed in: {listed(placed.missing)}")
        return
    used: list[str] = []
    for path in files_of(asked.starter):
        ours = os.path.join(asked.starter, path)
        if path in placed.found or hidden(path) or built(head_of(ours)):
            continue
        aim = os.path.join(target, path)
        control = path not in asked.files and path in asked.build
        if os.path.lexists(aim) and not control:
            continue
        if path in asked.files and rivals(target, path, asked):
            continue
        os.makedirs(os.path.dirname(aim), exist_ok=True)
        if os.path.lexists(aim):
            os.unlink(aim)
            placed.notes.append(f"left out, because the lab's own is used: {shown(path)}")
        shutil.copyfile(ours, aim)
        os.chmod(aim, 0o755 if os.stat(ours).st_mode & 0o111 else 0o644)
        if path in asked.files:
            used.append(path)
    if used:
        placed.notes.append(f"not handed in, the starter's is used: {listed(used)}")
    if left := [name for name in placed.missing if name not in used]:
        placed.notes.append(f"not handed in: {listed(left)}")


def rivals(target: str, name: str, asked: Asked) -> bool:
    """Whether sources of its kind were handed in that nobody asked for: the program is of these."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in COMPILED and any(
        os.path.splitext(path)[1].lower() == suffix
        and path not in asked.files
        and not os.path.exists(os.path.join(asked.starter, path))
        for path in files_of(target)
    )


def clear_programs(target: str, asked: Asked, placed: Placed) -> None:
    """Nothing stands where the build puts its programs, no directory either."""
    if not asked.build:
        return
    out = []
    for name in asked.made():
        aim = os.path.join(target, name)
        if os.path.isdir(aim) and not os.path.islink(aim):
            shutil.rmtree(aim)
            out.append(f"{name}/")
        elif os.path.lexists(aim):
            os.unlink(aim)
            out.append(name)
    if out:
        placed.notes.append(f"{WHY_OUT['made']}: {listed(out)}")


def drop_links(target: str, placed: Placed) -> None:
    """Removes links that lead out, now that the submission is a part of what was handed in."""
    root = os.path.realpath(target)
    for path, about in list(walk(target)):
        if stat.S_ISLNK(about.st_mode):
            whole = os.path.join(target, path)
            if not os.path.realpath(whole).startswith(f"{root}/"):
                os.unlink(whole)
                placed.notes.append(
                    f"{shown(path)} is a link to outside of the submission: left out"
                )
