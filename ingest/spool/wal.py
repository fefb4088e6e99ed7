"""SQLite's write-ahead log beside a file of the spool, mended before SQLite reads it after a crash.

SQLite takes a log as far as its checksums are right and forgets the rest without a word: one bit that the disk has
changed would cost all that was acknowledged behind it. Source of the formats: sqlite.org/fileformat2.html, section 4,
and sqlite.org/walformat.html, section 2.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count, islice
from pathlib import Path
from struct import Struct
from typing import IO, NamedTuple
from urllib.parse import quote

#: Magic, version, page size, the log's number and its salts; the checksum of all that.
_HEADER = Struct("24s8s")
_PAGE_SIZE, _SALTS = slice(8, 12), slice(16, 24)
_LARGEST_PAGE = 65_536

#: The page's number, and the database's pages where a transaction ends; the log's salts; the checksum. Then the page.
_FRAME = Struct("8s8s8s")
_NUMBERS = Struct(">2I")

#: Of the index in `-shm`: its version, the last committed frame, the database's pages by then, the log's salts.
_INDEX = Struct("=I12xII8x8s")
_INDEX_VERSION = 3_007_000

#: What is summed up is taken for words of this machine.
_WORDS, _SUMS = Struct("=2I"), Struct(">2I")
_WORD_BITS = 32
_WORD = (1 << _WORD_BITS) - 1

#: Of possible explanations so many are looked at: the checksum's own bit, and two others, which are then undecided.
_DISTINCT = 3

Sums = tuple[int, int]


class Mended(NamedTuple):
    """How many frames or headers were set right, how many stay with a changed bit, and how many were left out."""

    set_right: int = 0
    changed: int = 0
    left_out: int = 0


def mend(file: Path, *, dry_run: bool = False) -> Mended:
    """Mend the log of this file of the spool, in place and durably. Nobody may have it open. Raises `OSError`.

    One changed bit is found by the checksum, and set right; where it may be one of several, the page stays as it is,
    for the record's own checksum to find. What was changed more is left out where the index tells that it was
    committed: the frames behind it have nearly all of it again.
    """
    mode = "rb" if dry_run else "r+b"
    with suppress(FileNotFoundError), open(f"{file}-wal", mode, buffering=0) as opened:
        mended = _Log(opened, file, dry_run=dry_run).mended()
        if any(mended) and not dry_run:
            os.fsync(opened.fileno())
        return mended
    return Mended()


class _Frame(NamedTuple):
    summed: bytes
    salts: bytes
    sums: Sums


class _Explanation(NamedTuple):
    """What may have been written: this, with this checksum."""

    summed: bytes
    sums: Sums


class _Log:
    def __init__(self, file: IO[bytes], of: Path, *, dry_run: bool) -> None:
        self._file, self._of, self._dry_run = file.fileno(), of, dry_run
        self._salts, self._frame_bytes = b"", 0
        #: By the index, so many frames are committed, and then the database has so many pages.
        self._committed = self._pages = 0
        self._set_right = self._changed = self._left_out = 0

    def mended(self) -> Mended:
        begin = self._begin()
        if begin is not None:
            # First: SQLite makes another index when it reads the log.
            self._committed, self._pages = _committed(self._of, self._salts)
            frames = max(self._committed, self._frames())
            # SQLite is much faster at finding what is right.
            while (taken := self._taken()) < frames and self._mend(begin, taken):
                pass
        return Mended(self._set_right, self._changed, self._left_out)

    def _begin(self) -> Sums | None:
        """The header's checksum, on which those of the frames are built; None where nothing can be known of it."""
        octets = os.pread(self._file, _HEADER.size, 0)
        if len(octets) < _HEADER.size:
            return None
        summed, sums = _HEADER.unpack(octets)
        have, stored = _sums(summed), _SUMS.unpack(sums)
        for header, told in [(summed, stored)] if have == stored else _explanations(summed, have, stored):
            self._salts, page_bytes = header[_SALTS], int.from_bytes(header[_PAGE_SIZE], "big")
            self._frame_bytes = _FRAME.size + min(page_bytes, _LARGEST_PAGE)
            if have == stored:
                return stored
            if self._follows(0, told):
                self._set_right += 1
                self._write(_HEADER.pack(header, _SUMS.pack(*told)), 0)
                return told
        return None

    def _taken(self) -> int:
        """How many frames SQLite takes, up to one that is not as it was written."""
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file://{quote(str(self._of.absolute()))}?mode=ro", uri=True)) as opened,
        ):
            opened.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            return _committed(self._of, self._salts)[0]
        return 0

    def _frames(self) -> int:
        """How many there are at most."""
        found = 0
        for at in count():
            octets = os.pread(self._file, _FRAME.size, self._place(at))
            if len(octets) == _FRAME.size and self._is_ours(_FRAME.unpack(octets)[1]):
                found = at + 1
            elif len(octets) < _FRAME.size:
                break
        return found

    def _mend(self, begin: Sums, taken: int) -> bool:
        """Mend behind what is taken. Whether one frame is as it was written again, and SQLite may take what follows."""
        before = self._frame(taken - 1) if taken else None
        # The checksum up to here: as it was when the next frame was written, and as it has become.
        now = before.sums if before else begin
        was: Sums | None = now
        for at in count(taken):
            if (frame := self._frame(at)) is None:
                break
            right = self._right(at, frame, was)
            was = right.sums if right else frame.sums if self._is_ours(frame.salts) else None
            if right:
                summed = right.summed
            elif at < self._committed and (page := self._stand_in(at)):
                summed = page
                self._left_out += 1
            else:
                break
            now = _sums(summed, now)
            if (summed, self._salts, now) != frame:
                head = _FRAME.pack(summed[: _NUMBERS.size], self._salts, _SUMS.pack(*now))
                self._write(head + summed[_NUMBERS.size :], self._place(at))
                if was == now and not self._dry_run:
                    return True
        return False

    def _right(self, at: int, frame: _Frame, before: Sums | None) -> _Explanation | None:
        """What the frame was when it was written; None where it is no frame of this log, or too much was changed."""
        if not self._is_ours(frame.salts):
            return None
        # Behind a lost frame the checksum says nothing: then only the index can say that this one is of the log.
        if before is None and at >= self._committed:
            return None
        have = frame.sums if before is None else _sums(frame.summed, before)
        if have == frame.sums:
            self._set_right += frame.salts != self._salts
            return _Explanation(frame.summed, frame.sums)
        possible = [*islice(_explanations(frame.summed, have, frame.sums), _DISTINCT)]
        fitting = [one for one in possible if self._follows(at + 1, one.sums)] or possible
        if len(fitting) > 1:
            self._changed += 1
            return _Explanation(frame.summed, fitting[0].sums)
        self._set_right += len(fitting)
        return fitting[0] if fitting else None

    def _follows(self, at: int, sums: Sums) -> bool:
        """Whether the frame there was written when the checksum was this."""
        frame = self._frame(at)
        return frame is not None and self._is_ours(frame.salts) and _sums(frame.summed, sums) == frame.sums

    def _is_ours(self, salts: bytes) -> bool:
        # Behind the last frame stand those of a former log, with other salts.
        return _bits(salts, self._salts) <= 1

    def _stand_in(self, at: int) -> bytes | None:
        """What changes nothing: the page of a frame beside the lost one, once more. The last one ends a transaction."""
        beside = [self._frame(at - 1)] if at else (self._frame(after) for after in range(1, self._committed))
        frame = next((one for one in beside if one and self._is_ours(one.salts)), None)
        if frame is None:
            return None
        number, _ = _NUMBERS.unpack_from(frame.summed)
        return _NUMBERS.pack(number, self._pages if at + 1 == self._committed else 0) + frame.summed[_NUMBERS.size :]

    def _frame(self, at: int) -> _Frame | None:
        octets = os.pread(self._file, self._frame_bytes, self._place(at))
        if len(octets) < self._frame_bytes:
            return None
        numbers, salts, sums = _FRAME.unpack_from(octets)
        return _Frame(numbers + octets[_FRAME.size :], salts, _SUMS.unpack(sums))

    def _write(self, octets: bytes, place: int) -> None:
        if not self._dry_run:
            os.pwrite(self._file, octets, place)

    def _place(self, at: int) -> int:
        return _HEADER.size + at * self._frame_bytes


