"""Gaps written down in a file of this process, whose space is taken while there is some: the disk may be full later.

There is no fsync: what is written outlives the process, and after a power cut the last half minute may be missing.
"""

import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from struct import Struct
from zlib import crc32

from forebay.ingest.locks import FileLock
from forebay.ingest.space import take_space
from forebay.queues.folders import make_folder
from forebay.schemas.logger import get_logger

from .gap import Gap

log = get_logger(__name__)

#: Of a file: some 85,000 portals with names of the usual length. What comes after them is in memory only.
_BYTES = 8 << 20

#: So much of it is read at once. No entry is as long: where all of it is zeros, nothing stands behind.
_LOOK_BYTES = 65_536

#: Length of the names, from, to, calls, verified; behind them the names, and before all of it a checksum.
_NUMBERS = Struct("<HQQQ?")
_CHECKSUM = Struct("<I")

#: Below `data_dir`.
FOLDER = "gaps"

_FILE = re.compile(r"gaps-(\d+)")

#: Between the names. No domain, member_id or endpoint has it.
_BETWEEN = "\0"


class Book:
    """The file of that path; who opens it has its lock. Raises `OSError` where it can't be made."""

    def __init__(self, lock: FileLock, path: Path, size: int = _BYTES) -> None:
        self.path, self._lock, self._size = path, lock, size
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            take_space(self._file, 0, size)
            found = list(_entries(_written(self._file, size)))
        except BaseException:
            os.close(self._file)
            raise
        self._end = max((at + length for at, length, _ in found), default=0)
        #: Portal → where its gap stands, and how long that is.
        self._places = {gap.portal: (at, length) for at, length, gap in found if gap.calls}
        #: What stood there when it was opened.
        self.gaps = [gap for _, _, gap in found if gap.calls]

    def write(self, gap: Gap) -> None:
        """Write the gap down, over what stood there of its portal; without calls it is done with."""
        if not self._places:
            # Nothing that is still needed stands there.
            self._end = 0
        entry = _entry(gap)
        at, length = self._places.get(gap.portal, (self._end, len(entry)))
        if length == len(entry) and at + length <= self._size:
            os.pwrite(self._file, entry, at)
            self._end = max(self._end, at + length)
            self._places[gap.portal] = at, length
        if not gap.calls:
            self._places.pop(gap.portal, None)

    def drop(self) -> None:
        """Take it away, with what stands there: that is in another.

        Where that can't be done, which raises `OSError`, its lock stays as long as the process: nobody finds it again.
        """
        self._places = {}
        self.close()

    def close(self) -> None:
        """Let go of it; it goes when nothing stands there. What would be written later raises `OSError`."""
        if not self._places:
            self.path.unlink(missing_ok=True)
        # Another file may get its number.
        file, self._file = self._file, -1
        os.close(file)
        self._lock.release()


def own_book(folder: Path) -> Book | None:
    """The first that is nobody's, with what somebody may have left there; None where none can be made.

    What can't be read, as another user's, is left where it is: `left_books` tells of it.
    """
    try:
        make_folder(folder, 0o700)
        for number in count():
            was_there = any(path.exists() for path in (_lock_of(folder, number), _book_of(folder, number)))
            try:
                if (lock := FileLock(_lock_of(folder, number))).take():
                    return _opened(lock, folder, number)
            except OSError:
                # Not even a new one can be made.
                if not was_there:
                    raise
    except OSError as error:
        log.warning("gaps are noted in memory only, and not over a restart", folder=str(folder), error=str(error))
    return None


def left_books(folder: Path) -> Iterator[Book]:
    """Those of processes that are gone. Behind the last one, raises the `OSError` of one that can't be read."""
    unread: OSError | None = None
    found = (_FILE.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    for number in sorted(int(match[1]) for match in found if match):
        try:
            book = _opened(lock, folder, number) if (lock := FileLock(_lock_of(folder, number))).take() else None
        except OSError as error:
            # Those behind it are not to wait for it.
            unread = error
            continue
        if book is not None:
            yield book
    if unread is not None:
        raise unread


def _book_of(folder: Path, number: int) -> Path:
    return folder / f"gaps-{number}"


def _lock_of(folder: Path, number: int) -> Path:
    # A file of its own, which is never deleted: otherwise two might hold locks on two files of one name.
    return folder / f"gaps-{number}.lock"


def _opened(lock: FileLock, folder: Path, number: int) -> Book:
    try:
        return Book(lock, _book_of(folder, number))
    except BaseException:
        lock.release()
        raise


def _entry(gap: Gap) -> bytes:
    names = _BETWEEN.join((gap.portal, gap.member_id or "", gap.endpoint)).encode()
    said = _NUMBERS.pack(len(names), gap.from_ms, gap.to_ms, gap.calls, gap.verified) + names
    return _CHECKSUM.pack(crc32(said)) + said


def _written(file: int, size: int) -> bytes:
    """What stands there, and some of the zeros behind it: these are megabytes, and each worker starts with a look."""
    octets = b""
    while len(octets) < size:
        octets += (more := os.pread(file, min(_LOOK_BYTES, size - len(octets)), len(octets)))
        if more == bytes(len(more)):
            break
    return octets


def _entries(octets: bytes) -> Iterator[tuple[int, int, Gap]]:
    """Place, length and gap of each, up to what was never written. What a power cut has torn is passed over.

    What is written over an entry is as long, so that the next one is found behind it.
    """
    at, names_at = 0, _CHECKSUM.size + _NUMBERS.size
    while at + names_at <= len(octets):
        length, from_ms, to_ms, calls, verified = _NUMBERS.unpack_from(octets, at + _CHECKSUM.size)
        if not length:
            return
        begin, at = at, at + names_at + length
        if _CHECKSUM.unpack_from(octets, begin)[0] != crc32(octets[begin + _CHECKSUM.size : at]):
            continue
        portal, member_id, endpoint = octets[begin + names_at : at].decode().split(_BETWEEN)
        yield (
            begin,
            at - begin,
            Gap(
                portal=portal,
                member_id=member_id or None,
                endpoint=endpoint,
                verified=verified,
                from_ms=from_ms,
                to_ms=to_ms,
                calls=calls,
            ),
        )
