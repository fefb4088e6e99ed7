"""The writing side: many calls of `send` become one transaction, and one fsync."""

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, update

from forebay.queues.contract import Position
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, UnknownStream, anew
from forebay.schemas.logger import get_logger
from forebay.schemas.portal import partition_of

from ..batches.producer import BatchProducer
from ..batches.sent import Outcome, Sent, failed
from ..threads.connection_thread import ConnectionThread
from ..threads.undone import again
from .connection_thread import connection_thread
from .database import Database, Place, Row, Undecided
from .schema import Stream, find
from .tables import meta

#: Seconds between two questions to a database that was lost while it committed.
_ASK_AGAIN_S = 0.5

#: Where a connection keeps the streams that were found on it.
_STREAMS = "forebay_streams"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """What becomes of a batch when its transaction is done: an outcome for each call, and the rows."""

    outcomes: list[Outcome]
    rows: list[Row]


class SqlProducer(BatchProducer[Connection]):
    """A record has at most 64 MiB, headers included."""

    def __init__(self, database: Database) -> None:
        thread = connection_thread(database, "forebay-producer")
        super().__init__(_SqlWriter(database, thread), thread)


class _SqlWriter:
    """Writes a batch in one transaction."""

    def __init__(self, database: Database, thread: ConnectionThread[Connection]) -> None:
        self.name = database.name
        self._database, self._thread = database, thread
        self._written: list[Row] = []

    def touch(self, connection: Connection) -> None:
        """In a transaction of its own."""
        with self._database.writing(connection):
            # None, of a database that would give some.
            self._database.take_offsets(connection, {})
            connection.execute(update(meta).where(meta.c.name == "checks").values(value=meta.c.value + 1))

    def write(self, batch: Sequence[Sent], given_up: threading.Event) -> Sequence[Outcome]:
        """All of it, or nothing."""
        self._written = []
        placed = again(partial(self._write_once, batch, given_up))
        self._written = placed.rows
        return placed.outcomes

    def announce(self) -> None:
        """Those who miss it look by themselves; what is wrong with the database is told with the next batch."""
        if self._written:
            places = {Place(row.stream, row.partition) for row in self._written}
            with suppress(QueueError), self._thread.connected() as connection:
                self._database.announce(connection, places)

    def _write_once(self, batch: Sequence[Sent], given_up: threading.Event) -> _Placed:
        try:
            with self._thread.connected() as connection, self._database.writing(connection):
                placed = self._place(connection, batch)
        except Undecided as error:
            return self._decided(placed, batch, error, given_up)
        return placed

    def _place(self, connection: Connection, batch: Sequence[Sent]) -> _Placed:
        most = self._database.record_bytes(connection)
        missing: dict[str, UnknownStream] = {}
        places = [_too_large(sent, most) or self._place_of(connection, sent, missing) for sent in batch]
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
            placed.rows.append(_row(sent, place, offset))
            placed.outcomes.append(Position(partition=place.partition, offset=offset))
        if placed.rows:
            self._database.append(connection, placed.rows)
        return placed

    def _decided(self, placed: _Placed, batch: Sequence[Sent], lost: Undecided, given_up: threading.Event) -> _Placed:
        """Ask until the database says what became of the batch: told as failed, it would be sent once more."""
        if not placed.rows:
            return placed
        told = self._tell_undecided(batch, lost)
        while not given_up.is_set():
            try:
                with self._thread.connected() as connection:
                    kept = self._database.kept(connection, placed.rows)
            except QueueError as error:
                if str(error) != told:
                    told = self._tell_undecided(batch, error)
                given_up.wait(_ASK_AGAIN_S)
            else:
                log.warning("commit_decided", queue=self._database.name, records=len(batch), kept=kept)
                return placed if kept else _failed(batch, QueueUnavailable(str(lost)))
        return _failed(batch, QueueUnavailable("the producer was closed before the database had answered"))

    def _tell_undecided(self, batch: Sequence[Sent], error: QueueError) -> str:
        log.warning("commit_undecided", queue=self._database.name, records=len(batch), error=str(error))
        return str(error)

    def _place_of(self, connection: Connection, sent: Sent, missing: dict[str, UnknownStream]) -> Place | UnknownStream:
        if sent.stream in missing:
            # Somebody may just be making it: what follows must not be kept before what found none.
            return anew(missing[sent.stream])
        # Known as long as the connection lasts: the next may lead to a file that was made anew, with other streams.
        streams: dict[str, Stream] = connection.info.setdefault(_STREAMS, {})
        if sent.stream not in streams:
            try:
                streams[sent.stream] = find(connection, sent.stream)
            except UnknownStream as error:
                missing[sent.stream] = error
                return error
        stream = streams[sent.stream]
        return Place(stream.id, partition_of(sent.record.key, stream.partitions))


def _row(sent: Sent, place: Place, offset: int) -> Row:
    record = sent.record
    return Row(*place, offset, record.timestamp_ms, record.key, sent.headers, record.value)


def _too_large(sent: Sent, most: int) -> RecordRefused | None:
    if sent.size <= most:
        return None
    return RecordRefused(f"the record has {sent.size} bytes; the server takes {most}, by its max_allowed_packet")


def _failed(batch: Sequence[Sent], error: QueueError) -> _Placed:
    return _Placed(outcomes=failed(batch, error), rows=[])