def _committed(file: Path, salts: bytes) -> tuple[int, int]:
    """How many frames of the log with these salts are committed by the index, and how many pages the file has by then.

    After a crash of the machine the index may tell of too few, or of none.
    """
    octets = b""
    with suppress(FileNotFoundError), open(f"{file}-shm", "rb") as index:
        octets = index.read(_INDEX.size + _WORDS.size)
    if len(octets) == _INDEX.size + _WORDS.size:
        version, frames, pages, of = _INDEX.unpack_from(octets)
        is_whole = _sums(octets[: _INDEX.size]) == _WORDS.unpack_from(octets, _INDEX.size)
        if is_whole and version == _INDEX_VERSION and of == salts:
            return frames, pages
    return 0, 0


def _sums(octets: bytes, before: Sums = (0, 0)) -> Sums:
    first, second = before
    for even, odd in _WORDS.iter_unpack(octets):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second


def _explanations(summed: bytes, have: Sums, stored: Sums) -> Iterator[_Explanation]:
    """What one changed bit can have been: a bit of the checksum, or one of what that is over."""
    if _bits(_SUMS.pack(*have), _SUMS.pack(*stored)) == 1:
        yield _Explanation(summed, have)
    words = Struct(f"={len(summed) // 4}I")
    given = words.unpack(summed)
    off = (stored[0] - have[0]) & _WORD, (stored[1] - have[1]) & _WORD
    # By how much either sum grows with a word: Fibonacci's numbers, from the last word to the first. Of a high bit only
    # their low bits count, and these come again: then several words can be the one.
    weights = 0, 1
    for at in reversed(range(len(given))):
        for bit in range(_WORD_BITS):
            more = -(1 << bit) if given[at] >> bit & 1 else 1 << bit
            if (more * weights[0] & _WORD, more * weights[1] & _WORD) == off:
                yield _Explanation(words.pack(*given[:at], given[at] + more, *given[at + 1 :]), stored)
        weights = weights[1], sum(weights) & _WORD


def _bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
