"""Settings of Sphinx: `make docs` builds build/docs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

project = "procmem"
author = "The procmem developers"
copyright = author  # noqa: A001 - Sphinx asks for the name
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["conf.py"]
myst_heading_anchors = 4
# Types of attributes are looked up by their last part, which several classes may have.
suppress_warnings = ["ref.python"]

# Docstrings use single backticks for code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Blocks without a language are output and commands.
highlight_language = "none"

html_theme = "furo"
html_title = "procmem"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def fill(app: object, docname: str, source: list[str]) -> None:  # noqa: ARG001 - Sphinx's order
    """Puts generated text where a page of the reference has a line `%% NAME %%`."""
    if docname.startswith("reference/"):
        import reference  # type: ignore[import-not-found] # scripts/reference.py

        def text(found: re.Match[str]) -> str:
            return reference.text_of(found[1])

        source[0] = re.sub(r"^%% (\S+) %%$", text, source[0], flags=re.M)


def skip(
    app: object,  # noqa: ARG001
    what: str,  # noqa: ARG001
    name: str,  # noqa: ARG001
    member: object,
    skipped: bool,  # noqa: ARG001
    options: object,  # noqa: ARG001
) -> bool | None:
    """Leaves out fields of named tuples, which their classes' docstrings describe."""
    return True if (member.__doc__ or "").startswith("Alias for field number") else None


def part(
    app: object,  # noqa: ARG001
    what: str,
    name: str,  # noqa: ARG001
    value: object,  # noqa: ARG001
    options: object,  # noqa: ARG001
    lines: list[str],
) -> None:
    """Makes an entry for each name of "start, end: addresses", which napoleon takes for one.

    What stands before a colon in the first line of a property, napoleon takes for its type: a
    line break before that word keeps it from that.
    """
    if what in ("property", "attribute") and lines and ":" in lines[0]:
        end = lines[0].rfind(" ", 0, lines[0].index(":"))
        if end > 0:
            lines[:1] = [lines[0][:end], lines[0][end + 1 :]]
    text = "\n".join(lines)
    # A list of errors may be longer than a line.
    lines[:] = re.sub(
        r"^( +(?:\w+, )*\w+,)\n +(?=(?:\w+, )*\w+(?::|$))", r"\1 ", text, flags=re.M
    ).split("\n")
    several = re.compile(r"( +)(\w+(?:, \w+)+):( .*)")
    result: list[str] = []
    names: list[str] = []
    first, depth, start = "", 0, 0
    for line in [*lines, ""]:
        indent = len(line) - len(line.lstrip())
        if names and (not line or indent <= depth):
            entry = result[start:]
            for other in names:
                result.append(entry[0].replace(f"{first}:", f"{other}:", 1))
                result += entry[1:]
            names = []
        if found := several.fullmatch(line):
            depth, start = len(found[1]), len(result)
            first, *names = found[2].split(", ")
            result.append(f"{found[1]}{first}:{found[3]}")
        else:
            result.append(line)
    lines[:] = result


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", part, priority=400)  # type: ignore[attr-defined]
    app.connect("autodoc-skip-member", skip)  # type: ignore[attr-defined]
    app.connect("source-read", fill)  # type: ignore[attr-defined]
