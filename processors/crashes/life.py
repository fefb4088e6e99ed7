"""The file of a worker's process: what it has at work stands there, and is left behind when the process is ended.

Each process has one in a folder that those of a host share, and holds a lock on it. Who ends by himself takes it away;
a file that nobody locks is of one that was ended in the middle of something.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from struct import Struct
from typing import NamedTuple

from forebay.queues.folders import make_folder

#: How files end in their name: being made, of one who lives as long as it is locked, of one who was ended.
_NEW, _LIFE, _ENDED = ".new", ".life", ".ended"

#: An end is of interest for so long. An event that ends whoever has it does so again within that time.
_KEPT_S = 3600.0


class AtWork(NamedTuple):
    """Records of one portal in one partition that a handler has; the names are checksums."""

    #: Of the topic and the group.
    whose: int
    #: Of the portal.
    portal: int
    partition: int
    #: Where the positions are: in the topic, in the parked stream, or in a replay.
    source: int
    first: int
    last: int
    #: Whether nothing else was at work in the process.
    alone: bool


#: With a 1 before it, so that no note is all zeros.
_NOTE = Struct("<BIIqqqq?")
_NOTHING = bytes(_NOTE.size)


class Ended(NamedTuple):
    """A process that was ended."""

    name: str
    seconds_ago: float
    at_work: list[AtWork]


class Life:
    """Of this process. `note` and `clear` are for one thread, `ended` for any; all may raise `OSError`."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._folder, self._now = folder, now
        # A handlers' module may have set the umask, and who may write here has events given up.
        make_folder(folder, 0o700)
        self._path = folder / f"{os.getpid()}-{token_hex(8)}{_LIFE}"
        new = self._path.with_suffix(_NEW)
        self._file = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        # It has its name only with its lock, or it would be taken for one whose process was ended. This kind of lock is
        # not inherited by what a handler forks, which may live on. It is lost when its process closes the file again.
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(self._path)
        except OSError:
            # Not every file system has locks.
            os.close(self._file)
            new.unlink(missing_ok=True)
            raise

    def note(self, number: int, work: AtWork) -> None:
        """Write down what a slot has at work, in place of what it had."""
        os.pwrite(self._file, _NOTE.pack(1, *work), number * _NOTE.size)

    def clear(self, number: int) -> None:
        """The slot has nothing at work."""
        os.pwrite(self._file, _NOTHING, number * _NOTE.size)

    def close(self) -> None:
        """The process ends by itself."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def forget(self) -> None:
        """Let go of what is known of others."""
        for path in self._files(_ENDED):
            path.unlink(missing_ok=True)

    def ended(self) -> list[Ended]:
        """The processes of this folder that were ended within the last hour, as far as it is known."""
        for path in self._files(_LIFE):
            if path != self._path:
                self._look_at(path)
        for path in self._files(_NEW):
            self._age(path)
        found = ((path, self._age(path)) for path in self._files(_ENDED))
        return [Ended(path.stem, age, _read(path)) for path, age in found if age is not None]

    def _look_at(self, path: Path) -> None:
        """Rename it if its process was ended. Nobody knows when: now, by the file's time."""
        # Locked: it lives. Or it is another user's, of whom nothing can be known.
        with suppress(FileNotFoundError, BlockingIOError, PermissionError):
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.utime(file, (self._now(), self._now()))
                path.rename(path.with_suffix(_ENDED))
            finally:
                os.close(file)

    def _age(self, path: Path) -> float | None:
        """None when it is gone, as it is from now on when it is too old."""
        with suppress(FileNotFoundError):
            age = self._now() - path.stat().st_mtime
            if age <= _KEPT_S:
                return age
            path.unlink()
        return None

    def _files(self, suffix: str) -> Iterator[Path]:
        return self._folder.glob(f"*{suffix}")


def _read(path: Path) -> list[AtWork]:
    with suppress(FileNotFoundError):
        octets = path.read_bytes()
        whole = len(octets) - len(octets) % _NOTE.size
        return [AtWork(*rest) for is_one, *rest in _NOTE.iter_unpack(octets[:whole]) if is_one]
    return []
