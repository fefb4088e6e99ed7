"""The producer while another client of librdkafka, all made up, follows the one that it had, and when none is left."""

import asyncio
import threading
from collections.abc import Callable
from typing import cast

import pytest

from forebay.processors.virtual_time import VirtualLoop
from forebay.queues.contract import Record
from forebay.queues.errors import QueueError, QueueUnavailable, UnknownStream
from forebay.queues.kafka import succession
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.producer import KafkaProducer
from forebay.queues.kafka.topics import Topics

from .made_up import Client, Made

#: Far more than any of these needs.
PATIENCE_S = 60.0

WELL = '{"brokers":{"a":{"source":"learned"}},"eos":{"idemp_state":"Assigned"}}'
STRANDED = '{"brokers":{},"eos":{"idemp_state":"Assigned"}}'


class NoTopics:
    """Finds nothing wrong."""

    async def check(self, answer_s: float) -> None:
        pass

    async def look_for(self, stream: str) -> None:
        pass


async def no_time(seconds: float) -> None:
    await asyncio.sleep(0)


def producer_of(made: object) -> KafkaProducer:
    return KafkaProducer(cast(Clients, made), cast(Topics, NoTopics()), sleep=no_time)


async def test_a_producer_for_which_no_client_can_be_made_is_not_ready() -> None:
    class Once(Made):
        def producer(self, faults: object, statistics: Callable[[str], None], *, singly: bool = False) -> Client:
            if self.clients:
                raise QueueError("ssl.ca.location: it can't be read")
            return super().producer(faults, statistics, singly=singly)

    producer = producer_of(made := Once())
    made.clients[0].says = [WELL]
    await producer.check()
    made.clients[0].says = [STRANDED, STRANDED]
    while not producer._succession.is_changing:
        await asyncio.sleep(0.01)

    with pytest.raises(QueueUnavailable, match=r"ssl\.ca\.location"):
        await producer.check()

    await producer.close()


async def test_without_a_client_what_comes_is_refused_at_once_and_what_waited_is_sent_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Scarce(Made):
        refuses = True

        def producer(self, faults: object, statistics: Callable[[str], None], *, singly: bool = False) -> Client:
            if self.clients and self.refuses:
                raise QueueError("ssl.ca.location: it can't be read")
            self.clients.append(Client(statistics, may_report=bool(self.clients)))
            return self.clients[-1]

    monkeypatch.setattr(succession, "_RENEWAL_S", 0.01)
    producer, loop = producer_of(made := Scarce()), asyncio.get_running_loop()
    made.clients[0].says = [WELL]
    await producer.check()
    first = loop.create_task(producer.send("events", Record(key="a.ru", value=b"0", timestamp_ms=1)))
    await asyncio.sleep(0)
    made.clients[0].says = [STRANDED, STRANDED]
    while not producer._succession.why_not.startswith("another client can't be made"):
        await asyncio.sleep(0.01)

    sending = [producer.send("events", Record(key="a.ru", value=b"%d" % number, timestamp_ms=1)) for number in range(9)]
    async with asyncio.timeout(PATIENCE_S):
        refused = await asyncio.gather(*sending, return_exceptions=True)
    made.refuses = False
    async with asyncio.timeout(PATIENCE_S):
        await first
        await producer.send("events", Record(key="a.ru", value=b"9", timestamp_ms=1))

    assert {type(error) for error in refused} == {QueueUnavailable}
    assert "ssl.ca.location" in str(refused[0])
    assert [client.taken for client in made.clients] == [[b"0"], [b"0", b"9"]]
    await producer.close()


@pytest.mark.parametrize("missed", [{}, {"events": UnknownStream("there is no topic events")}])
async def test_a_producer_that_was_closed_is_not_ready(missed: dict[str, QueueError]) -> None:
    producer = producer_of(made := Made())
    made.clients[0].says = [WELL]
    await producer.check()
    await producer.close()
    await producer.close()
    producer._placement.missed.update(missed)

    with pytest.raises(QueueUnavailable, match="was closed"):
        await producer.check()


class Leaving(Client):
    """Tells in which thread it comes to its end."""

    def __init__(self, told: Callable[[str], None], ended_in: "asyncio.Future[int]") -> None:
        super().__init__(told, may_report=True)
        self._loop, self._ended_in = asyncio.get_running_loop(), ended_in

    def __del__(self) -> None:
        self._loop.call_soon_threadsafe(self._ended_in.set_result, threading.get_ident())


