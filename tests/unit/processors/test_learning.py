"""Which records wait for the registry, which are given up, and how often it is asked. Time is the test's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from forebay.processors.health import Health
from forebay.processors.learning import Learning
from forebay.processors.outcome import Undecodable, Unlearned
from forebay.queues.registry.errors import RegistryError, RegistryRefused, RegistryUnavailable
from forebay.queues.registry.teacher import Teacher
from forebay.schemas.codec import Codec, new_codec
from forebay.schemas.errors import UnknownSchemaId
from forebay.schemas.versions import schema_texts

T = TypeVar("T")


@dataclass
class Answers:
    """A registry whose answers are written down beforehand."""

    schemas: dict[int, str | RegistryError | None] = field(default_factory=dict)
    own: int | RegistryError | None = None
    asked: list[int | str] = field(default_factory=list)

    async def schema_of(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        return _given(self.schemas.get(schema_id))

    async def id_of(self, subject: str, schema: str) -> int | None:
        self.asked.append(subject)
        return _given(self.own)

    async def register(self, subject: str, schema: str) -> int:
        raise AssertionError("a worker never registers")

    async def is_compatible(self, subject: str, schema: str) -> bool:
        raise AssertionError("a worker never asks that")

    async def close(self) -> None:
        pass


def _given(answer: T | RegistryError) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer


@dataclass
class Desk:
    """Learning, with a clock that goes on when it sleeps. It runs from the first record on."""

    answers: Answers = field(default_factory=Answers)
    codec: Codec = field(default_factory=new_codec)
    health: Health = field(default_factory=Health)
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)
    running: "asyncio.Task[None] | None" = None

    def __post_init__(self) -> None:
        teacher = Teacher(self.codec, self.answers, "bitrix24.events")
        self.learning = Learning(
            teacher, self.health, clock=lambda: self.now, sleep=self.sleep, draw=lambda _, longest: longest
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def start(self) -> None:
        self.running = self.running or asyncio.create_task(self.learning.run())

    def see(self, schema_id: int) -> Unlearned | Undecodable:
        self.start()
        return self.learning.outcome(UnknownSchemaId(schema_id))

    @property
    def part(self) -> Any:
        parts: Any = self.health.report()["parts"]
        return parts.get("schema_registry")


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    if made.running:
        made.running.cancel()


async def until(condition: Callable[[], object]) -> None:
    # Rounds and not time: what is waited for takes some hundred.
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")


async def test_our_own_ids_are_known_before_a_record_needs_them(desk: Desk) -> None:
    desk.answers.own = 7

    desk.start()
    await until(lambda: desk.part)

    assert desk.answers.asked == ["bitrix24.events-value"]
    assert desk.codec.unknown_id(b"\0\0\0\0\7x") is None


async def test_an_id_is_asked_for_once_however_many_records_wait(desk: Desk) -> None:
    desk.answers.schemas = {7: schema_texts()[-1]}

    outcomes = [desk.see(7) for _ in range(100)]
    await until(lambda: desk.codec.unknown_id(b"\0\0\0\0\7x") is None)

    assert all(isinstance(outcome, Unlearned) for outcome in outcomes)
    assert desk.answers.asked.count(7) == 1


async def test_a_foreign_schema_is_refused_and_remembered(desk: Desk) -> None:
    desk.answers.schemas = {8: '"string"'}

    desk.see(8)
    await until(lambda: isinstance(desk.see(8), Undecodable))

    assert [desk.see(8) for _ in range(10)] == [desk.see(8)] * 10
    assert desk.answers.asked.count(8) == 1


async def test_a_missing_schema_is_believed_only_when_it_stays_missing(desk: Desk) -> None:
    began = desk.now

    desk.see(9)
    await until(lambda: isinstance(desk.see(9), Undecodable))

    assert 3 <= desk.now - began < 4
    assert desk.answers.asked.count(9) > 3


async def test_a_schema_that_comes_late_is_learnt(desk: Desk) -> None:
    desk.see(9)
    await until(lambda: desk.answers.asked.count(9) == 2)
    desk.answers.schemas[9] = schema_texts()[-1]

    await until(lambda: desk.codec.unknown_id(b"\0\0\0\0\x09x") is None)


async def test_what_was_missing_is_asked_for_again_after_a_while(desk: Desk) -> None:
    desk.see(9)
    await until(lambda: isinstance(desk.see(9), Undecodable))
    desk.answers.schemas[9] = schema_texts()[-1]
    desk.now += 60

    assert isinstance(desk.see(9), Unlearned)
    await until(lambda: desk.codec.unknown_id(b"\0\0\0\0\x09x") is None)


@pytest.mark.parametrize("trouble", [RegistryUnavailable("gone"), RegistryRefused("no right")])
async def test_without_an_answer_nothing_is_given_up_and_it_is_told(desk: Desk, trouble: RegistryError) -> None:
    desk.answers.schemas = {7: trouble}

    desk.see(7)
    await until(lambda: len(desk.slept) == 100)
    waits = desk.see(7)
    told = desk.part
    desk.answers.schemas[7] = schema_texts()[-1]
    await until(lambda: desk.part["state"] == "ok")

    assert waits == Unlearned(wait_s=5.0)
    assert told == {"state": "degraded", "why": str(trouble)}
    assert desk.slept[:7] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert desk.codec.unknown_id(b"\0\0\0\0\7x") is None


async def test_an_id_that_may_not_be_asked_for_stops_no_other(desk: Desk) -> None:
    desk.answers.schemas = {7: RegistryRefused("not this one"), 8: schema_texts()[-1]}

    desk.see(7)
    desk.see(8)

    await until(lambda: desk.codec.unknown_id(b"\0\0\0\0\x08x") is None)


async def test_a_subject_that_may_not_be_looked_at_stops_no_id(desk: Desk) -> None:
    desk.answers.own = RegistryRefused("read only, and only ids")
    desk.answers.schemas = {7: schema_texts()[-1]}
    desk.start()
    await until(lambda: desk.slept)

    desk.see(7)

    await until(lambda: desk.codec.unknown_id(b"\0\0\0\0\7x") is None)


async def test_the_first_records_wait_for_milliseconds_only(desk: Desk) -> None:
    assert desk.see(7) == Unlearned(wait_s=0.02)
