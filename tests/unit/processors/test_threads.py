"""Handlers that are `def`, on a system that has no more threads."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.calls import Calls
from forebay.processors.outcome import DONE, Failed
from forebay.processors.testing import event

THREADS = 4


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many more threads can be had."""
    start, left = threading.Thread.start, [0]

    def starts(self: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(self)

    monkeypatch.setattr(threading.Thread, "start", starts)
    return left


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls(threads=THREADS, deadline_s=30)
    yield made
    made.close()


async def test_calls_share_the_threads_that_can_be_had_and_each_is_made_once(calls: Calls, left: list[int]) -> None:
    left[0], made = 1, Counter[str]()
    handlers = Handlers()

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        made[event.id] += 1

    (handler,), events = handlers, [event("ONAPPTEST") for _ in range(5 * THREADS)]
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*(calls.call(handler, one) for one in events))

    assert set(outcomes) == {DONE}
    assert made == Counter(one.id for one in events)


async def test_where_there_is_none_at_all_a_call_fails_and_the_next_may_have_one(calls: Calls, left: list[int]) -> None:
    made: list[str] = []
    handlers = Handlers()

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        made.append(event.id)

    (handler,), events = handlers, [event("ONAPPTEST") for _ in range(2 * THREADS)]
    async with asyncio.timeout(30):
        failed = [await calls.call(handler, one) for one in events]
        left[0] = 1
        outcomes = [await calls.call(handler, one) for one in events]

    assert all(isinstance(one, Failed) and isinstance(one.error, RuntimeError) for one in failed)
    assert set(outcomes) == {DONE}
    assert made == [one.id for one in events]
