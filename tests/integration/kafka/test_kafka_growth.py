"""More partitions for a topic that is there: refused until no portal's order can be broken, and kept across it."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.console.errors import WrongUsage
from forebay.console.growing import Growth, NotQuiet, WrittenMeanwhile
from forebay.queues.contract import Commit, Consumer, Inspector, Queue, Record, StoredRecord
from forebay.queues.errors import QueueError
from forebay.queues.kafka.queue import KafkaQueue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.kafka.members import PATIENCE_S, SESSION_S, Owner
from tests.kafka.opener import Opener
from tests.kafka.secured import Secured

pytestmark = pytest.mark.kafka

BEFORE, AFTER = 2, 5
PORTALS = [f"portal-{number}.bitrix24.example" for number in range(20)]


async def no_sleep(seconds: float) -> None:
    """The watch without its pauses: each look is a question to the broker."""


@pytest.fixture
def topic() -> str:
    return f"events-{uuid4().hex[:12]}"


@pytest.fixture
async def queue(secured: Secured, opened: Opener, topic: str) -> KafkaQueue:
    """A queue whose streams are there, with the old number of partitions."""
    queue = opened(secured.clear, topic=topic)
    assert isinstance(queue, KafkaQueue)
    await queue.ensure(names.streams(topic), BEFORE)
    return queue


@pytest.fixture
def growth(queue: Queue, inspector: Inspector, topic: str) -> Growth:
    settings = QueueSettings(topic=topic, group=topic)
    return Growth(queue=queue, inspector=inspector, settings=settings, partitions=AFTER, sleep=no_sleep)


async def send(queue: Queue, stream: str, numbers: Iterable[int], portals: Iterable[str] = PORTALS) -> int:
    """Send each portal its events by number; how many there were."""
    producer = queue.producer()
    records = [
        Record(key=portal, value=b"%d" % number, timestamp_ms=1_772_366_400_000)
        for number in numbers
        for portal in portals
    ]
    await asyncio.gather(*(producer.send(stream, record) for record in records))
    await producer.close()
    return len(records)


async def joined(queue: Queue, topic: str, partitions: int, group: str = "") -> Consumer:
    owner = Owner()
    consumer = queue.consumer(topic, group or topic, session_s=SESSION_S)
    await consumer.start(owner)
    await owner.owns(partitions)
    return consumer


async def finish(queue: Queue, topic: str, count: int, partitions: int, group: str = "") -> list[StoredRecord]:
    """Read so many records as a group, commit all, and leave."""
    owner, found = Owner(), list[StoredRecord]()
    consumer = queue.consumer(topic, group or topic, session_s=SESSION_S)
    try:
        await consumer.start(owner)
        await owner.owns(partitions)
        while len(found) < count:
            found += await consumer.fetch(count, PATIENCE_S)
        await consumer.commit({record.partition: Commit(offset=record.offset + 1) for record in found})
    finally:
        await consumer.close()
    return found


async def refused(growth: Growth) -> str:
    """Why it is not done."""
    with pytest.raises(NotQuiet) as error:
        await growth.watched()
    return str(error.value)


async def test_a_plan_changes_nothing_and_what_is_done_is_done_once(queue: KafkaQueue, topic: str) -> None:
    plan = await queue.grow([topic], AFTER, only_plan=True)

    assert await queue.missing([topic], BEFORE) == [], "a plan has changed something"
    assert await queue.grow([topic], AFTER, only_plan=False) == plan != []
    assert await queue.missing([topic], AFTER) == []
    assert await queue.grow([topic], AFTER, only_plan=False) == []


async def test_every_portal_stays_in_order_across_the_growth(growth: Growth, queue: Queue, topic: str) -> None:
    count = await send(queue, topic, range(5))
    read = await finish(queue, topic, count, BEFORE)
    while await still_owned(growth, topic):
        pass

    plan = await growth.plan()
    await growth.carry_out(await growth.watched())
    count = await send(queue, topic, range(5, 10))
    read += await finish(queue, topic, count, AFTER)

    of_portal: dict[str, list[int]] = defaultdict(list)
    places: dict[str, set[int]] = defaultdict(set)
    for record in read:
        of_portal[record.key].append(int(record.value))
        places[record.key].add(record.partition)
    assert plan == [f"stream {stream} from {BEFORE} to {AFTER} partitions" for stream in names.streams(topic)]
    assert all(of_portal[portal] == list(range(10)) for portal in PORTALS)
    assert any(len(found) > 1 for found in places.values()), "no portal has moved: the test proves nothing"
    assert await queue.missing(names.streams(topic), AFTER) == []
    with pytest.raises(QueueError, match=f"set partitions to {AFTER}"):
        await queue.ensure(names.streams(topic), BEFORE)


async def test_it_is_refused_while_events_come_in(growth: Growth, queue: Queue, topic: str) -> None:
    async def one_more(seconds: float) -> None:
        await send(queue, topic, [1], PORTALS[:1])

    await finish(queue, topic, await send(queue, topic, range(1)), BEFORE)
    watching = Growth(
        queue=queue, inspector=growth.inspector, settings=growth.settings, partitions=AFTER, sleep=one_more
    )

    assert f"of {topic}): stop the ingest on every host" in await refused(watching)


async def test_it_is_refused_while_any_group_lags(growth: Growth, queue: Queue, topic: str) -> None:
    count = await send(queue, topic, range(2))
    nobody = await refused(growth)
    await finish(queue, topic, count, BEFORE)
    await finish(queue, topic, count, BEFORE, group=f"{topic}-other")
    while await still_owned(growth, topic):
        pass
    await growth.watched()
    await send(queue, topic, [2], PORTALS[:1])
    await finish(queue, topic, 1, BEFORE)

    assert f"group {topic} has not finished partitions 0, 1" in nobody
    assert f"group {topic}-other has not finished" in await refused(growth)


async def test_it_is_refused_while_a_worker_runs(growth: Growth, queue: Queue, topic: str) -> None:
    consumer = await joined(queue, topic, BEFORE)
    told = await refused(growth)
    await consumer.close()
    while await still_owned(growth, topic):
        pass

    await growth.watched()

    assert f"workers of group {topic} run, with partitions 0, 1: stop them" in told


async def still_owned(growth: Growth, topic: str) -> bool:
    groups = await growth.inspector.groups(topic)
    return any(state.owner for states in groups.values() for state in states.values())


async def test_it_is_refused_while_a_transaction_of_another_program_withholds_records(
    growth: Growth, secured: Secured, topic: str
) -> None:
    # Its end tells nothing of them, so that all would seem to be finished, and still.
    client = Producer({"bootstrap.servers": secured.clear, "transactional.id": topic, "log_level": 0})
    client.init_transactions(30)
    client.begin_transaction()
    client.produce(topic, b"a stranger's", partition=1)
    client.flush(30)

    meanwhile = await refused(growth)
    client.abort_transaction(30)

    told = f"1 records of {topic} (partitions 1) can't be read before another program ends its transaction"
    assert told in meanwhile


async def test_it_is_refused_while_letters_are_open(growth: Growth, queue: Queue, topic: str) -> None:
    await send(queue, names.dead(topic), [1], PORTALS[:3])

    assert f"3 open in {names.dead(topic)}: replay or discard them first" in await refused(growth)


async def test_what_is_written_in_the_moment_of_the_change_is_told(growth: Growth, queue: Queue, topic: str) -> None:
    ends = await growth.watched()
    await send(queue, topic, [1], PORTALS[:1])

    with pytest.raises(NotQuiet, match="events come in"):
        await growth.check(ends)
    with pytest.raises(WrittenMeanwhile, match=f"there are {AFTER} partitions now"):
        await growth.carry_out(ends)


async def test_a_growth_that_was_cut_off_can_be_run_again(growth: Growth, queue: KafkaQueue, topic: str) -> None:
    await queue.grow([topic], AFTER, only_plan=False)
    while len(await growth.inspector.bounds(topic)) != AFTER:
        pass

    assert len(await growth.plan()) == len(names.streams(topic)) - 1
    await growth.carry_out(await growth.watched())

    assert await queue.missing(names.streams(topic), AFTER) == []


async def test_fewer_partitions_are_refused_always(queue: KafkaQueue, topic: str) -> None:
    with pytest.raises(QueueError, match="can't take any away"):
        await queue.grow(names.streams(topic), 1, only_plan=True)


class Command:
    """`forebay topics grow` over the topic."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, secured: Secured, topic: str) -> None:
        monkeypatch.setenv("FOREBAY_QUEUE_URL", f"kafka://{secured.clear}")
        monkeypatch.setenv("FOREBAY_TOPIC", topic)
        monkeypatch.setenv("FOREBAY_PARTITIONS", str(BEFORE))

    def run(self, *options: str) -> str:
        done = CliRunner().invoke(build(), ["topics", *options])
        if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output


def test_the_command_asks_watches_and_says_what_to_set(
    secured: Secured, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forebay = Command(monkeypatch, secured, topic)
    ensured = forebay.run("ensure")

    with pytest.raises(WrongUsage, match="--yes"):
        forebay.run("grow", "--partitions", str(AFTER))
    grown = forebay.run("grow", "--partitions", str(AFTER), "--yes", "--json")
    monkeypatch.setenv("FOREBAY_PARTITIONS", str(AFTER))

    assert "warn brokers: a cluster of 1 can't keep 3 copies" in ensured
    assert [json.loads(line) for line in grown.splitlines() if line.startswith("{")] == [
        {"grow": f"stream {stream} from {BEFORE} to {AFTER} partitions"} for stream in names.streams(topic)
    ]
    assert f"set partitions to {AFTER} on every host" in grown
    assert "all is there" in forebay.run("plan")
    assert "there are 5 already" in forebay.run("grow", "--partitions", str(AFTER), "--yes")
