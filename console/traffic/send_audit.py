"""What became of the accepted events: whether each stands in the queue, and each portal's in order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from forebay.console.reading import stream_ends
from forebay.console.terminal.progress import Told
from forebay.queues.contract import Inspector, Queue, StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.reading import between
from forebay.schemas.codec import Codec, codec
from forebay.schemas.errors import UndecodableEvent, UnknownSchemaId
from forebay.schemas.event import PortalEvent
from forebay.schemas.names import BY_FOREBAY

from .simulated import SEQUENCE_PATH

#: How long the queue may bring nothing new before what is missing counts as lost: an outage may be on its way in.
PATIENCE_S = 5.0

_POLL_S = 0.1


@dataclass(kw_only=True)
class Audit:
    """Reads the queue against what was answered.

    In order means: an event that was sent after the answer to another of its portal stands behind it. One that was
    never answered may stand anywhere before that.
    """

    accepted: Mapping[str, tuple[int, int]]
    numbers: Mapping[tuple[str, str | None], int]
    codec: Codec = field(default_factory=codec)
    seen: set[str] = field(default_factory=set)
    #: Portal's number → the highest sequence number that stands in the queue so far.
    highest: dict[int, int] = field(default_factory=dict)
    out_of_order: int = 0
    twice: int = 0
    changed: int = 0
    #: Records whose schema's id could not be learnt: what they are is not known, and so nothing of the rest.
    unread: int = 0

    @property
    def lost(self) -> int:
        """Accepted events that were not seen."""
        return len(self.accepted.keys() - self.seen)

    @property
    def clean(self) -> bool:
        """Whether every accepted event stands in the queue as it was sent, and in order."""
        return not (self.lost or self.out_of_order or self.changed)

    def see(self, record: StoredRecord) -> None:
        """Take the next record of a partition."""
        try:
            event = self.codec.decode(record.value)
            number = self.numbers.get((event.portal, event.member_id))
            if number is not None and event.source != BY_FOREBAY:
                self._see(event, number, int(event.fields[SEQUENCE_PATH]))
        except UnknownSchemaId:
            self.unread += 1
        except (UndecodableEvent, KeyError, ValueError):
            self.changed += 1

    def _see(self, event: PortalEvent, number: int, sequence: int) -> None:
        if event.id in self.seen:
            self.twice += 1
            return
        self.seen.add(event.id)
        sent = self.accepted.get(event.id)
        self.changed += sent not in (None, (number, sequence))
        self.out_of_order += sent is not None and sequence < self.highest.get(number, 0)
        self.highest[number] = max(sequence, self.highest.get(number, 0))


async def noted(queue: Queue, inspector: Inspector, topic: str) -> tuple[dict[int, int] | None, str | None]:
    """Where each partition ends now; without it the reason why the queue can't be read from here."""
    if not queue.promises.shared:
        return None, "this queue is in the memory of one process, and not of this one"
    try:
        return await stream_ends(inspector, topic), None
    except QueueError as error:
        return None, f"the queue can't be read from here: {error}"


async def check(
    audit: Audit,
    inspector: Inspector,
    topic: str,
    since: Mapping[int, int],
    *,
    told: Told = lambda _: None,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Show the audit what came since, until nothing is missing or nothing more comes; tells of how many events came.

    Raises `QueueUnavailable` when the queue does not answer for as long after it was first asked in vain: who has sent
    for an hour asks by a client that may be as old, and is refused where what it logs in with was renewed.
    """
    at, last_news = dict(since), clock()
    silent_since: float | None = None
    while True:
        before = len(audit.seen)
        try:
            await _look(audit, inspector, topic, at, told)
        except QueueUnavailable:
            silent_since = clock() if silent_since is None else silent_since
            if clock() - silent_since > patience_s:
                raise
        else:
            # What may have come while nobody answered is news.
            last_news = clock() if silent_since is not None or len(audit.seen) > before else last_news
            silent_since = None
            if not audit.lost or clock() - last_news > patience_s:
                return
        await sleep(_POLL_S)


async def _look(audit: Audit, inspector: Inspector, topic: str, at: dict[int, int], told: Told) -> None:
    """Show it what stands there by now; where to go on is noted with each record."""
    for partition, end in (await stream_ends(inspector, topic)).items():
        async for record in between(inspector, topic, partition, at.get(partition, 0), end):
            audit.see(record)
            at[partition] = record.offset + 1
            told(len(audit.seen))
        at[partition] = end
