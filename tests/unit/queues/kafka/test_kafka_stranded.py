"""The producer whose client of librdkafka, a made-up one, says that it has lost every broker."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Record
from forebay.queues.errors import QueueError
from forebay.queues.kafka import succession
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.producer import KafkaProducer
from forebay.queues.kafka.statistics import Statistics
from forebay.queues.kafka.topics import Topics

from .made_up import Client, Made

#: As librdkafka writes them; where nothing is left but the place of a group's coordinator, that is no broker.
LEARNED = '{"brokers":{ "a:9092/1": { "name":"a:9092/1", "source":"learned", "state":"UP"}}}'
CONFIGURED = '{"brokers": {"a:9092/bootstrap": {"name": "a:9092/bootstrap", "source": "configured", "state": "INIT"}}}'
NONE = '{"brokers":{ "GroupCoordinator": { "name":"GroupCoordinator", "source":"logical", "state":"INIT"}}}'


async def test_what_waits_for_a_client_without_brokers_is_sent_by_another_in_its_order() -> None:
    loop, made = asyncio.get_running_loop(), Made()
    producer = KafkaProducer(cast(Clients, made), cast(Topics, None))
    sending = []
    for number in range(3):
        record = Record(key="a.ru", value=b"%d" % number, timestamp_ms=1)
        producer.submit("events", record, kept := loop.create_future())
        sending.append(kept)
    await asyncio.sleep(0)
    stranded = made.clients[0]

    with capture_logs() as logs:
        stranded.says = [LEARNED, NONE, NONE]
        async with asyncio.timeout(10):
            await asyncio.gather(*sending)

    assert [client.taken for client in made.clients] == [[b"0"], [b"0", b"1", b"2"]]
    assert [log["error"] for log in logs] == ["the client has forgotten every broker"]
    await producer.close()


class Spent(Client):
    """Fails whatever is asked of it."""

    def purge(self, **how: bool) -> None:
        raise SystemError


@pytest.mark.parametrize(
    "refusal",
    [QueueError("the setting kafka can't be used: ssl.ca.location: it can't be read"), RuntimeError("no thread")],
    ids=["ours", "foreign"],
)
async def test_a_client_that_cannot_be_made_just_now_is_made_later(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    class Scarce(Made):
        refusals = 2

        def producer(self, faults: object, statistics: Callable[[str], None], *, singly: bool = False) -> Client:
            if not self.clients:
                self.clients.append(Spent(statistics, may_report=False))
                return self.clients[-1]
            if self.refusals:
                self.refusals -= 1
                raise refusal
            return super().producer(faults, statistics, singly=singly)

    monkeypatch.setattr(succession, "_RENEWAL_S", 0.01)
    made = Scarce()
    producer = KafkaProducer(cast(Clients, made), cast(Topics, None))
    producer.submit(
        "events", Record(key="a.ru", value=b"0", timestamp_ms=1), kept := asyncio.get_running_loop().create_future()
    )

    made.clients[0].says = [LEARNED, NONE, NONE]
    async with asyncio.timeout(10):
        await kept

    assert made.refusals == 0
    assert [client.taken for client in made.clients] == [[b"0"]] * 2
    await producer.close()


@pytest.mark.parametrize(
    "said",
    [(LEARNED, LEARNED), (CONFIGURED, CONFIGURED), (LEARNED, NONE), (NONE, LEARNED, NONE)],
    ids=["learned", "configured", "for a moment", "now and then"],
)
def test_a_client_that_has_a_broker_or_may_get_one_goes_on(said: tuple[str, ...]) -> None:
    statistics = Statistics()

    for one in said:
        statistics.read(one)

    assert statistics.stranding is None
