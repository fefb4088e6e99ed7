"""The spool between processes that die and a queue that does anything: whatever happens in whichever order."""

import asyncio
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, get_args

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from forebay.ingest.spool import ahead, lanes, pauses, window
from forebay.ingest.spool.pace import Pace
from tests.spool.unreliable import Mode
from tests.spool.world import Worker, World

PORTALS = ("a.ru", "b.ru")

#: A few records fill it.
SMALL, LARGE = 1200, 1 << 30

#: So many a second, of a disk that is waited for, hold back some and nobody for long.
PORTAL_RATE = 300.0


#: About which of the records that are under way, and whether it is taken.
DECISION = st.tuples(st.integers(0, 10), st.booleans())


def decide(worker: Worker, which: int, is_taken: bool) -> None:
    """The queue decides about a record that is under way, if there is one."""
    if pending := worker.producer.pending:
        one = pending[which % len(pending)]
        worker.producer.deliver(one) if is_taken else worker.producer.fail(one)


class SpoolMachine(RuleBasedStateMachine):
    """Up to three processes."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="forebay-spool-"))

    def run(self, step: Any) -> Any:
        return self.loop.run_until_complete(step)

    @initialize(
        max_bytes=st.sampled_from([LARGE, LARGE, SMALL]),
        workers=st.integers(1, 2),
        first=st.integers(1, 4),
        most=st.sampled_from([window.MOST, 5]),
        is_paced=st.booleans(),
    )
    def begin(self, max_bytes: int, workers: int, first: int, most: int, is_paced: bool) -> None:
        # As after so many that the queue took: else few stories come to where one portal has many under way.
        self.patched.setattr(lanes, "_FIRST", first)
        self.patched.setattr(window, "MOST", most)
        # A story takes no time, so that after a failure nothing would be sent any more until its end.
        self.patched.setattr(pauses, "_FIRST_S", 0.0)
        self.patched.setattr(pauses, "_LONGEST_S", 0.0)
        self.patched.setattr(ahead, "_COUNT_S", 0.0)
        paces = (None, Pace(PORTAL_RATE, 2.0) if is_paced else None)
        self.world = World(folder=self.folder, max_bytes=max_bytes, paces=paces)
        for _ in range(workers):
            self.run(self.world.start())

    @rule(mode=st.sampled_from(get_args(Mode)))
    def the_queue_changes(self, mode: Mode) -> None:
        self.world.broker.mode = mode

    @precondition(lambda self: self.world.workers)
    @rule(portal=st.sampled_from(PORTALS), which=st.integers(0, 2), times=st.integers(1, 4))
    def a_portal_calls(self, portal: str, which: int, times: int) -> None:
        for _ in range(times):
            self.run(self.world.send(portal, self.worker(which)))

    @precondition(lambda self: self.world.workers)
    @rule(portal=st.sampled_from(PORTALS), which=st.integers(0, 2), times=st.integers(2, 5))
    def a_portal_gets_a_backlog(self, portal: str, which: int, times: int) -> None:
        self.world.broker.mode = "down"
        self.a_portal_calls(portal, which, times)
        self.world.broker.mode = "hangs"
        self.a_process_drains(which, 1, [])

    @precondition(lambda self: self.world.workers)
    @rule(which=st.integers(0, 2))
    def the_deadline_passes(self, which: int) -> None:
        worker = self.worker(which)

        async def pass_() -> None:
            worker.passage.detour("late")
            await worker.settled()

        self.run(pass_())

    @precondition(lambda self: self.world.workers)
    @rule(which=st.integers(0, 2), decision=DECISION)
    def the_queue_decides(self, which: int, decision: tuple[int, bool]) -> None:
        worker = self.worker(which)

        async def decided() -> None:
            decide(worker, *decision)
            await worker.settled()

        self.run(decided())

    @precondition(lambda self: self.world.workers)
    @rule(which=st.integers(0, 2), steps=st.integers(1, 4), meanwhile=st.lists(DECISION, max_size=3))
    def a_process_drains(self, which: int, steps: int, meanwhile: list[tuple[int, bool]]) -> None:
        worker = self.worker(which)

        async def drained() -> None:
            for _ in range(steps):
                worker.meanwhile = [partial(decide, worker, *decision) for decision in meanwhile]
                await worker.step()

        self.run(drained())

    @precondition(lambda self: self.world.workers)
    @rule(which=st.integers(0, 2), taken=st.integers(0, 5), writes=st.sampled_from(["", *PORTALS]))
    def a_process_dies(self, which: int, taken: int, writes: str) -> None:
        self.run(self.world.crash(self.worker(which), taken, writes=writes))

    @precondition(lambda self: self.world.workers)
    @rule(
        which=st.integers(0, 2),
        turns=st.integers(0, 12),
        meanwhile=st.lists(st.one_of(DECISION, st.sampled_from(PORTALS)), max_size=4),
        taken=st.integers(0, 5),
    )
    def a_process_stops(self, which: int, turns: int, meanwhile: list[tuple[int, bool] | str], taken: int) -> None:
        """Calls that are on their way come, and the queue decides, while what is sent is waited for."""
        worker = self.worker(which)

        async def happen(what: tuple[int, bool] | str) -> None:
            if isinstance(what, str):
                await self.world.send(what, worker)
            else:
                decide(worker, *what)

        async def stopped() -> None:
            await worker.begin_step(turns)
            await self.world.stop(worker, [partial(happen, what) for what in meanwhile], taken)

        self.run(stopped())

    @precondition(lambda self: len(self.world.workers) < 3)
    @rule()
    def a_process_starts(self) -> None:
        self.run(self.world.start())

    def worker(self, which: int) -> Any:
        return self.world.workers[which % len(self.world.workers)]

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.run(self.world.heal())
                self.world.judge()
        finally:
            if hasattr(self, "world"):
                self.run(self.world.close())
            self.patched.undo()
            self.loop.close()
            shutil.rmtree(self.folder)


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=100, stateful_step_count=30, suppress_health_check=list(HealthCheck))
