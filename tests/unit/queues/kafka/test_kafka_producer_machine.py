"""The producer on clients that do what librdkafka may do, in every order."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from forebay.processors.virtual_time import VirtualLoop
from forebay.queues.contract import Position, Record
from forebay.queues.errors import QueueError, RecordRefused
from forebay.queues.kafka import openings, producer_client, succession
from forebay.queues.kafka import producer as kafka_producer
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.openings import Openings
from forebay.queues.kafka.producer import KafkaProducer
from forebay.queues.kafka.topics import Topics

from .made_up import POISON
from .moody import BIG, NEW, TOO_LARGE, Broker, Client, Line

LINES: list[Line] = [("events", "a.ru"), ("events", "b.ru"), (NEW, "a.ru")]
lines = st.sampled_from(LINES)

ENDS = (Client.get_ready, Client.get_no_id, Client.break_down, Client.lose_reports, Client.strand)


class Clock:
    """Was never set back, unless somebody says so."""

    back_s = 0.0

    def set_back_s(self) -> float:
        back_s, Clock.back_s = Clock.back_s, 0.0
        return back_s


class Sending:
    """A record, and what was told of it."""

    def __init__(self, world: "Producing", line: Line, value: bytes) -> None:
        self._world, self.line, self.value = world, line, value
        self.submitted, self.told = next(world.moments), 0
        self.outcome: Position | QueueError | None = None

    def done(self) -> bool:
        return False

    def set_result(self, position: Position, /) -> None:
        assert self._world.broker.log[self.line][position.offset] == self.value
        self._tell(position)

    def set_exception(self, error: QueueError, /) -> None:
        self._tell(error)

    def _tell(self, outcome: Position | QueueError) -> None:
        assert self.outcome is None
        assert not self._world.is_submitting
        self.told, self.outcome = next(self._world.moments), outcome

    @property
    def is_unkept(self) -> bool:
        return isinstance(self.outcome, QueueError) and not isinstance(self.outcome, RecordRefused)


class Producing(RuleBasedStateMachine):
    """Each rule only notes what is done in the loop's next turn, in which then all of it happens at once."""

    def __init__(self) -> None:
        super().__init__()
        self.loop, self.broker = VirtualLoop(), Broker()
        self.moments = count(1)
        self.is_submitting = False
        self.sent: list[Sending] = []
        self._acts: list[Callable[[], object]] = []
        Clock.back_s = 0.0
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(succession, "WallClock", Clock)
        # So a partition is begun anew now and then, also while records are under way.
        self._patch.setattr(openings, "_REMEMBERED_S", 1.0)
        self._patch.setattr(producer_client, "Openings", partial(Openings, clock=self.loop.time))
        for module in (kafka_producer, succession):
            self._patch.setattr(module.log, "warning", lambda *_, **__: None)
        self._patch.setattr(succession.log, "error", lambda *_, **__: None)
        self.loop.set_exception_handler(self._note)
        self.errors: list[Any] = []
        self.producer = self.loop.run_until_complete(self._made())

    def _note(self, loop: Any, context: dict[str, Any]) -> None:
        self.errors.append(context)

    async def _made(self) -> KafkaProducer:
        return KafkaProducer(cast(Clients, self.broker), cast(Topics, None))

    def _submit(self, line: Line, prefix: bytes = b"") -> Sending:
        value = prefix + b" %d" % len(self.sent)
        self.sent.append(sending := Sending(self, line, value))
        self.is_submitting = True
        self.producer.submit(line[0], Record(key=line[1], value=value, timestamp_ms=1), sending)
        self.is_submitting = False
        return sending

    def _do(self, what: Callable[..., object], *with_: Any) -> None:
        self._acts.append(partial(what, *with_))

    def _client(self, what: Callable[..., object], *with_: Any) -> None:
        # The client of that moment, which may not be that of now.
        self._do(lambda: what(self.broker.client, *with_))

    @rule(line=lines, what=st.sampled_from((b"", b"", b"", BIG)), many=st.sampled_from((1, 1, 2, 10)))
    def records_come(self, line: Line, what: bytes, many: int) -> None:
        for _ in range(many):
            self._do(self._submit, line, what)

    @rule(line=lines, what=st.sampled_from((POISON, TOO_LARGE)))
    def a_record_comes_that_is_never_taken(self, line: Line, what: bytes) -> None:
        self._do(self._submit, line, what)

    @rule(line=lines, what=st.sampled_from((Client.send, Client.keep, Client.answer, Client.work)))
    def the_client_works(self, line: Line, what: Callable[[Client, Line], None]) -> None:
        self._client(what, line)

    @rule(line=lines, what=st.sampled_from((Client.err, Client.deny, Client.miss, Client.trip)))
    def the_client_fails_over_a_record(self, line: Line, what: Callable[[Client, Line], None]) -> None:
        self._client(what, line)

    @rule(what=st.sampled_from(ENDS))
    def the_client_gets_ready_or_can_not_go_on(self, what: Callable[[Client], None]) -> None:
        self._client(what)

    @rule(what=st.sampled_from((Broker.keep_stray, Broker.make_topics, Broker.hinder, Broker.relent)))
    def the_world_turns(self, what: Callable[[Broker], None]) -> None:
        self._do(what, self.broker)

    @rule()
    def the_clock_is_set_back(self) -> None:
        self._do(setattr, Clock, "back_s", 60.0)

    @rule(seconds=st.sampled_from((0.0, 0.001, 0.001, 0.3, 1.1)))
    def time_passes(self, seconds: float) -> None:
        self.loop.run_until_complete(self._act(seconds))

    async def _act(self, seconds: float = 0.0) -> None:
        acts, self._acts = self._acts, []
        for act in acts:
            act()
        await asyncio.sleep(seconds)

    async def _end(self) -> None:
        await self._act()
        self.broker.relent()
        self.broker.make_topics()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            working = group.create_task(self._work())
            # Longer than any client is waited for.
            await asyncio.sleep(10)
            assert all(one.outcome is not None for one in self.sent)
            last = [self._submit(line) for line in LINES]
            await self.producer.close()
            assert all(isinstance(one.outcome, Position) for one in last)
            working.cancel()
        await asyncio.sleep(0)
        while self.broker.stray:
            self.broker.keep_stray()

    async def _work(self) -> None:
        while True:
            for line in LINES:
                self.broker.client.work(line)
            await asyncio.sleep(0.01)

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(self._end())
            self._judge()
        finally:
            self._patch.undo()
            self.loop.close()

    def _judge(self) -> None:
        assert self.errors == []
        by_line: dict[Line, list[Sending]] = defaultdict(list)
        for one in self.sent:
            assert one.outcome is not None
            by_line[one.line].append(one)
        for line, sent in by_line.items():
            log = self.broker.log[line]
            kept = [one for one in sent if isinstance(one.outcome, Position)]
            places = [log.index(one.value) for one in kept]
            assert places == sorted(places)
            for one in sent:
                if isinstance(one.outcome, QueueError):
                    assert one.value not in log
                if isinstance(one.outcome, RecordRefused):
                    assert one.value.startswith((POISON, TOO_LARGE))
                if one.is_unkept:
                    behind = [it for it in sent if one.submitted < it.submitted < one.told]
                    assert not any(isinstance(it.outcome, Position) for it in behind)


