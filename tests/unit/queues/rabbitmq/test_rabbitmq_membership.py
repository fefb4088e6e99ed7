"""Members of a group that write into one stream, and one that finds its beginning cut off."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from forebay.processors.virtual_time import VirtualLoop
from forebay.queues.contract import Commit
from forebay.queues.errors import QueueUnavailable
from forebay.queues.rabbitmq import group as entries
from forebay.queues.rabbitmq import membership
from forebay.queues.rabbitmq.lane import Listener, Written
from forebay.queues.rabbitmq.logs import birth, entry
from forebay.queues.rabbitmq.membership import Membership

PARTITIONS = 4
SESSION_S = 30.0


class Stream:
    """As a writer: one stream, which all of its followers read."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = [birth()]
        self.first = 0
        self.is_silent = False
        #: What is not taken, and how that is told: at once, or later.
        self.refused = self.how = ""
        self.has_refused = asyncio.Event()
        self._followers: list[tuple[Any, Listener]] = []

    @property
    def told(self) -> list[dict[str, Any]]:
        return [orjson.loads(body[17:]) for body in self.bodies if body != birth()]

    async def follow(self, queue: str, listener: Listener) -> Any:
        lane = SimpleNamespace(is_ready=True, position=self.first, check=lambda: None)
        self._followers.append((lane, listener))
        self._deliver()
        return lane

    def add(self, queue: str, payload: bytes, written: Written) -> None:
        if orjson.loads(payload)["do"] == self.refused:
            self.has_refused.set()
            if self.how == "at once":
                raise QueueUnavailable("an alarm")
            asyncio.get_running_loop().call_soon(written.set_exception, QueueUnavailable("an alarm"))
            return
        self.bodies.append(entry(b"12345678", len(self.bodies), payload))
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        for lane, listener in [] if self.is_silent else self._followers:
            while lane.position < len(self.bodies):
                lane.position += 1
                listener.read(lane.position - 1, self.bodies[lane.position - 1])


class Owned:
    """What a member was told that it owns."""

    def __init__(self) -> None:
        self.partitions: dict[int, Commit] = {}
        self._changed = asyncio.Event()

    def assigned(self, partition: int, committed: Commit) -> None:
        self.partitions[partition] = committed
        self._changed.set()

    async def asked_back(self, partition: int) -> None:
        self.lost(partition)

    def lost(self, partition: int) -> None:
        del self.partitions[partition]
        self._changed.set()

    async def are(self, number: int) -> None:
        while len(self.partitions) != number:
            self._changed.clear()
            await self._changed.wait()


def member(stream: Stream, name: str, owned: Owned, session_s: float = SESSION_S, **given: Any) -> Membership:
    writer: Any = stream
    names = map(f"{name}{{}}".format, count())
    return Membership(
        writer, "queue", name=names.__next__, session_s=session_s, owning=owned, now_ms=lambda: 0, **given
    )


@asynccontextmanager
async def joined(stream: Stream, name: str) -> AsyncIterator[tuple[Membership, Owned]]:
    made = member(stream, name, owned := Owned())
    await made.join(PARTITIONS)
    yield made, owned
    await made.leave()


async def test_who_lacks_the_beginning_asks_for_a_state_and_one_member_writes_it() -> None:
    stream = Stream()
    async with joined(stream, "b") as (first, bs), joined(stream, "c") as (_, cs):
        await bs.are(2)
        await cs.are(2)
        at = min(bs.partitions)
        assert await first.commit(first.epochs([at]), {at: Commit(offset=7)}) == {at}
        stream.first = len(stream.bodies) - 1
        # The first by name, which is not to speak for all while it knows nothing.
        async with joined(stream, "a") as (_, late):
            await late.are(2)
            found = bs.partitions | cs.partitions | late.partitions

    assert found.keys() == set(range(PARTITIONS))
    assert found[at].offset == (7 if at in late.partitions else 0)
    assert Counter(one["do"] for one in stream.told)["state"] == 1


async def test_who_lives_says_so_three_times_a_session_and_keeps_what_it_has() -> None:
    stream, now = Stream(), 0.0
    made = member(stream, "a", owned := Owned(), clock=lambda: now)
    await made.join(PARTITIONS)
    await owned.are(PARTITIONS)
    for _ in range(6):
        now += 10.0
        made._wake.set()
        for _ in range(5):
            await asyncio.sleep(0)

    assert owned.partitions.keys() == set(range(PARTITIONS))
    assert Counter(one["do"] for one in stream.told) == {"beat": 1 + 6, "claim": 1}
    await made.leave()


