"""The snapshots inside of a report: where they are in the HTML file, and how they are read back."""

from __future__ import annotations

__all__ = ["END", "KEPT", "START", "is_report", "kept_in"]

START = b"<!DOCTYPE html>\n<!-- procmem report 1 -->\n"
"""The first bytes of each report."""

KEPT = b'<script type="application/octet-stream" id="kept">'
"""What precedes the snapshots, which are base64. Text in a report is escaped: there is only one."""

END = b"</script>"


def is_report(start: bytes) -> bool:
    """Whether a file with this start is a report of procmem."""
    return start.startswith(START)


def kept_in(data: bytes) -> bytes:
    """The file of snapshots in a report.

    Args:
        data: the whole report.

    Raises:
        ValueError: it has none, was cut off, or is damaged.
    """
    import base64

    at = data.find(KEPT)
    if at < 0:
        raise ValueError("the report was cut off before its snapshots, or has none")
    at += len(KEPT)
    end = data.find(END, at)
    if end < 0:
        raise ValueError("the report was cut off in its snapshots")
    try:
        return base64.b64decode(data[at:end], validate=True)
    except ValueError as error:
        raise ValueError(f"the snapshots in the report are damaged: {error}") from error
