"""A failed check in words: what was expected, what was seen, in which phase, and why.

pytest's assertion rewriting gives the values that were compared, and the check's source says what
they mean. The phase is that of the snapshots in the assertion, and the cause comes from the
difference between them. Only plain expressions (names, attributes, subscripts, differences) are
evaluated a second time.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from typing import Any, NamedTuple

from procmem.grade.checks.wording import assigned, in_words
from procmem.regions.region import Region
from procmem.regions.table import RegionTable
from procmem.snapshots import Cause, Diff, Snapshot
from procmem.snapshots.causes import TOP_PAD
from procmem.units import KiB, comparable, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from procmem.snapshots import Explanation

__all__ = ["Compared", "Explained", "explain", "ordinal", "short"]

LONGEST = 200
"""At most so many characters of a value are shown."""


class Compared(NamedTuple):
    """Two values that an assertion compared, `left op right`."""

    op: str
    left: Any
    right: Any

    @property
    def holds(self) -> bool:
        """Whether the comparison is true, so that it can't be the one that failed."""
        try:
            return bool(OPERATORS[self.op](self.left, self.right))
        except Exception:  # noqa: BLE001 - any objects may be compared
            return False


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.is_,
    "is not": operator.is_not,
    "in": lambda one, other: one in other,
    "not in": lambda one, other: one not in other,
}
WORDS = {
    "==": "{}",
    "!=": "anything but {}",
    "<": "less than {}",
    "<=": "at most {}",
    ">": "more than {}",
    ">=": "at least {}",
    "is": "{}",
    "is not": "anything but {}",
    "in": "one of {}",
    "not in": "none of {}",
}


class Explained(NamedTuple):
    """The explanation of a failure; a field is None if it is not known."""

    message: str | None = None
    expected: str | None = None
    seen: str | None = None
    what: str | None = None
    phase: str | None = None
    cause: str | None = None


def explain(
    error: AssertionError,
    comparisons: Sequence[Compared],
    source: str,
    line: int,
    variables: Mapping[str, Any],
    names: Callable[[Snapshot], str | None],
    fixtures: Mapping[str, Any],
) -> Explained:
    """Explains a failed assertion.

    Args:
        error: the exception that it raised.
        comparisons: those that pytest evaluated in it; the last one that is false made it fail.
        source: the text of the file of checks.
        line: the line of the assertion in that file.
        variables: the local variables of the function that contains it.
        names: returns the phase in which a snapshot was taken, or None.
        fixtures: the arguments of the check.
    """
    statement = assertion(source, line)
    failed = next((c for c in reversed(comparisons) if not c.holds), None)
    message = given_message(error, statement)
    if statement is None:
        return Explained(message or first_line(error))
    test = statement.test
    tree = parsed(source)
    compared = the_comparison(test, None if failed is None else failed.op)
    expected = seen = what = None
    sizes = False
    if failed is not None:
        op, left, right = failed
        show = short
        if compared is not None:
            sides = compared
            turned = op in MIRRORED and is_turned(*sides, variables, fixtures)
            units = {unit(side, tree) for side in sides if tree is not None}
            said = "bytes" in (message or "").split()
            sizes = units <= {"bytes", None} and ("bytes" in units or said)
            if "address" in units:
                show = address
            if turned:
                left, right, op = right, left, MIRRORED[op]
            if message is None:
                what = in_words(sides[1] if turned else sides[0], tree)
        failed = Compared(op, left, right)
        if sizes:
            whole = all(not isinstance(one, int) or one % KiB == 0 for one in (left, right))
            show = functools.partial(in_bytes, whole=whole)
        expected, seen = WORDS[op].format(show(right)), show(left)
    elif message is None:
        message = "the statement in the title of this check does not hold"
    looked = list(moments(test, variables, fixtures))
    diff, snapshot = the_moments(looked, variables, fixtures)
    phase = None if snapshot is None else names(snapshot)
    cause = None
    if diff is not None:
        cause = likely(diff, failed, test, sizes)
    return Explained(message, expected, seen, what and short(what), phase, cause)


MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


# ---- the assertion's source -----------------------------------------------------------


@functools.lru_cache(maxsize=8)
def parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def assertion(source: str, line: int) -> ast.Assert | None:
    """The assert statement that covers a line."""
    tree = parsed(source)
    if tree is None:
        return None
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(found, key=lambda node: node.lineno, default=None)


def given_message(error: AssertionError, statement: ast.Assert | None) -> str | None:
    """The message of the assert statement: `assert value, "message"`."""
    if statement is None or statement.msg is None:
        return None
    text = str(error).partition("\nassert ")[0]
    return short(text.strip()) or None


def first_line(error: BaseException) -> str | None:
    return short(str(error).partition("\n")[0]) or None


def the_comparison(test: ast.expr, op: str | None) -> tuple[ast.expr, ast.expr] | None:
    """Both sides of the assertion's comparison with an operator; None: not exactly one has it.

    >>> [ast.unparse(side) for side in the_comparison(ast.parse("1 <= x < 5").body[0].value, "<=")]
    ['1', 'x']
    """
    found = [node for node in ast.walk(test) if isinstance(node, ast.Compare)]
    if len(found) != 1 or found[0] is not test:
        return None
    sides = [found[0].left, *found[0].comparators]
    pairs = [
        (sides[at], sides[at + 1])
        for at, node in enumerate(found[0].ops)
        if op is None or SIGNS.get(type(node)) == op
    ]
    return pairs[0] if len(pairs) == 1 else None


SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


def is_turned(
    left: ast.expr, right: ast.expr, variables: Mapping[str, Any], fixtures: Mapping[str, Any]
) -> bool:
    """Whether the left side is the expected value, and the right one the measured value."""
    if is_constant(left) or is_constant(right):
        return is_constant(left) and not is_constant(right)
    measured = [any(True for _ in moments(side, variables, fixtures)) for side in (left, right)]
    return measured == [False, True]


def is_constant(node: ast.expr) -> bool:
    """Whether it is computed from numbers and constants alone: 4 * KiB."""
    return all(
        not isinstance(part, ast.Name) or part.id.isupper() or part.id in ("KiB", "MiB", "GiB")
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Call | ast.Attribute)
    ) and not any(isinstance(part, ast.Call) for part in ast.walk(node))


BYTES = frozenset(
    "vsz rss pss uss swap size total text data bss heap stack page_tables copied KiB MiB GiB PAGE "
    "mmap_threshold top_pad stack_limit thread_stack bytes anonymous vsz_delta rss_delta "
    "delta_vsz delta_rss private_dirty private_clean shared_dirty shared_clean locked".split()
)
ADDRESSES = frozenset("start end address stack_pointer place".split())
COUNTS = frozenset("minor major faults count len regions blocks threads status signal tid".split())
THROUGH = frozenset("max min sum abs int round sorted".split())
"""Functions whose result has the unit of their arguments."""

DEEPEST = 6


def unit(node: ast.expr, tree: ast.Module, deep: int = 0) -> str | None:
    """The unit of an expression, by the names in it: "bytes", "count", "address", or None."""
    if deep > DEEPEST:
        return None

    def of(*parts: ast.expr) -> str | None:
        found = [unit(part, tree, deep + 1) for part in parts]
        return next((one for one in found if one), None)

    match node:
        case ast.Attribute(value, attr):
            return named(attr) or of(value)
        case ast.Name(name):
            return named(name) or of(*assigned(name, tree))
        case ast.Call(ast.Name(name), arguments) if name in THROUGH:
            return of(*arguments)
        case ast.Call(function):
            return of(function)
        case ast.GeneratorExp(part) | ast.ListComp(part):
            return of(part)
        case ast.Subscript(value) | ast.Starred(value) | ast.UnaryOp(_, value):
            return of(value)
        case ast.BinOp(left, ast.Div() | ast.FloorDiv(), right) if of(right) == "bytes":
            return "count" if of(left) == "bytes" else None
        case ast.BinOp(left, ast.Sub(), right) if of(left) == of(right) == "address":
            return "bytes"
        case ast.BinOp(left, _, right):
            return of(left, right)
        case ast.IfExp(_, left, right):
            return of(left, right)
        case ast.Tuple(parts):
            return of(*parts)
    return None


