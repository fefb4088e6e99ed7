"""What a group that lives by leases asks of the store that keeps them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from forebay.queues.contract import Commit, StoredRecord

from ..threads.connection_thread import Closable
from .bell import Bell
from .shares import GroupView

C_contra = TypeVar("C_contra", bound=Closable, contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A partition that became ours: under which epoch, and how far the group is in it."""

    partition: int
    epoch: int
    committed: Commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a heartbeat did: which of the held partitions are still ours, and which became ours."""

    still: Collection[int]
    claimed: Collection[Claimed]


class Group(Protocol[C_contra]):
    """One member of a group, as its store knows it. Each call is one atomic step, by the store's own clock."""

    @property
    def name(self) -> str:
        """The group's name."""

    @property
    def stream(self) -> str:
        """The name of the stream that it reads."""

    @property
    def session_s(self) -> float:
        """A member that is silent for so long is missed."""

    @property
    def sweep_every_s(self) -> float | None:
        """How often a member looks for what may be deleted; None where nothing is."""

    def check(self, connection: C_contra) -> None:
        """Raise `QueueError` when the stream is another one than it was."""

    def view(self, connection: C_contra, held: Collection[int]) -> GroupView:
        """The group as it is; what is in our name but not held (we lost it) is free. Changes nothing, and is cheap."""

    def beat(self, connection: C_contra, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        """Say that we live, prolong what we hold, and take our share of what is free unless we are leaving."""

    def commit(self, connection: C_contra, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        """Store the commits of the partitions that are ours under these epochs, all at once; returns which were."""

    def release(self, connection: C_contra, epochs: Mapping[int, int]) -> None:
        """Let others have these partitions at once."""

    def leave(self, connection: C_contra) -> None:
        """Be no member any more, and own nothing."""

    def sweep(self, connection: C_contra, partition: int) -> bool:
        """Delete a batch of what every group has finished and nobody may want back. False when none is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be read of a partition: from the offset on, at most so many records. The end is what `ends` said."""

    partition: int
    offset: int
    end: int
    most: int
    #: What was read before, to be compared with what stands there.
    last: StoredRecord | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records that were read, and the offset to read on from: it may be behind them, when nothing stands there."""

    records: list[StoredRecord]
    following: int
    #: What was read before is not there any more: nothing of this goes on from it.
    is_set_back: bool = False


def up_to(records: list[StoredRecord], end: int) -> Stretch:
    """What a log gives that keeps all until it is deleted: where nothing stands before the end, there never will."""
    return Stretch(records, records[-1].offset + 1 if records else end)


class Log(Protocol[C_contra]):
    """The records of a stream, for one reader and in its thread."""

    def begin(self, connection: C_contra) -> None:
        """What is written from now on is news. Cheap: it is called before each look."""

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """Return when there is news, which may concern others, when the bell was rung, or when the time is over."""

    def ends(self, connection: C_contra, partitions: Collection[int]) -> dict[int, int]:
        """The next offset of each partition."""

    def read(self, connection: C_contra, wanted: Sequence[Wanted]) -> list[Stretch]:
        """What is wanted, in its order; in all no more bytes than memory should hold, what was read last aside.

        When there is no room left, or it can't be told yet what stands at an offset: nothing, and the same offset. What
        was read before is looked for not earlier than that is read: a store that was set back in between would look as
        if it went on from there.
        """

    def still_has(self, connection: C_contra, record: StoredRecord) -> bool:
        """Whether a record that was read still stands where it stood, or was deleted there when all had finished it.

        Not so in a store that was set back. Any thread may ask, by a connection of its own.
        """
