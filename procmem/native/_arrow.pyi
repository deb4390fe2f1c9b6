from typing import Any, TypeAlias

_Column: TypeAlias = tuple[
    bytes, bytes, bytes | None, bool, int, int, tuple[bytes | None, ...], Any, tuple[Any, ...]
]

def stream(root: _Column) -> object: ...
def schema(root: _Column) -> object: ...
