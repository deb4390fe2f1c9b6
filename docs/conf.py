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
            name = found[1]
            return reference.commands() if name == "commands" else reference.api(name)

        source[0] = re.sub(r"^%% (\S+) %%$", text, source[0], flags=re.M)


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill)  # type: ignore[attr-defined]
