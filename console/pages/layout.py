"""From a page to HTML."""

from collections.abc import Mapping, Sequence

import orjson

from forebay.console.terminal.output import Row, cell

from .html import Html, element, joined
from .page import MOST_ROWS, Page, Sheet

#: Where the stylesheet is served.
STYLE = "/style.css"

#: Title → address, of what stands at the top of each page.
_PAGES = {
    "Overview": "/",
    "Parked": "/parked",
    "Dead letters": "/dead",
    "Quarantine": "/quarantine",
    "Portals": "/portals",
    "Audit": "/audit",
}

#: What is longer is folded, were it one word.
_WORD_CHARS = 60

#: So often a browser asks for a page that is live, in seconds.
_AGAIN_S = "30"


def html_of(page: Page, topic: str) -> str:
    """The whole document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width"),
        *([element("meta", http_equiv="refresh", content=_AGAIN_S)] if page.is_live else []),
        element("title", f"{page.title} · Forebay"),
        element("link", rel="stylesheet", href=STYLE),
    )
    parts = [_navigation(page, topic), element("h1", page.title), _filters(page.filters)]
    parts += [_values(page.values), _commands(page.commands), *map(_sheet, page.sheets)]
    return "<!doctype html>\n" + element("html", head, element("body", *parts), lang="en")


def _navigation(page: Page, topic: str) -> Html:
    links = [
        element("a", title, href=path, aria_current="page" if title == page.title else None)
        for title, path in _PAGES.items()
    ]
    return element("nav", *links, element("span", topic, class_="topic"))


def _filters(filters: Mapping[str, str]) -> Html:
    if not filters:
        return Html()
    fields = [
        element("label", name, element("input", name=name, value=value, autocomplete="off"))
        for name, value in filters.items()
    ]
    return element("form", *fields, element("button", "Show"), method="get")


def _values(values: Mapping[str, object]) -> Html:
    shown = {name: value for name, value in values.items() if value not in (None, "")}
    if not shown:
        return Html()
    return element("dl", *(joined(element("dt", name), element("dd", _value(value))) for name, value in shown.items()))


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return element("pre", orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    return element("pre", value) if isinstance(value, str) and "\n" in value else cell(value)


def _commands(commands: Sequence[str]) -> Html:
    return joined(*(element("p", element("code", one), class_="command") for one in commands))


def _sheet(sheet: Sheet) -> Html:
    count = max(sheet.count, len(sheet.rows))
    title = element("h2", f"{sheet.title} ({count:,})" if sheet.rows else sheet.title)
    note = element("p", sheet.note) if sheet.note else Html()
    if not sheet.rows:
        return element("section", title, note, element("p", sheet.nothing, class_="nothing"))
    head = element("tr", *(element("th", name) for name in sheet.rows[0]))
    rows = [_row(sheet, row) for row in sheet.rows[:MOST_ROWS]]
    table = element("table", element("thead", head), element("tbody", *rows))
    left = count - len(rows)
    more = element("p", f"and {left:,} more, which the command shows", class_="nothing") if left > 0 else Html()
    return element("section", title, note, element("div", table, class_="wide"), more, _commands(sheet.commands))


def _row(sheet: Sheet, row: Row) -> Html:
    return element("tr", *(_cell(sheet, row, name) for name in row), class_="bad" if sheet.is_bad(row) else None)


def _cell(sheet: Sheet, row: Row, name: str) -> Html:
    value = row[name]
    text = cell(value)
    leads = sheet.links.get(name)
    address = leads(row) if leads and value is not None else ""
    shown = element("a", text, href=address) if address else text
    return element("td", shown, class_=_kind(value, text))


def _kind(value: object, text: str) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    # Whatever is copied from here stays on its line: an id, a portal, a time.
    return "text" if " " in text or len(text) > _WORD_CHARS else None
