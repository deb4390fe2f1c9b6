"""Grades of all kinds, and hostile ones."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from procmem.grade.results import BuildResult, CheckResult, Grade, PhasePicture, Status
from procmem.picture.shapes import NEW, MapBlock, MapRow, SizeBar

SECRET = "the-hidden-checks-own-words"
TRACE = "a-traceback-of-the-grader"
HOSTILE = [
    "plain",
    "two\nlines",
    "<script>alert(1)</script>",
    "</style></script><img src=x onerror=alert(1)>",
    "]]><!-- &amp; &#0; --><![CDATA[",
    "bad \udcff\ud800 surrogates",
    "\x00\x01\x1b[2J\x7f\x9b controls",
    "\u202eright to left\u2066",
    '=HYPERLINK("http://x")',
    "+1", "-1", "@SUM(A1)", "\t=1", " =1", "'=1",
    "a|b`c*d_e[f](g)#h @everyone",
    "```\n~~~~\n# not a heading",
    'quotes " and \' and ,;',
    "back\\slash \\u0041",
    "\ufffe\uffff\U0001f4a9",
    "a" * 50_000,
    "",
]  # fmt: skip


def check(
    name: str, status: Status, score: float = 0, points: float = 2, **more: Any
) -> CheckResult:
    return CheckResult(f"test_{name}", f"title of {name}", status, score, points, **more)


def picture(words: str, before: str | None = None) -> PhasePicture:
    """A picture with the same words wherever words can stand."""
    block = MapBlock(4096, 12288, words, (words,), words, 8192, 4096, 1, NEW, words)
    bar = SizeBar(words, words, (8192, None), (4096, 0))
    return PhasePicture(
        words if before is None else before, words, 4096, None, ("VSZ", "RSS"),
        (MapRow(0, (block,), (block._replace(mark=""),)), MapRow(1 << 40, (block,))), (bar, bar),
    )  # fmt: skip


MIXED = Grade(
    "alloc-size",
    "alice",
    (
        check("passed", Status.PASSED, 2),
        check(
            "failed",
            Status.FAILED,
            what="heap(after).size",
            expected="4 KiB",
            seen="136 KiB",
            phase="after the 1st answer",
            cause="+132 KiB is the heap that stdio made, not your mmap",
            hint="Who allocates the page: mmap, or the first write?",
        ),
        check("partly", Status.PARTLY, 1.5, message="three of four"),
        check("missed", Status.MISSED, needs=("test_failed",)),
        check("impossible", Status.NOT_POSSIBLE, message="valgrind is not installed"),
        check("error", Status.ERROR, points=1, message=TRACE, detail=TRACE),
        check("secret", Status.FAILED, hidden=True, hint=SECRET, message=SECRET, expected=SECRET),
    ),
    BuildResult(ok=True, command=("make",), seconds=0.2),
    seconds=1.5,
    machine={"kernel": "6.1", "libc": "glibc 2.36", "walls": ["x"]},
    version="0.1.0",
    pictures=(picture("wait"), picture("wait", "")),
)
"""3.5 of 10 points; 3 more were not counted."""
FULL = replace(MIXED, checks=MIXED.checks[:1])
UNCOUNTED = replace(MIXED, checks=MIXED.checks[4:6])
UNBUILT = replace(
    MIXED,
    build=BuildResult(ok=False, output="\x1b[01m\x1b[Ka.c:1:1:\x1b[m\x1b[K error: `x' <y>\r\n"),
    checks=(check("passed", Status.FAILED, message="it does not build"),),
)
BROKEN = replace(MIXED, checks=(), error=TRACE)
GRADES = {
    "mixed": MIXED,
    "full": FULL,
    "uncounted": UNCOUNTED,
    "unbuilt": UNBUILT,
    "broken": BROKEN,
    "no build": replace(MIXED, build=None),
}


def hostile(words: str) -> Grade:
    """A grade with the same words wherever words can stand."""
    checks = [
        CheckResult(
            words, words, status, 1 if status is Status.PARTLY else 0, 2, hidden=hidden,
            message=words, expected=words, seen=words, what=words, phase=words, cause=words,
            hint=words, needs=(words,), detail=words,
        )
        for status in Status
        for hidden in (False, True)
    ]  # fmt: skip
    build = BuildResult(ok=False, output=words, command=(words, words))
    machine = {words: words}
    pictures = (picture(words), picture(words, ""))
    return Grade(
        words, words, tuple(checks), build, machine=machine, version=words, pictures=pictures
    )


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.said.append(data)
