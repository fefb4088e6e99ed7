"""Members of a group on a store that does whatever one may do, in every order."""

from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .keeping import PARTITIONS
from .moody import MOODS, WAITS_S, Mood, What
from .processes import FATES, GRACES_S, Fate
from .worlds import World

numbers = st.sampled_from(PARTITIONS)
groups = st.sets(numbers, min_size=1).map(sorted)

WHATS: tuple[What, ...] = (
    *("beat", "beat", "beat", "commit", "commit", "release", "release"),
    *("group", "check", "view", "leave", "sweep", "ends", "read"),
)


class Groups(RuleBasedStateMachine):
    """Time passes where a rule says so."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(forgets=st.booleans(), members=st.sampled_from((1, 2, 3)))
    def a_group_begins(self, forgets: bool, members: int) -> None:
        self.world.keeping.forgets = forgets
        for number in PARTITIONS:
            self.world.keeping.write(number, 3, 0)
        for _ in range(members):
            self.world.start(0.0)
        self.world.run(0.3)

    @rule(grace_s=st.sampled_from(GRACES_S))
    def a_process_starts(self, grace_s: float) -> None:
        self.world.start(grace_s)

    @rule(number=numbers, records=st.sampled_from((0, 1, 3, 8)), gap=st.sampled_from((0, 0, 1)))
    def records_come(self, number: int, records: int, gap: int) -> None:
        self.world.keeping.write(number, records, gap)

    @rule(who=numbers, most=st.sampled_from((1, 2, 100)), timeout_s=st.sampled_from((0.0, 0.3, 5.0)))
    def a_user_fetches(self, who: int, most: int, timeout_s: float) -> None:
        process = self.world.any(who)
        if process.user.has_started:
            process.begin(process.user.read(most, timeout_s))

    @rule(who=numbers, which=groups)
    def a_user_commits(self, who: int, which: list[int]) -> None:
        process = self.world.any(who)
        if process.user.has_started:
            process.begin(process.user.commit(which))

    @rule(
        who=numbers,
        grace_s=st.sampled_from(GRACES_S),
        commits_last=st.sampled_from(("", "and waits", "and goes")),
    )
    def a_user_will_give_back(self, who: int, grace_s: float, commits_last: str) -> None:
        user = self.world.any(who).user
        user.grace_s, user.commits_last = grace_s, commits_last

    @rule(what=st.sampled_from(WHATS), mood=st.sampled_from(MOODS))
    def a_call_will_go_wrong(self, what: What, mood: Mood) -> None:
        self.world.store.moods[what].append(mood)

    @rule(is_known=st.booleans())
    def the_connections_are_lost(self, is_known: bool) -> None:
        self.world.store.lose_ways(is_known=is_known)

    @rule(is_away=st.booleans())
    def the_store_goes_or_comes(self, is_away: bool) -> None:
        self.world.store.is_away = is_away

    @rule(who=numbers, fate=st.sampled_from(FATES), seconds=st.sampled_from(WAITS_S))
    def a_process_has_a_fate(self, who: int, fate: Fate, seconds: float) -> None:
        fate(self.world.any(who), self.world.now + seconds)

    @rule(who=numbers, part=st.sampled_from(range(4)), steps=st.sampled_from((1, 1, 2, 5)))
    def a_part_goes_on(self, who: int, part: int, steps: int) -> None:
        process = self.world.any(who)
        for _ in range(steps):
            parts = [process.loop, *process.threads]
            if (one := parts[part % len(parts)]) in process.ready():
                one.go_on()
                self.world.see_that_nobody_has_what_is_anothers()

    @rule(
        steps=st.sampled_from((20, 60, 150)), seed=st.integers(0, 10**6), faults=st.sampled_from((0.0, 0.03, 0.1, 0.3))
    )
    def all_go_on_in_any_order(self, steps: int, seed: int, faults: float) -> None:
        self.world.go_on(steps, Random(seed), faults)

    @rule(seconds=st.sampled_from((0.0, *WAITS_S)))
    def all_go_on(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(seconds=st.sampled_from(WAITS_S))
    def time_passes(self, seconds: float) -> None:
        self.world.stand_still(seconds)

    def teardown(self) -> None:
        self.world.close()


TestGroups = Groups.TestCase
TestGroups.settings = settings(max_examples=80, stateful_step_count=40, suppress_health_check=list(HealthCheck))
