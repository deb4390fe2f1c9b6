"""Which bytes of a mapping are still mapped, and how they may be accessed."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Piece", "PieceTable"]


class Piece(NamedTuple):
    """A range of a mapping with uniform properties.

    Attributes:
        start, end: offsets in the mapping, in bytes.
        prot: PROT_* flags.
        guarded: whether MADV_GUARD_INSTALL was called on them.
    """

    start: int
    end: int
    prot: int
    guarded: bool = False


class PieceTable:
    """The pieces of a mapping, in order; all other bytes are unmapped.

    >>> layout = PieceTable([Piece(0, 100, 3)]).changed(40, 60, lambda piece: None)
    >>> [(piece.start, piece.end) for piece in layout.pieces]
    [(0, 40), (60, 100)]
    >>> layout.covers(0, 40), layout.covers(30, 50)
    (True, False)
    """

    __slots__ = ("pieces",)

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces

    @property
    def mapped(self) -> int:
        """The number of mapped bytes."""
        return sum(piece.end - piece.start for piece in self.pieces)

    def within(self, start: int, end: int) -> Iterator[Piece]:
        """The pieces in a range, cut off at its ends."""
        for piece in self.pieces:
            low, high = max(start, piece.start), min(end, piece.end)
            if low < high:
                yield piece._replace(start=low, end=high)

    def covers(self, start: int, end: int) -> bool:
        """Whether all of a range is mapped."""
        return sum(piece.end - piece.start for piece in self.within(start, end)) == end - start

    def changed(self, start: int, end: int, change: Callable[[Piece], Piece | None]) -> PieceTable:
        """A new table with the pieces in a range changed; None from `change`: unmapped."""
        size = self.pieces[-1].end if self.pieces else 0
        made = list(self.within(0, start))
        made += [new for piece in self.within(start, end) if (new := change(piece)) is not None]
        made += self.within(end, max(end, size))
        joined: list[Piece] = []
        for piece in made:
            if joined and joined[-1].end == piece.start and joined[-1][2:] == piece[2:]:
                joined[-1] = joined[-1]._replace(end=piece.end)
            else:
                joined.append(piece)
        return PieceTable(joined)

    def spans(self) -> list[tuple[int, int]]:
        """The mapped ranges; adjacent pieces are joined."""
        found: list[tuple[int, int]] = []
        for piece in self.pieces:
            if found and found[-1][1] == piece.start:
                found[-1] = (found[-1][0], piece.end)
            else:
                found.append((piece.start, piece.end))
        return found
