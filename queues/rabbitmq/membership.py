"""Being a member of a group: signs of life, taking partitions, giving them back."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.groups.leases import since_boot
from forebay.queues.groups.shares import GroupView, to_claim, to_give_back

from . import group as entries
from .chronicle import Chronicle
from .lane import Lane
from .writer import Writer

#: Signs of life in a session: two may fail before it is over.
_BEATS_A_SESSION = 3

#: Looks at the clock in a session, and the longest time between two, in seconds.
_LOOKS_A_SESSION, _LOOK_EVERY_S = 20, 0.5

#: A state is written after so many bytes: a reader begins with one, and the stream keeps many times as much.
STATE_EVERY_BYTES = 262_144

log = structlog.get_logger(__name__)


class Owning(Protocol):
    """Is told what became of partitions, on the event loop."""

    def assigned(self, partition: int, committed: Commit) -> None:
        """This is ours."""

    async def asked_back(self, partition: int) -> None:
        """Stop with this; it stays ours until this returns."""

    def lost(self, partition: int) -> None:
        """This may be another's."""


class Membership:
    """One member's life, on its event loop. One that stands still for a session has lost everything."""

    def __init__(
        self,
        writer: Writer,
        queue: str,
        partitions: int,
        *,
        name: Callable[[], str],
        session_s: float,
        owning: Owning,
        clock: Callable[[], float] = since_boot,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._writer, self._queue, self._partitions, self._owning = writer, queue, partitions, owning
        self._name, self._session_s, self._clock, self._now_ms = name, session_s, clock, now_ms
        self._chronicle = Chronicle(self._applied)
        self._lane: Lane | None = None
        self._me = name()
        #: Partition → epoch of what is ours, until the moment at which our last sign of life is too old.
        self._held: dict[int, int] = {}
        self._until = self._next_beat = 0.0
        #: When our signs of life were written, and when we last saw one of each member.
        self._written: dict[int, float] = {}
        self._seen: dict[str, float] = {}
        self._beats = self._commits = 0
        self._claimed: set[int] = set()
        self._returning: set[asyncio.Task[None]] = set()
        self._asked_back: set[int] = set()
        #: What we have let go, for us; whether it is written, and read again, is another thing.
        self._released: dict[int, int] = {}
        self._unwritten: dict[int, int] = {}
        #: Who commits, and the number → is told of which partitions it counted, for as long as somebody waits.
        self._counting: dict[tuple[str, int], asyncio.Future[set[int]]] = {}
        self._wake = asyncio.Event()
        self._is_leaving = False
        self._task: asyncio.Task[None] | None = None
        self._missed: dict[str, int] = {}
        self._told = ""

    async def join(self) -> None:
        """Be a member. Raises `QueueUnavailable`."""
        self._lane = await self._writer.follow(self._queue, self._chronicle)
        self._chronicle.check(self._queue)
        self._beat(self._clock())
        self._task = asyncio.get_running_loop().create_task(self._live())

    def _applied(self, offset: int, told: Mapping[str, Any], changed: set[int]) -> None:
        who, do = told.get("who"), told["do"]
        if do == "beat":
            self._seen[told["who"]] = self._clock()
        if who == self._me:
            if do == "beat" and (written := self._written.pop(told["number"], None)) is not None:
                self._until = max(self._until, written + self._session_s)
            elif do == "claim":
                self._claimed.difference_update(told["what"])
        if do == "commit" and (counted := self._counting.get((told["who"], told["number"]))) and not counted.done():
            counted.set_result(changed)
        self._wake.set()

    async def _live(self) -> None:
        look_s = min(_LOOK_EVERY_S, self._session_s / _LOOKS_A_SESSION)
        while not self._is_leaving or self._held or self._returning:
            try:
                async with asyncio.timeout(look_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                self._step()
            except Exception:  # a member that died here would keep its partitions without a word
                log.exception("membership_failed", queue=self._queue)

    def _step(self) -> None:
        now = self._clock()
        self.drop_expired()
        if self._is_leaving:
            self._give_back(self._held.keys() - self._asked_back)
        try:
            if now >= self._next_beat:
                self._beat(now)
            if self._lane is not None and self._lane.is_ready:
                self._look(now)
        except QueueUnavailable as error:
            self._refused()
            self._tell(str(error))
        else:
            self._told = ""

    def _tell(self, error: str) -> None:
        """Once, and not at each look for as long as it lasts."""
        if error != self._told:
            self._told = error
            log.warning("group_unreachable", queue=self._queue, error=error)

    def _write(self, payload: bytes) -> None:
        self._writer.add(self._queue, payload, _Unheard(self._refused))

    def _refused(self) -> None:
        """Something was not written: say all of it again that is still right."""
        self._claimed.clear()
        self._missed.clear()
        self._unwritten |= self._released

    def _beat(self, now: float) -> None:
        # Soon again, if this one fails; and no later than it must, if it doesn't.
        self._next_beat = now + self._session_s / _BEATS_A_SESSION
        self._beats += 1
        self._written[self._beats] = now
        self._write(entries.beat(self._me, round(self._session_s * 1000), self._now_ms(), self._beats))

    def drop_expired(self) -> None:
        """Lose everything, if our last sign of life is too old by our own clock: others may have missed us."""
        if self._clock() < self._until:
            return
        for counted in self._counting.values():
            # Whether it counts or not: what it was for is not ours any more.
            if not counted.done():
                counted.set_result(set())
        if not self._held:
            return
        for partition in list(self._held):
            self._lose(partition)
        # Whoever we were may still own them, for the others: we come back as somebody else.
        old, self._me = self._me, self._name()
        self._written.clear()
        self._claimed.clear()
        self._released.clear()
        self._unwritten.clear()
        self._next_beat = 0.0
        if self._writer_takes(entries.leave(old)):
            self._wake.set()

    def _writer_takes(self, payload: bytes) -> bool:
        try:
            self._write(payload)
        except QueueUnavailable:
            return False
        return True

    def _lose(self, partition: int) -> None:
        del self._held[partition]
        self._asked_back.discard(partition)
        self._owning.lost(partition)

    def _look(self, now: float) -> None:
        self._chronicle.check(self._queue)
        state = self._chronicle.group
        ours = {partition: owner.epoch for partition, owner in state.owners.items() if owner.member == self._me}
        for partition, epoch in list(self._held.items()):
            if ours.get(partition) != epoch:
                self._lose(partition)
        self._miss_others(now)
        if self._me not in state.members or now >= self._until:
            return
        self._released = {
            partition: epoch for partition, epoch in self._released.items() if ours.get(partition) == epoch
        }
        if again := {partition: epoch for partition, epoch in self._unwritten.items() if partition in self._released}:
            self._write(entries.release(self._me, again))
        self._unwritten.clear()
        for partition in sorted(ours.keys() - self._held.keys() - self._released.keys()):
            self._held[partition] = ours[partition]
            self._owning.assigned(partition, state.commits.get(partition, Commit(offset=0)))
        self._share()
        self._tell_state()

    def _share(self) -> None:
        state = self._chronicle.group
        free = [number for number in range(self._partitions) if number not in state.owners]
        view = GroupView(
            me=self._me,
            members=state.members.keys(),
            free=set(free) - self._claimed,
            held=self._held.keys() | self._claimed,
            partitions=self._partitions,
        )
        if self._is_leaving:
            return
        if wanted := to_claim(view):
            self._claimed.update(wanted)
            self._write(entries.claim(self._me, wanted))
        elif not self._claimed:
            self._give_back(to_give_back(view, self._asked_back))

    def _give_back(self, partitions: Any) -> None:
        for partition in list(partitions):
            self._asked_back.add(partition)
            task = asyncio.get_running_loop().create_task(self._return(partition, self._held[partition]))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _return(self, partition: int, epoch: int) -> None:
        try:
            await self._owning.asked_back(partition)
        except Exception:  # the user's code failed; the partition must go on elsewhere
            log.exception("revoked_failed", partition=partition)
        if self._held.get(partition) == epoch:
            # What was committed before stands before this in the stream, and counts.
            self._released[partition] = epoch
            if not self._writer_takes(entries.release(self._me, {partition: epoch})):
                self._unwritten[partition] = epoch
            del self._held[partition]
            self._asked_back.discard(partition)
        self._wake.set()

    def _miss_others(self, now: float) -> None:
        for name, sign in self._chronicle.group.members.items():
            silent_s = now - self._seen.setdefault(name, now)
            if name != self._me and silent_s > sign.session_ms / 1000 and self._missed.get(name) != sign.offset:
                self._missed[name] = sign.offset
                self._write(entries.miss(name, sign.offset))

    def _tell_state(self) -> None:
        # A member that does not know the group yet waits for a state, and owns nothing.
        first = min((owner.member for owner in self._chronicle.group.owners.values()), default=None)
        if self._chronicle.since_state > STATE_EVERY_BYTES and first == self._me and self._lane is not None:
            self._chronicle.since_state = 0
            self._write(self._chronicle.group.packed(self._lane.position or 0))

    def epochs(self, partitions: Any) -> dict[int, int]:
        """The epochs of those of the partitions that are ours."""
        self.drop_expired()
        return {partition: self._held[partition] for partition in partitions if partition in self._held}

    async def commit(self, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        """Store them; the partitions of which the commit counted. Raises `QueueUnavailable`."""
        self._commits += 1
        who, number = self._me, self._commits
        counted: asyncio.Future[set[int]] = asyncio.get_running_loop().create_future()
        self._counting[who, number] = counted
        try:
            await self._writer.put(self._queue, entries.commit(who, number, epochs, commits))
            return await counted
        finally:
            del self._counting[who, number]

    async def leave(self) -> None:
        """Give everything back, and be no member any more."""
        self._is_leaving = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._writer_takes(entries.leave(self._me))


class _Unheard:
    """What became of an entry is read in the stream; only that it was refused is not to be read there."""

    def __init__(self, refused: Callable[[], None]) -> None:
        self._refused = refused

    def done(self) -> bool:
        return False

    def set_result(self, offset: int, /) -> None:
        """It is kept."""

    def set_exception(self, error: QueueError, /) -> None:
        """It is not."""
        self._refused()