def named(name: str) -> str | None:
    kinds = (("bytes", BYTES), ("count", COUNTS), ("address", ADDRESSES))
    return next((kind for kind, names in kinds if name in names), None)


# ---- values for people -----------------------------------------------------------------


def in_bytes(value: Any, *, whole: bool) -> str:
    """A number as a size; in bytes unless both compared values are whole KiB."""
    if isinstance(value, int) and not isinstance(value, bool) and value:
        return comparable(value) if whole else f"{value:,} bytes"
    return short(value)


def address(value: Any) -> str:
    """A number as people write addresses.

    >>> address(4096), address("none")
    ('0x1000', 'none')
    """
    return f"{value:#x}" if isinstance(value, int) and value >= 0 else short(value)


def short(value: Any) -> str:
    """Any value on one line; an object of procmem is summarised."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool) or value is None:
        text = str(value)
    elif isinstance(value, int):
        text = f"{value:,}" if abs(value) > 9999 else str(value)
    elif isinstance(value, Snapshot):
        text = f"a snapshot with {len(value.regions)} regions, VSZ {comparable(value.vsz)}"
    elif isinstance(value, Diff):
        text = f"VSZ {comparable(value.vsz)}, {len(value.changes)} changes"
    elif isinstance(value, Region):
        text = f"{value.name} {value.perms} of {comparable(value.size)}"
    elif isinstance(value, RegionTable):
        text = count(len(value), "region")
    elif isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_fields"):
        text = ", ".join(short(one) for one in list(value)[:8]) or "nothing"
        text += f" and {len(value) - 8} more" if len(value) > 8 else ""
    else:
        try:
            text = repr(value)
        except Exception:  # noqa: BLE001 - anybody's __repr__
            text = f"a {type(value).__name__}"
        if " at 0x" in text:
            text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th.

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '21st']
    """
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


# ---- the snapshots that it is about ------------------------------------------------------


PLAIN = ast.Name | ast.Attribute | ast.Subscript | ast.Constant | ast.BinOp | ast.Load | ast.Sub
HARMLESS = PLAIN | ast.UnaryOp | ast.USub | ast.Tuple | ast.Index


def moments(
    test: ast.expr, variables: Mapping[str, Any], fixtures: Mapping[str, Any]
) -> Iterator[Diff | Snapshot]:
    """Snapshots and differences that occur in an expression."""
    known = {**fixtures, **variables}
    seen: set[str] = set()
    for node in ast.walk(test):
        if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp):
            continue
        if not all(isinstance(part, HARMLESS) for part in ast.walk(node)):
            continue
        text = ast.unparse(node)
        if text in seen:
            continue
        seen.add(text)
        try:
            value = eval(text, {"__builtins__": {}}, known)  # noqa: S307 - the check's own code
        except Exception:  # noqa: BLE001, S112 - then it is not used
            continue
        if isinstance(value, Diff | Snapshot):
            yield value


def the_moments(
    looked: Sequence[Diff | Snapshot], variables: Mapping[str, Any], fixtures: Mapping[str, Any]
) -> tuple[Diff | None, Snapshot | None]:
    """The difference that a failure is about, and the later of its two snapshots."""
    diffs = [one for one in looked if isinstance(one, Diff)]
    if diffs:
        return diffs[0], diffs[0].after
    shots = distinct([one for one in looked if isinstance(one, Snapshot)])
    if len(shots) > 1:
        return shots[-1] - shots[0], shots[-1]
    if shots:
        return None, shots[0]
    values = [*variables.values(), *fixtures.values()]
    diffs = [one for one in values if isinstance(one, Diff)]
    if len(diffs) == 1:
        return diffs[0], diffs[0].after
    shots = distinct([one for one in values if isinstance(one, Snapshot)])
    if len(shots) > 1:
        return shots[-1] - shots[-2], shots[-1]
    return None, shots[-1] if shots else None


