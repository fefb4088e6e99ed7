"""A process with one member of a group: an event loop and three threads, that go on when they are told to."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

from forebay.queues.groups.consumer import LeasedConsumer
from forebay.queues.groups.leases import Leases
from forebay.queues.groups.membership import Membership
from tests.unit.queues.kafka.stepping import SteppingLoop

from .moody import MemberStore, Store, Way
from .turns import Event, Turn, pause
from .users import User

_Arguments = TypeVarTuple("_Arguments")


#: Seconds for which a lease may be over before its end is told.
_LATE_S = 0.02


class MemberLoop(SteppingLoop):
    """Its time is the world's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(pause)
        self._clock = clock
        self.held_up_until = 0.0

    def time(self) -> float:
        return self._clock()

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Arguments]], object], *args: *_Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """As in asyncio; who calls stands before it and behind it."""
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        pause()
        return handle

    @property
    def is_ready(self) -> bool:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # asyncio's own
        is_due = bool(timers) and timers[0].when() <= self.time()
        return self.held_up_until <= self.time() and (bool(self._ready) or is_due)

    def go_on(self) -> None:
        """Do what is due by now."""
        self.call_soon(self.stop)
        self.run_forever()


class InterruptedLeases(Leases):
    """A thread may stand before each look at them, and behind it."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name == "left_s":
            return found

        def interrupted(*arguments: Any) -> Any:
            pause()
            answer = found(*arguments)
            pause()
            return answer

        return interrupted


class Member(LeasedConsumer[Way]):
    """The real one, which waits as `turns` do."""

    def __init__(self, store: MemberStore, clock: Callable[[], float]) -> None:
        super().__init__(store.thread, store.member, clock=clock)
        self._leases = InterruptedLeases(clock)

    @property
    def name(self) -> str:
        group: Any = self._group
        return str(group.me)

    def _new_membership(self) -> Membership[Way]:
        membership = super()._new_membership()
        event: Any = Event(self._clock)
        membership._wake = event
        return membership


class Process:
    """Nothing in it goes on by itself."""

    def __init__(self, store: Store, errors: list[Any], numbers: Any) -> None:
        self._clock, self._errors = store.clock, errors
        self.loop = MemberLoop(store.clock)
        self.loop.set_exception_handler(lambda loop, context: errors.append(context))
        self.threads: list[Turn] = []
        self.frozen_until = 0.0
        self.is_killed = False
        self.closing: asyncio.Task[Any] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self.consumer = Member(MemberStore(store, self._begin_thread), store.clock)
        self.user = User(self.consumer, store.keeping, self.begin, numbers)
        self.starting = self.begin(self.user.start())

    def _begin_thread(self, target: Callable[[], None]) -> Turn:
        self.threads.append(turn := Turn(target))
        return turn

    @property
    def is_in(self) -> bool:
        """Whether it is a member, and is to stay one."""
        return not self.is_killed and self.closing is None and self.user.has_started

    def begin(self, what: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self.loop.create_task(what)
        self._tasks.append(task)
        return task

    def ready(self) -> list[Turn | MemberLoop]:
        """What of it can go on."""
        if self.is_killed or self.frozen_until > self._clock():
            return []
        parts: Iterable[Turn | MemberLoop] = (self.loop, *self.threads)
        return [part for part in parts if part.is_ready]

    def close_consumer(self) -> None:
        self.starting.cancel()
        self.closing = self.begin(self.consumer.close())

    def cancel_calls(self) -> None:
        """Whoever began to close has it closed."""
        for task in self._tasks:
            if task is not self.starting or self.closing is not None:
                task.cancel()
        if self.closing is not None:
            self.closing = self.begin(self.consumer.close())

    def look(self) -> None:
        """See that nothing went wrong, when all was done that could be."""
        since = max(self.frozen_until, self.loop.held_up_until)
        # Of what is assigned when it is over already the end is told next.
        has_had = [held for held in self.user.held.values() if max(held.since, since) + _LATE_S <= self._clock()]
        # Others may begin with what was ours.
        assert not (has_had and self.consumer._leases.left_s() < -_LATE_S)
        done = [task for task in self._tasks if task.done()]
        self._tasks = [task for task in self._tasks if not task.done()]
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def kill(self) -> None:
        """It comes to no end of its own."""
        self.is_killed = True
        for thread in self.threads:
            thread.kill()
        self.user.held.clear()

    def see_that_it_is_over(self) -> None:
        assert self.closing is not None
        assert self.closing.done()
        assert self._tasks == []
        assert self.user.held == {}
        assert all(thread.is_over for thread in self.threads)
        self.user.see_that_it_was_fenced_for_a_reason()

    def tidy(self) -> None:
        """Leave nothing behind, whatever is under way."""
        self.kill()
        self.loop.set_exception_handler(lambda loop, context: None)
        for _ in range(5):
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.go_on()
        if self.consumer._bell is not None:
            self.consumer._bell.close()
        self.loop.close()


#: What may happen to a process, and until when some of it goes on.
Fate = Callable[[Process, float], object]

FATES: tuple[Fate, ...] = (
    lambda process, until: setattr(process, "frozen_until", until),
    lambda process, until: setattr(process.loop, "held_up_until", until),
    lambda process, until: setattr(process.loop, "held_up_until", until),
    lambda process, until: process.kill(),
    lambda process, until: process.close_consumer() if process.closing is None else None,
    lambda process, until: process.cancel_calls(),
)

#: How long a user takes to give a partition back: longer than a session, too.
GRACES_S = (0.0, 0.0, 0.3, 1.5)
