"""The writing side: many calls of `send` become one transaction, and one fsync."""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial

import structlog
from sqlalchemy import Connection, update

from forebay.queues.contract import Delivery, Position, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, UnknownStream
from forebay.schemas.portal import partition_of

from .connection_thread import ConnectionThread, tell
from .database import MAX_RECORD_BYTES, Database, Place, Row, Undecided, again
from .headers import pack
from .schema import Stream, find
from .tables import meta

#: What one transaction takes at most: others wait for it, and for its fsync.
_BATCH_RECORDS = 1024
_BATCH_BYTES = 8 * 1024 * 1024

#: What the key's column takes in every database.
_MAX_KEY_CHARS = 255

#: The signed 64 bits of a BIGINT.
_MAX_TIMESTAMP = 2**63 - 1

#: Seconds after which a queue that doesn't answer a check is called unavailable.
_CHECK_S = 5.0

#: Seconds between two questions to a database that was lost while it committed.
_ASK_AGAIN_S = 0.5

#: Where a connection keeps the streams that were found on it.
_STREAMS = "forebay_streams"

#: Hashing a key is pure Python and takes longer than the rest of its way; keys come again and again.
_partition_of = lru_cache(maxsize=100_000)(partition_of)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """One call of `send`, on its way to the disk."""

    stream: str
    record: Record
    headers: bytes
    delivery: Delivery

    @property
    def size(self) -> int:
        """Bytes of it that grow with the record."""
        return len(self.headers) + len(self.record.value)

    def row(self, place: Place, offset: int) -> Row:
        """The record as it stands at this place."""
        record = self.record
        return Row(*place, offset, record.timestamp_ms, record.key, self.headers, record.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """What becomes of a batch when its transaction is done: an outcome for each call, and the rows."""

    outcomes: "list[Position | QueueError]"
    rows: list[Row]


class SqlProducer:
    """Hands records to a thread that writes all that waits at once, in the order of the calls."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ConnectionThread(database, "forebay-producer")
        self._waiting: deque[_Sent] = deque()
        self._closed = False
        #: Set when nobody waits any more to hear what became of a batch.
        self._given_up = threading.Event()
        #: Set unless the thread was told to write and has not answered yet.
        self._idle = asyncio.Event()
        self._idle.set()

    async def send(self, stream: str, record: Record) -> Position:
        """As in the contract; a record has at most 64 MiB."""
        answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.submit(stream, record, answer)
        return await answer

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract."""
        headers = _checked(record)
        if self._closed:
            raise QueueUnavailable(f"this producer of {self._database.name} was closed")
        self._waiting.append(_Sent(stream=stream, record=record, headers=headers, delivery=delivery))
        if self._idle.is_set():
            self._write_soon()

    async def check(self) -> None:
        """As in the contract: a transaction of its own goes to the disk."""
        try:
            async with asyncio.timeout(_CHECK_S):
                await self._thread.run(self._touch)
        except TimeoutError as error:
            raise QueueUnavailable(
                f"{self._database.name} took nothing for {_CHECK_S:.0f} s: the disk hangs, or another process that "
                "writes to it is stopped"
            ) from error

    async def close(self) -> None:
        """As in the contract; cancelled, it gives up what the database has not decided yet."""
        self._closed = True
        try:
            while not self._idle.is_set():
                await self._idle.wait()
        except asyncio.CancelledError:
            self._given_up.set()
            raise
        await self._thread.close()

    def _touch(self, connection: Connection) -> None:
        with self._database.writing(connection):
            connection.execute(update(meta).where(meta.c.name == "checks").values(value=meta.c.value + 1))

    def _write_soon(self) -> None:
        # In the loop's next turn, for all that is sent in this one. To wake the thread for each record would cost as
        # much as everything else, as loop and thread then fight for the GIL.
        self._idle.clear()
        loop = asyncio.get_running_loop()
        loop.call_soon(self._thread.post, partial(self._write_waiting, loop))

    def _write_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._take_batch()
        placed = self._write(batch)
        tell(loop, self._written, batch, placed.outcomes)
        self._announce(placed.rows)

    def _written(self, batch: Sequence[_Sent], outcomes: "Sequence[Position | QueueError]") -> None:
        self._idle.set()
        if self._waiting:
            self._write_soon()
        _answer(batch, outcomes)

    def _take_batch(self) -> list[_Sent]:
        batch: list[_Sent] = []
        size = 0
        while self._waiting and len(batch) < _BATCH_RECORDS and size < _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].record.value)
        return batch

    def _write(self, batch: Sequence[_Sent]) -> _Placed:
        try:
            return again(partial(self._write_once, batch))
        except Exception as error:  # a thread that died would leave its callers waiting for ever
            return _failed(batch, error)

    def _write_once(self, batch: Sequence[_Sent]) -> _Placed:
        try:
            with self._thread.connected() as connection, self._database.writing(connection):
                placed = self._place(connection, batch)
        except Undecided as error:
            return self._decided(placed, batch, error)
        return placed

    def _place(self, connection: Connection, batch: Sequence[_Sent]) -> _Placed:
        most = self._database.record_bytes(connection)
        places = [_too_large(sent, most) or self._place_of(connection, sent) for sent in batch]
        counts = Counter(place for place in places if isinstance(place, Place))
        following = self._database.take_offsets(connection, counts)
        if following.keys() != counts.keys():
            del connection.info[_STREAMS]
            raise QueueUnavailable(f"the streams in {self._database.name} were made anew meanwhile; try again")
        placed = _Placed(outcomes=[], rows=[])
        for sent, place in zip(batch, places, strict=True):
            if isinstance(place, QueueError):
                placed.outcomes.append(place)
                continue
            offset = following[place]
            following[place] = offset + 1
            placed.rows.append(sent.row(place, offset))
            placed.outcomes.append(Position(partition=place.partition, offset=offset))
        if placed.rows:
            self._database.append(connection, placed.rows)
        return placed

    def _decided(self, placed: _Placed, batch: Sequence[_Sent], lost: Undecided) -> _Placed:
        """Ask until the database says what became of the batch: told as failed, it would be sent once more."""
        if not placed.rows:
            return placed
        log.warning("commit_undecided", queue=self._database.name, records=len(batch), error=str(lost))
        while not self._given_up.is_set():
            try:
                with self._thread.connected() as connection:
                    kept = self._database.kept(connection, placed.rows)
            except QueueError:
                self._given_up.wait(_ASK_AGAIN_S)
            else:
                log.warning("commit_decided", queue=self._database.name, records=len(batch), kept=kept)
                return placed if kept else _failed(batch, QueueUnavailable(str(lost)))
        return _failed(batch, QueueUnavailable("the producer was closed before the database had answered"))

    def _announce(self, rows: Sequence[Row]) -> None:
        if rows:
            # Those who miss it look by themselves; what is wrong with the database is told with the next batch.
            with suppress(QueueError), self._thread.connected() as connection:
                self._database.announce(connection, {Place(row.stream, row.partition) for row in rows})

    def _place_of(self, connection: Connection, sent: _Sent) -> Place | UnknownStream:
        # Known as long as the connection lasts: the next may lead to a file that was made anew, with other streams.
        streams: dict[str, Stream] = connection.info.setdefault(_STREAMS, {})
        if sent.stream not in streams:
            try:
                streams[sent.stream] = find(connection, sent.stream)
            except UnknownStream as error:
                return error
        stream = streams[sent.stream]
        return Place(stream.id, _partition_of(sent.record.key, stream.partitions))


