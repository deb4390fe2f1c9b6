"""The totals of a process compared with each other, as a table."""

from __future__ import annotations

from procmem.units import in_unit, signed_in_unit, unit_name
from procmem.view.colours import by_word
from procmem.view.columns import Column, fitted, pairs, prose
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.process.reconcile import Reconciliation

__all__ = ["reconciliation_table"]


def reconciliation_table(
    result: Reconciliation,
    *,
    width: int | None = None,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
) -> str:
    """A table with each pair of totals, the difference and its cause.

    Args:
        result: the reconciliation.
        width: cells per line; None: as many as needed.
        unit: of sizes, one of units.UNITS.
        chosen: keys of the columns to show, in their order; None: all.

    Raises:
        BadArgument: there is no such column.
    """
    size, signed = in_unit(unit), signed_in_unit(unit)

    def difference(value: int | None) -> str:
        return signed(value) if value else "="

    rows = [
        [
            one.left,
            size(one.left_value),
            one.right,
            size(one.right_value),
            difference(one.difference),
            one.why,
        ]
        for one in result.comparisons
    ]
    name = unit_name(unit) or "Size"
    # Where the reasons have no room beside the figures they stand below.
    narrow = width is not None and width < BESIDE and chosen is None
    below = narrow and any(row[-1] for row in rows)
    made = [
        Column("total", "Total", floor=20),
        Column("left", name, ">", 2),
        Column("against", "against", floor=20),
        Column("right", name, ">", 1),
        Column("difference", "Difference", ">", paint=by_word({"=": "good"})),
        *([] if below else [Column("why", "Why", floor=24, wrapped=True)]),
    ]
    text = fitted(made, [row[: len(made)] for row in rows], width=width, chosen=chosen)
    if below:
        text += "\n" + "".join(
            prose(f"{row[0]} against {row[2]}: {row[-1]}", width, "  ") for row in rows if row[-1]
        )
    if result.unavailable:
        text += "\nNot read:\n" + pairs(
            ((f"  {name}", printable(reason)) for name, reason in result.unavailable.items()),
            width,
        )
    equal = sum(not one.difference for one in result.comparisons)
    explained = sum(bool(one.difference) and one.explained for one in result.comparisons)
    text += "\n" + prose(
        f"{len(result.comparisons)} comparisons: {equal} equal, {explained} "
        f"differ{'s' if explained == 1 else ''} for a known cause, {len(result.unexplained)} "
        "unexplained.",
        width,
    )
    if result.moved:
        text += prose(
            "The memory of the process changed during every attempt, which may be the cause of "
            "differences.",
            width,
        )
    return text


BESIDE = 112
"""The least width with which reasons are shown beside the figures."""
