"""Being a member of a group: heartbeats, taking partitions, giving them back.

All of it in a thread of its own, so that a handler that blocks the event loop costs no membership.
"""

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from forebay.queues.errors import QueueError, QueueUnavailable, UnknownStream
from forebay.schemas.logger import get_logger

from ..threads.connection_thread import Closable, ConnectionThread, Loop, tell
from ..threads.undone import again
from .contract import Claimed, Group
from .leases import Leases
from .shares import to_claim, to_give_back

C = TypeVar("C", bound=Closable)

#: A lease is renewed so many times in a session: two heartbeats may fail before it is lost.
_BEATS_A_SESSION = 3

#: Seconds between two looks at the group, which are reads and cheap: a member that joins waits no longer than this.
_LOOK_EVERY_S = 0.5

#: The same as a part of a short session.
_LOOKS_A_SESSION = 10

#: A goodbye is said so often until it is heard: whoever finds that a connection is lost, the next has another.
_GOODBYES = 2

log = get_logger(__name__)


class Owner(Protocol):
    """Is told what became of partitions, in the order in which it happened. Called on the event loop."""

    def assigned(self, claimed: Claimed) -> None:
        """This is ours."""

    def asked_back(self, partition: int, epoch: int, given_back: Callable[[int, int], None]) -> None:
        """Stop with this, and call `given_back` with it; it stays ours until then."""

    def lost(self, partition: int, epoch: int) -> None:
        """This may be another's."""


class Membership(Generic[C]):
    """One member's life. `join`, `live` and what they call run in the thread, `leave` and `given_back` anywhere."""

    def __init__(
        self,
        *,
        thread: ConnectionThread[C],
        group: Group[C],
        leases: Leases,
        owner: Owner,
        loop: Loop,
        clock: Callable[[], float],
    ) -> None:
        self._thread, self._group, self._leases = thread, group, leases
        self._owner, self._loop, self._clock = owner, loop, clock
        self._wake = threading.Event()
        self._leaving = False
        self._asked_back: dict[int, int] = {}
        self._returned: deque[tuple[int, int]] = deque()
        #: What was given back, and the store may not know it yet.
        self._unreleased: dict[int, int] = {}
        self._next_beat = self._next_sweep = 0.0
        self._told = ""
        #: What keeps us from being a member.
        self._fault: QueueError | None = None

    def join(self, connection: C) -> None:
        """The first heartbeat, which takes what is free."""
        self._beat(connection)

    def leave(self) -> None:
        """Ask back everything, and end `live`."""
        self._leaving = True
        self._wake.set()

    def given_back(self, partition: int, epoch: int) -> None:
        """What was asked back is free for others."""
        self._returned.append((partition, epoch))
        self._wake.set()

    def live(self) -> None:
        """Keep the membership until everything was given back after `leave`."""
        while not self._leaving or self._leases.held():
            self._wake.wait(self._look_every_s)
            self._wake.clear()
            self._try(self._step)
        for _ in range(_GOODBYES):
            if self._try(partial(again, self._depart)):
                return

    @property
    def _look_every_s(self) -> float:
        return min(_LOOK_EVERY_S, self._group.session_s / _LOOKS_A_SESSION)

    def _try(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except QueueError as error:
            self._fault = error
            self._tell_unreachable(str(error))
        except Exception as error:  # a thread that died would leave its partitions without a word
            self._fault = QueueUnavailable(f"the group {self._group.name} can't be asked: {error!r}")
            log.exception("membership_failed", group=self._group.name, stream=self._group.stream)
        else:
            self._told, self._fault = "", None
            return True
        return False

    def check(self) -> None:
        """Raise `QueueError` for who owns nothing any more, and never will: `QueueUnavailable` while it still may."""
        fault = self._fault
        if fault is None or self._leases.held():
            return
        # A stream that is gone comes again as another one, which may be told then.
        kind = QueueUnavailable if isinstance(fault, QueueUnavailable | UnknownStream) else QueueError
        raise kind(str(fault)) from fault

    def _tell_unreachable(self, error: str) -> None:
        """Once, and not twice a second for as long as it lasts."""
        if error != self._told:
            self._told = error
            log.warning("group_unreachable", group=self._group.name, stream=self._group.stream, error=error)

    def _step(self) -> None:
        self._drop_expired()
        if self._leaving:
            self._ask_back(list(self._leases.held()))
        # Outside of what may fail: what was given back is ours no more, even if the database can't be told.
        self._unreleased |= self._take_returned()
        with self._thread.connected() as connection:
            again(partial(self._release, connection))
            self._group.check(connection)
            again(partial(self._look, connection))

    def _look(self, connection: C) -> None:
        view = self._group.view(connection, self._leases.held())
        if view.taken or self._clock() >= self._next_beat or (to_claim(view) and not self._leaving):
            self._beat(connection)
        elif not self._leaving:
            self._ask_back(to_give_back(view, self._asked()))
            self._sweep(connection)

    def _beat(self, connection: C) -> None:
        # Read before the step: our own idea of the lease's end is never later than the others'.
        started, held = self._clock(), self._leases.held()
        beat = self._group.beat(connection, held, is_leaving=self._leaving)
        for partition in held.keys() - set(beat.still):
            self._lose(partition, held[partition])
        self._leases.add({one.partition: one.epoch for one in beat.claimed})
        self._leases.renew(started + self._group.session_s)
        self._next_beat = started + self._group.session_s / _BEATS_A_SESSION
        for one in beat.claimed:
            tell(self._loop, self._owner.assigned, one)

    def _drop_expired(self) -> None:
        for partition, epoch in self._leases.drop_expired().items():
            tell(self._loop, self._owner.lost, partition, epoch)

    def _lose(self, partition: int, epoch: int) -> None:
        if self._leases.drop(partition, epoch):
            tell(self._loop, self._owner.lost, partition, epoch)

    def _ask_back(self, partitions: list[int]) -> None:
        held, asked = self._leases.held(), self._asked()
        for partition in partitions:
            if partition in held and partition not in asked:
                asked[partition] = held[partition]
                tell(self._loop, self._owner.asked_back, partition, held[partition], self.given_back)

    def _asked(self) -> dict[int, int]:
        """What was asked back and is still ours, as it was then: meanwhile it may have been lost, and taken again."""
        held = self._leases.held()
        self._asked_back = {one: epoch for one, epoch in self._asked_back.items() if held.get(one) == epoch}
        return self._asked_back

    def _take_returned(self) -> dict[int, int]:
        returned = {}
        while self._returned:
            partition, epoch = self._returned.popleft()
            if self._leases.drop(partition, epoch):
                returned[partition] = epoch
        return returned

    def _release(self, connection: C) -> None:
        # Until it is heard: others would wait for the end of the session.
        if self._unreleased:
            self._group.release(connection, self._unreleased)
            self._unreleased = {}

    def _sweep(self, connection: C) -> None:
        every_s = self._group.sweep_every_s
        if every_s is None or self._clock() < self._next_sweep:
            return
        # Who comes waits for the next look, and who stops, or gives something back, for the end of this.
        until = self._clock() + self._look_every_s
        for partition in self._leases.held():
            while self._group.sweep(connection, partition):
                if self._clock() >= until:
                    return
        self._next_sweep = self._clock() + every_s

    def _depart(self) -> None:
        with self._thread.connected() as connection:
            self._group.leave(connection)
