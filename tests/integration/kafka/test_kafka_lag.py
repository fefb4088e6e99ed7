"""`forebay lag` on a real Kafka: records and seconds, where offsets have gaps and records are gone."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from forebay.console.group_lag import lags
from forebay.queues.contract import Commit, Inspector, Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka.admin import Admin
from forebay.queues.settings import QueueSettings
from tests.kafka.members import Owner, joined
from tests.kafka.opener import Opener
from tests.kafka.secured import Secured

pytestmark = pytest.mark.kafka

#: Records are sent a second apart, the first at that time; the lag is asked for a minute after it.
FIRST_MS = 1_772_366_400_000
NOW_MS = FIRST_MS + 60_000


@pytest.fixture
async def queue(secured: Secured, opened: Opener) -> Queue:
    return opened(secured.clear)


@pytest.fixture
async def topic(queue: Queue) -> str:
    """A topic of one partition; its name is the group's too."""
    name = f"events-{uuid4().hex[:12]}"
    await queue.ensure([name], 1)
    return name


async def send(queue: Queue, topic: str, count: int) -> None:
    producer = queue.producer()
    for number in range(count):
        await producer.send(topic, Record(key="p.example", value=b"x", timestamp_ms=FIRST_MS + 1000 * number))
    await producer.close()


async def commit(queue: Queue, topic: str, offset: int) -> None:
    """Commit as the topic's group, and leave it."""
    consumer = await joined(queue, topic, owns=1)
    await consumer.commit({0: Commit(offset=offset)})
    await consumer.close()


async def lag(inspector: Inspector, topic: str) -> tuple[object, object]:
    """Records and seconds of the only partition."""
    [row] = await lags(inspector, QueueSettings(topic=topic, group=topic), None, NOW_MS)
    return row["records"], row["seconds"]


@contextmanager
def transaction(secured: Secured, topic: str, count: int) -> Iterator[Producer]:
    """So many records of a transaction that is open."""
    producer = Producer(
        {"bootstrap.servers": secured.clear, "transactional.id": uuid4().hex, "log_level": 0, "linger.ms": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(count):
        producer.produce(topic, b"t", timestamp=FIRST_MS + 1000 * number, partition=0)
    producer.flush(30)
    yield producer


async def ends_at(inspector: Inspector, topic: str, offset: int) -> None:
    """Return when the end is there: a transaction's marker takes an offset, a moment after the answer."""
    while (await inspector.bounds(topic))[0].end != offset:
        pass


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_a_group_lags_by_what_it_has_not_finished(secured: Secured, opened: Opener, protocol: str) -> None:
    queue = opened(secured.clear, kafka={"group.protocol": protocol})
    topic = f"events-{uuid4().hex[:12]}"
    await queue.ensure([topic], 2)
    await send(queue, topic, 10)
    owner, inspector = Owner(), queue.inspector()
    consumer = await joined(queue, topic, owner, owns=2)
    [at] = [number for number, bounds in (await inspector.bounds(topic)).items() if bounds.end]
    await consumer.commit({at: Commit(offset=4)})

    rows = {
        row["partition"]: row for row in await lags(inspector, QueueSettings(topic=topic, group=topic), None, NOW_MS)
    }

    assert (rows[at]["records"], rows[at]["seconds"]) == (6, 56.0)
    assert (rows[1 - at]["records"], rows[1 - at]["seconds"]) == (0, 0.0)
    assert all(str(row["owner"]).startswith("forebay/127.0.0.1 ") for row in rows.values())
    await inspector.close()
    await consumer.close()


async def test_the_lag_is_told_whatever_is_the_matter_with_the_groups_of_others(
    queue: Queue, inspector: Inspector, topic: str, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Admin.commits

    async def moody(admin: Admin, group: str, stream: str, partitions: Iterable[int]) -> list[TopicPartition]:
        if group != topic:
            raise QueueUnavailable("the coordinator of this group is away")
        return await answered(admin, group, stream, partitions)

    monkeypatch.setattr(Admin, "commits", moody)
    await send(queue, topic, 3)
    await commit(queue, topic, 1)
    stranger = Consumer({"bootstrap.servers": secured.clear, "group.id": f"{topic}-of-others", "log_level": 0})
    stranger.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    stranger.close()

    assert await lag(inspector, topic) == (2, 59.0)


async def test_a_group_that_never_came_lags_by_everything(queue: Queue, topic: str, inspector: Inspector) -> None:
    await send(queue, topic, 3)

    assert await lag(inspector, topic) == (3, 60.0)


async def test_the_markers_of_transactions_are_no_lag(
    secured: Secured, queue: Queue, topic: str, inspector: Inspector
) -> None:
    with transaction(secured, topic, 2) as producer:
        producer.commit_transaction(30)
    await ends_at(inspector, topic, 3)
    unfinished = await lag(inspector, topic)
    await commit(queue, topic, 2)

    assert unfinished[1] == 60.0
    assert await lag(inspector, topic) == (0, 0.0)


async def test_what_a_transaction_took_back_is_no_lag(
    secured: Secured, queue: Queue, topic: str, inspector: Inspector
) -> None:
    await send(queue, topic, 1)
    await commit(queue, topic, 1)
    with transaction(secured, topic, 5) as producer:
        producer.abort_transaction(30)

    await ends_at(inspector, topic, 7)
    assert await lag(inspector, topic) == (0, 0.0)


async def test_what_an_open_transaction_holds_is_not_waited_for(
    secured: Secured, queue: Queue, topic: str, inspector: Inspector
) -> None:
    await send(queue, topic, 2)
    await commit(queue, topic, 1)

    with transaction(secured, topic, 3) as producer:
        meanwhile = await lag(inspector, topic)
        readable = await inspector.read(topic, 0, 0, 100)
        withheld = (await inspector.bounds(topic))[0].withheld
        producer.commit_transaction(30)

    assert meanwhile == (1, 59.0)
    assert len(readable) == 2
    assert withheld == 3
    await ends_at(inspector, topic, 6)
    assert (await inspector.bounds(topic))[0].withheld == 0
    assert (await lag(inspector, topic))[1] == 59.0


def deleted_before(secured: Secured, topic: str, offset: int) -> None:
    """As retention would do."""
    with AdminClient({"bootstrap.servers": secured.clear, "log_level": 0}) as admin:
        for done in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
            done.result(30)


async def test_what_retention_took_is_no_lag(secured: Secured, queue: Queue, topic: str, inspector: Inspector) -> None:
    await send(queue, topic, 8)
    await commit(queue, topic, 2)

    deleted_before(secured, topic, 5)
    some = await lag(inspector, topic)
    deleted_before(secured, topic, 8)

    assert some == (3, 55.0)
    assert await lag(inspector, topic) == (0, 0.0)


async def test_a_place_behind_the_end_is_no_lag(queue: Queue, topic: str, inspector: Inspector) -> None:
    await send(queue, topic, 2)
    await commit(queue, topic, 9)

    assert await lag(inspector, topic) == (0, 0.0)
