"""Whether a diff reports what was done, over random sequences of memory calls in a Specimen.

python -m benchmarks.sequences --sequences 10000 --seed 1

A model keeps, for each page, its permissions, what it maps, and whether it is resident. Each
diff, of a single call and of the whole sequence, must agree with the model: the pages that were
mapped and unmapped; the VSZ, RSS and faults of each change; its kinds; and a cause that fits the
call. --only runs one sequence again by its number.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from procmem import Cause, Change, ChangeKind, Diff, Process
from procmem.errors import SyscallError
from procmem.experiments import Specimen
from procmem.experiments.specimen.specimen import Area

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Mismatch", "Sequences"]

K = ChangeKind
PAGE = os.sysconf("SC_PAGESIZE")
MOST_PAGES = 400
FILE_PAGES = 64
PROTS = {"rw": "rw-p", "r": "r--p", "": "---p"}


class Mismatch(AssertionError):
    """A diff does not agree with what was done."""


@dataclass(frozen=True)
class Page:
    """A page of the model.

    Attributes:
        perms: as maps has them.
        behind: the object that it maps; 0: private anonymous memory.
        offset: the page's number in that object.
        resident: whether it is in memory.
        shared: its number in the child that fork(2) made; 0: the process's own.
        lazy: whether madvise(MADV_FREE) may have marked it since it was last written.
    """

    perms: str
    behind: int = 0
    offset: int = 0
    resident: bool = False
    shared: int = 0
    lazy: bool = False


def plain(page: Page) -> Page:
    """The page without what is not of itself: who shares it, and what the kernel may do."""
    return replace(page, shared=0, lazy=False)


Space = dict[int, Page]
"""Pages by their numbers."""


def same_memory(one: Page, other: Page) -> bool:
    """Whether a page is still the same memory: of private anonymous memory, any is."""
    return one.behind == other.behind and (not one.behind or one.offset == other.offset)


class Sequences:
    """Random sequences of calls, each made in the process and in the model.

    Args:
        seed: of the random choices.
        directory: where a file to be mapped may be put.
    """

    def __init__(self, seed: int, directory: str) -> None:
        self.seed = seed
        self.file = os.path.join(directory, "mapped")
        with open(self.file, "wb") as file:
            file.write(os.urandom(FILE_PAGES * PAGE))
        self.done: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.calls: list[str] = []
        self.operations: dict[Callable[[], bool], int] = {
            self.mmap: 6, self.munmap: 4, self.mprotect: 5, self.touch: 8, self.drop: 4,
            self.mremap: 6, self.brk: 2, self.fork: 3, self.end: 2, self.child_touch: 12,
            self.free_lazily: 3, self.truncate: 1,
        }  # fmt: skip

    def run(self, number: int) -> None:
        """One sequence, in a process of its own.

        Raises:
            Mismatch: a diff does not agree; the message has the calls.
        """
        self.random = random.Random(f"{self.seed}/{number}")  # noqa: S311 - repeatable
        self.calls = []
        self.space: Space = {}
        self.behinds = 1
        self.child: Specimen | None = None
        self.childs: dict[int, int] = {}
        with Specimen() as self.specimen, contextlib.ExitStack() as self.children:
            process = Process(self.specimen.pid)
            self.base = self.specimen._stepper.place(MOST_PAGES * PAGE, "slot") // PAGE
            first = before = process.snapshot()
            at_first = dict(self.space)
            for _ in range(self.random.randint(2, 16)):
                was = dict(self.space)
                made = len(self.calls)
                while not self.one():
                    pass
                after = process.snapshot()
                try:
                    found = after - before
                    agrees(found, was, self.space)
                    self.agrees_with_call(found, was, self.calls[made].split("(")[0])
                except Mismatch as wrong:
                    raise Mismatch(self.report(number, self.calls, wrong)) from wrong
                self.kinds.update(str(kind) for c in found.changes for kind in c.kinds)
                before = after
            try:
                whole = before - first
                agrees(whole, at_first, self.space)
                mirrored(whole, first - before)
                require(not (first - first) and not (before - before), "a diff with itself")
            except Mismatch as wrong:
                raise Mismatch(self.report(number, self.calls, f"as a whole: {wrong}")) from wrong

    def report(self, number: int, calls: list[str], wrong: object) -> str:
        lines = "\n  ".join(calls)
        return f"sequence {number} of seed {self.seed}: {wrong}\n  {lines}"

    def one(self) -> bool:
        """One random call; False: there was nothing that it could be made on."""
        operations, weights = zip(*self.operations.items(), strict=True)
        call: Callable[[], bool] = self.random.choices(operations, weights)[0]
        made = len(self.calls)
        try:
            acted = call()
        except SyscallError as error:
            # What the kernel refuses changes nothing.
            self.calls[-1] += f" = {error.syscall} failed: {os.strerror(error.errno or 0)}"
            return True
        if acted:
            self.done[self.calls[made].split("(")[0]] += 1
        return acted

    # ---- choosing ----

    def runs(self, space: Iterable[int]) -> list[range]:
        """The mapped pages as ranges without a hole."""
        found: list[range] = []
        for page in sorted(space):
            if found and found[-1].stop == page:
                found[-1] = range(found[-1].start, page + 1)
            else:
                found.append(range(page, page + 1))
        return found

    def part(self, pages: Iterable[int]) -> range | None:
        """A range of pages without a hole."""
        runs = self.runs(pages)
        if not runs:
            return None
        run = self.random.choice(runs)
        if self.random.random() < 0.3:
            return run
        start = self.random.choice(run)
        return range(start, self.random.randint(start + 1, run.stop))

    def free(self, pages: int) -> int | None:
        """Where so many pages are free, often beside what is mapped."""
        for _ in range(20):
            at = self.base + self.random.randrange(MOST_PAGES - pages)
            if self.space and self.random.random() < 0.6:
                page = self.random.choice(list(self.space))
                at = page + self.random.choice([1, -pages])
                if not self.base <= at < self.base + MOST_PAGES - pages:
                    continue
            if not any(page in self.space for page in range(at, at + pages)):
                return at
        return None

    def area(self, pages: range) -> Area:
        return Area(pages.start * PAGE, len(pages) * PAGE, PAGE)

    def log(self, name: str, *arguments: object) -> None:
        self.calls.append(f"{name}({', '.join(map(str, arguments))})")

    # ---- calls ----

    def mmap(self) -> bool:
        pages = self.random.randint(1, 24)
        at = self.free(pages)
        if at is None:
            return False
        sort = self.random.choice(["private"] * 4 + ["shared", "file"])
        prot = self.random.choice(["rw", "rw", "rw", "r", ""])
        offset = self.random.randrange(FILE_PAGES - pages) if sort == "file" else 0
        self.log("mmap", sort, shown(range(at, at + pages)), prot, offset)
        self.specimen.mmap(
            pages=pages, prot=prot, address=at * PAGE, shared=sort == "shared",
            file=self.file if sort == "file" else None, offset=offset * PAGE,
        )  # fmt: skip
        perms, behind = PROTS[prot], 0
        if sort == "shared":
            self.behinds += 1
            perms, behind = perms[:3] + "s", self.behinds
        elif sort == "file":
            behind = 1
        for page in range(pages):
            self.space[at + page] = Page(perms, behind, offset + page if behind else 0)
        return True

    def in_window(self) -> list[int]:
        return [page for page in self.space if page not in self.heap()]

    def munmap(self) -> bool:
        pages = self.part(self.in_window())
        if pages is None:
            return False
        if self.random.random() < 0.2:
            # Over holes, too; not over what is not ours.
            end = min(pages.stop + 8, self.base + MOST_PAGES)
            pages = range(pages.start, max(end, pages.stop))
        self.log("munmap", shown(pages))
        self.specimen.munmap(self.area(pages))
        for page in pages:
            self.space.pop(page, None)
        return True

    def mprotect(self) -> bool:
        pages = self.part(self.in_window())
        if pages is None:
            return False
        prot = self.random.choice(list(PROTS))
        self.log("mprotect", shown(pages), prot)
        self.specimen.mprotect(self.area(pages), prot)
        for page in pages:
            was = self.space[page]
            self.space[page] = replace(was, perms=PROTS[prot][:3] + was.perms[3])
        return True

    def touch(self) -> bool:
        pages = self.part(page for page, it in self.space.items() if it.perms.startswith("rw"))
        if pages is None:
            return False
        self.log("touch", shown(pages))
        step = self.specimen.touch(self.area(pages))
        require(step.fault is None, f"a fault at {pages}")
        for page in pages:
            it = self.space[page]
            shared = 0 if it.behind < 2 else it.shared
            self.space[page] = replace(it, resident=True, shared=shared, lazy=False)
        return True

    def drop(self) -> bool:
        pages = self.part(self.space)
        if pages is None:
            return False
        self.log("madvise", shown(pages), "dontneed")
        self.specimen.madvise(self.area(pages), "dontneed")
        for page in pages:
            self.space[page] = replace(self.space[page], resident=False, shared=0, lazy=False)
        return True

    def fork(self) -> bool:
        if self.child is not None:
            return False
        self.log("fork")
        step = self.specimen.fork()
        assert step.child is not None
        self.child = self.children.enter_context(step.child)
        self.childs = {}
        for page, it in self.space.items():
            # Pages of shared mappings are the same in both, and no page of either.
            if it.resident and it.behind < 2:
                self.space[page] = replace(it, shared=page)
                if it.perms.startswith("rw"):
                    self.childs[page] = page
        return True

    def end(self) -> bool:
        if self.child is None:
            return False
        self.log("end")
        self.child.close()
        self.child = None
        self.childs = {}
        for page, it in self.space.items():
            self.space[page] = replace(it, shared=0)
        return True

    def child_touch(self) -> bool:
        pages = self.part(self.childs)
        if self.child is None or pages is None:
            return False
        self.log("child_touch", shown(pages))
        step = self.child.touch(self.area(pages))
        require(step.fault is None, f"a fault of the child at {pages}")
        written = set(pages)
        for page in pages:
            self.childs.pop(page)
        for page, it in self.space.items():
            if it.shared in written:
                self.space[page] = replace(it, shared=0)
        return True

    def free_lazily(self) -> bool:
        pages = self.part(page for page, it in self.space.items() if not it.behind)
        if pages is None:
            return False
        self.log("free", shown(pages))
        self.specimen.madvise(self.area(pages), "free")
        for page in pages:
            it = self.space[page]
            self.space[page] = replace(it, lazy=it.resident or it.lazy)
        return True

    def truncate(self) -> bool:
        """The file loses its end, and has one of zeros again."""
        size = self.random.randrange(FILE_PAGES)
        self.log("truncate", size)
        os.truncate(self.file, size * PAGE)
        os.truncate(self.file, FILE_PAGES * PAGE)
        for page, it in self.space.items():
            if it.behind == 1 and it.offset >= size:
                self.space[page] = replace(it, resident=False, shared=0)
        return True

    def mremap(self) -> bool:
        pages = self.part(self.in_window())
        if pages is None:
            return False
        first = self.space[pages.start]
        alike = [
            page
            for page in pages
            if self.space[page].behind == first.behind
            and self.space[page].perms == first.perms
            and (not first.behind or self.space[page].offset - page == first.offset - pages.start)
        ]
        pages = self.runs(alike)[0]
        size = len(pages)
        keep = self.random.random() < 0.15
        if not keep and self.random.random() < 0.6:
            most = size if first.behind else size + 16
            size = self.random.randint(1, most)
        to = None
        if keep or self.random.random() < 0.6:
            to = self.free(size)
            if self.random.random() < 0.1 and not keep:
                # Over what is there.
                to = self.base + self.random.randrange(MOST_PAGES - size)
            if to is None or (to < pages.stop and pages.start < to + size):
                return False
        flags = ["dontunmap"] if keep else []
        self.log("mremap", shown(pages), size, to and hex(to), *flags)
        step = self.specimen.mremap(
            self.area(pages), pages=size, to=to and to * PAGE, keep=keep, move=True
        )
        at = step.result // PAGE
        was = [self.space.pop(page) for page in pages]
        for page in range(at, at + size):
            self.space.pop(page, None)
        for place in range(size):
            fresh = replace(first, offset=first.offset + place if first.behind else 0)
            moved = was[place] if place < len(was) else replace(plain(fresh), resident=False)
            self.space[at + place] = moved
        if keep:
            for page, it in zip(pages, was, strict=True):
                self.space[page] = replace(plain(it), resident=False)
        return True

    def heap(self) -> range:
        start, end = self.specimen._stepper.heap()
        return range(-(-start // PAGE), -(-end // PAGE))

    def brk(self) -> bool:
        heap = self.heap()
        pages = self.random.randint(-len(heap), 20)
        if not pages:
            return False
        self.log("brk", pages)
        self.specimen.sbrk(pages * PAGE)
        now = self.heap()
        require(len(now) == len(heap) + pages, f"a heap of {now}")
        for page in heap[pages:] if pages < 0 else ():
            del self.space[page]
        for page in range(heap.stop, now.stop):
            self.space[page] = Page("rw-p")
        return True

    # ---- one call ----

    def agrees_with_call(self, found: Diff, was: Space, call: str) -> None:
        """What must hold for a single call."""
        changes = inside(found, was, self.space)
        kinds = {kind for change in changes for kind in change.kinds}
        allowed = {
            "mmap": {K.MAPPED, K.GROWN, K.MERGED},
            "munmap": {K.UNMAPPED, K.SHRUNK, K.SPLIT, K.DROPPED},
            "mprotect": {K.PROTECTED, K.SPLIT, K.MERGED},
            "touch": {K.TOUCHED, K.COPIED, K.SHARING},
            "madvise": {K.DROPPED},
            "fork": {K.SHARING},
            "end": {K.SHARING},
            "child_touch": {K.SHARING},
            "free": set(),
            "truncate": {K.DROPPED},
            "brk": {K.MAPPED, K.GROWN, K.MERGED, K.SHRUNK, K.UNMAPPED, K.DROPPED},
        }.get(call)
        # Marked pages wait in lists of the CPUs: they may count at a later call (mm/swap.c).
        lazily = any(it.lazy for space in (was, self.space) for it in space.values())
        freed = {K.LAZILY_FREED} if lazily else set()
        require(allowed is None or kinds - freed <= allowed, f"{call} is reported as {kinds}")
        causes = {change.cause for change in changes} - (LAZILY if lazily else set())
        require(causes <= CAUSES[call], f"{call} is explained by {causes}")
        if call == "touch":
            new = sum(it.resident and not was[page].resident for page, it in self.space.items())
            faults = sum((change.minor or 0) + (change.major or 0) for change in changes)
            new += sum(change.copied or 0 for change in changes) // PAGE
            # Which file's pages were read is not known, if there are several.
            most = faults + found.remainder.major
            require(faults <= new <= most, f"{faults} faults reported, {new} pages touched first")
        if call in SHARING:
            self.agrees_on_sharing(found, was, call)
        if call == "free":
            lazy = sum(it.lazy for it in self.space.values())
            freed_lazily = sum(change.lazy_free or 0 for change in changes) // PAGE
            require(0 <= freed_lazily <= lazy, f"{freed_lazily} pages lazily freed, of {lazy}")
        # A whole region at another address was moved, whether touched or not.
        went, came = (
            [r for c in found.changes for r in side(c)] for side in (ranges_lost, ranges_gained)
        )
        whole = [change for change in changes if not (change.before and change.after)]
        if call == "mremap" and len(went) == len(came) == 1 and len(whole) == 2:
            sizes = [end - start for start, end in (*went, *came)]
            require(sizes[0] != sizes[1], "a moved region is reported as unmapped and mapped")

    def agrees_on_sharing(self, found: Diff, was: Space, call: str) -> None:
        """What became shared, or the process's own, and why."""

        def change_of(page: int) -> int:
            one, other = was[page], self.space[page]
            if not (one.resident and other.resident):
                return 0
            return bool(one.shared) - bool(other.shared)

        changes = inside(found, was, self.space)
        for change in changes:
            if change.region.inode:
                continue
            pages = pages_of((region.start, region.end) for region in change.after)
            became = sum(map(change_of, pages)) * PAGE
            require(
                change.unshared == became, f"{change}: unshared {change.unshared}, not {became}"
            )
            copied = became if call == "touch" else 0
            require(change.copied in (copied, None), f"{change}: copied {change.copied}")
        total = sum(change.unshared or 0 for change in changes) // PAGE
        # The first write to a page that the child has left takes a fault, too, and copies nothing.
        if call == "touch" and total >= CERTAIN and (found.minor or 0) <= total:
            known = sum(change.copied or 0 for change in changes)
            require(known > 0, f"{total} pages were copied, which the diff does not report")


