"""What became of records that were spooled while they might still be delivered: told by those who sent them.

Each process has a file of its own, in which it writes down a record's number and whether the record is gone. It needs
no fsync: whoever dies without having told leaves its lock, and then its records are sent again.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from struct import Struct
from uuid import uuid4

from forebay.ingest.locks import FileLock, is_free
from forebay.ingest.space import take_space

from .folder import Folder
from .kept import Head

_TOLD = Struct("<Q")

#: Space is taken ahead, so that on a full disk a process can still tell; each number has 8 bytes. Were it not so, the
#: records that nobody tells about would keep their file, and the file the disk full.
_AHEAD_BYTES = 65_536

#: The names of all their files.
_ANY = "owner-*.lock"


class Owner:
    """This process. Takes its lock when it is made, and lets go of it at its end."""

    def __init__(self, folder: Folder) -> None:
        self.name = uuid4().hex
        self._lock = FileLock(folder.owner(self.name))
        self._lock.take()
        self._file = os.open(self._lock.path, os.O_WRONLY | os.O_CLOEXEC)
        self._at = self._end = 0
        # On a full disk what stands in the spool is sent all the same.
        with suppress(OSError):
            self._take_space()

    def tell(self, seq: int, *, is_gone: bool) -> None:
        """The record was delivered, or surely was not. Raises `OSError`; then tell it again."""
        if self._end - self._at < _AHEAD_BYTES // 2:
            try:
                self._take_space()
            except OSError:
                if self._at == self._end:
                    raise
        self._at += os.pwrite(self._file, _TOLD.pack(seq << 1 | is_gone), self._at)

    def _take_space(self) -> None:
        take_space(self._file, self._end, _AHEAD_BYTES)
        self._end += _AHEAD_BYTES

    def close(self) -> None:
        """From now on our records are sent again, unless we have told that they are gone. Idempotent."""
        if self._lock.is_held:
            # Another file may get its number, and is not to be written into by who tells too late.
            file, self._file = self._file, -1
            os.close(file)
        self._lock.release()


class Owners:
    """Reads what all of them tell."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._told: dict[str, dict[int, bool]] = {}
        self._read: dict[str, int] = {}
        self._dead: set[str] = set()

    def look(self, name: str, since: int) -> None:
        """See what that owner has told of records from this number on, and whether it lives."""
        # First whether it lives: what it told before its death is then read for certain.
        is_dead = is_free(self._folder.owner(name))
        told = self._told.setdefault(name, {})
        told.update((number >> 1, bool(number & 1)) for number in self._new(name) if number >> 1 >= since)
        if is_dead:
            self._dead.add(name)

    def is_gone(self, name: str, seq: int) -> bool | None:
        """Whether the record was delivered; None while nobody knows. After a death, what was not told counts as no."""
        return self._told.get(name, {}).get(seq, False if name in self._dead else None)

    def forget(self, heads: Iterable[Head]) -> None:
        """These are asked about no more."""
        for head in heads:
            self._told.get(head.owner or "", {}).pop(head.seq, None)

    def _new(self, name: str) -> list[int]:
        try:
            with self._folder.owner(name).open("rb") as file:
                file.seek(self._read.get(name, 0))
                found = file.read()
        except FileNotFoundError:
            return []
        new = _numbers(found)
        self._read[name] = self._read.get(name, 0) + len(new) * _TOLD.size
        return new


def _numbers(octets: bytes) -> list[int]:
    # A number is never 0, and what was taken ahead is: most of the file.
    whole, told = len(octets) // _TOLD.size, -(-len(octets.rstrip(b"\0")) // _TOLD.size)
    numbers = [number for (number,) in _TOLD.iter_unpack(octets[: min(whole, told) * _TOLD.size])]
    return numbers[: numbers.index(0)] if 0 in numbers else numbers


def somebody_lives(folder: Folder) -> bool:
    """Whether a process has the spool open. Only with the lock for writing: new ones come by it."""
    return any(not is_free(path) for path in folder.root.glob(_ANY))


def dead_owners(folder: Folder) -> set[str]:
    """The names of those who have left a file. Only with the lock for writing: new ones come by it."""
    return {_name(path) for path in folder.root.glob(_ANY) if is_free(path)}


def give_back(folder: Folder, names: Iterable[str]) -> None:
    """Let go of the space that these, who are dead, have taken ahead."""
    for name in names:
        with suppress(FileNotFoundError):
            told = _numbers(folder.owner(name).read_bytes())
            os.truncate(folder.owner(name), len(told) * _TOLD.size)


def forget(folder: Folder, names: Iterable[str]) -> None:
    """Delete the files of these, who are dead and own nothing any more."""
    for name in names:
        folder.owner(name).unlink(missing_ok=True)


def _name(path: Path) -> str:
    return path.stem.removeprefix("owner-")
