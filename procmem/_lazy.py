"""Names of a package that are imported when they are first used (PEP 562).

A command pays only for what it needs. A package lists its names three times: as imports under
TYPE_CHECKING, for type checkers and editors; in `__all__`; and here, with their modules. A test
compares the three.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazy"]


def lazy(
    package: str, homes: Mapping[str, str], *, rooms: str = ""
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Makes the functions `__getattr__` and `__dir__` of a package.

    Args:
        package: its `__name__`.
        homes: modules of the package, each with the names that it defines, separated by spaces.
        rooms: subpackages that are attributes of the package, separated by spaces.

    Returns:
        `__getattr__`, which raises AttributeError for other names, and `__dir__`.
    """
    attributes = vars(sys.modules[package])

    def value_of(name: str) -> object:
        from importlib import import_module

        for home, names in homes.items():
            if name in names.split():
                value = getattr(import_module(f"{package}.{home}"), name)
                attributes[name] = value
                return value
        if name in rooms.split():
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def all_names() -> list[str]:
        return sorted({*attributes, *" ".join(homes.values()).split(), *rooms.split()})

    return value_of, all_names
