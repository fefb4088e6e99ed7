"""The producer on a client of librdkafka that is made up."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from confluent_kafka import KafkaError

from forebay.queues.contract import Position, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, UnknownStream
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.producer import KafkaProducer
from forebay.queues.kafka.topics import Topics

from .made_up import POISON, Made

MANY = 50


class Delivery:
    """Notes what it is told, and whether somebody was submitting just then."""

    def __init__(self, sends: "Sends") -> None:
        self._sends = sends
        self.outcome: asyncio.Future[Position] = asyncio.get_running_loop().create_future()

    def done(self) -> bool:
        return self.outcome.done()

    def set_result(self, position: Position, /) -> None:
        assert not self._sends.is_submitting
        self.outcome.set_result(position)

    def set_exception(self, error: QueueError, /) -> None:
        assert not self._sends.is_submitting
        self.outcome.set_exception(error)


class Sends:
    """A producer, its client, and what is sent by it."""

    def __init__(self) -> None:
        self.is_submitting = False
        made = Made()
        self.producer = KafkaProducer(cast(Clients, made), cast(Topics, None))
        [self.client] = made.clients

    def submit(self, value: bytes, stream: str = "events") -> "asyncio.Future[Position]":
        delivery = Delivery(self)
        self.is_submitting = True
        self.producer.submit(stream, Record(key="a.ru", value=value, timestamp_ms=1), delivery)
        self.is_submitting = False
        return delivery.outcome


@pytest.fixture
async def sends() -> AsyncIterator[Sends]:
    made = Sends()
    yield made
    closing = asyncio.create_task(made.producer.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])


async def ended(*sent: "asyncio.Future[Position]") -> list[type]:
    """What each was told, as a type, once all were."""
    async with asyncio.timeout(5):
        return [type(one) for one in await asyncio.gather(*sent, return_exceptions=True)]


@pytest.mark.parametrize("under_way", [0, MANY])
async def test_a_record_that_the_client_cannot_read_keeps_no_other_waiting(sends: Sends, under_way: int) -> None:
    sends.client.trips = TypeError("no bytes")
    before = [sends.submit(b"before") for _ in range(under_way)]

    poison, behind = sends.submit(POISON), sends.submit(b"behind")
    sends.client.may_report = True

    assert await ended(*before, poison, behind) == [Position] * under_way + [RecordRefused, Position]


@pytest.mark.parametrize("under_way", [0, MANY])
async def test_a_record_that_has_no_place_keeps_no_other_waiting(sends: Sends, under_way: int) -> None:
    sends.producer._placement.counts["events"] = 12
    before = [sends.submit(b"before") for _ in range(under_way)]

    delivery = Delivery(sends)
    sends.producer.submit("events", Record(key="\ud800.ru", value=b"lost", timestamp_ms=1), delivery)
    behind = sends.submit(b"behind")
    sends.client.may_report = True

    told = await ended(*before, delivery.outcome, behind)
    assert told == [Position] * under_way + [RecordRefused, Position]


@pytest.mark.parametrize("under_way", [0, MANY])
async def test_nothing_stands_before_a_record_over_which_the_client_trips(sends: Sends, under_way: int) -> None:
    before = [sends.submit(b"before") for _ in range(under_way)]

    poison, behind = sends.submit(POISON), sends.submit(b"behind")
    elsewhere = sends.submit(b"elsewhere", stream="others")
    sends.client.may_report = True

    told = await ended(*before, poison, behind, elsewhere)
    assert told == [Position] * under_way + [QueueUnavailable, QueueUnavailable, Position]
    assert await ended(sends.submit(b"later")) == [Position]
    assert b"behind" not in sends.client.taken


async def test_what_is_reported_while_another_is_submitted_is_told_afterwards(sends: Sends) -> None:
    first = sends.submit(b"first")
    sends.client.may_report = True

    second = sends.submit(b"second")

    assert sends.client.taken == [b"first", b"second"]
    assert not first.done()
    await asyncio.sleep(0)
    assert first.done()
    assert await ended(second) == [Position]


async def test_what_comes_before_a_failure_is_told_fails_with_it(sends: Sends) -> None:
    first = sends.submit(b"first")
    sends.client.error, sends.client.may_report = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), True

    # The first of them hears of the failure; nobody is told before the loop's next turn.
    behind = [sends.submit(b"behind"), sends.submit(b"behind")]
    sends.client.error = None

    assert await ended(first, *behind) == [UnknownStream] * 3
    assert await ended(sends.submit(b"later")) == [Position]
    assert sends.client.taken == [b"first", b"later"]


class NoTopics:
    """Finds nothing wrong."""

    async def check(self, answer_s: float) -> None:
        pass


async def test_what_a_check_hears_is_told_in_the_next_turn_whatever_comes_meanwhile(sends: Sends) -> None:
    first = sends.submit(b"first")
    sends.client.error, sends.client.may_report = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), True
    sends.producer._topics = cast(Topics, NoTopics())

    checking = asyncio.create_task(sends.producer.check())
    await asyncio.sleep(0)
    # It ends at once, and puts off the next look.
    behind = sends.submit(b"behind")
    await asyncio.sleep(0)

    assert first.done()
    assert behind.done()
    assert await ended(first, behind) == [UnknownStream] * 2
    checking.cancel()


async def test_one_that_cannot_be_told_keeps_no_other_from_it(sends: Sends) -> None:
    class Broken(Delivery):
        def set_result(self, position: Position, /) -> None:
            raise ZeroDivisionError

    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    sends.client.may_report = True
    await ended(sends.submit(b"begun"))
    sends.client.may_report = False
    sends.producer.submit("events", Record(key="a.ru", value=b"first", timestamp_ms=1), Broken(sends))
    second = sends.submit(b"second")
    sends.client.may_report = True

    third = sends.submit(b"third")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert [type(one) for one in told] == [ZeroDivisionError]
    assert second.done()
    assert await ended(second, third) == [Position] * 2


async def test_a_client_begins_with_a_partition_by_one_record_and_sends_what_waits_when_that_is_kept(
    sends: Sends,
) -> None:
    sent = [sends.submit(b"%d" % number) for number in range(3)]
    elsewhere = sends.submit(b"elsewhere", stream="others")
    await looked(sends)
    before = list(sends.client.taken)

    sends.client.may_report = True

    assert await ended(*sent, elsewhere) == [Position] * 4
    assert before == [b"0", b"elsewhere"]
    assert sends.client.taken == [b"0", b"elsewhere", b"1", b"2"]


async def test_where_the_first_record_of_a_partition_is_refused_the_next_goes_alone(sends: Sends) -> None:
    sent = [sends.submit(b"%d" % number) for number in range(3)]
    sends.client.error, sends.client.may_report = KafkaError(KafkaError.INVALID_RECORD), True
    assert await ended(sent[0]) == [RecordRefused]
    sends.client.error, sends.client.may_report = None, False
    await looked(sends)
    before = list(sends.client.taken)

    sends.client.may_report = True

    assert await ended(*sent[1:]) == [Position] * 2
    assert before == [b"0", b"1"]
    assert sends.client.taken == [b"0", b"1", b"2"]


async def test_a_stream_that_was_missed_is_begun_anew_by_one_record(sends: Sends) -> None:
    sends.client.may_report = True
    before = await ended(sends.submit(b"0"))
    sends.client.error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    missed = await ended(sends.submit(b"1"))
    sends.client.error, sends.client.may_report = None, False

    sent = [sends.submit(b"%d" % number) for number in (2, 3)]
    await looked(sends)

    assert (before, missed) == ([Position], [UnknownStream])
    assert sends.client.taken == [b"0", b"1", b"2"]
    sends.client.may_report = True
    assert await ended(*sent) == [Position] * 2


async def looked(sends: Sends) -> None:
    """Return when the producer has looked what it may send."""
    sends.producer._look()
    await asyncio.sleep(0)
