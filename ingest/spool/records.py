"""What stands in the files of a spool, as one line. Methods block, and are called by one thread at a time."""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from . import salvage
from .counts import Counts, Held
from .errors import is_damage
from .file import RECORDS_A_FILE
from .files import Files
from .folder import Folder
from .kept import Head, Kept


class Records:
    """As far as they can be read, and but for those that are gone though their file still has them."""

    def __init__(self, folder: Folder, files: Files, counts: Counts) -> None:
        self._folder, self._files, self._counts = folder, files, counts
        #: Of the files that can't be written to: the records that are gone all the same, until the file is.
        self._gone: set[int] = set()
        #: The files of which something can't be read: they are looked through record by record, and never deleted.
        self._unreadable: set[int] = set()
        #: Those that should have more records, of which nothing can be found.
        self._hiding: set[int] = set()

    def heads(self, after: int, limit: int) -> list[Head]:
        """The next records behind that number that are not gone, oldest first."""
        found: list[Head] = []
        for number in self._folder.numbers():
            if (number + 1) * RECORDS_A_FILE > after and len(found) < limit:
                left = (head for head in self._all_in(number, after, limit) if head.seq not in self._gone)
                found += islice(left, limit - len(found))
        return found

    def _all_in(self, number: int, after: int = 0, at_once: int = 1000) -> Iterator[Head]:
        while heads := self._heads_in(number, after, at_once):
            yield from heads
            if len(heads) < at_once:
                return
            after = heads[-1].seq

    def _heads_in(self, number: int, after: int, limit: int) -> list[Head]:
        heads = self._found_in(number, after, limit)
        if number in self._hiding and len(heads) < limit:
            heads += salvage.hidden(number, after)
        return heads

    def _found_in(self, number: int, after: int, limit: int) -> list[Head]:
        try:
            return self._files.of(number).heads(after, limit)
        except sqlite3.DatabaseError as error:
            if not is_damage(error) and not self._folder.file(number).exists():
                return []
            self._files.set_aside(number, error)
            heads = salvage.heads_of(self._files.of, number, after, limit)
            if not all(head.key for head in heads):
                self._unreadable.add(number)
            return heads

    def load(self, seqs: Iterable[int]) -> list[Kept]:
        """The records of these numbers, in order."""
        by_file = defaultdict(list)
        for seq in seqs:
            by_file[seq // RECORDS_A_FILE].append(seq)
        return [kept for number in sorted(by_file) for kept in self._loaded(number, by_file[number])]

    def _loaded(self, number: int, seqs: list[int]) -> list[Kept]:
        try:
            return self._files.of(number).load(seqs)
        except sqlite3.DatabaseError as error:
            self._files.set_aside(number, error)
            return salvage.load(self._files.of, number, seqs)

    def held(self) -> Iterator[tuple[str, Held]]:
        """What each portal has in each file."""
        for number in self._folder.numbers():
            yield from self._held_in(number)

    def _held_in(self, number: int) -> Iterable[tuple[str, Held]]:
        try:
            held = self._files.of(number).held().items()
        except sqlite3.DatabaseError as error:
            self._files.set_aside(number, error)
            return ((head.key, Held(records=1, size=head.size)) for head in self._all_in(number))
        return (*held, (salvage.NOBODY, Held(records=1, size=0))) if number in self._hiding else held

    def owners(self, numbers: Iterable[int]) -> set[str]:
        """Who owned a record that still stands in one of these files."""
        owners: set[str] = set()
        for number in numbers:
            try:
                owners |= self._files.of(number).owners()
            except sqlite3.DatabaseError as error:
                self._files.set_aside(number, error)
        return owners

    def note_gone(self, number: int, seqs: Collection[int]) -> None:
        """These are gone, and stay in their file, which can't be written to: remembered, and noted beside it."""
        self._gone.update(seqs)
        # On a full disk only we know it.
        with suppress(OSError):
            self._folder.note_gone(number, seqs)

    def read_gone(self, numbers: Iterable[int]) -> None:
        """What others have noted beside these files is not read as a record any more."""
        self._gone.update(seq for number in numbers for seq in self._folder.gone(number))

    def is_empty(self, number: int) -> bool:
        """Whether no record is left in that file. One with something that can't be read stays, for `verify`."""
        if number in self._unreadable or number in self._hiding:
            return False
        return all(head.seq in self._gone for head in self._all_in(number)) and not self._lacks(number, self._gone)

    def forget(self, number: int) -> None:
        """That file is deleted."""
        self._gone = {seq for seq in self._gone if seq // RECORDS_A_FILE != number}

    def look_for_hidden(self) -> None:
        """Find the files in which SQLite finds nothing wrong, and less than there should be."""
        for number in set(self._folder.numbers()) - self._hiding:
            self._lacks(number)

    def _lacks(self, number: int, gone: Collection[int] | None = None) -> bool:
        """Whether records are hidden there: by the number of those that are found, or that are gone. Then something
        stands for them."""
        try:
            lacking = salvage.lacking(self._files.of(number), gone)
        except sqlite3.DatabaseError as error:
            self._files.set_aside(number, error)
            return True
        if lacking:
            self._files.is_damaged(number, f"records that it should have are not found: {lacking}")
            self._hiding.add(number)
            self._counts.add(salvage.NOBODY, 0)
        return lacking != 0
