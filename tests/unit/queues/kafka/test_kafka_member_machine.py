"""The consumer on clients that do what librdkafka may do, in every order."""

import asyncio
from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .consuming import World
from .fetching import PARTITIONS
from .groups import FENCED, Mood
from .restless import Client

numbers = st.sampled_from(PARTITIONS)
groups = st.sets(numbers, min_size=1)

MOODS: tuple[Mood, ...] = (
    (KafkaError._TRANSPORT, None, False),
    (KafkaError._TIMED_OUT, None, True),
    (KafkaError.REBALANCE_IN_PROGRESS, None, False),
    (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, 0, False),
    (KafkaError.NO_ERROR, None, True),
    (KafkaError._TIMED_OUT, None, False),
    (KafkaError.NOT_COORDINATOR, None, False),
    (KafkaError.REQUEST_TIMED_OUT, None, True),
    (KafkaError.ILLEGAL_GENERATION, None, False),
    (KafkaError.STALE_MEMBER_EPOCH, None, False),
    (KafkaError.UNKNOWN_TOPIC_OR_PART, 1, False),
    *((code, None, False) for code in FENCED),
)

PARTINGS = (Client.throw_out, Client.throw_out, Client.expire, Client.hear)

REFUSALS = tuple(
    partial(Client.refuse, code=code)
    for code in (
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.UNRELEASED_INSTANCE_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.GROUP_MAX_SIZE_REACHED,
        KafkaError.GROUP_ID_NOT_FOUND,
    )
)

ERRORS = tuple(
    partial(Client.err, code=code) for code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART)
)

#: What else may happen to a consumer, or around it.
TROUBLES: tuple[Callable[[World, int], object], ...] = (
    lambda world, number: world.group.work_elsewhere(number),
    lambda world, number: world.group.take_what_is_old(number),
    lambda world, number: world.group.elect(number),
    lambda world, number: world.group.make_anew(),
    lambda world, number: setattr(world, "topic_s", number / 2),
    lambda world, number: setattr(world, "topic_is_away", bool(number)),
    lambda world, number: setattr(world.group, "silences", number + 1),
    lambda world, number: world.group.far.add(number),
    lambda world, number: world.group.far.clear(),
    lambda world, number: setattr(world.group, "hindrances", number + 1),
    lambda world, number: world.set_clock_back(hangs=bool(number)),
    lambda world, number: world.close_one_that_was_left(),
    lambda world, number: world.cancel_calls(),
    lambda world, number: world.close_consumer(),
)

#: How long a user takes to give a partition back: longer than the group waits, too.
GRACES_S = (0.0, 0.0, 0.01, 0.3, 5.0)


class Consuming(RuleBasedStateMachine):
    """Each rule only notes what is done; it happens while the thread turns."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(which=st.sets(numbers))
    def the_leaders_of_some_answer_nobody(self, which: set[int]) -> None:
        self.world.group.far |= which

    @rule(number=numbers, records=st.sampled_from((0, 1, 3, 8)), gap=st.sampled_from((0, 0, 1)))
    def records_come(self, number: int, records: int, gap: int) -> None:
        self.world.do(self.world.group.write, number, records, gap)
        self.world.client(Client.fetch, number)

    @rule(which=groups, what=st.sampled_from((Client.give, Client.give, Client.ask_back)))
    def the_group_moves_partitions(self, which: set[int], what: Callable[[Client, set[int]], None]) -> None:
        self.world.client(what, which)

    @rule(number=numbers, what=st.sampled_from((Client.begin, Client.fetch, *ERRORS)))
    def the_client_reads(self, number: int, what: Callable[[Client, int], None]) -> None:
        self.world.client(what, number)

    @rule(what=st.sampled_from((Client.arrive, Client.work)))
    def the_client_works(self, what: Callable[[Client], None]) -> None:
        self.world.client(what)

    @rule(most=st.sampled_from((1, 1, 2, 100)))
    def the_user_fetches(self, most: int) -> None:
        self.world.do(self.world.fetch, most)

    @rule(most=st.sampled_from((1, 100)))
    def the_user_begins_to_fetch(self, most: int) -> None:
        self.world.do(lambda: self.world.begin(self.world.read(most)))

    @rule(which=groups, calls=st.sampled_from((1, 2, 5)))
    def the_user_begins_to_commit(self, which: set[int], calls: int) -> None:
        self.world.do(lambda: self.world.begin(self.world.commit(sorted(which))))
        self.world.do(self.world.loop.step, calls)

    @rule(calls=st.sampled_from((1, 1, 2, 5)))
    def the_loop_makes_some_calls(self, calls: int) -> None:
        self.world.do(self.world.loop.step, calls)

    @rule(which=groups, most=st.sampled_from((0, 1, 1, 100)))
    def the_user_commits(self, which: set[int], most: int) -> None:
        self.world.do(self.world.fetch, most)
        self.world.do(lambda: self.world.begin(self.world.commit(sorted(which))))
        self.world.do(self.world.run, asyncio.sleep, 0)

    @rule(seconds=st.sampled_from(GRACES_S), commits=st.booleans())
    def the_user_will_give_back(self, seconds: float, commits: bool) -> None:
        self.world.do(setattr, self.world, "grace_s", seconds)
        self.world.do(setattr, self.world, "commits_last", commits)

    @rule(mood=st.sampled_from(MOODS))
    def a_commit_will_fail(self, mood: Mood) -> None:
        self.world.do(self.world.group.moods.append, mood)

    @rule(what=st.sampled_from((*PARTINGS, Client.strand, Client.complain, *REFUSALS)))
    def the_client_has_trouble(self, what: Callable[[Client], None]) -> None:
        self.world.client(what)

    @rule(what=st.sampled_from(TROUBLES), number=numbers)
    def there_is_trouble(self, what: Callable[[World, int], object], number: int) -> None:
        self.world.do(what, self.world, number)

    @rule(seconds=st.sampled_from((0.0, 0.1, 2.0)))
    def the_loop_runs(self, seconds: float) -> None:
        self.world.do(self.world.run, asyncio.sleep, seconds)

    @rule()
    def the_thread_turns(self) -> None:
        self.world.turn()
        self.world.look()

    @rule()
    def the_thread_turns_until_all_is_done(self) -> None:
        while self.world.acts and not self.world.is_ending:
            self.world.turn()
        self.world.look()

    @rule(seconds=st.sampled_from(GRACES_S))
    def the_consumer_ends_in_the_middle_of_what_follows(self, seconds: float) -> None:
        self.the_thread_turns_until_all_is_done()
        self.world.grace_s, self.world.stops_early = seconds, True

    def teardown(self) -> None:
        self.world.close()


TestConsuming = Consuming.TestCase
TestConsuming.settings = settings(max_examples=400, stateful_step_count=40, suppress_health_check=list(HealthCheck))