C = Cause
LAZILY = {C.LAZILY_FREED, C.WRITTEN_AGAIN, C.RECLAIMED}
CERTAIN = 16
"""Pages from which on it must be known that they were copied."""

SHARING = {"fork", "end", "child_touch", "touch"}
COME = {C.MEMORY_MAPPED, C.ADDRESSES_RESERVED, C.FILE_MAPPED, C.SHARED_MEMORY_ATTACHED}
GONE = {C.MEMORY_UNMAPPED, C.FILE_UNMAPPED, C.SHARED_MEMORY_DETACHED}
CAUSES = {
    "mmap": COME,
    "munmap": GONE,
    "mprotect": {C.PROTECTION_CHANGED},
    "touch": {C.FIRST_TOUCH, C.COPY_ON_WRITE, C.SHARING_CHANGED, C.WRITTEN_AGAIN},
    "madvise": {C.GIVEN_BACK, C.FILE_PAGES_DROPPED, C.RECLAIMED},
    "fork": {C.SHARING_BEGAN},
    "end": {C.SHARING_ENDED, C.SHARING_CHANGED},
    "child_touch": {C.SHARING_CHANGED, C.SHARING_ENDED},
    "free": {C.LAZILY_FREED},
    "truncate": {C.FILE_PAGES_DROPPED},
    # Over other memory it gives the same addresses other permissions.
    "mremap": {
        C.REMAPPED,
        C.FIRST_TOUCH,
        C.GIVEN_BACK,
        C.FILE_PAGES_DROPPED,
        C.PROTECTION_CHANGED,
        *COME,
        *GONE,
    },
    "brk": {C.HEAP_STARTED, C.HEAP_GREW, C.HEAP_SHRANK},
}
"""How each call may be explained."""


