"""What the commands print: a table for people, one JSON object a line for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from shutil import get_terminal_size
from typing import TextIO

#: A line of a result: column → value. The columns of a command never change their names.
Row = Mapping[str, object]

#: Rich cuts a table to 80 columns where there is no terminal; a file has room.
_FILE_COLUMNS = 400

#: Rich takes a millisecond for each row, and half a minute for a bad night's dead letters. Longer lists are plain.
_RICH_ROWS = 500

#: In those, a longer cell moves what stands to the right of it, and nothing is cut or folded. In a table it is folded.
_CELL_CHARS = 60

#: Between two columns.
_GAP = "  "


def show(rows: Sequence[Row], *, as_json: bool, nothing: str = "nothing found") -> None:
    """Print the rows to standard output; people are told when there are none."""
    if as_json:
        show_json(rows)
    elif rows:
        _show_cells([tuple(rows[0]), *(tuple(map(cell, row.values())) for row in rows)])
    else:
        note(nothing)


def show_json(rows: Iterable[Row]) -> None:
    """Print one object a line, and let whoever reads the pipe have them at once."""
    import orjson

    # JSON is UTF-8 for whoever reads it, whatever the locale's encoding is.
    sys.stdout.flush()
    for row in rows:
        sys.stdout.buffer.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()


def line(text: str) -> None:
    """Print a line to standard output at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print something about the work, not its result, to standard error; of names in it a terminal obeys nothing."""
    print("\n".join(map(clean, text.split("\n"))), file=sys.stderr, flush=True)


def on_terminal(stream: TextIO) -> bool:
    """Whether a person watches this stream."""
    return stream.isatty()


def clean(text: str) -> str:
    """The text with each character that a terminal might obey, or that breaks the line, written out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def cell(value: object) -> str:
    """The value as it stands in a table."""
    if value is None:
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) else clean(str(value))


def _show_cells(cells: Sequence[Sequence[str]]) -> None:
    widths = [min(_CELL_CHARS, max(map(len, column))) for column in zip(*cells, strict=True)]
    columns = get_terminal_size().columns if on_terminal(sys.stdout) else _FILE_COLUMNS
    # Rich cuts what it has no room for, and an id or a portal's name is copied into the next command.
    fits = sum(widths) + len(_GAP) * (len(widths) - 1) <= columns
    if fits and len(cells) <= _RICH_ROWS + 1:
        _table(cells, columns)
    else:
        _lines(cells, widths)


def _table(cells: Sequence[Sequence[str]], columns: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in zip(*cells, strict=True):
        table.add_column(column[0], overflow="fold", no_wrap=max(map(len, column)) <= _CELL_CHARS)
    for row in cells[1:]:
        table.add_row(*map(Text, row))
    Console(width=columns).print(table)


def _lines(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    for row in cells:
        print(_GAP.join(map(str.ljust, row, widths)).rstrip())
    sys.stdout.flush()