def distinct(shots: Sequence[Snapshot]) -> list[Snapshot]:
    """Each snapshot once, in the order of time."""
    found = {id(shot): shot for shot in shots}
    return sorted(found.values(), key=lambda s: 0 if s.clock is None else s.clock.monotonic)


# ---- the cause ----------------------------------------------------------------------------


def likely(diff: Diff, failed: Compared | None, test: ast.expr, sizes: bool) -> str | None:
    """What explains the difference between expected and seen; None: not known."""
    explanations = diff.explanations
    if not explanations:
        return None
    field = "vsz"
    names = {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}
    if "rss" in names and "vsz" not in names:
        field = "rss"
    if (
        failed is not None
        and sizes
        and isinstance(failed.left, int)
        and isinstance(failed.right, int)
    ):
        off = failed.left - failed.right
        if found := accounting(explanations, field, off):
            return "likely: " + "; ".join(reason(one, field, explanations) for one in found)
        if not failed.left and (found := accounting(explanations, field, -off)):
            return "instead: " + "; ".join(reason(one, field, explanations) for one in found)
    shown = [one for one in explanations if getattr(one, field)] or list(explanations)
    told = "; ".join(clause(one.words) for one in shown[:3])
    more = len(shown) - 3
    return f"what changed: {told}" + (f"; and {more} more" if more > 0 else "")


def clause(words: str) -> str:
    """The first part of an explanation, without the additions after a semicolon."""
    return short(re.split(r"; (?![^(]*\))", words)[0])


def accounting(
    explanations: Sequence[Explanation], field: str, off: int
) -> tuple[Explanation, ...]:
    """The fewest changes that add up to a difference; empty: none do, or several sets do."""
    if not off:
        return ()
    from itertools import combinations

    values = [one for one in explanations if getattr(one, field)]
    for many in range(1, min(3, len(values)) + 1):
        ways = [
            found
            for found in combinations(values[:16], many)
            if sum(getattr(one, field) for one in found) == off
        ]
        if ways:
            return ways[0] if len(ways) == 1 else ()
    return ()


def reason(one: Explanation, field: str, others: Sequence[Explanation]) -> str:
    """One change and its size, as a part of a sentence."""
    value = getattr(one, field)
    signed = ("+" if value > 0 else "") + comparable(value)
    words = LIKELY.get(one.cause)
    if one.cause is Cause.HEAP_STARTED and one.vsz <= TOP_PAD + FEW_PAGES:
        words = "the heap that stdio created: printf and getchar call malloc for their buffers"
        if any(other.cause is Cause.MEMORY_MAPPED for other in others):
            words = "the heap that stdio created for its buffers, not your mmap"
    if words:
        return f"{signed} is {words}"
    plain = clause(one.words).removeprefix("VSZ ").removeprefix("RSS ")
    # The words give the change of VSZ, where the check may be about RSS.
    plain = re.sub(r"^[+-][0-9,]+ KiB: ", "", plain)
    return f"{signed} of {field.upper()}: {plain}"


FEW_PAGES = 3 * 4096
"""A first heap of no more beyond its pad holds little: a buffer of stdio, for example."""

LIKELY = {
    Cause.HEAP_STARTED: "the heap that the first malloc created",
    Cause.HEAP_GREW: "the heap, which malloc extends by more than was asked for",
    Cause.STACK_GREW: "the stack, which grew when a page below it was accessed",
    Cause.ARENA_MADE: "the arena that malloc created for a thread",
    Cause.THREAD_STARTED: "the stack of a thread, with its guard",
}
