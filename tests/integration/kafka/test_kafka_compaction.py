"""A whole worker on a topic that was really compacted: offsets are gone, also together with markers of transactions."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but in no __all__

from forebay.console.group_lag import lags
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.integration.kafka.working import Site, encoded
from tests.kafka.fixtures import Kafka
from tests.kafka.opener import Opener

pytestmark = pytest.mark.kafka

#: The segment that is written to is never compacted: here each record begins one, as they bear times a second apart.
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "1",
    "min.cleanable.dirty.ratio": "0",
    "delete.retention.ms": "0",
}

#: A portal, and the number of an event of it.
Event = tuple[str, int]


class Log:
    """The only partition of a compacted topic, as other clients see it."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._brokers: dict[str, str | int | float | bool] = {"bootstrap.servers": kafka.bootstrap, "log_level": 0}
        self._topic = topic
        self._times = count(time.time_ns() // 1_000_000, 1000)
        with AdminClient(self._brokers) as client:
            [made] = client.create_topics([NewTopic(topic, 1, 1, config=COMPACTED)]).values()
            made.result(30)

    def write(self, *events: Event) -> None:
        """Add them at the end."""
        self._produce(Producer(self._brokers), events)

    def transact(self, *events: Event, take_back: bool = False) -> None:
        """Add them in a transaction, which leaves a marker behind them; or take them back.

        The coordinator answers before the marker stands there: what is written next must not come before it.
        """
        client = Producer({**self._brokers, "transactional.id": uuid4().hex})
        client.init_transactions(30)
        client.begin_transaction()
        self._produce(client, events)
        if take_back:
            client.abort_transaction(30)
        else:
            client.commit_transaction(30)
        # An event's number is its offset.
        behind, reader = events[-1][1] + 2, self._reader()
        while reader.get_watermark_offsets(TopicPartition(self._topic, 0), 30)[1] < behind:
            pass
        reader.close()

    def _produce(self, client: Producer, events: Sequence[Event]) -> None:
        for portal, number in events:
            value = encoded(number, portal)
            client.produce(self._topic, value, portal, partition=0, timestamp=next(self._times))
            assert not client.flush(30)

    async def keeps(self, *offsets: int) -> None:
        """Return when compaction has left these, whether or not their transactions were taken back."""
        async with asyncio.timeout(60):
            while (kept := await asyncio.to_thread(self._offsets)) != list(offsets):
                assert set(kept) > set(offsets), kept

    def _reader(self) -> Consumer:
        return Consumer(
            {
                **self._brokers,
                "group.id": "reader",
                "enable.partition.eof": True,
                "isolation.level": "read_uncommitted",
                "fetch.wait.max.ms": 10,
            }
        )

    def _offsets(self) -> list[int]:
        client = self._reader()
        client.assign([TopicPartition(self._topic, 0, 0)])
        found: list[int] = []
        while (message := client.poll(10)) is not None and message.error() is None:
            found.append(message.offset() or 0)
        client.close()
        assert message is not None
        return found


@pytest.fixture(params=["consumer", "classic"])
async def site(kafka: Kafka, opened: Opener, request: pytest.FixtureRequest) -> Site:
    return Site(opened(kafka.bootstrap, kafka={"group.protocol": request.param}), f"events-{uuid4().hex[:12]}")


@pytest.fixture
async def log(kafka: Kafka, site: Site) -> Log:
    made = Log(kafka, site.topic)
    await site.queue.ensure(names.streams(site.topic), 1)
    return made


async def lag(site: Site) -> object:
    """What `forebay lag` says."""
    inspector = site.queue.inspector()
    [row] = await lags(inspector, QueueSettings(topic=site.topic, group=site.topic), None)
    await inspector.close()
    return row["records"]


async def test_all_that_compaction_left_is_handled_once_and_committed(site: Site, log: Log) -> None:
    log.write(("a", 0), ("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5), ("c", 6))
    await log.keeps(4, 5, 6)

    async with site.working():
        await site.commits(7)
        assert await lag(site) == 0
        log.write(("a", 7))
        await site.commits(8)

    assert sorted(site.handled) == [4, 5, 6, 7]


async def test_a_group_whose_place_was_compacted_away_goes_on_behind_it(site: Site, log: Log) -> None:
    log.write(("a", 0))
    async with site.working():
        await site.commits(1)
    log.write(("a", 1), ("b", 2), ("a", 3), ("b", 4), ("c", 5))
    await log.keeps(3, 4, 5)

    async with site.working():
        await site.commits(6)
        assert await lag(site) == 0

    assert sorted(site.handled) == [0, 3, 4, 5]


async def test_what_was_compacted_away_at_the_end_with_its_markers_is_passed(site: Site, log: Log) -> None:
    # Each transaction has a marker behind it.
    log.transact(("a", 0), ("a", 1))
    log.transact(("a", 3), take_back=True)
    log.write(("b", 5))
    log.transact(("a", 6))
    log.transact(("c", 8), take_back=True)
    log.transact(("c", 10), take_back=True)
    await log.keeps(5, 6, 10)

    async with site.working():
        await site.commits(12)
        assert await lag(site) == 0
    async with site.working():
        log.transact(("c", 12))
        await site.commits(14)

    assert sorted(site.handled) == [5, 6, 12]
