"""The writing side: offsets are taken from a counter, and the records are written under them.

A reader waits at an offset that has no record, but not for ever. So a batch that was not written soon after its offsets
were taken is written once more under others, and counts as kept only then: a record may stand there twice.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial

from pymemcache.exceptions import MemcacheServerError, MemcacheUnexpectedCloseError

from forebay.queues.contract import Position
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused
from forebay.schemas.logger import get_logger
from forebay.schemas.portal import partition_of

from ..batches.producer import BatchProducer
from ..batches.sent import Outcome, Sent, by_stream, failed
from ..groups.leases import since_boot
from ..threads.connection_thread import ConnectionThread
from .connection import MemcachedConnection, MemcachedStore
from .reading import PATIENCE_S
from .records import packed
from .streams import Stream, find, lost

#: What an item has beside headers and value: lengths, and a key of four bytes a character.
_AROUND_BYTES = 1_100

#: Bytes that are written under offsets taken at once, as many as an item has at most: what was written late is written
#: once more, and a whole batch would be late each time where the line is slow.
_PIECE_BYTES = 1024 * 1024

#: Seconds between two questions to a server that was lost while it wrote.
_ASK_AGAIN_S = 0.5

log = get_logger(__name__)


class MemcachedProducer(BatchProducer[MemcachedConnection]):
    """A record has as many bytes as the server takes in an item (-I, a megabyte unless it was told otherwise)."""

    def __init__(self, store: MemcachedStore) -> None:
        thread = store.thread("forebay-producer")
        super().__init__(_MemcachedWriter(store, thread), thread)


class _MemcachedWriter:
    """Writes what a batch has for a stream."""

    def __init__(
        self,
        store: MemcachedStore,
        thread: ConnectionThread[MemcachedConnection],
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self.name = store.name
        self._thread, self._clock = thread, clock

    def touch(self, connection: MemcachedConnection) -> None:
        """An item that nobody reads."""
        connection.put({"forebay:check": b"1"}, 1)

    def announce(self) -> None:
        """There is nobody to be told: readers look."""

    def write(self, batch: Sequence[Sent], given_up: threading.Event) -> Sequence[Outcome]:
        """Stream by stream."""
        return by_stream(batch, partial(self._of_stream, given_up=given_up))

    def _of_stream(self, name: str, sent: Sequence[Sent], given_up: threading.Event) -> Sequence[Outcome]:
        is_first = True
        # What the server may have of the batch, wherever it stands.
        written: list[str] = []
        while not given_up.is_set():
            is_asked = False
            try:
                with self._thread.connected() as connection:
                    stream, is_asked = find(connection, name), True
                    return self._written(connection, stream, sent, written)
            except QueueUnavailable as error:
                # A server that says no has written a part at most, which was deleted.
                if (is_first and not is_asked) or _is_refusal(error.__cause__):
                    return failed(sent, error)
                is_first = False
                log.warning("write_undecided", queue=self.name, records=len(sent), error=str(error))
                given_up.wait(_ASK_AGAIN_S)
            except QueueError as error:
                return failed(sent, error)
        return failed(sent, QueueUnavailable("the producer was closed before the server had answered"))

    def _written(
        self, connection: MemcachedConnection, stream: Stream, sent: Sequence[Sent], written: list[str]
    ) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for at, one in enumerate(sent):
            if refused := _too_large(one, connection.record_bytes):
                outcomes[at] = refused
        places = {
            at: partition_of(one.record.key, stream.partitions) for at, one in enumerate(sent) if at not in outcomes
        }
        for piece in _pieces(sent, places):
            outcomes |= self._in_time(connection, stream, sent, piece, written)
        return [outcomes[at] for at in range(len(sent))]

    def _in_time(
        self,
        connection: MemcachedConnection,
        stream: Stream,
        sent: Sequence[Sent],
        places: dict[int, int],
        written: list[str],
    ) -> dict[int, Position]:
        while True:
            started = self._clock()
            positions = _taken(connection, stream, places)
            items = {
                stream.record(position.partition, position.offset): packed(sent[at].record, sent[at].headers)
                for at, position in positions.items()
            }
            written += items
            _put(connection, items, written)
            # Half of what a reader waits: it may have seen the counter before we had its answer.
            if self._clock() - started < PATIENCE_S / 2:
                return positions
            log.warning("batch_written_late", queue=self.name, records=len(items))


def _pieces(sent: Sequence[Sent], places: dict[int, int]) -> Iterator[dict[int, int]]:
    """The places in their order, parted so that each part can be written in time."""
    piece: dict[int, int] = {}
    size = 0
    for at, partition in places.items():
        if piece and size + sent[at].size > _PIECE_BYTES:
            yield piece
            piece, size = {}, 0
        piece[at] = partition
        size += sent[at].size
    if piece:
        yield piece


def _put(connection: MemcachedConnection, items: dict[str, bytes], written: Collection[str]) -> None:
    try:
        connection.put(items)
    except MemcacheServerError as error:
        if _is_refusal(error):
            # Its order would not hold, with some that are there and some that are not.
            with suppress(Exception):
                connection.drop(written)
        raise


def _is_refusal(error: BaseException | None) -> bool:
    """Whether the server has said no. For its client, one that hangs up is a server's error too."""
    return isinstance(error, MemcacheServerError) and not isinstance(error, MemcacheUnexpectedCloseError)


def _taken(connection: MemcachedConnection, stream: Stream, places: dict[int, int]) -> dict[int, Position]:
    following: dict[int, int] = {}
    for partition, count in Counter(places.values()).items():
        if (end := connection.count(stream.end(partition), count)) is None:
            raise lost(connection, stream, partition)
        following[partition] = end - count
    positions = {}
    for at, partition in places.items():
        positions[at] = Position(partition=partition, offset=following[partition])
        following[partition] += 1
    return positions


def _too_large(sent: Sent, most: int) -> RecordRefused | None:
    if sent.size + _AROUND_BYTES <= most:
        return None
    return RecordRefused(
        f"the record has {sent.size} bytes; the server takes {most - _AROUND_BYTES}, by its item size (-I)"
    )
