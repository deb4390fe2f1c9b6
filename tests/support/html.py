"""HTML read strictly: well-formed, without scripts, and nothing that asks the network."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = ("br", "hr", "img", "meta", "link", "input", "col")
ACTIVE = ("script", "iframe", "object", "embed", "link", "img", "form", "base", "meta")


class Page(HTMLParser):
    """The tags and texts of a piece of HTML.

    Attributes:
        tags: (name, attributes) of each tag in its order.
        rows: the texts of the cells of each row of a table.
        tables: the number of rows before each table.
        text: all text outside of styles.
        title_texts: texts of `<title>`, which browsers show on pointing.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.tables: list[int] = []
        self.text = ""
        self.title_texts: list[str] = []
        self._open: list[str] = []
        text.encode()  # lone surrogates could not be written to a file
        self.feed(text)
        self.close()
        assert self._open == [], f"left open: {self._open}"
        assert not any(name in ACTIVE for name, _ in self.tags)
        for _, given in self.tags:
            for name, value in given.items():
                assert not name.startswith("on"), (name, value)
                assert name not in ("href", "src", "xlink:href"), (name, value)
                assert "url(" not in (value or "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        if tag == "table":
            self.tables.append(len(self.rows))
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "title":
            self.title_texts.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"closed but not open: {tag}"
        assert self._open.pop() == tag, f"{tag} closes another"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        if "title" in self._open:
            self.title_texts[-1] += data
            return
        assert data.isprintable(), repr(data)
        if {"td", "th"} & set(self._open) and "svg" not in self._open:
            self.rows[-1][-1] += data
        self.text += data

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def labels(self) -> list[str]:
        """The texts that describe pictures to those who can't see them."""
        return [given["aria-label"] or "" for name, given in self.tags if name == "svg"
                and "aria-label" in given]  # fmt: skip


def page_of(shown: object) -> Page:
    """What a notebook shows of an object, parsed; it is small and stands for itself."""
    method = getattr(shown, "_repr_html_")  # noqa: B009 - the name that notebooks ask for
    text = method()
    assert isinstance(text, str)
    assert len(text) < 120_000
    return Page(text)


def number(cell: str) -> int:
    """The KiB of a cell, such as "+1,234" or "heap"'s figure, in bytes."""
    return round(float(cell.replace(",", "").rstrip("?")) * 1024)


def rows_below(page: Page, first: str) -> list[list[str]]:
    """The rows of the table whose first heading is this one; the last one may be the totals."""
    start = next(at for at in page.tables if page.rows[at][0].strip() == first)
    end = min((at for at in page.tables if at > start), default=len(page.rows))
    return [[cell.strip() for cell in row] for row in page.rows[start + 1 : end]]
