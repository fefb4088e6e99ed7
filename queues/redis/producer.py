"""The writing side: many calls of `send` become one script, and one fsync."""

import secrets
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import orjson
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from forebay.queues.contract import Position
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused
from forebay.schemas.logger import get_logger
from forebay.schemas.portal import partition_of

from ..batches.producer import BatchProducer
from ..batches.sent import Outcome, Sent, by_stream, failed
from ..threads.connection_thread import ConnectionThread
from . import scripts
from .connection import RedisConnection, RedisStore
from .streams import ANOTHER, Stream, find, made_anew

#: For so long after its last batch it is known what a producer has written: longer than a server is ever away.
_KNOWN_MS = 7 * 24 * 3_600_000

#: Seconds between two questions to a server that was lost while it wrote.
_ASK_AGAIN_S = 0.5

#: What is told of a batch whose number is behind that of a later one. It can't be: one is written after the other.
_SUPERSEDED = "the batch came after a later one of the same producer"

#: What the script says of a batch that is there, or that it was told never to write.
_KNOWN = b"kept"

log = get_logger(__name__)


class RedisProducer(BatchProducer[RedisConnection]):
    """A record has at most 64 MiB, headers included, or what the server lets through."""

    def __init__(self, store: RedisStore) -> None:
        thread = store.thread("forebay-producer")
        super().__init__(_RedisWriter(store, thread), thread)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """The records of one stream, and the number under which they are written once."""

    stream: Stream
    number: int
    sent: Sequence[Sent]
    partitions: Sequence[int]


class _RedisWriter:
    """Writes what a batch has for a stream with one script."""

    def __init__(self, store: RedisStore, thread: ConnectionThread[RedisConnection]) -> None:
        self.name = store.name
        self._store, self._thread = store, thread
        self._me = secrets.token_hex(8)
        self._numbers = count()
        self._streams: dict[str, Stream] = {}

    def touch(self, connection: RedisConnection) -> None:
        """A counter that nobody reads."""
        connection.check()
        connection.ask("INCR", "forebay:checks")

    def announce(self) -> None:
        """The script has done it."""

    def write(self, batch: Sequence[Sent], given_up: threading.Event) -> Sequence[Outcome]:
        """Stream by stream: each is one step, and what became of one says nothing about the others."""
        return by_stream(batch, partial(self._of_stream, given_up=given_up))

    def _of_stream(self, name: str, sent: Sequence[Sent], given_up: threading.Event) -> Sequence[Outcome]:
        try:
            stream, most = self._looked_up(name)
            fitting = [one for one in sent if one.size <= most]
            written = iter(self._write(self._numbered(stream, fitting), given_up) if fitting else [])
            return [next(written) if one.size <= most else _too_large(one, most) for one in sent]
        except QueueError as error:
            return failed(sent, error)

    def _looked_up(self, name: str) -> tuple[Stream, int]:
        """The stream, and how large a record of it the server lets through just now."""
        with self._thread.connected() as connection:
            connection.check()
            if name not in self._streams:
                self._streams[name] = find(connection, name)
            return self._streams[name], connection.server.limits.record

    def _numbered(self, stream: Stream, sent: Sequence[Sent]) -> _Batch:
        partitions = [partition_of(one.record.key, stream.partitions) for one in sent]
        return _Batch(stream=stream, number=next(self._numbers), sent=sent, partitions=partitions)

    def _write(self, batch: _Batch, given_up: threading.Event) -> list[Outcome]:
        lost: QueueError | None = None
        while not given_up.is_set():
            is_asked = False
            try:
                with self._thread.connected() as connection:
                    is_asked = True
                    firsts = self._written(connection, batch, lost)
                    if firsts is not None and not self._is_copied(connection):
                        raise _NotCopied(f"{self.name}: fewer replicas than queue_url says have what was written")
            except _Refused as error:
                raise error.told from error
            except QueueError as error:
                if lost is None and not (is_asked and _is_unknown(error)):
                    raise
                self._tell_undecided(batch, error, lost)
                lost = error
                given_up.wait(_ASK_AGAIN_S)
            else:
                if lost is not None:
                    log.warning("write_decided", queue=self.name, records=len(batch.sent), kept=firsts is not None)
                return _placed(batch, firsts) if firsts else failed(batch.sent, lost or QueueUnavailable(_SUPERSEDED))
        raise QueueUnavailable("the producer was closed before the server had answered")

    def _written(self, connection: RedisConnection, batch: _Batch, lost: QueueError | None) -> dict[int, int] | None:
        """The first offset in each partition; None when the batch is not there, and never will be."""
        try:
            return self._append(connection, batch)
        except (LostConnection, NoAnswer):
            raise
        except RedisError:
            if lost is None:
                raise
            # It is refused now; but what became of it before?
            producer = batch.stream.keys.producer(self._me)
            return _firsts(connection.run(scripts.DECIDE, [producer], batch.number, _KNOWN_MS))

    def _append(self, connection: RedisConnection, batch: _Batch) -> dict[int, int] | None:
        keys, counts = batch.stream.keys, sorted(Counter(batch.partitions).items())
        names = [keys.about, keys.ends, keys.producer(self._me), *(keys.log(partition) for partition, _ in counts)]
        values: list[str | bytes | int] = []
        for partition, one in zip(batch.partitions, batch.sent, strict=True):
            values += (partition, one.record.key, one.record.timestamp_ms, one.headers, one.record.value)
        about = (batch.stream.id, batch.number, _KNOWN_MS, keys.news, orjson.dumps(counts))
        answer = connection.run(scripts.APPEND, names, *about, *values)
        if answer[0] == ANOTHER:
            del self._streams[batch.stream.name]
            raise _Refused(made_anew(connection, batch.stream))
        return _firsts(answer[1]) if answer[0] == _KNOWN else None

    def _is_copied(self, connection: RedisConnection) -> bool:
        try:
            return connection.is_copied(self._store.address.replicas)
        except ResponseError as error:
            # It is written, whatever is said here: the server is no primary any more, or we may not ask.
            raise _NotCopied(self._store.remedy(error)) from error

    def _tell_undecided(self, batch: _Batch, error: QueueError, before: QueueError | None) -> None:
        if before is None or str(before) != str(error):
            log.warning("write_undecided", queue=self.name, records=len(batch.sent), error=str(error))


class _Refused(Exception):
    """The batch was not written, and will not be."""

    def __init__(self, told: QueueError) -> None:
        super().__init__(str(told))
        self.told = told


class _NotCopied(QueueUnavailable):
    """Written, but not where the URL says yet."""


def _too_large(sent: Sent, most: int) -> RecordRefused:
    return RecordRefused(
        f"the record has {sent.size} bytes; the server lets {most} through, by its proto-max-bulk-len, "
        "client-query-buffer-limit and client-output-buffer-limit"
    )


def _is_unknown(error: QueueError) -> bool:
    """Whether the server may have done what it was asked for: it did not say."""
    return isinstance(error, _NotCopied) or isinstance(error.__cause__, LostConnection | NoAnswer | OSError)


def _firsts(answer: bytes) -> dict[int, int] | None:
    pairs = (pair.partition(b":") for pair in answer.split())
    return {int(partition): int(first) for partition, _, first in pairs} or None


def _placed(batch: _Batch, following: dict[int, int]) -> list[Outcome]:
    positions: list[Outcome] = []
    for partition in batch.partitions:
        positions.append(Position(partition=partition, offset=following[partition]))
        following[partition] += 1
    return positions
