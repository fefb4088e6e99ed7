"""The facts about portals in a compacted topic of one partition."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from forebay.queues.contract import Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.portals.contract import Chapter, Fact, PlacedFact

from ..threads.daemons import Threads
from . import closing
from .admin import Admin
from .clients import Clients
from .faults import cause, of_request
from .outsider import Outsider, is_about_the_group
from .producer import KafkaProducer
from .topics import Topics

#: Facts of one chapter.
_CHAPTER_FACTS = 2500

#: A broker that doesn't say within that where the log ends is not there.
_ANSWER_S = 2.0

#: One wait of the reading thread: at a stop, it is waited for.
_LONGEST_WAIT_S = 0.5

_PARTITION = 0


class KafkaPortalStore:
    """Writes as a producer of events does, and reads in a thread of its own."""

    def __init__(self, clients: Clients, admin: Admin, topics: Topics, topic: str) -> None:
        self._clients, self._admin, self._topics, self._topic = clients, admin, topics, topic
        self._producer: _FactProducer | None = None
        self._reader = _FactReader(clients, topic)
        self._reading: Threads | None = Threads(1, "forebay-portals")

    async def ensure(self, *, only_plan: bool = False) -> list[str]:
        """As in the contract."""
        return await self._topics.ensure_compacted(self._topic, only_plan=only_plan)

    async def put(self, facts: Sequence[Fact]) -> int:
        """As in the contract."""
        if self._reading is None:
            raise QueueUnavailable("this store was closed")
        if self._producer is None:
            self._producer = _FactProducer(self._clients, self._topics)
        now_ms = time.time_ns() // 1_000_000
        records = [Record(key=fact.key, value=fact.value or b"", timestamp_ms=now_ms) for fact in facts]
        send = partial(self._producer.send, self._topic)
        # As tasks: they begin in this order, which is then that of the log.
        placed = await asyncio.gather(*(asyncio.create_task(send(record)) for record in records))
        return placed[-1].offset

    async def end(self) -> int:
        """As in the contract."""
        await self._topics.partitions(self._topic)
        return (await self._admin.ends(self._topic, [_PARTITION]))[_PARTITION]

    async def read(self, start: int, timeout_s: float) -> Chapter:
        """As in the contract."""
        if self._reading is None:
            raise QueueUnavailable("this store was closed")
        read = partial(self._reader.read, start, min(timeout_s, _LONGEST_WAIT_S))
        return await asyncio.get_running_loop().run_in_executor(self._reading, read)

    async def close(self) -> None:
        """As in the contract."""
        reading, self._reading = self._reading, None
        closes = [self._producer.close()] if self._producer is not None else []
        if reading is not None:
            # Behind a read that hangs the client is still closed, also when nobody waits for that any more.
            closes.append(closing.in_time(reading.end(self._reader.close)))
        # At once: what hangs on one side, and is given up, keeps the other from nothing.
        await asyncio.gather(*closes)


class _FactProducer(KafkaProducer):
    """A producer whose records without a value take back what their key said: so compaction wants it."""

    def value_of(self, record: Record) -> bytes | None:
        """None where there is none."""
        return record.value or None


class _FactReader:
    """Keeps its client and its place. Used in one thread only."""

    def __init__(self, clients: Clients, topic: str) -> None:
        self._outsider, self._topic = Outsider(clients), topic

    def read(self, start: int, timeout_s: float) -> Chapter:
        """As in the contract."""
        client = self._outsider.at(self._topic, _PARTITION, _place(start))
        first = client.poll(timeout_s)
        found = [first, *client.consume(_CHAPTER_FACTS - 1, 0)] if first is not None else []
        facts = [fact for message in found if (fact := self._fact(message))]
        following = facts[-1].offset + 1 if facts else start
        # The broker is asked only where the client has nothing: the answer waits behind the fetch that runs.
        is_end = any(_ends_at(message, following) for message in found) or (
            not found and following >= self._end(client)
        )
        self._outsider.reached(self._topic, _PARTITION, _place(following))
        return Chapter(facts, following, is_end)

    def _fact(self, message: Message) -> PlacedFact | None:
        error = message.error()
        if error is None:
            key = (message.key() or b"").decode("ascii", "replace")
            return PlacedFact(message.offset() or 0, key, message.value())
        if error.code() != KafkaError._PARTITION_EOF and not is_about_the_group(message):
            raise of_request(error, self._topic)
        return None

    def _end(self, client: Consumer) -> int:
        """As the broker says: that nothing comes may also mean that it is gone."""
        try:
            # None, whatever its types say, when no answer has come.
            found: tuple[int, int] | None = client.get_watermark_offsets(
                TopicPartition(self._topic, _PARTITION), timeout=_ANSWER_S
            )
        except KafkaException as error:
            raise self._outsider.unavailable(cause(error)) from error
        if found is None:
            silence = KafkaError(KafkaError._TIMED_OUT, f"no answer came within {_ANSWER_S:.0f} s")
            raise self._outsider.unavailable(silence)
        return found[1]

    def close(self) -> None:
        """Let go of the cluster. Idempotent."""
        self._outsider.close()


def _place(start: int) -> int:
    # What stood at the very beginning may be gone, and then there is no such offset any more.
    return start or OFFSET_BEGINNING


def _ends_at(message: Message, following: int) -> bool:
    """Whether the client says that the log ends there. (It may also be the end of an earlier read.)"""
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= following
