"""The notebooks in docs, run as a whole: what they assert holds, what they show is stored."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.paths import ROOT
from tests.support.svgs import Drawing

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 150_000


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def said(cell: Any) -> str:
    """The text that a cell has printed or returned."""
    parts = []
    for output in cell["outputs"]:
        assert output["output_type"] != "error"
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        parts.append(joined(text))
    return "".join(parts)


def kinds(cell: Any) -> list[str]:
    """The kinds of pictures that a cell shows."""
    return sorted(kind for output in cell["outputs"] for kind in output.get("data", {}))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_complete(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    notebook = json.loads(path.read_text())
    code = cells(notebook)
    assert "assert " in "".join(joined(cell["source"]) for cell in code)
    # The first cell makes what the others use.
    assert all(cell["outputs"] or not at for at, cell in enumerate(code))
    text = path.read_text()
    assert "/tmp/" not in text
    assert "/root/" not in text
    for cell in code:
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/svg+xml" in data:
                Drawing(joined(data["image/svg+xml"]))
            if "image/png" in data:
                assert base64.b64decode(joined(data["image/png"])).startswith(b"\x89PNG")


def test_there_are_the_two_that_the_docs_name() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["lazy-allocation", "leak"]


@pytest.mark.slow
@pytest.mark.skipif(os.sysconf("SC_PAGE_SIZE") != 4096, reason="figures shown are of 4 KiB pages")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_does_what_it_shows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells marked "varies" show addresses or pictures, all others the same text."""
    for name in ("nbclient", "nbformat", "ipykernel", "matplotlib"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config import Config

    # The kernel's files go here, and sockets instead of ports are nobody else's.
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.chdir(tmp_path)
    stored = json.loads(path.read_text())
    notebook = nbformat.read(str(path), 4)  # type: ignore[no-untyped-call]
    transport = Config({"ConnectionFileMixin": {"transport": "ipc"}})
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", config=transport)
    client.startup_timeout = 600
    client.execute()
    for before, after in zip(cells(stored), cells(notebook), strict=True):
        assert kinds(after) == kinds(before)
        if "varies" not in before["metadata"].get("tags", []):
            assert said(after) == said(before)
