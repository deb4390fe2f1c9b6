"""What tests of reports share: hostile names, the data of a report, and a browser."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHROMIUM", "HOSTILE", "data_of", "text_of", "values_of"]

CHROMIUM = "/usr/bin/chromium"
"""Debian's browser; playwright's own would be a download."""

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    "a\u2028b\u2029c\u202ed",
    "lone \udcff\udce9 bytes",
    "\"'`&amp;&#60;",
    "\x1b[2J\x00\x7f\r\n\t",
    "__proto__",
    "/" + "n" * 4095,
)
"""Names that files, threads and memory can have, and a report must show as text."""


def data_of(page: bytes) -> dict[str, Any]:
    """The data of a report, which its script draws."""
    found = re.search(rb'id="data">([^<]*)</script>', page)
    assert found
    made: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(found[1])))
    return made


def text_of(page: bytes) -> str:
    """A report without its data and scripts."""
    return re.sub("<script.*?</script>", "", page.decode(), flags=re.DOTALL)


def values_of(steps: Sequence[int | None] | None) -> list[int | None] | None:
    """The values of a series: each is stored as the difference to the known one before it."""
    if steps is None:
        return None
    found: list[int | None] = []
    last = 0
    for step in steps:
        last += step or 0
        found.append(None if step is None else last)
    return found
