"""The spool of a host: its files as one line of records. Methods block, and are called by one thread at a time."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress

from forebay.schemas.logger import get_logger

from .counts import FULL, OK, Counts, Held
from .errors import MayPass, SpoolFull, SpoolUnavailable, breaks
from .file import RECORDS_A_FILE, SpoolFile
from .files import Files, unavailable
from .folder import Folder
from .kept import Head, Kept, Put
from .owners import Owner, dead_owners, forget, give_back, somebody_lives
from .patience import PATIENCE_S, Patience
from .records import Records
from .wal import mend

log = get_logger(__name__)

#: From this part of `spool_max_bytes` on, the log warns.
_NEARLY_FULL = 0.8

#: An empty file that has grown larger is deleted, so that its space is free again.
_LARGE_BYTES = 16 << 20

#: When more than that has come since the drain looked, it looks again before it sets the counts right.
_JUST_COME = 1000

#: So many records are counted in a moment. To count a million takes half a second, and seconds where they must be read
#: from the disk, for which nobody could write.
_FEW = 1000

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
        self.counts: Counts
        self.owner: Owner
        self._files: Files
        self._records: Records

    def open(self) -> None:
        """Raises `SpoolUnavailable` where the disk has no room for the first file, or is not ours to write to, and
        `QueueError` for a spool of a newer Forebay, which is left as it is.

        On a disk that was full before, what stands in the spool is sent, and new events stay behind it.
        """
        try:
            self._folder.make()
            with self._folder.writing.held():
                self._folder.refuse_newer()
                self.counts = Counts(self._folder.counts)
                self._files = Files(self._folder, self.counts, self._clock, self._patience)
                self._records = Records(self._folder, self._files, self.counts)
                dead, numbers = dead_owners(self._folder), self._folder.numbers()
                # Before SQLite looks at what a crash has left.
                if not somebody_lives(self._folder):
                    self._forget(numbers)
                    self._mend(numbers)
            # On a full disk it is the space without which SQLite opens no file.
            give_back(self._folder, dead)
            # To open a file and to delete one takes milliseconds, for which nobody else could write.
            with suppress(MayPass):
                forget(self._folder, dead - self._records.owners(numbers))
            with self._folder.writing.held():
                is_first = self.counts.is_new or not somebody_lives(self._folder)
                # Not when the first record comes: by then there may be no file left to open.
                with suppress(SpoolUnavailable) if numbers else nullcontext():
                    current = self._files.current()
                    if is_first:
                        current.take_over()
                # Of a large spool it takes seconds, and nobody else can write meanwhile.
                if is_first:
                    self._recount()
                    self._records.look_for_hidden()
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
        try:
            return self._put(puts)
        except SpoolUnavailable as error:
            return [type(error)(*error.args) for _ in puts]

    def _put(self, puts: Sequence[Put]) -> "list[int | SpoolUnavailable]":
        with self._writing():
            fitting = self._fitting(puts)
            for put in fitting:
                self.counts.add(put.record.key, put.size)
            try:
                seqs = self._insert(fitting) if fitting else []
            except SpoolUnavailable:
                for put in fitting:
                    self.counts.remove(put.record.key, put.size)
                raise
            self.counts.state = OK if len(fitting) == len(puts) else FULL
        numbers = dict(zip(map(id, fitting), seqs, strict=True))
        return [numbers.get(id(put)) or self._over_quota() for put in puts]

    def try_disk(self) -> str:
        """Write what changes nothing, and let all processes see whether it was taken. Gives why not, or nothing.

        Where nothing was taken nobody sends what would show that it is by now, because of `/ready`; and while the queue
        takes everything, nobody would learn that the disk takes nothing.
        """
        try:
            with self._writing():
                if self._max_bytes - self.counts.size >= _ROOM_BYTES:
                    self._insert([])
                    self.counts.state = OK
        except SpoolUnavailable as error:
            return str(error)
        return ""

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises `SpoolUnavailable` where the folder itself is gone, as one that somebody has cleaned up."""
        try:
            with self._folder.writing.held():
                yield
        except OSError as error:
            raise unavailable(error, self._folder.root, self.counts) from error

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
        try:
            return self._tried_twice(puts)
        except (OSError, sqlite3.Error) as error:
            raise unavailable(error, self._folder.root, self.counts) from error

    def _tried_twice(self, puts: Sequence[Put]) -> list[int]:
        try:
            return self._written(puts)
        except sqlite3.Error as error:
            if not breaks(error):
                raise
        # Never again to the same file after that; a new one may stand on a sound part of the disk.
        return self._written(puts)

    def _written(self, puts: Sequence[Put]) -> list[int]:
        file, seqs = self._files.current(), list[int]()
        try:
            with file.writing():
                seqs += file.insert(puts) if puts else file.touch()
        except sqlite3.Error as error:
            if breaks(error):
                self._files.stop_writing(file, error)
                # After a failed fsync all of it stands in the log: who reads that after a crash would take it for kept.
                self._records.note_gone(file.number, seqs)
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
        """As in `Records`."""
        return self._records.heads(after, limit)

    def load(self, seqs: Iterable[int]) -> list[Kept]:
        """As in `Records`."""
        return self._records.load(seqs)

    def delete(self, heads: Sequence[Head]) -> None:
        """These are in the queue, or in quarantine. What can't be deleted is remembered, and noted beside its file."""
        with self._folder.writing.held():
            for number in {head.seq // RECORDS_A_FILE for head in heads}:
                self._delete(number, [head.seq for head in heads if head.seq // RECORDS_A_FILE == number])
            for head in heads:
                self.counts.remove(head.key, head.size)

    def _delete(self, number: int, seqs: list[int]) -> None:
        if number <= self.counts.closed:
            return self._records.note_gone(number, seqs)
        file = self._files.of(number)
        try:
            with file.writing():
                file.delete(seqs)
        except sqlite3.Error as error:
            # Also on a full disk: when all of the file is sent, it is deleted whole, which needs no space.
            self._files.stop_writing(file, error)
            self._records.note_gone(number, seqs)
        else:
            self._checkpoint(file)

    def tidy(self) -> None:
        """Delete the files that nobody needs any more. For the one that drains."""
        with self._folder.writing.held():
            self._look_for_hidden()
            unneeded = [number for number in self._folder.numbers() if self._is_unneeded(number)]
            for number in unneeded:
                self.counts.closed = max(self.counts.closed, number)
                self._files.drop(number)
                self._folder.remove(number)
                self._records.forget(number)
            if unneeded:
                self.counts.state = OK
                self._recount()

    def _is_unneeded(self, number: int) -> bool:
        if number > self.counts.closed and self._folder.file(number).stat().st_size < _LARGE_BYTES:
            return False
        return self._records.is_empty(number)

    def let_go(self) -> None:
        """As in `Files`."""
        self._files.let_go()

    def inherit(self) -> None:
        """For the one that drains from now on. What the one before has sent and could not delete is not sent again."""
        with self._folder.writing.held():
            closed = [number for number in self._folder.numbers() if number <= self.counts.closed]
            self._records.read_gone(closed)
            if closed:
                self._recount()
            self._look_for_hidden()

    def _look_for_hidden(self) -> None:
        # Where there are many, it is done when most of them are sent.
        if self.counts.records < _FEW:
            self._records.look_for_hidden()

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
        self.counts.replace(self._records.held())

    def close(self) -> None:
        """Let go of everything."""
        self._files.close()
        # What could not be opened has none.
        if hasattr(self, "owner"):
            self.owner.close()
        self.counts.close()
        self._folder.writing.close()
