"""Workers that leave, and all that may happen meanwhile: few portals, which are often in trouble."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from forebay.processors.parking.orders import What
from tests.parking.world import EACH, PARTITIONS, World

#: One of them folds.
PORTALS = (*EACH, "fold.example")
portals = st.sampled_from(PORTALS)


class Leaving(RuleBasedStateMachine):
    """Nothing is handled by one who has given it back, and all else that is promised."""

    @initialize(failing=st.sets(portals), slow=st.sets(portals))
    def workers_start(self, failing: set[str], slow: set[str]) -> None:
        self.world = World()
        self.world.failing |= failing
        for _ in range(PARTITIONS):
            self.world.start()
        for portal in failing:
            self.world.send(portal, 3)
        # They are parked then.
        self.world.let(3)
        self.world.takes_s.update(dict.fromkeys(slow, 10.0))

    @rule(portal=portals, count=st.sampled_from((1, 3, 10)))
    def events_come(self, portal: str, count: int) -> None:
        self.world.send(portal, count)

    @rule(seconds=st.sampled_from((0.3, 2.0, 6.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.let(seconds)

    @rule(portal=portals)
    def a_portal_fails_or_is_mended(self, portal: str) -> None:
        self.world.failing.symmetric_difference_update({portal})

    @rule(portal=portals, seconds=st.sampled_from((0.0, 3.0, 10.0)))
    def a_portal_gets_slow_or_quick(self, portal: str, seconds: float) -> None:
        self.world.takes_s[portal] = seconds

    @precondition(lambda self: len(self.world.workers) < 3)
    @rule()
    def a_worker_joins(self) -> None:
        self.world.start()
        self.world.let(0.01)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), seconds=st.sampled_from((0.01, 1.0)))
    def a_worker_begins_to_leave(self, data: Any, seconds: float) -> None:
        self.world.leave(data.draw(st.sampled_from(list(self.world.workers))))
        self.world.let(seconds)

    @rule(seconds=st.sampled_from((0.01, 1.0)), portal=portals)
    def all_are_replaced(self, seconds: float, portal: str) -> None:
        self.world.send(portal, 1)
        self.world.let(0.3)
        for worker in list(self.world.workers):
            self.world.leave(worker)
            self.world.let(seconds)
        self.world.let(6.0)
        self.world.start()

    @rule(mood=st.sampled_from(("takes", "refuses", "lies", "waits")))
    def the_parked_stream_changes_its_mood(self, mood: str) -> None:
        self.world.feel(mood)

    @rule(portal=portals)
    def an_operator_resumes(self, portal: str) -> None:
        self.world.order(What.RESUME, portal)

    def teardown(self) -> None:
        try:
            self.world.heal()
            self.world.judge()
        finally:
            self.world.close()


TestLeaving = Leaving.TestCase
TestLeaving.settings = settings(max_examples=60, stateful_step_count=20, suppress_health_check=list(HealthCheck))