class Forgetful:
    """Keeps none of the clients that it makes."""

    room, connecting_s = (100_000, 1 << 20), 0.0

    def __init__(self) -> None:
        self.ended_in: list[asyncio.Future[int]] = []

    def producer(self, faults: object, statistics: Callable[[str], None], *, singly: bool = False) -> Client:
        self.ended_in.append(asyncio.get_running_loop().create_future())
        return Leaving(statistics, self.ended_in[-1])


async def test_no_client_comes_to_its_end_on_the_loop_where_it_would_wait_for_its_threads() -> None:
    producer = producer_of(made := Forgetful())
    kept = asyncio.get_running_loop().create_future()
    producer._client.own.says = [STRANDED, STRANDED]  # type: ignore[attr-defined]
    producer.submit("events", Record(key="a.ru", value=b"0", timestamp_ms=1), kept)
    async with asyncio.timeout(PATIENCE_S):
        await kept
        followed = await made.ended_in[0]
        await producer.close()
        closed = await made.ended_in[1]

    assert threading.get_ident() not in (followed, closed)


class Slow(Client):
    """Has on its way what it was given, until it is to let go of that too, and notes what it is to let go of."""

    def __init__(self, told: Callable[[str], None], *, may_report: bool) -> None:
        super().__init__(told, may_report=may_report)
        self.purged: list[dict[str, bool]] = []

    def purge(self, **how: bool) -> None:
        self.purged.append(how)
        if not how:
            super().purge()


class SlowAtFirst(Made):
    def producer(self, faults: object, statistics: Callable[[str], None], *, singly: bool = False) -> Client:
        made = Client if self.clients else Slow
        self.clients.append(made(statistics, may_report=bool(self.clients)))
        return self.clients[-1]


def test_what_comes_back_into_a_client_that_is_followed_is_not_sent_by_it_again() -> None:
    async def story() -> tuple[list[dict[str, bool]], list[bytes]]:
        producer, loop = producer_of(made := SlowAtFirst()), asyncio.get_running_loop()
        slow = made.clients[0]
        assert isinstance(slow, Slow)
        slow.says = [WELL]
        await producer.check()
        sending = loop.create_task(producer.send("events", Record(key="a.ru", value=b"0", timestamp_ms=1)))
        await asyncio.sleep(0)

        slow.says = [STRANDED, STRANDED]
        await sending
        await producer.close()
        return slow.purged, made.clients[1].taken

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        purged, taken = runner.run(story())

    assert purged[-1] == {}
    # When it can't go on, and at each look whether what is on its way has come to its end.
    assert len(purged) > 3
    assert all(how == {"in_flight": False} for how in purged[:-1])
    assert taken == [b"0"]


async def test_who_gives_up_closing_a_producer_is_told_of_what_was_not_acknowledged() -> None:
    producer, loop = producer_of(made := Made()), asyncio.get_running_loop()
    sending = [
        loop.create_task(producer.send("events", Record(key=f"{number}.ru", value=b"0", timestamp_ms=1)))
        for number in range(20)
    ]
    await asyncio.sleep(0)

    closing = loop.create_task(producer.close())
    await asyncio.sleep(0)
    closing.cancel()
    async with asyncio.timeout(PATIENCE_S):
        told = await asyncio.gather(*sending, return_exceptions=True)

    assert {str(error) for error in told} == {"the producer was closed before Kafka had answered"}
    assert closing.cancelled() and len(made.clients[0]) == 0


async def test_a_client_is_given_its_first_record_when_it_had_time_to_find_the_brokers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [7.0]
    monkeypatch.setattr("forebay.queues.kafka.producer_client.monotonic", lambda: now[0])
    made = Made()
    made.connecting_s = 0.05
    producer = producer_of(made)
    client, kept = made.clients[0], [asyncio.get_running_loop().create_future() for _ in range(2)]
    client.may_report = True

    taken = []
    for place, value in zip(kept, (b"0", b"1"), strict=True):
        producer.submit("events", Record(key="a.ru", value=value, timestamp_ms=1), place)
        now[0] += 0.03
        taken.append(list(client.taken))
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*kept)

    assert taken == [[], []]
    assert client.taken == [b"0", b"1"]
    await producer.close()
