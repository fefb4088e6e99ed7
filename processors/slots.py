"""A fixed number of slots, each of which handles one portal's records for a turn, and then the next one's."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from .cancelling import Task, current_task, take_back
from .crashes.caution import Caution
from .lanes import Lanes
from .partitions import Lane
from .presence import Presence
from .turn import Turn

#: Tries a lane's first records, one after the other, as long as each is finished at once. Gives None when none is left,
#: or the turn is over, else what to await for the first other one. That gives None when it is finished and no longer in
#: the lane, else the seconds until the next try.
Process = Callable[[Lane, Turn], Awaitable[float | None] | None]

#: Handlers that never wait would keep the loop for themselves; after so long everything else gets its chance.
_BREATH_S = 0.005
#: One that waited gave everything else its chance already; but a thousand may go on at once, each with a turn.
_LONG_BREATH_S = 0.05

#: How often a portal whose record stands in line for caution's sake asks whether it may.
_LINE_S = 0.05


class Slots:
    """Runs lanes. Of a lane one slot at most is at work, so a portal has one event in work at most."""

    def __init__(
        self,
        lanes: Lanes,
        process: Process,
        presence: Presence,
        *,
        clock: Callable[[], float],
        caution: Caution | None,
        whose: int,
    ) -> None:
        """`whose` is the group in what is noted for caution's sake."""
        self._lanes, self._process, self._presence, self._clock = lanes, process, presence, clock
        self._caution, self._whose = caution, whose
        self._iteration = _Iteration(clock)
        self._is_closed = False

    def close(self) -> None:
        """Let each slot end when its lane does."""
        self._is_closed = True

    async def run_one(self) -> None:
        """One slot, until it is closed."""
        task = current_task()
        while not self._is_closed:
            try:
                await _announced(self._run_one(task), self._lanes)
            except asyncio.CancelledError:
                if self._is_closed:
                    raise
                # A partition's work was cancelled, or something that a handler has left here: not this slot.
                take_back(task)

    async def _run_one(self, task: Task) -> None:
        longest_s = _BREATH_S
        while not self._is_closed:
            lane, wait_s = self._lanes.first() or await self._lanes.take(), None
            try:
                # All who are awake come by here in one iteration: those who come too late do so in the next one again.
                while self._iteration.age_s() > longest_s:
                    await self._breathe()
                # A turn that was under way during a gap is over: no event of it is begun without coming by here.
                if not self._presence.is_certain():
                    await self._presence.certain()
                began = self._iteration.number
                if self._caution is not None and self._caution.is_needed:
                    wait_s = await self._carefully(self._caution, lane, task)
                elif lane.partition.is_open:
                    lane.is_at_work, turn = True, Turn(self._clock, task.cancelling, began)
                    # While nothing waits, nobody else runs who could ask who is at work in the partition.
                    if (rest := self._process(lane, turn)) is not None:
                        wait_s = await self._go_on(rest, lane, turn, task)
                longest_s = _BREATH_S if self._iteration.number == began else _LONG_BREATH_S
            finally:
                lane.is_at_work = False
                if lane.partition.is_open:
                    self._put_back(lane, wait_s)

    async def _carefully(self, caution: Caution, lane: Lane, task: Task) -> float | None:
        """A turn of one record, if it may be handled now."""
        care = await caution.enter(self._whose, lane)
        if care is None:
            return _LINE_S
        first, attempts = lane.records[0], lane.attempts
        try:
            # The wait may have been long: after a gap nothing is begun, and the next turn sees to all that.
            if not (self._presence.is_certain() and lane.partition.is_open):
                return None
            lane.is_at_work, turn = True, Turn(self._clock, task.cancelling, self._iteration.number, care)
            rest = self._process(lane, turn)
            return None if rest is None else await self._go_on(rest, lane, turn, task)
        finally:
            is_as_before = lane.records and lane.records[0] is first and lane.attempts == attempts
            caution.leave(care, was_tried=lane.partition.is_open and not is_as_before)

    async def _breathe(self) -> None:
        # It comes back by itself: nobody has to take its place.
        self._lanes.expect_one()
        try:
            await asyncio.sleep(0)
        finally:
            self._lanes.expect_one_less()

    async def _go_on(self, first: Awaitable[float | None], lane: Lane, turn: Turn, task: Task) -> float | None:
        """The turn of a lane, from the first of its records on that waits for something."""
        partition, rest = lane.partition, first
        partition.enter(task)
        try:
            while True:
                wait_s = await rest
                if wait_s is not None or not (lane.records and partition.is_open):
                    return wait_s
                if not turn.goes_on() and not self._begins_again(turn):
                    return None
                if partition.holds(lane):
                    return None
                if (following := self._process(lane, turn)) is None:
                    return None
                rest = following
        finally:
            partition.leave(task)

    def _begins_again(self, turn: Turn) -> bool:
        """Whether the lane has another turn at once: nobody waits for one, nor for the event loop."""
        if turn.care is not None or self._is_closed or self._lanes.has_ready:
            return False
        # Of a turn that waited for nothing, and of all those in one iteration, the others must not wait for too long.
        if turn.iteration == self._iteration.number or self._iteration.age_s() > _LONG_BREATH_S:
            return False
        if not self._presence.is_certain() or (self._caution is not None and self._caution.is_needed):
            return False
        turn.begin(self._iteration.number)
        return True

    def _put_back(self, lane: Lane, wait_s: float | None) -> None:
        # Whose lane is empty may have been held with its last try: nothing is left to be taken back.
        if lane.records and (parking := lane.partition.parking) is not None and lane.partition.holds(lane):
            parking.take_back(lane)
        if wait_s is None or not lane.records:
            self._lanes.put_back(lane)
        else:
            self._lanes.put_back_after(lane, wait_s)


@coroutine
def _announced(slot: Coroutine[Any, Any, None], lanes: Lanes) -> Generator[object, Any, None]:
    """The slot, told to the lanes: whenever it waits, for a handler or whatever, another may be needed in its place."""
    step: Callable[[Any], object] = slot.send
    given: object = None
    while True:
        lanes.expect_one()
        try:
            awaited = step(given)
        except StopIteration:
            return
        finally:
            lanes.expect_one_less()
        try:
            step, given = slot.send, (yield awaited)
        except GeneratorExit:
            slot.close()
            raise
        except BaseException as thrown:
            step, given = slot.throw, thrown


class _Iteration:
    """The event loop's present iteration: all slots that are awake run in the same one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.number = 0
        self._clock, self._began, self._is_noted = clock, 0.0, False

    def age_s(self) -> float:
        """For how long it has run, from the first time that somebody asked."""
        if self._is_noted:
            return self._clock() - self._began
        self._is_noted, self._began = True, self._clock()
        asyncio.get_running_loop().call_soon(self._is_over)
        return 0.0

    def _is_over(self) -> None:
        self._is_noted = False
        self.number += 1
