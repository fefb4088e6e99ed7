"""Reading records of a stream in Memcached, where one may be missing: not there yet, or gone."""

import time
from collections import deque
from collections.abc import Collection, Sequence
from functools import partial

from forebay.queues.contract import StoredRecord
from forebay.schemas.logger import get_logger

from ..groups.bell import Bell
from ..groups.contract import Stretch, Wanted
from ..groups.parts import one_by_one
from .connection import MemcachedConnection
from .records import bounds, span
from .streams import Stream, look_up, lost

#: Seconds after which an offset that was given out, and has no record, will have none: a producer gives up before
#: (producer.py).
PATIENCE_S = 3.0

#: Seconds until the first look after something came, and the longest pause on an idle stream.
_SHORTEST_S, _LONGEST_S = 0.005, 0.1

#: Bytes of values that one read takes into memory at most, one question's aside.
_READ_BYTES = 8 * 1024 * 1024

log = get_logger(__name__)


class _Ends:
    """When each end of a partition was seen first."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._last = self._settled = 0

    def note(self, end: int) -> None:
        """It ends here now."""
        if end > self._last:
            self._last = end
            self._seen.append((time.monotonic(), end))

    def settled(self) -> int:
        """What is missing before this offset will never come."""
        while self._seen and self._seen[0][0] <= time.monotonic() - PATIENCE_S:
            self._settled = self._seen.popleft()[1]
        return self._settled


class MemcachedLog:
    """The stream as one reader of a group reads it: by looking, since the server tells of nothing."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ends: dict[int, _Ends] = {}
        self._starts: dict[int, int] = {}
        self._pause_s = _SHORTEST_S

    def begin(self, connection: MemcachedConnection) -> None:
        """As in the protocol, and so are the next three."""

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """A pause, longer each time."""
        bell.wait(min(timeout_s, self._pause_s))
        self._pause_s = min(_LONGEST_S, 2 * self._pause_s)

    def ends(self, connection: MemcachedConnection, partitions: Collection[int]) -> dict[int, int]:
        """In one question; of a stream that is gone there are none. The membership hears that it is."""
        found = bounds(connection, self._stream, list(partitions)) if partitions else {}
        missing = set(partitions) - found.keys()
        if missing and look_up(connection, self._stream.name) == self._stream:
            lost(connection, self._stream, min(missing))
        for partition, (start, end) in found.items():
            self._ends.setdefault(partition, _Ends()).note(end)
            self._starts[partition] = start
        return {partition: end for partition, (_, end) in found.items()}

    def read(self, connection: MemcachedConnection, wanted: Sequence[Wanted]) -> list[Stretch]:
        """Stops before an offset whose record may still come; what is gone is told in the log, and passed over."""
        return one_by_one(wanted, partial(self._stretch, connection), _READ_BYTES)

    def _stretch(self, connection: MemcachedConnection, one: Wanted, max_bytes: int) -> Stretch:
        settled, size = self._ends[one.partition].settled(), 0
        records: list[StoredRecord] = []
        at = max(one.offset, self._starts[one.partition])
        gone = at - one.offset
        while at < one.end and len(records) < one.most and size < max_bytes:
            found = span(connection, self._stream, one.partition, at, min(one.end, at + one.most - len(records)))
            until = next((missing for missing in found.missing if missing >= settled), found.following)
            given = [record for record in found.records if record.offset < until]
            gone += until - at - len(given)
            size += sum(len(record.value) for record in given)
            records += given
            at = until
            if until < found.following:
                break
        self._tell(one.partition, one.offset, at, gone)
        if records:
            self._pause_s = _SHORTEST_S
        return Stretch(records, at)

    def still_has(self, connection: MemcachedConnection, record: StoredRecord) -> bool:
        """As in the protocol: memory is lost, and never put back. The streams that are made then are others."""
        return True

    def _tell(self, partition: int, start: int, end: int, gone: int) -> None:
        if gone:
            log.error("records_gone", stream=self._stream.name, partition=partition, records=gone, start=start, end=end)
