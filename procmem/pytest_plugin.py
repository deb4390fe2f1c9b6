"""The pytest plugin: marks that limit a test's memory, the fixture `memory`, checks of labs.

pytest loads it in every run where procmem is installed. It adds its options, marks and fixture, and
imports nothing else until a test has one of the marks, or --submission is given.
"""

from __future__ import annotations

import sys

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.testing.measuring import MemoryOfTest

__all__ = ["memory", "pytest_addoption", "pytest_collection_modifyitems", "pytest_configure"]

MARKS = {
    "limit_rss": "limit_rss(size): fail if RSS ever gets more than `size` above what it was "
    'before the test, such as "8 MiB"',
    "limit_vsz": "limit_vsz(size): fail if VSZ ever gets more than `size` above what it was",
    "no_growth": "no_growth(pages=0, warmup=3, runs=10): run the test `warmup` times, then `runs` "
    "times, and fail if memory grew by more than `pages` pages",
    "no_leaked_maps": "no_leaked_maps(warmup=0): fail if the test leaves memory mapped that was "
    "not mapped before",
    "no_leaked_fds": "no_leaked_fds(warmup=0): fail if the test leaves files open that were not "
    "open before",
}
"""The marks by name, as `pytest --markers` shows them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --submission, --lab and --procmem-results."""
    group = parser.getgroup("procmem", "procmem: checks of labs about memory")
    group.addoption(
        "--submission", metavar="DIR", help="run the checks of a lab on this submission"
    )
    group.addoption(
        "--lab",
        metavar="LAB",
        help="the lab, by its name or directory; default: the directory of the file of checks",
    )
    group.addoption(
        "--procmem-results", metavar="FILE", help="write the grade to this file, as JSON"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marks; with --submission registers the plugin that grades."""
    for line in MARKS.values():
        config.addinivalue_line("markers", f"{line} (procmem)")
    if config.getoption("submission") is None:
        return
    from procmem.grade.grading.by_hand import ByHand
    from procmem.labs import find

    config.pluginmanager.register(ByHand.of(config, find), "procmem-grading")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Registers what measures if a test has one of the marks; refuses checks without a submission.

    Raises:
        pytest.UsageError: a check of a lab was collected without --submission, or a mark has wrong
            arguments.
    """
    marked = [item for item in items if any(mark.name in MARKS for mark in item.iter_markers())]
    if marked:
        from procmem.testing.marks import MemoryMarks

        config.pluginmanager.register(MemoryMarks(marked, MARKS), "procmem-memory")
    if (
        "procmem.grade.checks.points" not in sys.modules
        or config.getoption("submission") is not None
    ):
        return
    from procmem.grade.checks.points import check_of

    for item in items:
        if check_of(getattr(item, "obj", None)) is not None:
            raise pytest.UsageError(
                f"{item.nodeid} is a check of a lab: name a submission with --submission DIR"
            )


@pytest.fixture
def memory() -> Iterator[MemoryOfTest]:
    """The memory of the process that runs the test, measured by another process.

    with memory.measure() as used:
        area = mmap.mmap(-1, 1 << 20)
    assert used.vsz == 1 << 20
    """
    from procmem.testing.measuring import MemoryOfTest

    measuring = MemoryOfTest()
    yield measuring
    measuring.end()
