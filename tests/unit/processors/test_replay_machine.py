"""Events that die, dead letters under way, operators, and workers that come, go and die, in every order."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from forebay.processors.parking.orders import What
from tests.parking.letters import MortalWorld

#: Of each kind of handler one; a run has one of them, to which much happens.
PORTALS = ("a.example", "batch.example", "fold.example", "slow.example", "all.example", "hold.example")
#: An order waits for the owner of its partition to look, and for what follows.
obeyed = st.sampled_from((0.0, 1.1, 8.0))
#: Of a handler: less than an order takes to be obeyed, or more.
takes_s = st.sampled_from((0.0, 6.0))
workers = st.runner().flatmap(lambda self: st.sampled_from(list(self.world.workers)))


class Replays(RuleBasedStateMachine):
    """Whatever happens to a portal, each event has its turn: when it was sent, and each time it was replayed.

    A turn ends with the event handled, or with its one dead letter. Only after a worker's death may turns come again
    that were not committed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = MortalWorld()

    @initialize(
        portal=st.sampled_from(PORTALS),
        seconds=takes_s,
        count=st.sampled_from((0, 30)),
        tries=st.sampled_from((3, 1000)),
        lane=st.sampled_from((5, 1000)),
    )
    def a_worker_starts(self, portal: str, seconds: float, count: int, tries: int, lane: int) -> None:
        self.portal = portal
        self.world.takes_s[portal] = seconds
        self.limits = {"tries": tries, "max_lane_records": lane, "max_held_records": 4 * lane}
        self.world.start(**self.limits)
        self.world.send(portal, count)
        self.world.let(4.0)

    @rule(count=st.sampled_from((1, 10, 30)))
    def events_come(self, count: int) -> None:
        self.world.send(self.portal, count)

    @rule(seconds=st.sampled_from((0.3, 4.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.let(seconds)

    @rule(trouble=st.sampled_from(("", "fails", "rejects", "later")))
    def handlers_get_into_trouble_or_out_of_it(self, trouble: str) -> None:
        self.world.mend(self.portal)
        if trouble == "fails":
            self.world.failing.add(self.portal)
        elif trouble == "rejects":
            self.world.rejecting.add(self.portal)
        elif trouble == "later":
            self.world.later_s[self.portal] = 5.0

    @rule(seconds=takes_s)
    def handlers_get_slow_or_quick(self, seconds: float) -> None:
        self.world.takes_s[self.portal] = seconds

    @rule(mood=st.sampled_from(("takes", "refuses", "waits")))
    def the_dead_letters_change_their_mood(self, mood: str) -> None:
        self.world.feel_letters(mood)

    @rule(obeyed_within_s=obeyed)
    def an_operator_holds(self, obeyed_within_s: float) -> None:
        self.world.order(What.HOLD, self.portal)
        self.world.let(obeyed_within_s)

    @rule(what=st.sampled_from((What.RESUME, What.DISCARD)), obeyed_within_s=obeyed)
    def an_operator_resumes_or_discards(self, what: What, obeyed_within_s: float) -> None:
        self.world.order(what, self.portal)
        self.world.let(obeyed_within_s)

    @rule(obeyed_within_s=obeyed)
    def an_operator_replays_dead_letters(self, obeyed_within_s: float) -> None:
        self.world.replay_letters(self.portal)
        self.world.let(obeyed_within_s)

    @rule(count=st.sampled_from((1, 3, 30)), obeyed_within_s=obeyed)
    def an_operator_replays_events(self, count: int, obeyed_within_s: float) -> None:
        self.world.replay_events(self.portal, count)
        self.world.let(obeyed_within_s)

    @rule()
    def what_is_done_is_deleted(self) -> None:
        self.world.trim()

    @precondition(lambda self: len(self.world.workers) < 3)
    @rule()
    def a_worker_joins(self) -> None:
        self.world.start(**self.limits)
        self.world.let(0.01)

    @precondition(lambda self: self.world.workers)
    @rule(worker=workers, starts=st.booleans())
    def a_worker_leaves_and_another_takes_over(self, worker: Any, starts: bool) -> None:
        self.world.stop(worker)
        if starts:
            self.world.start(**self.limits)

    @precondition(lambda self: self.world.workers)
    @rule(worker=workers)
    def a_worker_dies(self, worker: Any) -> None:
        self.world.kill(worker, 0)

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
    max_examples=200, stateful_step_count=40, derandomize=True, suppress_health_check=list(HealthCheck)
)
