"""Dealing with letters: sending them again or dropping them, and writing down that it was done."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

from forebay.queues.contract import Producer, Record
from forebay.queues.errors import QueueError
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import Codec, new_codec

from .learning import decodable
from .letters import BOXES, Filter, Letter, headers_of, letters, without
from .reading import opened
from .times import iso, to_ms, utc_now

#: Letters under way at once; a crash repeats no more of them. Enough for one group commit of the queue.
BATCH_LETTERS = 200

#: What a dead letter has beside the record that it was starts with this.
_DEAD_PREFIX = "forebay_dead_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Resolves letters of one stream. At least once: a crash between the two writes leaves the letter open."""

    producer: Producer
    topic: str
    clock: Callable[[], datetime] = utc_now

    async def replay(self, chosen: Sequence[Letter]) -> None:
        """Send the records again, in order, to the group that gave them up; then mark the letters."""
        await _in_order([self._again(letter) for letter in chosen], self.producer)
        await self._mark(chosen, "replay")

    async def discard(self, chosen: Sequence[Letter]) -> None:
        """Mark the letters, and nothing else; retention takes them in its time."""
        await self._mark(chosen, "discard")

    def _again(self, letter: Letter) -> tuple[str, Record]:
        record, headers = letter.record, headers_of(letter.record)
        kept = without(without(record.headers, _DEAD_PREFIX), names.REPLAY_GROUP)
        group = headers.get(names.DEAD_GROUP, "").encode()
        again = Record(
            key=record.key,
            value=record.value,
            # The time of the replay: with the old one, retention could take the record before it is handled.
            timestamp_ms=to_ms(self.clock()),
            headers=(*kept, (names.REPLAY_GROUP, group)) if group else kept,
        )
        return headers.get(names.DEAD_TOPIC) or self.topic, again

    async def _mark(self, chosen: Sequence[Letter], how: str) -> None:
        marks = [(letter.record.stream, self._resolution(letter, how)) for letter in chosen]
        places = await _in_order(marks, self.producer)
        for letter, partition in zip(chosen, places, strict=True):
            if partition != letter.record.partition:
                raise QueueError(
                    f"the mark of {letter.id} went to partition {partition}, the letter stands in "
                    f"{letter.record.partition}: was {letter.record.stream} made with another number of partitions?"
                )

    def _resolution(self, letter: Letter, how: str) -> Record:
        at = self.clock()
        headers = (
            (names.RESOLVED_OFFSET, str(letter.record.offset).encode()),
            (names.RESOLVED_BY, how.encode()),
            (names.RESOLVED_AT, (iso(at) or "").encode()),
        )
        return Record(key=letter.record.key, value=b"", timestamp_ms=to_ms(at), headers=headers)


async def _in_order(records: Sequence[tuple[str, Record]], producer: Producer) -> list[int]:
    """Send all; tasks made in order keep a key's order, and share the queue's group commit."""
    sent = [asyncio.create_task(producer.send(stream, record)) for stream, record in records]
    return [position.partition for position in await asyncio.gather(*sent)]


async def batches(found: AsyncIterator[Letter]) -> AsyncIterator[list[Letter]]:
    """The letters in lists of at most `BATCH_LETTERS`."""
    batch: list[Letter] = []
    async for letter in found:
        batch.append(letter)
        if len(batch) == BATCH_LETTERS:
            yield batch
            batch = []
    if batch:
        yield batch


async def open_letters(settings: QueueSettings, codec: Codec, name: str, wanted: Filter) -> list[Letter]:
    """The open letters of the box of that name, the oldest first; the codec can decode them afterwards."""
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        found = [letter async for letter in letters(inspector, codec, BOXES[name], settings.topic, wanted)]
    return sorted(found, key=lambda letter: letter.at)


async def resolve(settings: QueueSettings, name: str, how: str, wanted: Filter, told: Callable[[int], None]) -> int:
    """Replay or discard the open letters of the box, and return how many; `told` hears how many are done by then."""
    done, codec = 0, new_codec()
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector, AsyncExitStack() as stack:
        producer = queue.producer()
        stack.push_async_callback(producer.close)
        resolver = Resolver(producer=producer, topic=settings.topic)
        act = resolver.replay if how == "replay" else resolver.discard
        async for batch in batches(letters(inspector, codec, BOXES[name], settings.topic, wanted)):
            await act(batch)
            done += len(batch)
            told(done)
    return done
