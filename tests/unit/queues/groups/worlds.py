"""A made-up store and the processes of one group, in a time of their own."""

import sys
from collections.abc import Callable
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from forebay.queues.groups import consumer, membership, ownership, reader

from .keeping import PARTITIONS, SESSION_S
from .moody import MOODS, WAITS_S, WELL, Store
from .processes import FATES, GRACES_S, Process

#: Processes that live at one time, at most.
_MOST = 3

#: In seconds.
_STEP_S = SESSION_S / 10


class World:
    """What is done in it takes no time, unless it says so."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.errors = list[Any]()
        self.store = Store(lambda: self.now)
        self.keeping = self.store.keeping
        self.processes = list[Process]()
        self._names, self._numbers = count(), count()
        self._patch = pytest.MonkeyPatch()
        self._stand_in()

    def _stand_in(self) -> None:
        time = SimpleNamespace(monotonic=lambda: self.now)
        self._patch.setattr(consumer, "time", time)
        self._patch.setattr(reader, "time", time)
        self._patch.setattr(consumer, "member_name", lambda: f"member {next(self._names)}")
        log = SimpleNamespace(warning=lambda *_, **__: None, exception=self._hear)
        self._patch.setattr(membership, "log", log)
        self._patch.setattr(ownership, "log", log)

    def _hear(self, text: str, **_: object) -> None:
        self.errors.append((text, sys.exc_info()))

    @property
    def living(self) -> list[Process]:
        return [process for process in self.processes if not process.is_killed]

    def start(self, grace_s: float) -> None:
        """One more process."""
        if sum(process.closing is None for process in self.living) < _MOST:
            self.processes.append(process := Process(self.store, self.errors, self._numbers))
            process.user.grace_s = grace_s

    def any(self, which: int) -> Process:
        """One that lives."""
        if not self.living:
            self.start(0.0)
        return self.living[which % len(self.living)]

    # Time.

    def stand_still(self, seconds: float) -> None:
        """Nobody does anything meanwhile."""
        self.now += seconds
        self.store.arrive()

    def go_on(self, steps: int, random: Random, faults: float) -> None:
        """Whoever can goes on, in any order, for so many steps, while so many of all calls go wrong."""
        self.store.mood = lambda: random.choice(MOODS) if random.random() < faults else WELL
        for _ in range(steps):
            ready = [part for process in self.living for part in process.ready()]
            if random.random() < 0.1:
                self._use(random.choice(self.living or [self.any(0)]), random)
            elif not ready or random.random() < 0.05:
                self.stand_still(_STEP_S * random.choice((0.5, 1, 2)))
            else:
                random.choice(ready).go_on()
            self.see_that_nobody_has_what_is_anothers()
        self.store.mood = lambda: WELL

    def _use(self, process: Process, random: Random) -> None:
        if random.random() < 0.1:
            self.start(random.choice(GRACES_S))
            random.choice(FATES)(process, self.now + random.choice(WAITS_S))
        elif not process.user.has_started:
            return
        elif random.random() < 0.5:
            process.begin(process.user.read(random.choice((1, 2, 100)), random.choice((0, 0.3, 5))))
        else:
            process.begin(process.user.commit(random.sample(PARTITIONS, random.choice((1, 2, 3)))))

    def settle(self) -> None:
        """Everybody goes on, until nobody can without more time."""
        while ready := [part for process in self.living for part in process.ready()]:
            for part in ready:
                if part.is_ready:
                    part.go_on()
            self.see_that_nobody_has_what_is_anothers()

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """All that can be done in this time, unless it comes to be so before."""
        end = self.now + seconds
        while True:
            self.settle()
            self.look()
            if until():
                return True
            if self.now >= end:
                return False
            self.stand_still(_STEP_S)

    # What it sees to.

    def look(self) -> None:
        for process in self.living:
            process.look()
        assert not self.errors, self.errors

    def see_that_nobody_has_what_is_anothers(self) -> None:
        for number in PARTITIONS:
            owners = [process for process in self.living if process.user.epoch(number) is not None]
            assert len(owners) <= 1

    # The end.

    def relent(self) -> None:
        """Nothing goes wrong any more."""
        self.store.moods.clear()
        self.store.is_away = False
        self.store.lose_ways(is_known=True)
        for process in self.processes:
            process.frozen_until = process.loop.held_up_until = process.user.grace_s = 0.0

    def close(self) -> None:
        try:
            self._end()
        finally:
            for process in self.processes:
                process.tidy()
            self._patch.undo()

    def _end(self) -> None:
        self.relent()
        if not any(process.is_in for process in self.living):
            self.start(0.0)
        # What is under way may take its time, and a session is to end before others begin.
        assert self.run(20 * SESSION_S, self._has_finished), "something is never read, or never committed"
        last = [process for process in self.living if process.closing is None]
        for process in last:
            process.close_consumer()
        self.run(10 * SESSION_S, lambda: all(one.closing is not None and one.closing.done() for one in self.living))
        self.run(0)
        for process in self.living:
            process.see_that_it_is_over()
        # A goodbye is said twice at most: where nobody hears it, or an earlier call is done only behind it, the others
        # wait until the session is over.
        self.run(3 * SESSION_S)
        assert all(until <= self.now for until in self.keeping.members.values())

    def _has_finished(self) -> bool:
        members = [process for process in self.living if process.is_in]
        for process in members:
            process.begin(process.user.read(100, 0))
        self.settle()
        for process in members:
            process.begin(process.user.commit(list(process.user.held)))
        self.settle()
        owned = {number: held for one in members for number, held in one.user.held.items()}
        return all(number in owned and self._is_finished(number, owned[number].place) for number in PARTITIONS)

    def _is_finished(self, number: int, place: int) -> bool:
        end = max(self.keeping.log[number], default=-1) + 1
        return place >= end and self.keeping.claims[number].offset >= end
