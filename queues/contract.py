"""What Forebay asks of a queue.

A system is done when it passes tests/integration/queue_contract with its promises declared. The words are
Kafka's: a stream has partitions, a partition is a log of records with growing offsets (gaps are allowed), a group
has one committed offset a partition and each partition has at most one owner in a group.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

from forebay.queues.findings import Finding, Needs
from forebay.queues.portals.contract import PortalStore
from forebay.queues.telling import Told
from forebay.schemas.quick_value import quick_value

_Asked = TypeVar("_Asked")
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What a system keeps. What it can't give, a caller may not ask for: the start is stopped with a clear error."""

    #: An acknowledged record survives a crash of every process, the server and the machine's power.
    durable: bool
    #: Records of a key stand in the order in which `send` was called for them.
    ordered: bool
    #: Several consumers share the partitions of a stream, and each group has its own offsets.
    groups: bool
    #: Several processes may produce and consume at once.
    shared: bool
    #: Records stay readable from any offset until retention takes them.
    replay: bool
    #: The longest note, in bytes, that a commit can carry.
    note_bytes: int


@quick_value
class Record:
    """What is sent: the key chooses the partition; time is in milliseconds since the epoch."""

    key: str
    value: bytes
    timestamp_ms: int
    headers: tuple[tuple[str, bytes], ...] = ()


