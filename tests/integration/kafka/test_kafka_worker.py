"""A whole worker on a real Kafka, where other clients leave markers in the log, and records that are no events."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from forebay.console.group_lag import lags
from forebay.queues.contract import StoredRecord
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.integration.kafka.working import Site, encoded
from tests.kafka.fixtures import Kafka
from tests.kafka.opener import Opener
from tests.waiting import until

pytestmark = pytest.mark.kafka

PORTAL = b"p.example"

#: What a topic of ours takes at most, without what Kafka writes around a record.
LARGEST = 2_097_152 - 200


@pytest.fixture(params=["consumer", "classic"])
async def site(kafka: Kafka, opened: Opener, request: pytest.FixtureRequest) -> Site:
    queue = opened(kafka.bootstrap, kafka={"group.protocol": request.param})
    made = Site(queue, f"events-{uuid4().hex[:12]}")
    await queue.ensure(names.streams(made.topic), 1)
    return made


def write(kafka: Kafka, site: Site, *records: tuple[bytes | None, bytes | None]) -> None:
    """Put keys and values into the log as any client can."""
    client = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, "message.max.bytes": 16_000_000})
    for key, value in records:
        client.produce(site.topic, value, key, headers=[("from", b"elsewhere")], partition=0)
    assert not client.flush(30)


@contextmanager
def transaction(kafka: Kafka, site: Site, numbers: Sequence[int]) -> Iterator[Producer]:
    """Events of a transaction that is open."""
    client = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": uuid4().hex, "log_level": 0})
    client.init_transactions(30)
    client.begin_transaction()
    for number in numbers:
        client.produce(site.topic, encoded(number), PORTAL, partition=0)
    client.flush(30)
    yield client


def take_back(kafka: Kafka, site: Site, numbers: Sequence[int]) -> None:
    with transaction(kafka, site, numbers) as client:
        client.abort_transaction(30)


async def lag(site: Site) -> tuple[object, object]:
    """What `forebay lag` says, and what any other tool would."""
    inspector = site.queue.inspector()
    [row] = await lags(inspector, QueueSettings(topic=site.topic, group=site.topic), None)
    bounds = await inspector.bounds(site.topic)
    await inspector.close()
    return row["records"], bounds[0].end - (await site.state()).offset


async def dead_letters(site: Site) -> list[StoredRecord]:
    inspector = site.queue.inspector()
    found = await inspector.read(names.dead(site.topic), 0, 0, 100)
    await inspector.close()
    return found


async def test_the_commit_passes_markers_and_what_was_taken_back_behind_the_last_record(
    kafka: Kafka, site: Site
) -> None:
    with transaction(kafka, site, [1, 2]) as client:
        client.commit_transaction(30)
    take_back(kafka, site, [3, 4, 5])

    async with site.working():
        await site.commits(7)
        assert await lag(site) == (0, 0)
    async with site.working():
        write(kafka, site, (PORTAL, encoded(6)))
        await site.commits(8)

    assert site.handled == [1, 2, 6]


async def test_what_is_taken_back_while_nothing_else_comes_is_passed_too(kafka: Kafka, site: Site) -> None:
    write(kafka, site, (PORTAL, encoded(1)))

    async with site.working():
        await site.commits(1)
        for end in (5, 9):
            take_back(kafka, site, [2, 3, 4])
            await site.commits(end)
        write(kafka, site, (PORTAL, encoded(5)))
        await site.commits(10)

    assert site.handled == [1, 5]


async def test_no_gap_takes_a_commit_past_an_event_that_runs(kafka: Kafka, site: Site) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(number: int) -> None:
        if number == 2:
            begun.set()
            await may_end.wait()

    site.handle = handle  # type: ignore[method-assign]  # what the test's handler does
    write(kafka, site, (PORTAL, encoded(1)), (PORTAL, encoded(2)))

    async with site.working() as worker:
        await begun.wait()
        take_back(kafka, site, [3])
        [ours] = worker.ownership
        # Nothing that is committed shows that the gap was heard of: only the partition itself does.
        await until(lambda: ours.watermark._gap == (2, 4))
        await site.commits(1)
        assert ours.watermark.position == 1
        may_end.set()
        await site.commits(4)


async def test_what_is_no_event_is_a_dead_letter_as_it_was_and_the_partition_goes_on(kafka: Kafka, site: Site) -> None:
    noise = random.Random(1).randbytes(1_000_000)
    large = "x" * 1_000_000
    strange = [(PORTAL, b"noise"), (PORTAL, None), (None, b"\x00"), (None, None), (b"\xff", b"y"), (PORTAL, noise)]
    written = [(PORTAL, encoded(1)), *strange, (PORTAL, encoded(2, text=large)), (None, encoded(3))]
    write(kafka, site, *written)

    async with site.working() as worker:
        await site.commits(len(written))
        assert worker.health.status == "ok", worker.health.report()
    letters = {_offset(one): one for one in await dead_letters(site)}

    assert sorted(site.handled) == [1, 2, 3]
    assert {at: one.value for at, one in letters.items()} == {
        at: value or b"" for at, (_, value) in enumerate(strange, 1)
    }
    assert [letters[at].key for at in sorted(letters)] == ["p.example", "p.example", "", "", "\\xff", "p.example"]
    assert all(("from", b"elsewhere") in one.headers for one in letters.values())


def _offset(letter: StoredRecord) -> int:
    return int(dict(letter.headers)[names.DEAD_OFFSET])


async def test_the_largest_record_that_the_topic_takes_fits_into_the_dead_letters(kafka: Kafka, site: Site) -> None:
    noise = random.Random(2).randbytes(LARGEST)
    write(kafka, site, (PORTAL, noise), (PORTAL, encoded(1)))

    async with site.working():
        await until(lambda: site.handled == [1])
        await site.commits(2)

    [letter] = await dead_letters(site)
    assert letter.value == noise
    assert names.DEAD_TRACEBACK in dict(letter.headers)
