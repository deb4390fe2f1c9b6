"""SVG read strictly: well-formed, no scripts, nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

SVG = "{http://www.w3.org/2000/svg}"
HARMLESS = frozenset("svg title desc style g rect path circle text".split())


class Drawing:
    """The elements and texts of a picture.

    Attributes:
        root: the `svg` element.
        title, words: what a screen reader reads.
        texts: the texts that are drawn.
        titles: the texts of shapes that are pointed at.
    """

    def __init__(self, text: str) -> None:
        text.encode()  # lone surrogates could not be written to a file
        assert "<!" not in text
        assert "<?" not in text
        self.root = ET.fromstring(text)
        assert self.root.tag == f"{SVG}svg"
        assert self.root.attrib["role"] == "img"
        for element in self.root.iter():
            assert element.tag.removeprefix(SVG) in HARMLESS, element.tag
            for name, value in element.attrib.items():
                assert not name.startswith("on"), name
                assert "href" not in name, name
                assert "url(" not in value, value
            if element.tag != f"{SVG}style":
                assert (element.text or "").replace("\n", "").isprintable()
        style = self.root.findtext(f"{SVG}style") or ""
        assert "@import" not in style
        assert "url(" not in style
        assert "prefers-color-scheme:dark" in style
        self.title = self.root.findtext(f"{SVG}title") or ""
        self.words = self.root.findtext(f"{SVG}desc") or ""
        assert self.title
        self.texts = [element.text or "" for element in self.root.iter(f"{SVG}text")]
        self.titles = [
            element.findtext(f"{SVG}title") or ""
            for element in self.root.iter()
            if element is not self.root and element.find(f"{SVG}title") is not None
        ]

    def boxes(self, look: str) -> Iterator[ET.Element]:
        """The rectangles that have a class."""
        for element in self.root.iter(f"{SVG}rect"):
            if look in element.attrib["class"].split():
                yield element

    def stays_inside(self) -> bool:
        """Whether no shape is drawn outside of the picture."""
        *_, wide, high = map(float, self.root.attrib["viewBox"].split())
        for group in self.root.iter(f"{SVG}g"):
            x, y = map(float, group.attrib["transform"][len("translate(") : -1].split())
            for element in group.iter(f"{SVG}rect"):
                left, top, width, height = (
                    float(element.attrib[name]) for name in ("x", "y", "width", "height")
                )
                inside = x + left >= 0 and x + left + width <= wide and y + top + height <= high
                if not inside or width < 0 or height < 0:
                    return False
        return True
