"""The spool of a host: its files as one line of records. Methods block, and are called by one thread at a time."""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from itertools import islice

import structlog

from . import salvage
from .counts import FULL, OK, Counts, Held
from .errors import MayPass, SpoolFull, SpoolUnavailable
from .file import RECORDS_A_FILE, SpoolFile, breaks, is_damage
from .files import Files, unavailable
from .folder import Folder
from .kept import Head, Kept, Put
from .owners import Owner, dead_owners, forget, give_back, somebody_lives
from .patience import PATIENCE_S, Patience
from .wal import mend

log = structlog.get_logger(__name__)

#: From this part of `spool_max_bytes` on, the log warns.
_NEARLY_FULL = 0.8

#: An empty file that has grown larger is deleted, so that its space is free again.
_LARGE_BYTES = 16 << 20

#: When more than that has come since the drain looked, it looks again before it sets the counts right.
_JUST_COME = 1000

#: With so much room a usual event is taken.
_ROOM_BYTES = 65_536


class Store:
    """Opened by every process that puts something in; one of them drains, and only that one deletes."""

    def __init__(
        self,
        folder: Folder,
        max_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._folder, self._max_bytes, self._clock = folder, max_bytes, clock
        self._patience = Patience(clock, patience_s)
        self._is_nearly_full = False
        #: Of the files that can't be written to: the records that are gone all the same, until the file is.
        self._gone: set[int] = set()
        #: The files of which something can't be read: they are looked through record by record, and never deleted.
        self._unreadable: set[int] = set()
        #: Those that should have more records, of which nothing can be found.
        self._hiding: set[int] = set()
        self.counts: Counts
        self.owner: Owner
        self._files: Files

    def open(self) -> None:
        """Raises `SpoolUnavailable` where the disk has no room for the first file, or is not ours to write to.

        On a disk that was full before, what stands in the spool is sent, and new events stay behind it.
        """
        try:
            self._folder.make()
            with self._folder.writing.held():
                self.counts = Counts(self._folder.counts)
                self._files = Files(self._folder, self.counts, self._clock, self._patience)
                dead, numbers = dead_owners(self._folder), self._folder.numbers()
                # Before SQLite looks at what a crash has left.
                if not somebody_lives(self._folder):
                    self._forget(numbers)
                    self._mend(numbers)
            # On a full disk it is the space without which SQLite opens no file.
            give_back(self._folder, dead)
            # To open a file and to delete one takes milliseconds, for which nobody else could write.
            with suppress(MayPass):
                forget(self._folder, dead - self._owners(numbers))
            with self._folder.writing.held():
                # Not when the first record comes: by then there may be no file left to open.
                with suppress(SpoolUnavailable) if numbers else nullcontext():
                    self._files.current()
                # Of a large spool it takes seconds, and nobody else can write meanwhile.
                if self.counts.is_new or not somebody_lives(self._folder):
                    self._recount()
                    self._look_for_hidden()
                # Last: for as long as we hold its lock, others take it that the counts were set right.
                self.owner = Owner(self._folder)
        except (OSError, sqlite3.Error) as error:
            raise unavailable(error, self._folder.root, getattr(self, "counts", None)) from error

    def _forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            # Where the power failed, a file may not be known as closed any more: then it gives these numbers again.
            if number > self.counts.closed:
                self._folder.forget_gone(number)

    def _mend(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            file = self._folder.file(number)
            # What can't be read here SQLite can't read either, and says why.
            with suppress(OSError):
                if any(mended := mend(file)):
                    log.error("the disk has changed the log of a file of the spool", file=str(file), **mended._asdict())

    def put(self, puts: Sequence[Put]) -> "list[int | SpoolUnavailable]":
        """For each its number, durable; or why it is not there."""
        with self._folder.writing.held():
            fitting = self._fitting(puts)
            for put in fitting:
                self.counts.add(put.record.key, put.size)
            try:
                seqs = self._insert(fitting) if fitting else []
            except SpoolUnavailable as error:
                for put in fitting:
                    self.counts.remove(put.record.key, put.size)
                return [type(error)(*error.args) for _ in puts]
            self.counts.state = OK if len(fitting) == len(puts) else FULL
        numbers = dict(zip(map(id, fitting), seqs, strict=True))
        return [numbers.get(id(put)) or self._over_quota() for put in puts]

    def try_again(self) -> None:
        """Where nothing was taken, see whether it would be by now: by `/ready` nobody sends what would show it."""
        with self._folder.writing.held(), suppress(SpoolUnavailable):
            if self.counts.state != OK and self._max_bytes - self.counts.size >= _ROOM_BYTES:
                self._insert([])
                self.counts.state = OK

    def _fitting(self, puts: Sequence[Put]) -> list[Put]:
        free = self._max_bytes - self.counts.size
        fitting = []
        for put in puts:
            free -= put.size
            if free < 0:
                break
            fitting.append(put)
        self._warn(free)
        return fitting

    def _warn(self, free: int) -> None:
        was, self._is_nearly_full = self._is_nearly_full, free < self._max_bytes * (1 - _NEARLY_FULL)
        if self._is_nearly_full and not was:
            log.warning("the spool is nearly full; calls will get 503", free=max(0, free), of=self._max_bytes)

    def _over_quota(self) -> SpoolFull:
        return SpoolFull(f"the spool has its {self._max_bytes} bytes (spool_max_bytes), and the queue takes nothing")

    def _insert(self, puts: Sequence[Put]) -> list[int]:
        file = self._files.current()
        try:
            return self._written(file, puts)
        except sqlite3.Error as error:
            if not breaks(error):
                raise unavailable(error, self._folder.root, self.counts) from error
        # Never again to the same file after that; a new one may stand on a sound part of the disk.
        file = self._files.current()
        try:
            return self._written(file, puts)
        except sqlite3.Error as error:
            raise unavailable(error, self._folder.root, self.counts) from error

    def _written(self, file: SpoolFile, puts: Sequence[Put]) -> list[int]:
        seqs: list[int] = []
        try:
            with file.writing():
                seqs += file.insert(puts) if puts else file.touch()
        except sqlite3.Error as error:
            if breaks(error):
                self._files.stop_writing(file, error)
                # After a failed fsync all of it stands in the log: who reads that after a crash would take it for kept.
                self._remember(file.number, seqs)
            raise
        self._checkpoint(file)
        return seqs

    def _checkpoint(self, file: SpoolFile) -> None:
        try:
            file.checkpoint()
        except sqlite3.Error as error:
            # What was written stands in the log, and is kept. On a full disk the log just goes on growing.
            if breaks(error):
                self._files.stop_writing(file, error)

    def heads(self, after: int, limit: int) -> list[Head]:
        """The next records behind that number that are not gone, oldest first."""
        found: list[Head] = []
        for number in self._folder.numbers():
            if (number + 1) * RECORDS_A_FILE > after and len(found) < limit:
                left = (head for head in self._all_in(number, after, limit) if head.seq not in self._gone)
                found += islice(left, limit - len(found))
        return found

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

    def _all_in(self, number: int, after: int = 0, at_once: int = 1000) -> Iterator[Head]:
        while heads := self._heads_in(number, after, at_once):
            yield from heads
            if len(heads) < at_once:
                return
            after = heads[-1].seq

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

    def delete(self, heads: Sequence[Head]) -> None:
        """These are in the queue, or in quarantine. What can't be deleted is remembered, and noted beside its file."""
        with self._folder.writing.held():
            for number in {head.seq // RECORDS_A_FILE for head in heads}:
                self._delete(number, [head.seq for head in heads if head.seq // RECORDS_A_FILE == number])
            for head in heads:
                self.counts.remove(head.key, head.size)

    def _delete(self, number: int, seqs: list[int]) -> None:
        if number <= self.counts.closed:
            return self._remember(number, seqs)
        file = self._files.of(number)
        try:
            with file.writing():
                file.delete(seqs)
        except sqlite3.Error as error:
            # Also on a full disk: when all of the file is sent, it is deleted whole, which needs no space.
            self._files.stop_writing(file, error)
            self._remember(number, seqs)
        else:
            self._checkpoint(file)

    def _remember(self, number: int, seqs: list[int]) -> None:
        self._gone.update(seqs)
        # On a full disk only we know it.
        with suppress(OSError):
            self._folder.note_gone(number, seqs)

    def tidy(self) -> None:
        """Delete the files that nobody needs any more. For the one that drains."""
        with self._folder.writing.held():
            self._look_for_hidden()
            unneeded = [number for number in self._folder.numbers() if self._is_unneeded(number)]
            for number in unneeded:
                self.counts.closed = max(self.counts.closed, number)
                self._files.drop(number)
                self._folder.remove(number)
                self._gone = {seq for seq in self._gone if seq // RECORDS_A_FILE != number}
            if unneeded:
                self.counts.state = OK
                self._recount()

    def _is_unneeded(self, number: int) -> bool:
        if number > self.counts.closed and self._folder.file(number).stat().st_size < _LARGE_BYTES:
            return False
        # What can't be read is never gone, and its file stays for `verify`.
        if number in self._unreadable or number in self._hiding:
            return False
        return all(head.seq in self._gone for head in self._all_in(number)) and not self._lacks(number, self._gone)

    def _look_for_hidden(self) -> None:
        for number in set(self._folder.numbers()) - self._hiding:
            self._lacks(number)

    def _lacks(self, number: int, gone: Collection[int] | None = None) -> bool:
        """Whether records are hidden there, in which SQLite finds nothing wrong: by the number of those that are found,
        or that are gone. Then something stands for them."""
        try:
            lacking = salvage.lacking(self._files.of(number), gone)
        except sqlite3.DatabaseError as error:
            self._files.set_aside(number, error)
            return True
        if lacking:
            self._files.is_damaged(number, f"records that it should have are not found: {lacking}")
            self._hiding.add(number)
            self.counts.add(salvage.NOBODY, 0)
        return lacking != 0

    def let_go(self) -> None:
        """As in `Files`."""
        self._files.let_go()

    def inherit(self) -> None:
        """For the one that drains from now on. What the one before has sent and could not delete is not sent again."""
        with self._folder.writing.held():
            closed = [number for number in self._folder.numbers() if number <= self.counts.closed]
            self._gone.update(seq for number in closed for seq in self._folder.gone(number))
            if closed:
                self._recount()
            self._look_for_hidden()

    def set_right(self, known: Iterable[Head], read_to: int) -> None:
        """What a crash may have left too high: these records there are, and what has come behind them just now."""
        with self._folder.writing.held():
            behind = self.heads(read_to, _JUST_COME)
            if len(behind) < _JUST_COME:
                self.counts.replace((head.key, Held(records=1, size=head.size)) for head in (*known, *behind))

    def recount(self) -> None:
        """Set the counts by all that stands in the files, where they were found to be too low."""
        with self._folder.writing.held():
            self._recount()

    def _recount(self) -> None:
        self.counts.replace(held for number in self._folder.numbers() for held in self._held_in(number))

    def _held_in(self, number: int) -> Iterable[tuple[str, Held]]:
        try:
            held = self._files.of(number).held().items()
        except sqlite3.DatabaseError as error:
            self._files.set_aside(number, error)
            return ((head.key, Held(records=1, size=head.size)) for head in self._all_in(number))
        return (*held, (salvage.NOBODY, Held(records=1, size=0))) if number in self._hiding else held

    def _owners(self, numbers: Iterable[int]) -> set[str]:
        owners: set[str] = set()
        for number in numbers:
            try:
                owners |= self._files.of(number).owners()
            except sqlite3.DatabaseError as error:
                self._files.set_aside(number, error)
        return owners

    def close(self) -> None:
        """Let go of everything."""
        self._files.close()
        # What could not be opened has none.
        if hasattr(self, "owner"):
            self.owner.close()
        self.counts.close()
        self._folder.writing.close()
