"""A family as a picture: its figures, its words, and names as text."""

from __future__ import annotations

from procmem.process import pictures
from tests.support.families import made_family
from tests.support.goldens import same_as_golden
from tests.support.reports import HOSTILE
from tests.support.svgs import Drawing

MIB = 1 << 20


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    family = made_family()
    text = family.svg()
    found = Drawing(text)
    assert found.title == "Family of process 901 (gunicorn: master [shop])"
    assert found.stays_inside()
    width = {
        one.findtext("{http://www.w3.org/2000/svg}title"): float(one.attrib["width"])
        for one in found.root.iter("{http://www.w3.org/2000/svg}rect")
    }
    worker = "903 gunicorn: worker [shop]"
    one = width[f"{worker}: shared with its parent 10,240 KiB"]
    assert abs(width[f"{worker}: copied since the fork 20,480 KiB"] - 2 * one) < 0.1
    assert abs(width["904 awk (execve): its own 2,048 KiB"] - one / 5) < 0.1
    sums = (
        f"{worker}: shared with its parent 10,240 KiB, copied since the fork 20,480 KiB, its own "
        "9,216 KiB, files and shared memory 6,144 KiB."
    )
    for words in (
        sums,
        "Pages were not compared by their frames",
        "1 process could not be read.",
    ):
        assert words in found.words
    assert family.svg("Our workers").count("Our workers") == 2
    same_as_golden("svg/family.svg", text)


def test_many_members_share_the_last_bar() -> None:
    family = made_family()
    family.members = [family.members[0], *[family.members[1]] * 1000]
    found = Drawing(family.svg())
    assert len([one for one in found.texts if "gunicorn" in one]) == pictures.MOST_BARS
    assert "942 others together" in found.texts
    assert found.stays_inside()
    family.exact, family.unread = True, {}
    assert "frames" not in family.svg()


def test_hostile_names_are_text() -> None:
    family = made_family()
    for name in HOSTILE:
        family.members[0].name = name
        assert Drawing(family.svg()).stays_inside()
