"""What stands on a page of the operators, for tests."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

#: Elements whose text is kept.
_TEXTS = frozenset(("a", "code", "dd", "dt", "h1", "h2", "p", "pre", "td", "th", "title"))


@dataclass
class Shown(HTMLParser):
    """A page taken apart."""

    #: The names of all elements, in their order.
    elements: list[str] = field(default_factory=list)
    #: Element → the texts of all of its name.
    texts: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in _TEXTS})
    #: Attribute → its values.
    attributes: dict[str, list[str]] = field(default_factory=dict)
    #: A table's rows, each as column → text.
    tables: list[list[dict[str, str]]] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _columns: list[str] = field(default_factory=list)
    _cells: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")
        if tag in _TEXTS:
            self._open.append(tag)
            self.texts[tag].append("")
        match tag:
            case "table":
                self.tables.append([])
                self._columns = []
            case "tr":
                self._cells = []

    def handle_endtag(self, tag: str) -> None:
        if tag in _TEXTS:
            self._open.remove(tag)
        match tag:
            case "th":
                self._columns.append(self.texts["th"][-1])
            case "td":
                self._cells.append(self.texts["td"][-1])
            case "tr" if self._cells:
                self.tables[-1].append(dict(zip(self._columns, self._cells, strict=True)))

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data


def shown(html: str) -> Shown:
    """The page, taken apart."""
    found = Shown()
    found.feed(html)
    found.close()
    return found
