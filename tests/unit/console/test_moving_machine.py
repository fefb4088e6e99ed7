"""Whatever state portals and workers are in, a move loses nothing, keeps every order, and repeats nothing."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from forebay.console.moving.errors import NotStill
from forebay.console.settings import Settings
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from tests.moving.sides import BreakingQueue, a_move, carried
from tests.parking.world import GROUP, PARTITIONS, TOPIC
from tests.unit.processors.test_parking_machine import Parking


class Moving(Parking):
    """As parking, and now and then the queue is another."""

    @precondition(lambda self: self.world.queue.mood.now == "takes")
    @rule(takes=st.lists(st.integers(0, 40), max_size=3))
    def all_moves(self, takes: list[int]) -> None:
        world = self.world
        for worker in list(world.workers):
            world.stop(worker)
        target = BreakingQueue()
        given = Settings(topic=TOPIC, group=GROUP, partitions=PARTITIONS)
        try:
            for count in [*takes, None]:
                target.takes = count
                self._move(a_move(world.queue, target, given), breaks=count is not None)
        except NotStill as refused:
            # Somebody has to do what was ordered; the machine goes on with the old queue.
            assert "wait for a worker" in str(refused)
            return
        # Where nothing waits, nothing is made.
        world.run(target.ensure(names.streams(TOPIC), PARTITIONS))
        assert world.run(carried(a_move(world.queue, target, given))) == 0
        world.queue = target

    def _move(self, move: Any, *, breaks: bool) -> None:
        try:
            self.world.run(carried(move))
        except QueueUnavailable:
            assert breaks


TestMoving = Moving.TestCase
TestMoving.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
