"""The pytest door to grading: `pytest checks.py --submission DIR`.

pytest loads this in every run where procmem is installed: without --submission it adds its
options and nothing more.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --submission, --lab and --procmem-results."""
    group = parser.getgroup("procmem", "procmem: checks of labs about memory")
    group.addoption(
        "--submission", metavar="DIR", help="run the checks of a lab on what was handed in there"
    )
    group.addoption(
        "--lab",
        metavar="LAB",
        help="the lab, by its name or directory; otherwise where the file of checks lies",
    )
    group.addoption("--procmem-results", metavar="FILE", help="write the grade there, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """With --submission: gets the grader."""
    if config.getoption("submission") is None:
        return
    from procmem.grade.grading.by_hand import ByHand
    from procmem.labs import find

    config.pluginmanager.register(ByHand.of(config, find), "procmem-grading")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Says what checks need, where they are run without a submission."""
    if (
        "procmem.grade.checks.points" not in sys.modules
        or config.getoption("submission") is not None
    ):
        return
    from procmem.grade.checks.points import check_of

    for item in items:
        if check_of(getattr(item, "obj", None)) is not None:
            import pytest

            raise pytest.UsageError(
                f"{item.nodeid} is a check of a lab: say what to run it on with --submission DIR"
            )