HOW = pytest.mark.parametrize("how", ["at once", "later"])


@HOW
async def test_what_could_not_be_let_go_of_is_let_go_of_when_it_can_be_said(how: str) -> None:
    stream = Stream()
    async with joined(stream, "a") as (made, owned):
        await owned.are(PARTITIONS)
        stream.refused, stream.how = "release", how
        made.begin_again(0)
        await stream.has_refused.wait()
        before = set(owned.partitions)
        stream.refused = ""
        await owned.are(PARTITIONS)

    assert before == {1, 2, 3}
    assert Counter(one["do"] for one in stream.told) == {"beat": 1, "claim": 2, "release": 1 + PARTITIONS, "leave": 1}


@HOW
async def test_what_could_not_be_claimed_is_claimed_when_it_can_be_said(how: str) -> None:
    stream = Stream()
    stream.refused, stream.how = "claim", how
    async with joined(stream, "a") as (_, owned):
        await stream.has_refused.wait()
        stream.refused = ""
        await owned.are(PARTITIONS)


@HOW
async def test_that_a_member_is_silent_is_said_when_it_can_be_said(how: str) -> None:
    stream = Stream()
    for payload in (entries.beat("dead", 50, 0, 1), entries.claim("dead", range(PARTITIONS))):
        stream.add("queue", payload, asyncio.get_running_loop().create_future())
    stream.refused, stream.how = "miss", how
    async with joined(stream, "a") as (_, owned):
        await stream.has_refused.wait()
        assert owned.partitions == {}
        stream.refused = ""
        await owned.are(PARTITIONS)


async def test_where_nobody_answers_the_joiner_says_so_and_is_no_member() -> None:
    stream = Stream()
    async with joined(stream, "b") as (_, owned):
        await owned.are(PARTITIONS)
    stream.first = len(stream.bodies) - 1

    with pytest.raises(QueueUnavailable, match="lacks its beginning"):
        await member(stream, "a", Owned(), session_s=0.01).join(PARTITIONS)

    assert stream.told[stream.first :] == [orjson.loads(entries.ask("a0"))]


async def test_a_commit_that_is_not_heard_of_any_more_is_waited_for_no_longer_than_the_session() -> None:
    stream, now = Stream(), 0.0
    made = member(stream, "a", owned := Owned(), clock=lambda: now)
    await made.join(PARTITIONS)
    await owned.are(PARTITIONS)
    stream.is_silent = True
    commit = asyncio.create_task(made.commit(made.epochs([0]), {0: Commit(offset=1)}))
    await asyncio.sleep(0)

    now = 31.0
    made.drop_expired()

    assert await commit == set()
    assert owned.partitions == {}
    await made.leave()


@pytest.mark.parametrize(("how", "why"), [("at once", "an alarm"), ("later", "an alarm"), ("", "not come back")])
def test_who_has_lost_everything_and_is_no_member_for_a_session_is_not_taken_for_well(how: str, why: str) -> None:
    async def is_told_so() -> None:
        stream, owned, clock = Stream(), Owned(), asyncio.get_running_loop().time
        made = member(stream, "a", owned, SESSION_S, clock=clock)
        await made.join(PARTITIONS)
        made.check_signs()
        await owned.are(PARTITIONS)
        stream.is_silent, stream.refused, stream.how = not how, "beat" if how else "", how
        await owned.are(0)
        made.check_signs()
        await asyncio.sleep(SESSION_S + 1)
        with pytest.raises(QueueUnavailable, match=why):
            made.check_signs()

        stream.is_silent, stream.refused = False, ""
        await owned.are(PARTITIONS)
        made.check_signs()
        await made.leave()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(is_told_so())


def test_what_is_lost_is_told_when_the_session_ends_and_not_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "_LOOK_EVERY_S", 3600)
    monkeypatch.setattr(membership, "_LOOKS_A_SESSION", 1 / 3600)

    async def told_after_s() -> float:
        stream, owned, clock = Stream(), Owned(), asyncio.get_running_loop().time
        made = member(stream, "a", owned, SESSION_S, clock=clock)
        await made.join(PARTITIONS)
        await owned.are(PARTITIONS)
        stream.is_silent, since = True, clock()
        await owned.are(0)
        told_after_s = clock() - since
        await made.leave()
        return told_after_s

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(told_after_s()) == pytest.approx(SESSION_S, abs=0.1)
