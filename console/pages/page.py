"""What a page shows, before anybody knows of HTML."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from forebay.console.terminal.output import Row

#: More rows than that nobody reads on a page, and a bad night has a hundred thousand dead letters.
MOST_ROWS = 200


def _never(row: Row) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table: rows as a command prints them, and what an operator may do about them."""

    title: str
    rows: Sequence[Row]
    #: How many there are in all, where those are not all that were kept.
    count: int = 0
    #: Said where there is no row.
    nothing: str
    #: Said above the rows.
    note: str = ""
    #: Which command shows the same, or does something about it.
    commands: Sequence[str] = ()
    #: Column → where its value leads to.
    links: Mapping[str, Callable[[Row], str]] = field(default_factory=dict)
    #: Whether somebody should look at the row.
    is_bad: Callable[[Row], bool] = _never


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Tables below each other, and the values of one thing."""

    title: str
    sheets: Sequence[Sheet] = ()
    #: Name → value; a mapping is shown as JSON, and what has several lines as it stands.
    values: Mapping[str, object] = field(default_factory=dict)
    commands: Sequence[str] = ()
    #: Name → value of what the rows are chosen by.
    filters: Mapping[str, str] = field(default_factory=dict)
    #: Whether a browser asks for it again by itself.
    is_live: bool = False
