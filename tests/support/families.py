"""A family of processes, made by hand."""

from __future__ import annotations

from procmem.process.family import Family, FamilyMember, FamilyRegion
from procmem.regions import parse_smaps
from tests.support.paths import FIXTURES

__all__ = ["made_family"]

KIB, MIB = 1 << 10, 1 << 20


def made_family() -> Family:
    """A server with a worker that has copied some, and one that has executed another program."""
    regions = parse_smaps((FIXTURES / "programs/python.smaps").read_bytes())
    heap = next(one for one in regions if one.kind.value == "heap")
    text = next(iter(regions))

    def member(pid: int, name: str, depth: int, shared: int, copied: int, own: int) -> FamilyMember:
        regions = [
            FamilyRegion(heap, depth > 0, shared * MIB, copied * MIB, own * MIB, 0, 512 * KIB),
            FamilyRegion(text, depth > 0, 0, 0, 0, 6 * MIB, 0),
        ]
        return FamilyMember(pid, 900 + depth, name, depth, executed=name == "awk",
                            regions=regions, frees=(copied + own) * MIB)  # fmt: skip

    members = [
        member(901, "gunicorn: master [shop]", 0, 30, 0, 4),
        member(902, "gunicorn: worker [shop]", 1, 26, 4, 1),
        member(903, "gunicorn: worker [shop]", 1, 10, 20, 9),
        member(904, "awk", 2, 0, 0, 2),
    ]
    return Family(members, {905: "permission denied"}, 1, exact=False)
