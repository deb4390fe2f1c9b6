"""Expressions of a check in words for the student: what was measured, without the check's code."""

from __future__ import annotations

import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["assigned", "in_words"]

FIGURES = {
    "vsz": "VSZ",
    "rss": "RSS",
    "pss": "PSS",
    "uss": "USS",
    "swap": "memory in swap",
    "minor": "minor page faults",
    "major": "major page faults",
    "page_tables": "page tables (VmPTE)",
    "rss_anon": "memory of no file (RssAnon)",
    "private_dirty": "private dirty memory",
    "size": "size",
    "regions": "number of areas",
    "status": "exit status",
    "signal": "signal",
    "text": "text",
    "data": "data",
    "bss": "bss",
}
PARTS = {
    "heap": "the heap",
    "stack": "the stack",
    "anonymous": "anonymous mappings",
    "text": "the program's code",
    "data": "the program's data area",
    "bss": "the program's bss area",
}
COUNTED = {
    "threads": "number of threads",
    "libraries": "number of shared libraries",
    "regions": "number of areas",
}
DEEPEST = 6


def in_words(node: ast.expr, tree: ast.Module | None, deep: int = 0) -> str | None:
    """What an expression measures; None: that can't be said in words.

    Args:
        node: the expression.
        tree: the file that it stands in, for what its names stand for.
        deep: how many names were followed.

    >>> in_words(ast.parse("(after - before).vsz", mode="eval").body, None)
    'change of VSZ'
    >>> in_words(ast.parse("heap(after).size - heap(before).size", mode="eval").body, None)
    'change of the size of the heap'
    >>> in_words(ast.parse("min(one, other)", mode="eval").body, None)
    """
    if deep > DEEPEST:
        return None
    match node:
        case ast.Attribute(ast.Call(ast.Name(part)), figure) if part in PARTS:
            return f"{FIGURES[figure]} of {PARTS[part]}" if figure in FIGURES else None
        case ast.Attribute(value, figure) if figure in FIGURES:
            return f"change of {FIGURES[figure]}" if is_change(value, tree) else FIGURES[figure]
        case ast.BinOp(left, ast.Sub(), right):
            one, other = (in_words(side, tree, deep + 1) for side in (left, right))
            if one is None or one != other:
                return None
            return f"change of {one if one.split()[0].isupper() else 'the ' + one}"
        case ast.Call(ast.Name("len"), [ast.Call(ast.Name(name))]):
            return COUNTED.get(name)
        case ast.Name(name) if tree is not None:
            found = {in_words(value, tree, deep + 1) for value in assigned(name, tree)}
            return found.pop() if len(found) == 1 else None
    return None


def is_change(node: ast.expr, tree: ast.Module | None) -> bool:
    """Whether an expression is a difference of two snapshots."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Sub)
    if isinstance(node, ast.Name) and tree is not None:
        values = list(assigned(node.id, tree))
        return bool(values) and all(
            isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub) for value in values
        )
    return False


def assigned(name: str, tree: ast.Module) -> Iterator[ast.expr]:
    """What a name is set to, wherever in the file."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == name:
                yield node.value
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    if isinstance(one, ast.Name) and one.id == name:
                        yield value