def ranges_lost(change: Change) -> tuple[tuple[int, int], ...]:
    return change.lost


def ranges_gained(change: Change) -> tuple[tuple[int, int], ...]:
    return change.gained


def require(held: bool, otherwise: str) -> None:
    if not held:
        raise Mismatch(otherwise)


def shown(pages: range) -> str:
    return f"{pages.start:x}+{len(pages)}"


def pages_of(ranges: Iterable[tuple[int, int]]) -> list[int]:
    return [page for start, end in ranges for page in range(start // PAGE, end // PAGE)]


def inside(found: Diff, *spaces: Space) -> list[Change]:
    """The changes of memory that the calls are made on.

    After fork(2) the process's own stack is shared as well, and copied when it is written.
    """
    changes = []
    for change in found.changes:
        regions = (*change.before, *change.after)
        pages = pages_of((region.start, region.end) for region in regions)
        if any(page in space for space in spaces for page in pages):
            changes.append(change)
        else:
            others = set(change.kinds) <= {K.SHARING, K.COPIED}
            require(others and not (change.vsz or change.rss), f"{change}: memory of others")
    return changes


def agrees(found: Diff, was: Space, now: Space) -> None:
    """Whether a diff is the difference of both spaces, page by page.

    Raises:
        Mismatch
    """
    changes = inside(found, was, now)
    stayed = {page for page in was.keys() & now.keys() if same_memory(was[page], now[page])}
    changed = {page for page in stayed if plain(was[page]) != plain(now[page])}
    gained = sorted(page for change in changes for page in pages_of(change.gained))
    lost = sorted(page for change in changes for page in pages_of(change.lost))
    require(gained == sorted(now.keys() - stayed), f"pages that came: {gained}")
    require(lost == sorted(was.keys() - stayed), f"pages that went: {lost}")
    require(found.vsz == (len(now) - len(was)) * PAGE, f"VSZ {found.vsz}")
    require(found.rss == resident(now, now) - resident(was, was), f"RSS {found.rss}")
    require((found.remainder.vsz, found.remainder.rss) == (0, 0), f"{found.remainder}")
    seen: set[int] = set()
    for one, other in pairwise(found.changes):
        require(one.start <= other.start, "changes out of their order")
    for change in changes:
        before, after = (
            set(pages_of((region.start, region.end) for region in regions))
            for regions in (change.before, change.after)
        )
        require(before <= was.keys() and after <= now.keys(), f"{change}: memory of others")
        require(change.vsz == (len(after) - len(before)) * PAGE, f"{change}: VSZ {change.vsz}")
        rss = resident(now, after) - resident(was, before)
        require(change.rss == rss, f"{change}: RSS {change.rss}, not {rss}")
        require(set(change.kinds) == kinds_of(change, before, after, was, now, rss), f"{change}")
        require(bool(change.why and change.evidence and change.cause), f"{change}: no cause")
        seen |= before & after
    require(changed <= seen, f"pages that changed: {sorted(changed - seen)}")


def resident(space: Space, pages: Iterable[int]) -> int:
    return sum(space[page].resident for page in pages) * PAGE


def kinds_of(
    change: Change, before: set[int], after: set[int], was: Space, now: Space, rss: int
) -> set[ChangeKind]:
    """The kinds of a change, from the pages that it covers."""
    kinds = set()
    both = before & after
    if before and after and not both:
        kinds.add(K.MOVED)
        pairs = zip(sorted(before), sorted(after), strict=True)
        require(
            all(
                replace(plain(was[a]), resident=False) == replace(plain(now[b]), resident=False)
                for a, b in pairs
            ),
            f"{change}: moved, and not the same",
        )
    else:
        if not before:
            kinds.add(K.MAPPED)
        elif after - before:
            kinds.add(K.GROWN)
        if not after:
            kinds.add(K.UNMAPPED)
        elif before - after:
            kinds.add(K.SHRUNK)
        if before and after and len(change.before) != len(change.after):
            kinds.add(K.SPLIT if len(change.after) > len(change.before) else K.MERGED)
    if any(was[page].perms != now[page].perms for page in both):
        kinds.add(K.PROTECTED)
    if rss:
        kinds.add(K.TOUCHED if rss > 0 else K.DROPPED)
    if change.copied or change.unshared:
        kinds |= {*change.kinds} & {K.COPIED, K.SHARING}
    if before and after and change.lazy_free:
        require(
            any(space[page].lazy for space in (was, now) for page in space),
            f"{change}: nothing was freed lazily",
        )
        kinds.add(K.LAZILY_FREED)
    return kinds


MIRROR = {
    K.MAPPED: K.UNMAPPED, K.GROWN: K.SHRUNK, K.SPLIT: K.MERGED, K.TOUCHED: K.DROPPED,
}  # fmt: skip
MIRROR |= {other: one for one, other in MIRROR.items()}


def mirrored(one: Diff, other: Diff) -> None:
    """Whether two diffs are mirror images.

    Raises:
        Mismatch
    """
    mirror = {(c.after, c.before): c for c in other.changes}
    require(len(mirror) == len(one.changes), "the mirror has another number of changes")
    for change in one.changes:
        image = mirror.get((change.before, change.after))
        require(
            image is not None
            and {MIRROR.get(kind, kind) for kind in change.kinds} == set(image.kinds)
            and (change.vsz, change.rss) == (-image.vsz, -(image.rss or 0))
            and (change.minor, change.major) == (-(image.minor or 0), -(image.major or 0))
            and (change.gained, change.lost) == (image.lost, image.gained),
            f"{change} is mirrored as {image}",
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sequences",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this sequence alone")
    arguments = parser.parse_args()
    numbers = range(arguments.sequences) if arguments.only is None else [arguments.only]
    begun = time.monotonic()
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        all_of_them = Sequences(arguments.seed, directory)
        for number in numbers:
            try:
                all_of_them.run(number)
            except Mismatch as wrong:
                failed += 1
                print(wrong)
                if failed == 10:
                    break
    calls = ", ".join(f"{count:,} {name}" for name, count in all_of_them.done.most_common())
    kinds = ", ".join(f"{count:,} {name}" for name, count in all_of_them.kinds.most_common())
    print(f"{len(numbers) - failed:,} of {len(numbers):,} sequences agree (seed {arguments.seed})")
    print(f"  calls: {calls}")
    print(f"  changes: {kinds}")
    print(f"  {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
