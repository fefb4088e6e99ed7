"""What can be read of a damaged file: its records one by one. Of the rest it is told that something is there."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress

from .file import RECORDS_A_FILE, SpoolFile
from .kept import Head, Kept

#: Nobody's: what can't be read holds up no portal.
_NOBODY = ""


def heads_of(opened: Callable[[int], SpoolFile], number: int, after: int, limit: int) -> list[Head]:
    """The next records behind that number; what can't be read between two of them is one that nobody can load."""
    try:
        file = opened(number)
        last = file.last()
    except sqlite3.DatabaseError:
        # The first record has the number behind this one.
        nothing = number * RECORDS_A_FILE
        return [_unreadable(nothing)] if after < nothing else []
    found: list[Head] = []
    seq, unreadable = max(after, number * RECORDS_A_FILE), 0
    while seq < last and len(found) < limit:
        try:
            one = file.heads(seq, 1)
        except sqlite3.DatabaseError:
            seq = unreadable = seq + 1
            continue
        if unreadable:
            found.append(_unreadable(unreadable))
            unreadable = 0
        if not one:
            break
        found += one
        seq = one[0].seq
    return [*found, _unreadable(unreadable)] if unreadable else found


def _unreadable(seq: int) -> Head:
    # As old as can be: whoever watches the oldest record is to see it.
    return Head(seq=seq, key=_NOBODY, size=0, timestamp_ms=1, owner=None)


def load(opened: Callable[[int], SpoolFile], number: int, seqs: Iterable[int]) -> list[Kept]:
    """Those of the records that can be read."""
    found: list[Kept] = []
    for seq in seqs:
        with suppress(sqlite3.DatabaseError):
            found += opened(number).load([seq])
    return found
