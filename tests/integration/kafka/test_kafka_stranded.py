"""Clients that a hung or fenced broker leaves without an answer, or without any broker: others follow them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from structlog.testing import capture_logs

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka import properties
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.statistics import Statistics
from tests.integration.kafka.mocked import STREAM
from tests.kafka.cluster import Cluster, Node
from tests.kafka.members import PARTITIONS, Owner, fetch, joined, send
from tests.kafka.mock_cluster import MockCluster
from tests.kafka.opener import Opener
from tests.kafka.relay import Relay, relayed

NO_BROKER = '{"brokers":{}}'
HEALTH_S = 0.5


@pytest.fixture
async def relay(tmp_path: Path, clusters: Callable[..., Cluster]) -> AsyncIterator[tuple[Relay, str]]:
    """A relay in front of a Kafka of one broker, and where a client comes in."""
    node = Node(1, tmp_path / "node")
    async with relayed(node.port) as (relay, port):
        node.advertised_port = port
        await asyncio.to_thread(clusters, [node])
        yield relay, f"127.0.0.1:{port}"


@pytest.mark.kafka
@pytest.mark.parametrize("fault", ["swallow", "hollow"])
async def test_a_check_comes_back_whatever_became_of_the_question_before(
    relay: tuple[Relay, str], opened: Opener, fault: str
) -> None:
    broker, bootstrap = relay
    queue = opened(bootstrap)
    await queue.ensure([STREAM], 4)
    producer = queue.producer()
    await producer.check()
    connections = broker.connections

    setattr(broker, fault, 1)
    # As /ready asks, and gives up.
    with suppress(QueueError, TimeoutError):
        async with asyncio.timeout(HEALTH_S):
            await producer.check()
    async with asyncio.timeout(10):
        with suppress(QueueUnavailable):
            await producer.check()
        await producer.check()

    assert getattr(broker, fault) == 0
    # Another client came.
    assert broker.connections > connections
    await producer.close()


@pytest.mark.kafka
async def test_a_cluster_whose_brokers_have_just_stood_still_is_asked_until_it_names_one(
    relay: tuple[Relay, str], opened: Opener
) -> None:
    broker, bootstrap = relay
    # The first client hears it twice, as it comes and as it asks, and so does the one that follows it.
    broker.hollow = 4
    queue = opened(bootstrap)

    async with asyncio.timeout(8):
        await queue.ensure([STREAM], 4)

    assert broker.hollow == 0


Tell = Callable[[str], None]


@pytest.fixture
def tells(monkeypatch: pytest.MonkeyPatch) -> list[Tell]:
    """By these one can tell each client of a group's member what its statistics say."""
    member, tells = Clients.member, list[Tell]()

    def made(self: Clients, group: str, *, on_statistics: Tell, **more: Any) -> Consumer:
        tells.append(on_statistics)
        return member(self, group, on_statistics=on_statistics, **more)

    monkeypatch.setattr(Clients, "member", made)
    return tells


async def test_a_member_without_brokers_is_followed_by_another_which_reads_on(
    mock: MockCluster, opened: Opener, tells: list[Tell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(properties._CONSUMER, "statistics.interval.ms", 3_600_000)
    queue = opened(mock.bootstrap, kafka={"group.protocol": "consumer"})
    await send(queue, STREAM, range(3))
    owner = Owner()
    consumer = await joined(queue, STREAM, owner)
    before = await fetch(consumer, 3)

    with capture_logs() as logs:
        tells[0](NO_BROKER)
        tells[0](NO_BROKER)
        # Nothing was committed, so that the group begins again.
        again = await fetch(consumer, 3)

    assert again == before
    assert owner.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS + ["assigned"] * PARTITIONS
    assert [log["error"] for log in logs if log["log_level"] == "error"] == ["the client has forgotten every broker"]
    await send(queue, STREAM, [3])
    assert await fetch(consumer, 1) == [3]
    await consumer.close()


async def test_what_a_client_says_that_has_a_broker_is_understood(
    mock: MockCluster, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, said = Statistics.read, list[Statistics]()
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def reading(self: Statistics, text: str) -> None:
        read(self, text)
        said.append(self)
        if len(said) > 20:
            loop.call_soon_threadsafe(told.set)

    monkeypatch.setattr(Statistics, "read", reading)
    monkeypatch.setitem(properties._CONSUMER, "statistics.interval.ms", 50)
    queue = opened(mock.bootstrap, kafka={"group.protocol": "consumer"})
    await send(queue, STREAM, [0])
    consumer = await joined(queue, STREAM)

    async with asyncio.timeout(20):
        await told.wait()

    assert [one.stranding for one in said] == [None] * len(said)
    await consumer.close()
