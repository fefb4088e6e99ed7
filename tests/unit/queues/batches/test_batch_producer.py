"""What waits behind a batch that was not written."""

import asyncio
import gc
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forebay.queues.batches.producer import BatchProducer
from forebay.queues.batches.sent import Outcome, Sent
from forebay.queues.contract import Position, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused
from forebay.queues.threads.connection_thread import ConnectionThread

LONG_S = 10


class Writer:
    """Stops at its first batch, of which it can't write some and refuses others."""

    name = "a store"

    def __init__(self, outcomes: dict[str, QueueError]) -> None:
        self.outcomes = outcomes
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.kept: list[str] = []
        self.touched = 0

    def touch(self, connection: object) -> None:
        """Counted."""
        self.touched += 1

    def announce(self) -> None:
        """Nobody waits."""

    def write(self, batch: Sequence[Sent], given_up: threading.Event) -> Sequence[Outcome]:
        """The first batch gets the outcomes of its streams, and what comes behind is written."""
        self.begun.set()
        self.may_end.wait(LONG_S)
        outcomes, self.outcomes = self.outcomes, {}
        told = [outcomes.get(sent.stream, Position(partition=0, offset=0)) for sent in batch]
        self.kept += [sent.record.value.decode() for sent in batch if sent.stream not in outcomes]
        return told


async def sent_behind(outcomes: dict[str, QueueError]) -> tuple[Writer, dict[str, str]]:
    """1 and 2 are being written as 3 to 5 are sent, and 6 when all was told; who was told what."""
    writer = Writer(outcomes)
    store: Any = SimpleNamespace(name="a store")
    thread = ConnectionThread(store, "writer", errors=())
    producer: BatchProducer[Any] = BatchProducer(cast("Any", writer), thread)

    def sending(value: str, stream: str) -> "asyncio.Task[Position]":
        return asyncio.create_task(producer.send(stream, Record(key="a.example", value=value.encode(), timestamp_ms=1)))

    calls = [sending("1", "events"), sending("2", "audit")]
    await asyncio.to_thread(writer.begun.wait, LONG_S)
    calls += [sending("3", "events"), sending("4", "audit"), sending("5", "events")]
    await asyncio.sleep(0)
    writer.may_end.set()
    told = await asyncio.gather(*calls, return_exceptions=True)
    told.append(await sending("6", "events"))
    await producer.close()
    return writer, {str(at): type(one).__name__ for at, one in enumerate(told, 1)}


async def test_what_was_sent_behind_records_that_were_not_written_is_not_written_before_they_come_again() -> None:
    writer, told = await sent_behind({"events": QueueUnavailable("no room")})

    assert {value for value, what in told.items() if what == "QueueUnavailable"} == {"1", "3", "5"}
    assert writer.kept == ["2", "4", "6"]


async def test_a_record_that_is_refused_stops_nobody() -> None:
    writer, told = await sent_behind({"events": RecordRefused("never")})

    assert {value for value, what in told.items() if what == "RecordRefused"} == {"1"}
    assert writer.kept == ["2", "3", "4", "5", "6"]


async def test_a_thread_that_could_not_be_started_is_started_with_the_next_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    writer, store = Writer({}), cast("Any", SimpleNamespace(name="a store"))
    writer.may_end.set()
    producer: BatchProducer[Any] = BatchProducer(cast("Any", writer), ConnectionThread(store, "writer", errors=()))

    async with asyncio.timeout(LONG_S):
        with pytest.raises(QueueUnavailable, match="can't start new thread"):
            await producer.send("events", Record(key="a.example", value=b"1", timestamp_ms=1))
        await producer.send("events", Record(key="a.example", value=b"1", timestamp_ms=1))
        await producer.close()

    assert writer.kept == ["1"]


async def test_checks_that_were_given_up_while_the_store_hung_are_not_made_up_for() -> None:
    writer, connection = Writer({}), SimpleNamespace(close=lambda: None)
    store: Any = SimpleNamespace(name="a store", connect=lambda: connection, current=lambda _: True)
    producer: BatchProducer[Any] = BatchProducer(cast("Any", writer), ConnectionThread(store, "writer", errors=()))
    sending = asyncio.create_task(producer.send("events", Record(key="a.example", value=b"1", timestamp_ms=1)))
    await asyncio.to_thread(writer.begun.wait, LONG_S)
    for _ in range(100):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await producer.check()

    writer.may_end.set()
    async with asyncio.timeout(LONG_S):
        await sending
        await producer.check()
        await producer.check()

    # The one that waited behind the record, and the last, which began when that had ended.
    assert writer.touched <= 3
    await producer.close()


async def test_a_check_that_fails_when_nobody_waits_for_it_any_more_is_not_told_as_a_mistake() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    hangs = threading.Event()

    def connect() -> object:
        hangs.wait(LONG_S)
        raise OSError("the disk is away")

    store: Any = SimpleNamespace(name="a store", connect=connect, remedy=str)
    thread: ConnectionThread[Any] = ConnectionThread(store, "writer", errors=(OSError,))
    producer: BatchProducer[Any] = BatchProducer(cast("Any", Writer({})), thread)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await producer.check()

    hangs.set()
    await producer.close()
    del producer
    gc.collect()

    assert told == []


async def test_who_has_waited_for_a_check_gets_its_answer_though_another_was_begun_meanwhile() -> None:
    writer, connection = Writer({}), SimpleNamespace(close=lambda: None)
    store: Any = SimpleNamespace(name="a store", connect=lambda: connection, current=lambda _: True)
    producer: BatchProducer[Any] = BatchProducer(cast("Any", writer), ConnectionThread(store, "writer", errors=()))

    async def another_behind(checking: "asyncio.Task[None]") -> None:
        # It hears of the end one turn before who asked.
        await checking
        await producer.check()

    first = asyncio.create_task(producer.check())
    await asyncio.sleep(0)
    assert producer._checking is not None
    async with asyncio.timeout(LONG_S):
        await asyncio.gather(first, another_behind(producer._checking))

    assert writer.touched == 2
    await producer.close()
