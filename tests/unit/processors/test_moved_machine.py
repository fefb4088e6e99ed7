"""A group that is moved back, in the midst of all else that happens to portals, workers and the parked stream."""

from contextlib import closing
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.parking.moved import MovedWorld

#: Of each kind of handler one; a run has one of them, to which much happens.
PORTALS = ("a.example", "batch.example", "fold.example", "slow.example", "all.example")


class Moved(RuleBasedStateMachine):
    """All of it is handled, what is newest of an object at last, and nothing stays parked."""

    @initialize(
        portal=st.sampled_from(PORTALS), count=st.integers(1, 20), fails=st.booleans(), takes_s=st.sampled_from((0, 2))
    )
    def a_worker_starts(self, portal: str, count: int, fails: bool, takes_s: float) -> None:
        self.portal, self.world = portal, MovedWorld()
        self.world.takes_s[portal] = takes_s
        self.world.failing |= {portal} if fails else set()
        self.world.start()
        self.world.send(portal, count)
        self.world.let(4.0)

    @rule(part=st.sampled_from((0.0, 0.3, 0.7, 0.99)))
    def the_group_is_moved_back(self, part: float) -> None:
        self.world.move_back(self.world.partition(self.portal), part)
        self.world.start()

    @rule(count=st.sampled_from((1, 3, 20)))
    def events_come(self, count: int) -> None:
        self.world.send(self.portal, count)

    @rule(seconds=st.sampled_from((0.3, 2.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.let(seconds)

    @rule()
    def the_portal_fails_or_is_mended(self) -> None:
        self.world.failing.symmetric_difference_update({self.portal})

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), zombies=st.integers(0, 50))
    def a_worker_dies_and_another_begins(self, data: Any, zombies: int) -> None:
        self.world.kill(data.draw(st.sampled_from(list(self.world.workers))), zombies)
        self.world.start()

    @rule(mood=st.sampled_from(("takes", "lies", "waits")))
    def the_parked_stream_changes_its_mood(self, mood: str) -> None:
        self.world.feel(mood)

    @rule()
    def what_waits_is_kept(self) -> None:
        self.world.deliver()

    def teardown(self) -> None:
        try:
            self.world.heal()
            self.world.judge()
        finally:
            self.world.close()


TestMoved = Moved.TestCase
TestMoved.settings = settings(max_examples=60, stateful_step_count=20, suppress_health_check=list(HealthCheck))


def test_what_is_kept_and_not_known_to_be_is_not_loaded_behind_what_is_done() -> None:
    with closing(MovedWorld()) as world:
        portal = "all.example"
        world.takes_s[portal] = 2
        world.start()
        world.send(portal, 15)
        world.let(4)
        world.send(portal, 3)
        world.move_back(world.partition(portal), 0.0)
        world.start()
        world.send(portal, 1)
        world.let(2)
        world.feel("lies")
        world.send(portal, 1)
        world.let(30)
        [worker] = world.workers
        world.kill(worker, 0)

        world.heal()

        world.judge()


def test_who_dies_before_the_first_commit_of_a_moved_group_leaves_it_as_moved_once_more() -> None:
    with closing(MovedWorld()) as world:
        portal = "a.example"
        world.failing |= {portal}
        world.start()
        world.send(portal, 1)
        world.let(4)
        world.move_back(world.partition(portal), 0.0)
        world.start()
        for _ in range(3):
            world.deliver()
        world.send(portal, 1)
        world.deliver()
        [worker] = world.workers
        world.kill(worker, 0)
        world.start()

        world.heal()

        world.judge()
