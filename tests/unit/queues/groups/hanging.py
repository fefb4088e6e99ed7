"""A made-up store of one member, in real threads."""

import threading
from collections.abc import Collection, Mapping, Sequence

from forebay.queues.contract import Commit, StoredRecord
from forebay.queues.groups.bell import Bell
from forebay.queues.groups.contract import Beat, Claimed, Stretch, Wanted
from forebay.queues.groups.shares import GroupView
from forebay.queues.threads.connection_thread import ConnectionThread, Lives
from tests.clock import Clock
from tests.integration.queues.members import PARTITIONS

#: In seconds.
SESSION_S = 0.2


class Hanging:
    """A store whose one member has all partitions, and which answers nothing more as soon as it is told to hang.

    A lease ends when the clock is moved, and not when the machine stands still for a moment.
    """

    name, stream = "group", "events"
    session_s = SESSION_S
    sweep_every_s: float | None = None

    def __init__(self) -> None:
        self.members = {"me"}
        self.clock = Clock(1_000.0)
        self.epoch = 0
        self.answers, self.hangs = threading.Event(), threading.Event()
        self.answers.set()
        self.has_left = threading.Event()

    def hang(self) -> None:
        """Until the leases are over, and on. Who would prolong them waits here then."""
        self.answers.clear()
        assert self.hangs.wait(30)
        self.clock.now += SESSION_S

    def thread(self, name: str, lives: Lives) -> ConnectionThread["Hanging"]:
        return ConnectionThread(self, name, errors=(), lives=lives)

    def connect(self) -> "Hanging":
        return self

    def current(self, connection: object) -> bool:
        return True

    def remedy(self, error: Exception) -> str:
        return str(error)

    def close(self) -> None:
        """Nothing was opened."""

    def member(self, connection: object, me: str) -> tuple["Hanging", "Hanging"]:
        return self, self

    def check(self, connection: object) -> None:
        while not self.answers.wait(0.001):
            self.hangs.set()

    def view(self, connection: object, held: Collection[int]) -> GroupView:
        free = set(range(PARTITIONS)) - set(held)
        return GroupView(me="me", members=self.members, free=free, held=held, partitions=PARTITIONS)

    def beat(self, connection: object, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        self.epoch += 1
        free = [] if is_leaving else [one for one in range(PARTITIONS) if one not in held]
        claimed = [Claimed(partition=one, epoch=self.epoch, committed=Commit(offset=0)) for one in free]
        return Beat(still=held, claimed=claimed)

    def commit(self, connection: object, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        return set(epochs)

    def release(self, connection: object, epochs: Mapping[int, int]) -> None:
        """Nobody else wants them."""

    def leave(self, connection: object) -> None:
        self.has_left.set()

    def sweep(self, connection: object, partition: int) -> bool:
        return False

    def begin(self, connection: object) -> None:
        """There is no news."""

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """Nobody waits here."""

    def ends(self, connection: object, partitions: Collection[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    def read(self, connection: object, wanted: Sequence[Wanted]) -> list[Stretch]:
        return [Stretch([], one.offset) for one in wanted]

    def still_has(self, connection: object, record: StoredRecord) -> bool:
        return True
