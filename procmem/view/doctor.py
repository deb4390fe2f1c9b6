"""What this machine supports, as a table."""

from __future__ import annotations

from textwrap import fill

from procmem.view.colours import by_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.process.doctor import Feature

__all__ = ["doctor_table"]

verdict = by_word({"yes": "good", "no": "warning"})


def doctor_table(features: Sequence[Feature], width: int = 80) -> str:
    """A line per feature, and below each missing one what it costs."""
    name_width = max(len(feature.name) for feature in features)
    indent = " " * (name_width + 7)
    lines = []
    for feature in features:
        serves = feature.serves + (
            f" ({feature.detail})" if feature.found and feature.detail else ""
        )
        here = "yes" if feature.found else "no"
        first = f"{feature.name:<{name_width}}  {here:<3}  "
        text = fill(serves, width, initial_indent=first, subsequent_indent=indent)
        # The colours' own characters have no width, so they come last.
        start = name_width + 2
        lines.append(text[:start] + verdict(here, here) + text[start + len(here) :])
        if not feature.found:
            why = f" ({feature.detail})" if feature.detail else ""
            lines.append(
                fill(
                    f"without it: {feature.cost}{why}",
                    width,
                    initial_indent=indent,
                    subsequent_indent=indent + "  ",
                )
            )
    return "\n".join(lines) + "\n"
