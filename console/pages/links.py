"""Where a row leads to, and what is typed about it."""

import shlex
from urllib.parse import quote

from forebay.console.terminal.output import Row


def command(*words: str) -> str:
    """The command, as it is copied into a shell."""
    # A record of another program may have any id.
    return shlex.join(("forebay", *words))


def portal_address(row: Row) -> str:
    """The page of the row's portal; empty where it has none."""
    # What names no portal stands under its endpoint's path.
    key = str(row["portal"])
    return "" if key.startswith("/") else f"/portals/{quote(key, safe='')}"


def group_address(row: Row) -> str:
    """The page of the row's group."""
    return f"/groups/{quote(str(row['group']), safe='')}"
