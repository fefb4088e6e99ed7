"""Where a row leads to, and what is typed about it."""

import shlex
from contextlib import suppress
from urllib.parse import quote

from forebay.console.errors import WrongUsage
from forebay.console.reading import portal_key
from forebay.console.terminal.output import Row


def command(*words: str) -> str:
    """The command, as it is copied into a shell."""
    # A record of another program may have any id.
    return shlex.join(("forebay", *words))


def portal_address(row: Row) -> str:
    """The page of the row's portal; empty where it has none."""
    # What names no portal stands under its endpoint's path, and another program's record under whatever it likes.
    key = str(row["portal"])
    with suppress(WrongUsage):
        if portal_key(key) == key:
            return f"/portals/{quote(key, safe='')}"
    return ""


def group_address(row: Row) -> str:
    """The page of the row's group."""
    return f"/groups/{quote(str(row['group']), safe='')}"
