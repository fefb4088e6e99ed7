"""Being a member of a group: signs of life, taking partitions, giving them back."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.groups.leases import since_boot
from forebay.queues.groups.shares import GroupView, to_claim, to_give_back
from forebay.schemas.logger import get_logger

from . import group as entries
from .chronicle import Chronicle, gone
from .counting import Counting, Unheard
from .lane import Lane
from .releases import Releases
from .signs import Signs
from .states import States
from .writer import Writer

#: Looks at the clock in a session, and the longest time between two, in seconds.
_LOOKS_A_SESSION, _LOOK_EVERY_S = 20, 0.5

#: The longest wait for a state that was asked for, in seconds. Who lives writes it at once.
_STATE_S = 10.0

log = get_logger(__name__)


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
        *,
        name: Callable[[], str],
        session_s: float,
        owning: Owning,
        clock: Callable[[], float] = since_boot,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._writer, self._queue, self._owning = writer, queue, owning
        self._name, self._session_s, self._clock = name, session_s, clock
        self._chronicle, self._counting = Chronicle(self._applied), Counting()
        self._signs = Signs(self._write, session_s, now_ms)
        self._states = States(self._chronicle, self._write, session_s)
        self._lane: Lane | None = None
        self._me = name()
        #: Partition → epoch of what is ours, until the moment at which our last sign of life is too old.
        self._held: dict[int, int] = {}
        self._claimed: set[int] = set()
        self._returning: set[asyncio.Task[None]] = set()
        self._asked_back: set[int] = set()
        self._releases = Releases(self._write)
        self._wake = asyncio.Event()
        self._is_leaving = False
        self._task: asyncio.Task[None] | None = None
        self._told = ""
        #: Since when no sign of life of ours is good, and what was said last when something was not written.
        self._absent_since: float | None = None
        self._why = ""

    async def join(self, partitions: int) -> None:
        """Be a member, of a stream of so many partitions. Raises `QueueUnavailable`."""
        self._partitions = partitions
        with gone(self._queue):
            self._lane = await self._writer.follow(self._queue, self._chronicle)
        await self._know()
        self._signs.give(self._me, self._clock())
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def _know(self) -> None:
        """Have somebody write a state, if it is missing. Raises `QueueUnavailable` when nobody does."""
        self._states.ask(self._clock(), entries.ask(self._me))
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._session_s, _STATE_S)):
                while self._chronicle.is_lacking:
                    self._wake.clear()
                    await self._wake.wait()
        self._chronicle.check(self._queue)

    def _applied(self, offset: int, told: Mapping[str, Any], changed: set[int] | None) -> None:
        who, do = told.get("who", ""), told["do"]
        if do == "beat":
            self._signs.read(who, told["number"], now := self._clock(), is_ours=who == self._me)
            if now < self._signs.until:
                self._absent_since, self._why = None, ""
        elif do == "claim" and who == self._me:
            self._claimed.difference_update(told["what"])
        elif do == "commit":
            self._counting.read(who, told["number"], changed)
        elif do == "state":
            self._states.read()
        self._wake.set()

    async def _live(self) -> None:
        look_s = min(_LOOK_EVERY_S, self._session_s / _LOOKS_A_SESSION)
        while not self._is_leaving or self._held or self._returning:
            # What is ours until then is told to be lost then, and not at the look behind it.
            left_s = max(0.0, self._signs.until - self._clock()) if self._held else look_s
            try:
                async with asyncio.timeout(min(look_s, left_s)):
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
            self.check()
            self._signs.give(self._me, now)
            if self._lane is not None and self._lane.is_ready:
                self._look(now)
        except QueueUnavailable as error:
            self._refused(error)
            self._tell(str(error))
        else:
            self._told = ""

    def check(self) -> None:
        """Raise `QueueUnavailable` when the group is gone: nobody can be a member of it any more."""
        if self._lane is not None:
            with gone(self._queue):
                self._lane.check()

    def check_signs(self) -> None:
        """Raise `QueueUnavailable` for who has been no member for a session: nothing is ours, and that would look well.

        So where the node takes nothing, and what stands there can still be read.
        """
        if self._absent_since is not None and self._clock() - self._absent_since >= self._session_s:
            raise QueueUnavailable(self._why or f"{self._queue}: what we write does not come back")

    def _tell(self, error: str) -> None:
        """Once, and not at each look for as long as it lasts."""
        if error != self._told:
            self._told = error
            log.warning("group_unreachable", queue=self._queue, error=error)

    def _write(self, payload: bytes) -> None:
        self._writer.add(self._queue, payload, Unheard(self._refused))

    def _refused(self, error: QueueError) -> None:
        """Something was not written: say all of it again that is still right."""
        self._why = str(error)
        self._claimed.clear()
        self._signs.refused()
        self._releases.refused()
        self._states.refused()

    def drop_expired(self) -> None:
        """Lose everything, if our last sign of life is too old by our own clock: others may have missed us."""
        now = self._clock()
        if now < self._signs.until:
            return
        self._absent_since = now if self._absent_since is None else self._absent_since
        self._counting.void()
        if not self._held:
            return
        for partition in list(self._held):
            self._lose(partition)
        # Whoever we were may still own them, for the others: we come back as somebody else.
        old, self._me = self._me, self._name()
        self._signs.begin()
        self._claimed.clear()
        self._releases.begin()
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
        self._states.ask(now, entries.ask(self._me))
        self._chronicle.check(self._queue)
        state = self._chronicle.group
        ours = {partition: owner.epoch for partition, owner in state.owners.items() if owner.member == self._me}
        for partition, epoch in list(self._held.items()):
            if ours.get(partition) != epoch:
                self._lose(partition)
        self._signs.miss(self._me, state, now)
        if self._me not in state.members or now >= self._signs.until:
            return
        self._releases.read(self._me, ours)
        for partition in sorted(ours.keys() - self._held.keys() - self._releases.partitions):
            self._held[partition] = ours[partition]
            self._owning.assigned(partition, state.commits.get(partition, Commit(offset=0)))
        self._share()
        if self._lane is not None:
            self._states.tell(self._me, self._lane.position or 0)

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

    def _give_back(self, partitions: Collection[int]) -> None:
        for partition in partitions:
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
            self._releases.add(self._me, partition, epoch)
            del self._held[partition]
            self._asked_back.discard(partition)
        self._wake.set()

    def begin_again(self, partition: int) -> None:
        """Lose a partition, and let it be claimed anew: whoever has it then begins where the group is."""
        epoch = self._held.get(partition)
        if epoch is not None:
            self._lose(partition)
            self._releases.add(self._me, partition, epoch)
            self._wake.set()

    def go_back(self, partition: int, offset: int) -> None:
        """Say that the group is there in what is ours, however far it was: whoever comes next begins there, too."""
        epochs = {partition: self._held[partition]} if partition in self._held else {}
        said = entries.commit(self._me, self._counting.following(), epochs, {partition: Commit(offset=offset)})
        self._writer_takes(said)

    def epochs(self, partitions: Iterable[int]) -> dict[int, int]:
        """The epochs of those of the partitions that are ours."""
        self.drop_expired()
        return {partition: self._held[partition] for partition in partitions if partition in self._held}

    async def commit(self, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        """Store them; the partitions of which the commit counted. Raises `QueueUnavailable`."""
        who = self._me
        number, counted = self._counting.begin(who)
        try:
            self._writer.add(self._queue, entries.commit(who, number, epochs, commits), counted)
            with gone(self._queue):
                return await counted.found
        finally:
            self._counting.end(who, number)

    async def leave(self) -> None:
        """Give everything back, and be no member any more."""
        self._is_leaving = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._writer_takes(entries.leave(self._me))
