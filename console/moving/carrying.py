"""Sending, a portal's records one after the other: what can't be sent leaves no gap before what was."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from forebay.console.stopping import Stop
from forebay.queues.contract import Producer, Record
from forebay.queues.errors import RecordRefused

#: Records on their way through memory at once, of each of so many partitions.
_BATCH = 500
_AT_ONCE = 4

#: A stream of the target, and what goes there.
Sending = tuple[str, Record]


class Carrier:
    """Brings records to the target, several partitions at a time, until told to stop."""

    def __init__(self, producer: Producer, stop: Stop, sent: Callable[[int], None]) -> None:
        self._producer, self._stop, self._sent = producer, stop, sent
        self._count = 0

    async def carry(self, parts: Sequence[AsyncIterator[Sending]]) -> int:
        """Bring all of it, each part in its order; how many were sent.

        Raises what the first that failed raised, and then nothing runs.
        """
        waiting = list(reversed(parts))
        results = await asyncio.gather(*(self._work(waiting) for _ in range(_AT_ONCE)), return_exceptions=True)
        _raise_first(results)
        return self._count

    async def _work(self, waiting: list[AsyncIterator[Sending]]) -> None:
        try:
            while waiting and not self._stop.is_asked:
                await self._carry(waiting.pop())
        except BaseException:
            # What the others send is kept in order, but nobody waits for more of it.
            self._stop.ask()
            raise

    async def _carry(self, part: AsyncIterator[Sending]) -> None:
        batch: list[Sending] = []
        async for one in part:
            batch.append(one)
            if len(batch) >= _BATCH:
                await self._send(batch)
                batch = []
            if self._stop.is_asked:
                return
        await self._send(batch)

    async def _send(self, batch: list[Sending]) -> None:
        lanes: dict[tuple[str, str], list[Sending]] = {}
        for stream, record in batch:
            lanes.setdefault((stream, record.key), []).append((stream, record))
        results = await asyncio.gather(*map(self._lane, lanes.values()), return_exceptions=True)
        _raise_first(results)

    async def _lane(self, lane: list[Sending]) -> None:
        for stream, record in lane:
            if self._stop.is_asked:
                return
            try:
                await self._producer.send(stream, record)
            except RecordRefused as error:
                raise RecordRefused(f"an event of {record.key}, {len(record.value):,} bytes: {error}") from error
            self._count += 1
            self._sent(1)


def _raise_first(results: Sequence[BaseException | None]) -> None:
    for result in results:
        if result is not None:
            raise result
