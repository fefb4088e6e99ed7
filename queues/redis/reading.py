"""Reading records of a stream in Redis, and hearing of new ones."""

import time
from collections.abc import Collection, Iterable, Sequence

from redis.exceptions import RedisError

from forebay.queues.contract import PlacedRecord, StoredRecord
from forebay.schemas.logger import get_logger

from ..groups.bell import Bell
from ..groups.contract import Stretch, Wanted, up_to
from ..headers import unpack
from . import delivery, scripts
from .connection import RedisConnection
from .scripts import LEAP, STEP
from .streams import ANOTHER, Stream

#: Bytes of values that one read takes into memory at most, a single larger record aside.
_READ_BYTES = 8 * 1024 * 1024

#: Seconds after which a reader looks without having heard of anything: an announcement is never sent twice.
_LOOK_EVERY_S = 1.0

log = get_logger(__name__)

#: An entry of a Redis stream: its id, and names and values by turns.
Entry = tuple[bytes, Sequence[bytes]]


def read(connection: RedisConnection, stream: Stream, partition: int, offset: int, most: int) -> list[StoredRecord]:
    """Records of the partition from the offset on: at most so many, and at most so many bytes as memory should hold."""
    log = stream.keys.log(partition)
    entries = connection.run(scripts.READ, [log], f"{offset}-0", most, _room(connection))
    return _stored(stream.name, partition, entries)


def _room(connection: RedisConnection) -> int:
    return min(_READ_BYTES, connection.server.limits.answer)


def _stored(stream: str, partition: int, entries: Iterable[Entry]) -> list[StoredRecord]:
    return [
        PlacedRecord(
            stream=stream,
            partition=partition,
            offset=int(place.partition(b"-")[0]),
            key=key.decode(),
            value=value,
            timestamp_ms=int(timestamp),
            headers=unpack(headers),
        )
        for place, (_, key, _, timestamp, _, headers, _, value) in entries
    ]


class News:
    """What is announced of one stream, for one reader and in its thread."""

    def __init__(self, stream: Stream) -> None:
        self._channel = stream.keys.news
        self._opened: RedisConnection | None = None

    def begin(self, connection: RedisConnection) -> None:
        """What was announced so far is of records that the next look sees."""
        for _ in connection.subscription(self._channel).heard():
            pass
        self._opened = connection

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """Return when one of the partitions has news. A connection that is lost is told by the next look."""
        if self._opened is None:
            return
        until, wanted = time.monotonic() + min(timeout_s, _LOOK_EVERY_S), set(map(str, partitions))
        subscription = self._opened.subscription(self._channel)
        try:
            # First what came meanwhile: the socket may have it no more.
            while not any(not wanted.isdisjoint(told.split()) for told in list(subscription.heard())):
                left = until - time.monotonic()
                if left <= 0 or bell.wait(left, subscription.fileno()):
                    return
        except (RedisError, OSError):
            return


class RedisLog(News):
    """The stream as one member of a group reads it: each read is one delivery, to that member by name."""

    def __init__(self, stream: Stream, group: str, me: str) -> None:
        super().__init__(stream)
        self._stream, self._group, self._me = stream, group, me

    def ends(self, connection: RedisConnection, partitions: Collection[int]) -> dict[int, int]:
        """As in the protocol; of a stream that is gone there are none."""
        if not partitions:
            return {}
        ends = connection.ask("HMGET", self._stream.keys.ends, *partitions)
        return {partition: int(end) for partition, end in zip(partitions, ends, strict=True) if end is not None}

    def read(self, connection: RedisConnection, wanted: Sequence[Wanted]) -> list[Stretch]:
        """As in the protocol. Who has a lease no more can't tell what stands there: the server gives it nothing."""
        keys = self._stream.keys
        names = [keys.about, keys.leases(self._group), *(keys.log(one.partition) for one in wanted)]
        places = [number for one in wanted for number in (one.partition, one.offset, one.most)]
        reader = (self._stream.id, self._group, self._me)
        answer = connection.run(delivery.DELIVER, names, *reader, _room(connection), *places)
        delivered = [None] * len(wanted) if answer[0] == ANOTHER else answer[1]
        return [self._compared(connection, one, entries) for one, entries in zip(wanted, delivered, strict=True)]

    def still_has(self, connection: RedisConnection, record: StoredRecord) -> bool:
        """As in the protocol."""
        found = read(connection, self._stream, record.partition, record.offset, 1)
        if found and found[0].offset == record.offset:
            return found[0] == record
        first = connection.ask("HGET", self._stream.keys.starts, record.partition)
        return record.offset < int(first or 0)

    def _compared(self, connection: RedisConnection, one: Wanted, entries: Sequence[Entry] | None) -> Stretch:
        if one.last is not None and not self.still_has(connection, one.last):
            return Stretch([], one.offset, is_set_back=True)
        return self._stretch(one, entries)

    def _stretch(self, one: Wanted, entries: Sequence[Entry] | None) -> Stretch:
        if entries is None:
            return Stretch([], one.offset)
        stretch = up_to(_stored(self._stream.name, one.partition, entries), one.end)
        gone = stretch.following - one.offset - len(stretch.records)
        # Numbers that no server has given out are no records.
        if gone := gone % STEP if gone >= LEAP else gone:
            place = {"stream": self._stream.name, "partition": one.partition}
            log.error("records_gone", **place, records=gone, start=one.offset, end=stretch.following)
        return stretch