TestProducing = Producing.TestCase
TestProducing.settings = settings(max_examples=300, stateful_step_count=40, suppress_health_check=list(HealthCheck))


def test_what_is_behind_another_record_that_comes_to_nothing_is_not_sent_before_it() -> None:
    state, (first, second, _) = Producing(), LINES
    state.records_come(first, b"", 1)
    state.records_come(second, b"", 2)
    state.the_client_works(first, Client.send)
    state.the_client_works(second, Client.send)
    state.the_client_fails_over_a_record(first, Client.err)
    # With it the error is heard, and the client is to be followed.
    state.records_come(first, b"", 1)
    state.time_passes(0.0)
    state.the_client_fails_over_a_record(second, Client.err)

    state.teardown()


@pytest.mark.parametrize(("many", "clients"), [(1, 1), (3, 2)])
def test_what_is_on_its_way_behind_a_record_that_was_denied_comes_to_nothing_with_it(many: int, clients: int) -> None:
    state, (first, _, elsewhere) = Producing(), LINES
    state.records_come(first, b"", 1)
    state.time_passes(0.0)
    state.the_client_works(first, Client.work)
    state.time_passes(0.3)
    state.records_come(first, b"", many)
    state.records_come(elsewhere, b"", 1)
    state.time_passes(0.3)
    state.the_client_works(first, Client.send)
    state.the_client_fails_over_a_record(first, Client.deny)
    # With it that is heard.
    state.records_come(first, b"", 1)

    state.teardown()

    denied = [one for one in state.sent if isinstance(one.outcome, QueueError)]
    assert denied == [*state.sent[1 : 1 + many], state.sent[2 + many]]
    # Whoever is denied alone ends no client, for which all others would wait.
    assert len(state.broker.clients) == clients


def test_what_is_for_a_topic_that_is_gone_ends_no_client() -> None:
    state, (_, _, gone) = Producing(), LINES
    state.the_world_turns(Broker.make_topics)
    state.records_come(gone, b"", 1)
    state.time_passes(0.0)
    state.the_client_works(gone, Client.work)
    state.time_passes(0.3)
    state.broker.has = lambda stream: False  # type: ignore[method-assign]  # from now on
    state.records_come(gone, b"", 3)
    state.time_passes(0.3)
    state.the_client_fails_over_a_record(gone, Client.miss)
    state.time_passes(0.3)

    assert [isinstance(one.outcome, QueueError) for one in state.sent] == [False, True, True, True]
    assert len(state.broker.clients) == 1
    del state.broker.has
    state.teardown()
