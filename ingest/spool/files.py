"""The files of the spool that a process has open, and which of them is written to."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from forebay.schemas.logger import get_logger

from .counts import BROKEN, FULL, Counts
from .errors import MayPass, SpoolBroken, SpoolFull, SpoolUnavailable, breaks, is_damage, is_full
from .file import SpoolFile
from .folder import Folder, check_files_are_left
from .patience import Patience

log = get_logger(__name__)

#: Between two attempts to begin a file on a disk that does not take one.
_AGAIN_S = 1.0


def unavailable(error: Exception, root: Path, counts: Counts | None) -> SpoolUnavailable:
    """What it means for who wanted to write; by the counts, where there are any, all processes see it."""
    full = is_full(error)
    if counts is not None:
        counts.state = FULL if full else BROKEN
    text = f"the spool in {root} can't be written to: {error}"
    if full:
        return SpoolFull(f"{text}; free some space")
    is_gone = isinstance(error, FileNotFoundError) and not root.is_dir()
    remedy = "put the folder back, or start the ingest again" if is_gone else "look at the disk and its rights"
    return SpoolBroken(f"{text}; {remedy}")


class Files:
    """Opened when they are asked for. Those up to `counts.closed` are not written to any more, by no process."""

    def __init__(self, folder: Folder, counts: Counts, clock: Callable[[], float], patience: Patience) -> None:
        self._folder, self._counts, self._clock, self._patience = folder, counts, clock, patience
        self._opened: dict[int, SpoolFile] = {}
        self._not_before = clock()

    def of(self, number: int) -> SpoolFile:
        """The file of that number."""
        if number not in self._opened:
            only_read = number <= self._counts.closed
            self._opened[number] = SpoolFile(self._folder.file(number), number, only_read=only_read)
        return self._opened[number]

    def current(self) -> SpoolFile:
        """The one file that is written to; begun, if need be. While it is there, nothing is opened to find it.

        Raises `SpoolUnavailable` where none can be begun.
        """
        for number, file in self._opened.items():
            if number > self._counts.closed and file.path.exists():
                return file
        self._drop_all_but(numbers := self._folder.numbers())
        newest = max(numbers, default=0)
        if newest > self._counts.closed:
            return self.of(newest)
        if self._clock() < self._not_before:
            raise SpoolBroken("no new file of the spool can be begun just now; look at the disk of data_dir")
        return self._begin(max(newest, self._counts.closed) + 1)

    def _begin(self, number: int) -> SpoolFile:
        try:
            self._opened[number] = SpoolFile.create(self._folder.file(number), number)
            self._folder.sync()
        except (OSError, sqlite3.Error) as error:
            self.drop(number)
            self._folder.remove(number)
            self._not_before = self._clock() + _AGAIN_S
            raise unavailable(error, self._folder.root, self._counts) from error
        return self._opened[number]

    def stop_writing(self, file: SpoolFile, error: Exception) -> None:
        """Never again to this one, by nobody."""
        log.error("a file of the spool is not written to any more", file=str(file.path), error=str(error))
        self._counts.closed = max(self._counts.closed, file.number)

    def set_aside(self, number: int, error: sqlite3.DatabaseError) -> None:
        """A file that can't be read must not keep the others from being drained, nor new ones from being written.

        Raises where it may be readable in a moment.
        """
        if not breaks(error):
            raise error
        if not is_damage(error):
            check_files_are_left()
        elif self._patience.may_pass(number):
            raise MayPass(str(error)) from error
        self.is_damaged(number, str(error))

    def is_damaged(self, number: int, why: str) -> None:
        """So it is told, and not written to any more."""
        if number > self._counts.closed:
            log.error("a file of the spool is damaged: see `forebay spool verify`", number=number, error=why)
            self._counts.closed = number

    def let_go(self) -> None:
        """Of those that were deleted: their space is free when nobody has them open."""
        if any(number <= self._counts.closed for number in self._opened):
            self._drop_all_but(self._folder.numbers())

    def _drop_all_but(self, numbers: list[int]) -> None:
        for number in self._opened.keys() - numbers:
            self.drop(number)

    def drop(self, number: int) -> None:
        """Let go of that one, if it is open."""
        if file := self._opened.pop(number, None):
            file.close()

    def close(self) -> None:
        """Let go of all."""
        self._drop_all_but([])
