"""The pytest plugin: `pytest checks.py --submission DIR` runs the checks of a lab on a submission.

pytest loads it in every run where procmem is installed. Without --submission it only adds its
options.
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
    """With --submission: registers the plugin that grades."""
    if config.getoption("submission") is None:
        return
    from procmem.grade.grading.by_hand import ByHand
    from procmem.labs import find

    config.pluginmanager.register(ByHand.of(config, find), "procmem-grading")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuses checks that are run without a submission.

    Raises:
        pytest.UsageError: a check of a lab was collected without --submission.
    """
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
                f"{item.nodeid} is a check of a lab: name a submission with --submission DIR"
            )
