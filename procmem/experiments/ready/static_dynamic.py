"""A static and a dynamic program that do nothing: how much memory libraries take."""

from __future__ import annotations

import os

from procmem.elf.sizing import size
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.launch import PROGRAMS
from procmem.experiments.specimen.specimen import Specimen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.elf.sizing import ObjectSize
    from procmem.process import Process

__all__ = ["static_dynamic"]


@experiment(
    "static-dynamic",
    "Static and dynamic",
    "Two programs do the same; one is static, one is linked with libc. What is the difference?",
)
def static_dynamic(tell: Teller) -> None:
    """Compares two specimens: a static one without libc, and one linked with the system's libc."""
    with Specimen(kind="program") as static, Specimen(kind="libc") as dynamic:
        found = {"static": static.process, "dynamic": dynamic.process}
        libraries = {name: loaded(process) for name, process in found.items()}
        tell.claim(
            "static: libraries and loaders mapped", 0, len(libraries["static"]),
            "The kernel maps the program and starts it.",
        )  # fmt: skip
        loaders = [name for name, owner in libraries["dynamic"] if owner == "loader"]
        tell.claim(
            "dynamic: loaders mapped", 1, len(loaders),
            f"The kernel maps the program and its loader ({', '.join(loaders)}), which maps the"
            " libraries.",
        )  # fmt: skip
        others = [name for name, owner in libraries["dynamic"] if owner == "library"]
        tell.claim(
            "dynamic: libraries mapped", "1 or more", len(others), f"{', '.join(others)}.",
            holds=bool(others),
        )  # fmt: skip
        usage = {name: process.memory() for name, process in found.items()}
        sizes = {name: file_size(name) for name in found}
        tables = {name: process.smaps() for name, process in found.items()}
        tell.claim(
            "the dynamic one's VSZ is larger", "yes",
            "yes" if (usage["dynamic"].vsz or 0) > (usage["static"].vsz or 0) else "no",
            "Its file is not larger: size(1) counts the file, not the libraries that are mapped.",
        )  # fmt: skip
        for name, table in tables.items():
            # [vsyscall] lies outside of every process's VSZ.
            inside = sum(r.size for r in table if r.name != "vsyscall")
            tell.bytes(f"{name}: its regions add up to VSZ", usage[name].vsz, inside)
        rows: list[tuple[str | int | None, ...]] = [
            ("regions", *(len(table) for table in tables.values())),
            ("text (size)", *(one.text for one in sizes.values())),
            ("data (size)", *(one.data for one in sizes.values())),
            ("bss (size)", *(one.bss for one in sizes.values())),
            ("VSZ", *(one.vsz for one in usage.values())),
            ("RSS", *(one.rss for one in usage.values())),
            ("Pss", *(table.total("pss") for table in tables.values())),
            ("page tables", *(one.page_tables for one in usage.values())),
        ]  # fmt: skip
        tell.table(
            "In bytes:", ("", *found), rows,
            "RSS counts all pages of libc that are mapped here; Pss divides them among all"
            " processes that use them.",
        )  # fmt: skip


def loaded(process: Process) -> list[tuple[str, str]]:
    """Name and owner of the libraries and loaders."""
    owners = {
        (os.path.basename(region.pathname), str(region.owner))
        for region in process.maps()
        if region.pathname and region.inode and str(region.owner) in ("library", "loader")
    }
    return sorted(owners)


def file_size(name: str) -> ObjectSize:
    from procmem import native

    program = PROGRAMS["program" if name == "static" else "libc"]
    return size(os.path.join(os.path.dirname(os.path.abspath(native.__file__)), program))
