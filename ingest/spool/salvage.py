"""What can be read of a damaged file: its records one by one. Of the rest it is told that something is there."""

import sqlite3
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from .file import RECORDS_A_FILE, SpoolFile
from .kept import Head, Kept

#: Nobody's: what can't be read holds up no portal.
NOBODY = ""


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
    return Head(seq=seq, key=NOBODY, size=0, timestamp_ms=1, owner=None)


def lacking(file: SpoolFile, gone: Collection[int] | None = None) -> int:
    """How many records the file should have beside those that are found; or beside those that are gone, where given."""
    expected = file.expected()
    if expected is None:
        return 0
    if gone is None:
        return expected - file.count()
    first, last = file.number * RECORDS_A_FILE, file.last()
    # One that is gone may have been deleted all the same, by a transaction that was told as failed.
    return max(0, expected - sum(first < seq <= last for seq in gone))


def hidden(number: int, after: int) -> list[Head]:
    """What stands for the records that the file should have and that can't be found: behind all others, like one."""
    last = (number + 1) * RECORDS_A_FILE - 1
    return [_unreadable(last)] if after < last else []


def load(opened: Callable[[int], SpoolFile], number: int, seqs: Iterable[int]) -> list[Kept]:
    """Those of the records that can be read."""
    found: list[Kept] = []
    for seq in seqs:
        with suppress(sqlite3.DatabaseError):
            found += opened(number).load([seq])
    return found
