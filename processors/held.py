"""How much is held in memory, and when fetching has to wait."""

import asyncio
from collections.abc import Sequence

from forebay.queues.contract import StoredRecord

#: Fetching goes on when so much of the limit is left.
_LOW_MARK = 0.5

#: So much of the limit is given away in shares.
_SHARED = 0.75

#: What a record with our headers costs beside its value, its place in a lane included. tracemalloc says 0.9 to 1.4 KB.
_OVERHEAD_BYTES = 1400


class Held:
    """Counts the records that were fetched and are not finished."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        self._max_records, self._max_bytes = max_records, max_bytes
        self.records = self.bytes = 0
        #: Who shares it, where that counts.
        self.sharers = 1
        #: Nothing more may be fetched.
        self.is_full = False
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def share(self) -> int:
        """How many records each who shares it may have, lest they fill it: then all would wait until half is free."""
        return int(self._max_records * _SHARED / self.sharers)

    @property
    def is_roomy(self) -> bool:
        """Whether half of it is free."""
        return self._is_low()

    def add(self, records: Sequence[StoredRecord]) -> None:
        """Count records."""
        self.records += len(records)
        self.bytes += _bytes(records) + _OVERHEAD_BYTES * len(records)
        if self.records >= self._max_records or self.bytes >= self._max_bytes:
            self.is_full = True
            self._has_room.clear()

    def remove(self, record: StoredRecord) -> None:
        """Count it no longer."""
        self._let_go(1, len(record.value))

    def remove_all(self, records: Sequence[StoredRecord]) -> None:
        """Count none of them any longer."""
        self._let_go(len(records), _bytes(records))

    async def room(self) -> None:
        """Return at once below the limits; above them, when half of both is free again."""
        await self._has_room.wait()

    def _let_go(self, records: int, value_bytes: int) -> None:
        self.records -= records
        self.bytes -= value_bytes + _OVERHEAD_BYTES * records
        if self.is_full and self._is_low():
            self.is_full = False
            self._has_room.set()

    def _is_low(self) -> bool:
        return self.records <= self._max_records * _LOW_MARK and self.bytes <= self._max_bytes * _LOW_MARK


def _bytes(records: Sequence[StoredRecord]) -> int:
    return sum([len(record.value) for record in records])
