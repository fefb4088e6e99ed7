"""The producer on a client of librdkafka that is made up."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from forebay.queues.contract import Position, Record
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.producer import KafkaProducer
from forebay.queues.kafka.topics import Topics

POISON = b"poison"
MANY = 50


class Message:
    """A record that is reported."""

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


class Client:
    """Trips over one record as nobody foresaw; reports the others when it is polled, once it may."""

    def __init__(self) -> None:
        self.may_report = False
        self._taken: list[Callable[[None, Message], None]] = []

    def produce(self, stream: str, value: bytes, key: bytes, *, on_delivery: Any, **more: object) -> None:
        if value == POISON:
            raise MemoryError
        self._taken.append(on_delivery)

    def poll(self, timeout: float) -> None:
        while self.may_report and self._taken:
            self._taken.pop(0)(None, Message())

    def purge(self) -> None:
        self._taken.clear()


class Made:
    """Gives the client out."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def producer(self, faults: object, statistics: object) -> Client:
        return self._client


async def test_a_record_that_the_client_trips_over_keeps_no_other_waiting() -> None:
    loop, client = asyncio.get_running_loop(), Client()
    told: list[object] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    producer = KafkaProducer(cast(Clients, Made(client)), cast(Topics, None))

    def submitted(value: bytes) -> "asyncio.Future[Position]":
        producer.submit("events", Record(key="a.ru", value=value, timestamp_ms=1), future := loop.create_future())
        return future

    under_way = [submitted(b"before") for _ in range(MANY)]
    await asyncio.sleep(0)
    # So many are under way that these wait for the next look.
    submitted(POISON)
    behind = submitted(b"behind")
    client.may_report = True
    async with asyncio.timeout(5):
        await asyncio.gather(*under_way, behind)

    assert [type(error) for error in told] == [MemoryError]
    closing = asyncio.create_task(producer.close())
    await asyncio.sleep(0)
    closing.cancel()
