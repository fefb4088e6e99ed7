"""What all processes of a host see of the spool at any moment, without a query: a small file in shared memory.

Numbers are changed by whoever holds the lock for writing, before a record is answered and after it is gone from the
spool. So they may be too high for a moment, or after a crash; they are never too low.
"""

import mmap
import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from forebay.ingest.space import take_space

#: Portals share slots: whoever has the slot of a portal in the spool takes its way. A power of two.
_SLOTS = 65_536

#: Places in the header, each of 64 bits.
_RECORDS, _BYTES, _ACKNOWLEDGED, _CLOSED, _OLDEST_MS, _STATE = range(6)
_HEADER = 8
_HEADER_BYTES = 8 * _HEADER
_SLOT_BYTES = 4

#: What can be wrong with the spool, as a number that every process sees.
OK, FULL, BROKEN = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a portal has in the spool."""

    records: int
    size: int


class Counts:
    """The numbers, mapped into this process."""

    def __init__(self, path: Path, *, only_read: bool = False) -> None:
        """Raises `OSError`; only read, also `ValueError` where nobody has begun them."""
        size = _HEADER_BYTES + _SLOTS * _SLOT_BYTES
        flags = os.O_RDONLY if only_read else os.O_CREAT | os.O_RDWR
        file = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            #: Whether nobody has written here before: then nothing of it is true.
            self.is_new = os.fstat(file).st_size < size
            if not only_read:
                take_space(file, 0, size)
            self._map = mmap.mmap(file, size, access=mmap.ACCESS_READ if only_read else mmap.ACCESS_DEFAULT)
        finally:
            os.close(file)
        view = memoryview(self._map)
        self._numbers = view[:_HEADER_BYTES].cast("Q")
        self._slots = view[_HEADER_BYTES:].cast("I")

    def holds(self, key: str) -> bool:
        """Whether the spool may have a record of the portal: then its next one goes behind it."""
        return self._numbers[_RECORDS] != 0 and self._slots[crc32(key.encode()) % _SLOTS] != 0

    @property
    def records(self) -> int:
        """How many records there are."""
        return self._numbers[_RECORDS]

    @property
    def size(self) -> int:
        """How many bytes they have."""
        return self._numbers[_BYTES]

    @property
    def acknowledged(self) -> int:
        """Grows when the queue has taken a record out of the spool, in time for a call to wait for it."""
        return self._numbers[_ACKNOWLEDGED]

    def count_acknowledged(self) -> None:
        """For the one process that drains."""
        self._numbers[_ACKNOWLEDGED] += 1

    @property
    def closed(self) -> int:
        """The file of this number, and those before it, are not written to any more."""
        return self._numbers[_CLOSED]

    @closed.setter
    def closed(self, number: int) -> None:
        self._numbers[_CLOSED] = number

    @property
    def state(self) -> int:
        """`OK`, or what was wrong when somebody tried to write last."""
        return self._numbers[_STATE]

    @state.setter
    def state(self, state: int) -> None:
        self._numbers[_STATE] = state

    @property
    def oldest_ms(self) -> int:
        """When the oldest record came, in milliseconds since the epoch; 0 without one. As the drainer last saw it."""
        return self._numbers[_OLDEST_MS]

    @oldest_ms.setter
    def oldest_ms(self, timestamp_ms: int) -> None:
        self._numbers[_OLDEST_MS] = timestamp_ms

    def add(self, key: str, size: int) -> None:
        """A record of the portal is about to be there."""
        # First here and last below, the number of records tells of every change that a crash has cut off.
        self._numbers[_RECORDS] += 1
        self._numbers[_BYTES] += size
        self._slots[crc32(key.encode()) % _SLOTS] += 1

    def remove(self, key: str, size: int) -> None:
        """A record of the portal is gone."""
        slot = crc32(key.encode()) % _SLOTS
        # Below zero there is nothing; a number that a crash has left too high is set right by `replace`.
        self._slots[slot] = max(0, self._slots[slot] - 1)
        self._numbers[_BYTES] = max(0, self._numbers[_BYTES] - size)
        self._numbers[_RECORDS] = max(0, self._numbers[_RECORDS] - 1)

    def replace(self, found: Iterable[tuple[str, Held]]) -> None:
        """Set everything to what was found of portals. Nobody sees a slot lower than it is meanwhile."""
        slots, records, size = array("I", bytes(_SLOTS * _SLOT_BYTES)), 0, 0
        for key, held in found:
            slots[crc32(key.encode()) % _SLOTS] += held.records
            records, size = records + held.records, size + held.size
        # At once: one by one they take ten milliseconds, and everybody waits for the lock.
        self._slots[:] = memoryview(slots)
        self._numbers[_BYTES], self._numbers[_RECORDS] = size, records

    def close(self) -> None:
        """Let go of the file."""
        self._numbers.release()
        self._slots.release()
        self._map.close()