class StoredRecord(Protocol):
    """A record with the place where it stands. It doesn't change; what it is made of is its queue's affair.

    Reading an attribute may cost more than a look: keep what is needed often.
    """

    @property
    def key(self) -> str:
        """As in `Record`, and so are the next three."""

    @property
    def value(self) -> bytes: ...

    @property
    def timestamp_ms(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...

    @property
    def stream(self) -> str: ...

    @property
    def partition(self) -> int: ...

    @property
    def offset(self) -> int: ...


@quick_value
class PlacedRecord(Record):
    """A stored record as a plain value."""

    _: KW_ONLY
    stream: str
    partition: int
    offset: int


@quick_value
class Position:
    """Where a record was put."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """How far a group is in a partition: everything before `offset` is finished. The note is the caller's own."""

    offset: int
    note: bytes = b""
    #: Only where a member begins: the group had no place here, and gets records again that it may have finished before.
    is_reset: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState(Commit):
    """A group's commit in a partition, and which member owns the partition now, if any."""

    owner: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The offsets of a partition: the first record that is kept, and the next one to be written."""

    start: int
    end: int
    #: So many behind the end are there, and nobody can read them before another program ends its transaction.
    withheld: int = 0


#: Is told what became of a record: where it is kept, or one of the reasons of `Producer.send` why it is not.
Delivery = Told[Position]


class Producer(Protocol):
    """Writes records. Used on one event loop; concurrent calls are expected, and are batched."""

    async def send(self, stream: str, record: Record) -> Position:
        """Return once the record is kept as the promises say; records of a key are kept in the order of the calls.

        The order is that in which the calls first ran (`create_task` in order is enough). Raises `RecordRefused` when
        this record can never be taken, `QueueUnavailable` when it was surely not kept, `UnknownStream`. While it may
        still be kept, it does not return: cancelling the call does not take the record back.
        """
        delivered: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.submit(stream, record, delivered)
        return await delivered

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """Begin what `send` does, in the order of the calls, for one who does not always wait until its end.

        What is known at once is raised, as by `send`; then the delivery is told nothing. Several records of a key may
        be under way: when one of them is not kept, and was not refused, then none is that was submitted behind it
        before this was told. They are told the same, and can be sent again in their order.
        """

    async def check(self) -> None:
        """Raise `QueueUnavailable`, with the reason, unless the queue would take a record now."""

    async def close(self) -> None:
        """Let the calls of `send` that run come to their end, then let go of the queue. Idempotent."""


class Assignments(Protocol):
    """Is told which partitions a consumer owns. Called on the event loop on which the consumer was started."""

    def assigned(self, partition: int, committed: Commit) -> None:
        """The partition is ours from now on; its records come from the committed offset on."""

    async def revoked(self, partition: int) -> None:
        """The partition is asked back. It stays ours, and may be committed, until this returns; then it is not."""

    def lost(self, partition: int) -> None:
        """The partition may already be another's: nothing of it may be committed any more."""

    def gap(self, partition: int, start: int, end: int) -> None:
        """No record stands from start to before end, nor ever will: who has finished all before it is at the end.

        Only told of a gap that ends the log. `fetch` may still give what stands before it, and later what comes behind.
        """

    def rewritten(self, partition: int, offset: int) -> None:
        """What stands from the offset on came after the commit: nothing of it is finished, whatever the note says.

        Told before any of it is fetched, also where there is nothing to take back: a queue that has lost the end of a
        partition writes it anew.
        """


class Consumer(Protocol):
    """One member of a group, reading one stream. Membership doesn't depend on how often `fetch` is called."""

    async def start(self, assignments: Assignments) -> None:
        """Join the group. A partition never committed before starts at its first record.

        Call once, and again only after `QueueUnavailable`.
        """

    async def fetch(self, max_records: int, timeout_s: float) -> list[StoredRecord]:
        """The next records of owned partitions, in order within each; empty when none came within the time.

        Each record is given once an assignment; of a partition that was revoked or lost none is given afterwards.
        Raises `QueueUnavailable`; the next call tries again.
        """

    async def commit(self, commits: Mapping[int, Commit]) -> None:
        """Store the group's offsets and notes durably, all of them or, with `QueueUnavailable`, none.

        Partitions that are no longer ours are left alone, and named in `Fenced` after the others were stored.
        """

    async def close(self) -> None:
        """Give every partition back (each is `revoked` first) and leave the group. Idempotent."""


class Inspector(Protocol):
    """Looks at a queue without being a member of a group, and without changing it."""

    async def partitions(self, stream: str) -> int:
        """By how many partitions the stream's records are placed, whatever is the matter with one. Raises as `bounds`.

        It may have more than these: somebody has added some to it alone, and nobody of ours uses them.
        """

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """The bounds of each partition, or of all that are asked about. Raises `UnknownStream`, `QueueUnavailable`.

        With `only` these alone are asked about, whatever is the matter with others: they may be in other hands.
        """

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """Records from the first at or after the offset on; empty at the end."""

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """The offset of the first record at or after the time; the partition's end when there is none."""

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """What each group has committed in the partitions that it has ever owned.

        With `only` these groups alone are asked about, whatever is the matter with others: a system that is shared may
        have thousands.
        """

    async def close(self) -> None:
        """Let go of the queue. Idempotent."""


def among(found: dict[_Asked, _Found], only: Collection[_Asked] | None) -> dict[_Asked, _Found]:
    """Those that an `Inspector` was asked about."""
    return found if only is None else {one: what for one, what in found.items() if one in only}


class Queue(Protocol):
    """One system, opened by its URL. Opening connects to nothing; the parts connect when they are first used."""

    promises: Promises

    async def missing(self, streams: Iterable[str], partitions: int) -> list[str]:
        """What `ensure` would make, a sentence each. Empty when all is there. Raises `QueueUnavailable`."""

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """Make the streams that are not there yet, and return what was made, a sentence each.

        Safe to call from many processes at once. An existing stream keeps its number of partitions, since another
        would move portals and break their order: a different number raises `QueueError`.
        """

    def diagnose(self, needs: Needs) -> AsyncIterator[Finding]:
        """Look at everything between us and what is needed, changing nothing; findings come as they are made.

        The one called `queue` says whether the queue was reached and has every stream. What the queue does wrong is a
        finding, or a `QueueError` where that ends the looking.
        """

    def producer(self) -> Producer:
        """A new producer. Make it after a fork."""

    def consumer(self, stream: str, group: str, *, session_s: float = 10.0) -> Consumer:
        """A new member of the group; one that dies without leaving is missed after `session_s` seconds."""

    def inspector(self) -> Inspector:
        """A new inspector."""

    def portals(self, topic: str) -> PortalStore:
        """A new reader and writer of what is known of the topic's portals. Make it after a fork."""

    async def close(self) -> None:
        """Let go of what the parts share. Close the parts first. Idempotent."""


@runtime_checkable
class TakesByAge(Protocol):
    """A queue that takes records by their age, counted from their own time, whether or not anybody has handled them."""

    async def keeps_ms(self, stream: str) -> int | None:
        """How old a record of the stream may become; None: as old as it likes. Raises `QueueUnavailable`.

        Also None where we may not see it.
        """


@runtime_checkable
class ChecksSettings(Protocol):
    """A queue of which some settings only show themselves as wrong when its client is made, in a process of its own."""

    def check_settings(self) -> None:
        """Make a client, and let go of it; call it before a fork. It connects to nothing, and leaves no thread.

        Raises `BadQueueSettings` where none can be made; `QueueError` where a file may be the reason, and may yet come.
        """


@runtime_checkable
class Trims(Protocol):
    """A queue that can be told what of a stream nobody needs, and keeps the rest; others go by age, or keep all."""

    async def trim(self, stream: str, before: Mapping[int, int]) -> bool:
        """Delete what stands in partitions before these offsets, oldest first, as far as it is old enough.

        How old, the setting `retention_h` says. What is left begins where `Inspector.bounds` says. It takes about a
        second at most; whether more is to be deleted then. Raises `UnknownStream`, `QueueUnavailable`.
        """


@runtime_checkable
class Grows(Protocol):
    """A queue whose streams can get more partitions."""

    async def grow(self, streams: Iterable[str], partitions: int, *, only_plan: bool) -> list[str]:
        """Give the streams so many partitions, and return what was (or will be) done, a sentence each.

        It moves portals to other partitions, and so breaks their order unless nothing is written, nobody reads, and
        every group has finished everything: the caller sees to that. Raises `QueueError` where the queue refuses.
        """
