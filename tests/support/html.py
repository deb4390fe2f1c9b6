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
        text: all text outside of styles.
        title_texts: texts of `<title>`, which browsers show on pointing.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
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
        if tag == "tr":
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
