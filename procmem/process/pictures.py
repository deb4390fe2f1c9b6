"""A family of processes as a picture."""

from __future__ import annotations

from procmem.names import escaped
from procmem.picture.svg import document, stacked
from procmem.units import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    class DrawnMember(Protocol):
        """What is drawn of a member."""

        pid: int
        name: str
        depth: int
        executed: bool

    class DrawnFamily(Protocol):
        """What is drawn of a family."""

        exact: bool
        unread: dict[int, str]

        @property
        def members(self) -> Sequence[DrawnMember]: ...


__all__ = ["family_svg"]

PARTS = {
    "shared": "shared with its parent",
    "copied": "copied since the fork",
    "own": "its own",
    "file": "files and shared memory",
}

MOST_BARS = 60
"""Members that are drawn one by one."""


def family_svg(family: DrawnFamily, title: str, tones: Mapping[str, str]) -> str:
    """A bar for each member; see Family.svg().

    Args:
        family: the family.
        title: the picture's title; empty: it names the first process.
        tones: the name of the colour of each part.
    """
    first = family.members[0]
    rows = [
        (
            f"{'  ' * min(member.depth, 8)}{member.pid} {escaped(member.name)}"
            + (" (execve)" if member.executed else ""),
            [getattr(member, part) for part in PARTS],
        )
        for member in family.members
    ]
    if len(rows) > MOST_BARS:
        others = rows[MOST_BARS - 1 :]
        sums = [sum(values) for values in zip(*(values for _, values in others), strict=True)]
        rows = [*rows[: MOST_BARS - 1], (f"{len(others):,} others together", sums)]
    about = (
        "Memory of each process in RAM. Copied: the process or its parent has written there since "
        f"fork(2). Of {first.pid} itself, shared is what another process maps, too."
    )
    said = [about]
    if not family.exact:
        said.append(
            "Pages were not compared by their frames (CAP_SYS_ADMIN): memory that parent and fork "
            "each share with others only counts as shared."
        )
    if family.unread:
        said.append(f"{count(len(family.unread), 'process')} could not be read.")
    panel = stacked("Processes", [(PARTS[part], tones[part]) for part in PARTS], rows)
    name = f"Family of process {first.pid} ({escaped(first.name)})"
    return document(title or name, said, [panel])
