"""Events that die, dead letters under way, operators, and workers that come and go, in every order."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from forebay.processors.parking.orders import What
from forebay.queues.errors import QueueUnavailable
from tests.parking.letters import MortalWorld

#: Of each kind of handler one.
PORTALS = ("a.example", "batch.example", "fold.example", "slow.example", "all.example", "hold.example")
portals = st.sampled_from(PORTALS)


class Replays(RuleBasedStateMachine):
    """Whatever happens, each event has its turn: once when it was sent, and once for each time it was replayed.

    A turn ends with the event handled, or with its one dead letter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = MortalWorld()

    @initialize(tries=st.sampled_from((3, 1000)), lane=st.sampled_from((5, 20, 1000)))
    def a_worker_starts(self, tries: int, lane: int) -> None:
        self.limits = {"tries": tries, "max_lane_records": lane, "max_held_records": 4 * lane}
        self.world.start(**self.limits)

    @rule(portal=portals, count=st.integers(1, 30))
    def events_come(self, portal: str, count: int) -> None:
        self.world.send(portal, count)

    @rule(seconds=st.sampled_from((0.3, 1.1, 4.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.let(seconds)

    @rule(portal=portals)
    def a_portal_fails(self, portal: str) -> None:
        self.world.failing.add(portal)

    @rule(portal=portals)
    def a_portal_s_events_are_rejected(self, portal: str) -> None:
        self.world.rejecting.add(portal)

    @rule(portal=portals, seconds=st.sampled_from((0.2, 5.0, 40.0)))
    def a_portal_asks_for_another_try_later(self, portal: str, seconds: float) -> None:
        self.world.later_s[portal] = seconds

    @rule(portal=portals)
    def a_portal_is_mended(self, portal: str) -> None:
        self.world.failing.discard(portal)
        self.world.rejecting.discard(portal)
        self.world.later_s.pop(portal, None)

    @rule(portal=portals, seconds=st.sampled_from((0.0, 0.2, 6.0)))
    def a_portal_gets_slow_or_quick(self, portal: str, seconds: float) -> None:
        self.world.takes_s[portal] = seconds

    @rule(mood=st.sampled_from(("takes", "refuses", "waits")))
    def the_dead_letters_change_their_mood(self, mood: str) -> None:
        self.world.queue.letters.now = mood

    @rule(error=st.sampled_from((None, QueueUnavailable("no broker"))))
    def what_becomes_of_letters_under_way_is_told(self, error: QueueUnavailable | None) -> None:
        self.world.answer_letters(error)

    @rule(portal=portals, what=st.sampled_from((What.HOLD, What.RESUME, What.DISCARD)))
    def an_operator_orders(self, portal: str, what: What) -> None:
        self.world.order(what, portal)

    @rule(portal=portals)
    def an_operator_replays_dead_letters(self, portal: str) -> None:
        self.world.replay_letters(portal)

    @rule(portal=portals, count=st.integers(1, 30))
    def an_operator_replays_events(self, portal: str, count: int) -> None:
        self.world.replay_events(portal, count)

    @precondition(lambda self: len(self.world.workers) < 3)
    @rule()
    def a_worker_joins(self) -> None:
        self.world.start(**self.limits)
        self.world.let(0.01)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), starts=st.booleans())
    def a_worker_leaves_and_another_takes_over(self, data: Any, starts: bool) -> None:
        self.world.stop(data.draw(st.sampled_from(list(self.world.workers))))
        if starts:
            self.world.start(**self.limits)

    @invariant()
    def each_had_its_turn(self) -> None:
        assert self.world.books.faults == []

    def teardown(self) -> None:
        try:
            self.world.heal()
            self.world.judge()
        finally:
            self.world.close()


TestReplays = Replays.TestCase
TestReplays.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