def _checked(record: Record) -> bytes:
    """The record's headers, packed, if the queue can keep the record: one that fails would fail its whole batch."""
    try:
        record.key.encode()
        headers = pack(record.headers)
    except UnicodeEncodeError as error:
        raise RecordRefused(f"the record's key or a header's name is no text: {error.reason}") from error
    size = len(headers) + len(record.value)
    if size > MAX_RECORD_BYTES:
        raise RecordRefused(f"the record has {size} bytes; the SQL queue takes {MAX_RECORD_BYTES}")
    if len(record.key) > _MAX_KEY_CHARS:
        raise RecordRefused(f"the record's key has {len(record.key)} characters; the SQL queue takes {_MAX_KEY_CHARS}")
    if abs(record.timestamp_ms) > _MAX_TIMESTAMP:
        raise RecordRefused(f"the record's time {record.timestamp_ms} is not in milliseconds since the epoch")
    return headers


def _too_large(sent: _Sent, most: int) -> RecordRefused | None:
    if sent.size <= most:
        return None
    return RecordRefused(f"the record has {sent.size} bytes; the server takes {most}, by its max_allowed_packet")


def _answer(batch: Sequence[_Sent], outcomes: "Sequence[Position | QueueError]") -> None:
    for sent, outcome in zip(batch, outcomes, strict=True):
        # Whoever was cancelled has stopped waiting, and left us an answer that is done.
        with suppress(asyncio.InvalidStateError):
            if isinstance(outcome, QueueError):
                sent.delivery.set_exception(outcome)
            else:
                sent.delivery.set_result(outcome)


def _failed(batch: Sequence[_Sent], error: Exception) -> _Placed:
    return _Placed(outcomes=[_copy(error) for _ in batch], rows=[])


def _copy(error: Exception) -> QueueError:
    """The error anew: one exception that many callers raise would gather all of their tracebacks."""
    if not isinstance(error, QueueError):
        return QueueUnavailable(f"the batch could not be written: {error!r}")
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
