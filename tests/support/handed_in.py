"""Hand-ins that tests make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from procmem.grade.submissions.placing import Asked, Placed, place

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BOTH", "GOOD", "HOLLOW", "LAB", "MAKEFILE", "placed", "there", "tree"]

GOOD = "int main(void) { return 0; }\n"
HOLLOW = "int main(void) { return 1; }\n"
MAKEFILE = "page: page.c\n"


def tree(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def there(directory: str | Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text(errors="replace")
        for path in sorted(Path(directory).rglob("*"))
        if path.is_file()
    }


LAB = Asked(("page.c", "Makefile"), ("./page",), ("make",))


def placed(tmp_path: Path, files: Mapping[str, str | bytes], asked: Asked = LAB
           ) -> tuple[dict[str, str], Placed]:  # fmt: skip
    source, target = tree(tmp_path / "source", files), tmp_path / "target"
    target.mkdir()
    done = place(str(source), str(target), asked)
    return there(target), done


BOTH = {"page.c": GOOD, "Makefile": MAKEFILE}
