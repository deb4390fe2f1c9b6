"""Whether predictions equal measurements, over random steps of a Specimen.

python -m benchmarks.agreement --steps 100000
python -m benchmarks.agreement --steps 20000 --libc
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from contextlib import suppress

from procmem.errors import SyscallError
from procmem.experiments.specimen.specimen import Area, Specimen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem.experiments.specimen.step import Step

PROTS = ["rw", "rw", "rw", "r", "", "rx"]
ADVICE = (
    "normal random sequential willneed dontneed dontneed free dontfork dofork nohugepage dontdump "
    "dodump cold populate_read populate_write guard_install guard_remove wipeonfork keeponfork"
).split()
ORDERS = ["forward", "backward", "random"]
LIVING = 12
"""Mappings that a walk keeps at most."""


class Walk:
    """Random operations on one specimen and its children; yields each step."""

    def __init__(self, seed: int, *, files: list[str] | None = None) -> None:
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.renew()
        self.files = files or []
        self.operations: dict[Callable[[Specimen, list[Area]], Step | None], int] = {
            self.mmap: 6, self.touch: 16, self.munmap: 3, self.mprotect: 4, self.madvise: 5,
            self.mremap: 3, self.lock: 2, self.brk: 3, self.stray: 1, self.fork: 1, self.end: 1,
            self.refill: 1,
        }  # fmt: skip

    def renew(self) -> None:
        self.root = Specimen()
        self.areas: list[Area] = []
        self.children: list[tuple[Specimen, list[Area]]] = []

    def close(self) -> None:
        for child, _ in self.children:
            child.close()
        self.root.close()

    def __iter__(self) -> Iterator[Step]:
        names = list(self.operations)
        weights = list(self.operations.values())
        while True:
            operation = self.random.choices(names, weights)[0]
            actor, areas = self.root, self.areas
            if self.children and self.random.random() < 0.4:
                actor, areas = self.random.choice(self.children)
            # EINVAL and the like: what the kernel refuses changes nothing.
            with suppress(SyscallError):
                step = operation(actor, areas)
                if step is not None:
                    yield step

    def pick(self, areas: list[Area]) -> tuple[Area, int, int] | None:
        """Some pages of some area."""
        if not areas:
            return None
        area = self.random.choice(areas)
        start = self.random.randrange(area.pages)
        pages = self.random.randint(1, area.pages - start)
        if self.random.random() < 0.3:
            start, pages = 0, area.pages
        return area, start, pages

    def length(self) -> int:
        return self.random.choice([1, 2, 3, 15, 16, 17, 40, 100, 511, 512, 513, 1000, 1030, 3000])

    def mmap(self, actor: Specimen, areas: list[Area]) -> Step:
        chance = self.random.random
        if len(areas) >= LIVING:
            return actor.munmap(areas.pop(self.random.randrange(len(areas))))
        address = None
        place = self.random.choice(["near", "near", "near", "slot", "kernel"])
        if areas and chance() < 0.3:
            # Beside another one: they may be joined.
            neighbour = self.random.choice(areas)
            address = neighbour.end
        options: dict[str, object] = {}
        if self.files and chance() < 0.25:
            options["file"] = self.random.choice(self.files)
            options["offset"] = self.random.randrange(4) * 4096
        step = actor.mmap(
            pages=self.length(), prot=self.random.choice(PROTS), shared=chance() < 0.25,
            populate=chance() < 0.15, locked=chance() < 0.05, noreserve=chance() < 0.1,
            address=address, place=place, **options,  # type: ignore[arg-type]
        )  # fmt: skip
        assert step.mapping is not None
        areas.append(step.mapping)
        return step

    def touch(self, actor: Specimen, areas: list[Area]) -> Step | None:
        chosen = self.pick(areas)
        if chosen is None:
            return None
        area, start, pages = chosen
        if self.random.random() < 0.5:
            pages = min(pages, self.random.randint(1, 20))
        stride = self.random.choice([None, None, None, 4096 * 3, 1000])
        if stride:
            pages = max(1, min(pages, pages * 4096 // stride))
        return actor.touch(
            area, start=start, pages=pages, write=self.random.random() < 0.6, stride=stride,
            order=self.random.choice(ORDERS), seed=self.random.randrange(1000),
        )  # fmt: skip

    def munmap(self, actor: Specimen, areas: list[Area]) -> Step | None:
        chosen = self.pick(areas)
        return chosen and actor.munmap(chosen[0], start=chosen[1], pages=chosen[2])

    def mprotect(self, actor: Specimen, areas: list[Area]) -> Step | None:
        chosen = self.pick(areas)
        if chosen is None:
            return None
        area, start, pages = chosen
        return actor.mprotect(area, self.random.choice(PROTS), start=start, pages=pages)

    def madvise(self, actor: Specimen, areas: list[Area]) -> Step | None:
        chosen = self.pick(areas)
        if chosen is None:
            return None
        area, start, pages = chosen
        return actor.madvise(area, self.random.choice(ADVICE), start=start, pages=pages)

    def mremap(self, actor: Specimen, areas: list[Area]) -> Step | None:
        chosen = self.pick(areas)
        if chosen is None:
            return None
        area, start, pages = chosen
        piece = Area(area.start + start * 4096, pages * 4096, 4096)
        to = None
        if self.random.random() < 0.5:
            to = actor._stepper.place(piece.length * 2, self.random.choice(["near", "slot"]))
            to += self.random.choice([0, 0, 4096 * 5, piece.start % (1 << 21)])
        step = actor.mremap(piece, pages=self.random.choice([pages, pages, self.length()]), to=to)
        assert step.mapping is not None
        areas.append(step.mapping)
        if len(areas) > LIVING:
            areas.pop(0)
        return step

    def lock(self, actor: Specimen, areas: list[Area]) -> Step | None:
        chosen = self.pick(areas)
        if chosen is None:
            return None
        area, start, pages = chosen
        how = self.random.randrange(3)
        if how == 0:
            return actor.munlock(area, start=start, pages=pages)
        return actor.mlock(area, start=start, pages=pages, on_fault=how == 2)

    def brk(self, actor: Specimen, _: list[Area]) -> Step | None:
        start, end = actor._stepper.heap()
        wanted = self.random.choice([1, 100, 4096, 10000, 132 * 1024, -1, -4096, -70000])
        if self.random.random() < 0.5 and end > start + 8192:
            return actor.touch(start & -4096, pages=(end - start) // 4096 - 1)
        return actor.sbrk(max(wanted, start - end))

    def stray(self, actor: Specimen, _: list[Area]) -> Step:
        return actor.touch(self.random.choice([0, 4096, 1 << 62, 1 << 46, (1 << 64) - (1 << 40)]))

    def fork(self, actor: Specimen, areas: list[Area]) -> Step | None:
        if actor is not self.root or len(self.children) >= 2:
            return None
        step = actor.fork()
        assert step.child is not None
        self.children.append((step.child, list(areas)))
        return step

    def end(self, *_given: object) -> None:
        if self.children:
            child, _ = self.children.pop(self.random.randrange(len(self.children)))
            child.close()

    def refill(self, *_given: object) -> None:
        """Starts anew at times, so that one wrong prediction does not spoil the rest."""
        if self.random.random() < 0.05:
            self.close()
            self.renew()


class LibcWalk:
    """Random calls of malloc and threads on one specimen with libc."""

    SIZES = (
        0, 8, 24, 25, 40, 100, 120, 121, 200, 500, 1000, 1008, 1032, 1033, 2000, 4000, 4096, 8000,
        16384, 30000, 65536, 70000, 100_000, 131_048, 131_049, 140_000, 200_000, 262_144, 500_000,
        1_000_000, 3_000_000, 33_000_000,
    )  # fmt: skip

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.renew()

    def renew(self) -> None:
        self.root = Specimen(libc=True)
        self.sizes: dict[int, int] = {}
        self.threads: list[int] = []
        self.most = self.random.choice([0, 0, 2, 5, 12])
        self.living = self.random.choice([10, 40, 150])
        # Long runs of one kind reach what a mixture doesn't: full caches, emptied heaps.
        self.small = self.random.random()

    def close(self) -> None:
        self.root.close()

    def __iter__(self) -> Iterator[Step]:
        steps = 0
        while True:
            steps += 1
            if steps % 400 == 0:
                self.close()
                self.renew()
            # ENOMEM.
            with suppress(SyscallError):
                if (step := self.one()) is not None:
                    yield step

    def size(self) -> int:
        pick = self.random
        if pick.random() < 0.01:
            return 1 << 45
        if pick.random() < self.small:
            return pick.choice(self.SIZES[:14])
        return pick.choice(self.SIZES) if pick.random() < 0.6 else int(2 ** pick.uniform(3, 21))

    def one(self) -> Step | None:
        pick, root = self.random, self.root
        actor = pick.choice([None, *self.threads])
        what = pick.choices(
            ["malloc", "free", "calloc", "realloc", "trim", "thread", "join", "touch", "drop"],
            [30, 26 if len(self.sizes) < self.living else 60, 6, 6, 1, 1.5, 1, 6, 0.3],
        )[0]
        if what in ("malloc", "calloc"):
            size = self.size()
            step = (
                root.malloc(size, thread=actor)
                if what == "malloc"
                else root.calloc(1, size, thread=actor)
            )
            self.sizes[step.result] = size
            return step
        if what == "trim":
            return root.trim(pick.choice([0, 0, 100, 200_000]))
        if what == "thread":
            if len(self.threads) >= self.most:
                return None
            step = root.thread(pick.choice([None, None, None, 16384, 65536, 1 << 20, 20 << 20]))
            self.threads.append(step.result)
            return step
        if what == "join":
            if not self.threads:
                return None
            return root.join(self.threads.pop(pick.randrange(len(self.threads))))
        if not self.sizes:
            return None
        if what == "drop":
            for address in list(self.sizes)[1:]:
                del self.sizes[address]
                root.free(address)
        address = pick.choice(list(self.sizes))
        if what == "free" or what == "drop":
            del self.sizes[address]
            return root.free(address, thread=actor)
        if what == "realloc":
            size = max(1, self.size())
            step = root.realloc(address, size, thread=actor)
            del self.sizes[address]
            self.sizes[step.result] = size
            return step
        pages = max(1, self.sizes[address] // 4096)
        return root.touch(address, pages=pages, write=pick.random() < 0.7)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--file", action="append", help="map these files, too")
    parser.add_argument("--keep-going", action="store_true", help="show more than 10 differences")
    parser.add_argument("--libc", action="store_true", help="malloc and threads instead")
    arguments = parser.parse_args()
    walk = (
        LibcWalk(arguments.seed) if arguments.libc else Walk(arguments.seed, files=arguments.file)
    )
    done: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    begun = time.monotonic()
    for number, step in enumerate(walk):
        name = step.operation
        done[name] += 1
        if (step.exact and not step.agrees) or (arguments.libc and not step.exact):
            wrong[name] += 1
            if sum(wrong.values()) <= 10 or arguments.keep_going:
                print(f"step {number}: {step}", step.reason or "")
                for figure in step.differences:
                    if figure == "fault":
                        print(f"  fault: {step.fault!r}, predicted {step.predicted_fault}")
                    elif figure == "address":
                        print(
                            f"  address: {step.address:#x}, predicted {step.predicted_address:#x}"
                        )
                    else:
                        print(
                            f"  {figure}: {getattr(step.delta, figure)},"
                            f" predicted {getattr(step.predicted, figure)}"
                        )
            # The model is wrong from here on.
            walk.close()
            walk.renew()
        if number + 1 >= arguments.steps:
            break
    walk.close()
    total = sum(done.values())
    agreed = total - sum(wrong.values())
    print(f"{agreed:,} of {total:,} steps agree, {time.monotonic() - begun:.0f} s")
    for name, count in done.most_common():
        print(f"  {name:10} {count - wrong[name]:>7,} of {count:>7,}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
