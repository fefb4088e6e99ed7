"""Portals in trouble, workers that come, go and die, and a parked stream with moods, in every order."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from forebay.processors.parking.orders import What
from tests.parking.world import World

#: Of each kind one, and two that only have their order.
PORTALS = ("a.example", "b.example", "batch.example", "fold.example", "slow.example", "all.example")
portals = st.sampled_from(PORTALS)


class Parking(RuleBasedStateMachine):
    """What is promised holds whatever happens: nothing lost, a portal's order, nothing twice without a death."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.start()

    @rule(portal=portals, count=st.integers(1, 30))
    def events_come(self, portal: str, count: int) -> None:
        self.world.send(portal, count)

    @rule(seconds=st.sampled_from((0.01, 0.3, 1.1, 4.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.let(seconds)

    @rule(portal=portals)
    def a_portal_fails(self, portal: str) -> None:
        self.world.failing.add(portal)

    @rule(portal=portals)
    def a_portal_is_mended(self, portal: str) -> None:
        self.world.failing.discard(portal)

    @rule(portal=st.sampled_from(("batch.example", "all.example")))
    def a_portal_falters(self, portal: str) -> None:
        self.world.faltering.symmetric_difference_update({portal})

    @rule(portal=portals, seconds=st.sampled_from((0.0, 0.2, 3.0)))
    def a_portal_gets_slow_or_quick(self, portal: str, seconds: float) -> None:
        self.world.takes_s[portal] = seconds

    @precondition(lambda self: len(self.world.workers) < 3)
    @rule()
    def a_worker_joins(self) -> None:
        self.world.start()
        self.world.let(0.01)

    @precondition(lambda self: self.world.workers and self.world.queue.mood.now == "takes")
    @rule(data=st.data())
    def a_worker_leaves(self, data: Any) -> None:
        self.world.stop(data.draw(st.sampled_from(list(self.world.workers))))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), zombies=st.integers(0, 50))
    def a_worker_dies(self, data: Any, zombies: int) -> None:
        self.world.kill(data.draw(st.sampled_from(list(self.world.workers))), zombies)

    @rule(mood=st.sampled_from(("takes", "refuses", "lies", "waits")))
    def the_parked_stream_changes_its_mood(self, mood: str) -> None:
        self.world.feel(mood)

    @rule()
    def what_waits_is_kept(self) -> None:
        self.world.deliver()

    @precondition(lambda self: self.world.queue.mood.now != "waits")
    @rule()
    def what_is_done_is_deleted(self) -> None:
        self.world.trim()

    @rule(portal=portals)
    def an_operator_resumes(self, portal: str) -> None:
        self.world.held.discard(portal)
        self.world.order(What.RESUME, portal)

    @precondition(lambda self: self.world.workers and self.world.queue.mood.now == "takes")
    @rule(portal=portals)
    def an_operator_holds(self, portal: str) -> None:
        self.world.order(What.HOLD, portal)
        self.world.takes_s[portal] = 0.0
        self.world.let(5.0)
        self.world.held.add(portal)

    def teardown(self) -> None:
        try:
            self.world.heal()
            self.world.judge()
        finally:
            self.world.close()


TestParking = Parking.TestCase
TestParking.settings = settings(max_examples=60, stateful_step_count=30, suppress_health_check=list(HealthCheck))
