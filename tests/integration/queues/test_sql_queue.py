"""What the SQL queue promises beyond the contract: leases, retention, and clear answers when SQLite fails."""

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from forebay.queues.contract import Commit, Consumer, Producer, Queue, Record
from forebay.queues.errors import Fenced, QueueError, QueueUnavailable, RecordRefused, Unsupported
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.consumer import SqlConsumer, wall_ms
from forebay.queues.sql.producer import SqlProducer
from forebay.queues.sql.retention import Retention
from forebay.queues.sql.sqlite import SqliteDatabase

STREAM = "events"
PARTITIONS = 4
KEEP_EVERYTHING = Retention(stream=STREAM, keep_ms=10**12)


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def ms(self) -> int:
        return int(self.now * 1000)


class Follower:
    """Assignments that remember what they were told, and can be waited for."""

    def __init__(self) -> None:
        self.owned: dict[int, Commit] = {}
        self.told: list[str] = []
        self._changed = asyncio.Event()

    def assigned(self, partition: int, committed: Commit) -> None:
        self.owned[partition] = committed
        self._tell("assigned")

    async def revoked(self, partition: int) -> None:
        del self.owned[partition]
        self._tell("revoked")

    def lost(self, partition: int) -> None:
        del self.owned[partition]
        self._tell("lost")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self._changed.set()

    async def owns(self, count: int) -> None:
        while len(self.owned) != count:
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    queue = open_queue(QueueSettings(data_dir=tmp_path))
    await queue.ensure([STREAM, "another"], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def producer(queue: Queue) -> AsyncIterator[Producer]:
    producer = queue.producer()
    yield producer
    await producer.close()


@pytest.fixture
def database(tmp_path: Path, queue: Queue) -> SqliteDatabase:
    return SqliteDatabase(make_url(f"sqlite:///{tmp_path}/queue.db"), busy_s=0.1)


def record(number: int, timestamp_ms: int = 0) -> Record:
    return Record(key="portal", value=str(number).encode(), timestamp_ms=timestamp_ms)


async def send_all(producer: Producer, count: int, timestamp_ms: int = 0) -> int:
    """Send so many of one portal, and return its partition."""
    positions = await asyncio.gather(*(producer.send(STREAM, record(n, timestamp_ms)) for n in range(count)))
    return positions[0].partition


async def fetch(consumer: Consumer, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        found += [one.value for one in await consumer.fetch(count - len(found), 30.0)]
    return found


# Leases


async def test_a_lease_that_ran_out_is_lost_before_anything_is_given_out(
    database: SqliteDatabase, producer: Producer
) -> None:
    clock, follower = Clock(), Follower()
    consumer = SqlConsumer(
        database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, clock=clock, now_ms=clock.ms
    )
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    partition = await send_all(producer, 5)

    clock.now += 3601
    with pytest.raises(Fenced) as fenced:
        await consumer.commit({partition: Commit(offset=5)})

    assert fenced.value.partitions == {partition}
    assert follower.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS
    await follower.owns(PARTITIONS)
    assert follower.owned[partition].offset == 0
    assert len(await fetch(consumer, 5)) == 5
    await consumer.close()


async def test_a_process_that_stood_still_gives_out_nothing_of_what_it_had(
    database: SqliteDatabase, producer: Producer
) -> None:
    clock, follower = Clock(), Follower()
    consumer = SqlConsumer(
        database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, clock=clock, now_ms=clock.ms
    )
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await send_all(producer, 5)

    clock.now += 3601
    found = await consumer.fetch(10, 0)

    assert follower.told[PARTITIONS : 2 * PARTITIONS] == ["lost"] * PARTITIONS
    assert not found or follower.told[2 * PARTITIONS :] == ["assigned"] * PARTITIONS
    await consumer.close()


async def test_a_heartbeat_that_finds_another_owner_tells_that_all_is_lost(database: SqliteDatabase) -> None:
    robbed, other, clock = Follower(), Follower(), Clock()
    first = SqlConsumer(database, STREAM, "group", session_s=0.6, retention=KEEP_EVERYTHING)
    await first.start(robbed)
    await robbed.owns(PARTITIONS)

    clock.now = time.time() + 7200
    second = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, now_ms=clock.ms)
    await second.start(other)
    await robbed.owns(0)

    assert robbed.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS
    await first.close()
    await second.close()


async def test_a_member_that_is_silent_for_a_session_is_replaced_and_fenced(
    database: SqliteDatabase, producer: Producer
) -> None:
    partition = await send_all(producer, 5)
    silent, other, clock = Follower(), Follower(), Clock()
    # Its heartbeats are an hour apart: to the other, whose clock is two hours on, it is dead.
    first = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING)
    await first.start(silent)
    await silent.owns(PARTITIONS)
    clock.now = time.time() + 7200
    second = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, now_ms=clock.ms)
    await second.start(other)
    await other.owns(PARTITIONS)

    with pytest.raises(Fenced) as fenced:
        await first.commit({partition: Commit(offset=1, note=b"late")})
    await second.commit({partition: Commit(offset=3, note=b"right")})
    await second.close()

    assert fenced.value.partitions == {partition}
    inspector = open_queue(QueueSettings(data_dir=Path(database.name).parent)).inspector()
    assert (await inspector.groups(STREAM))["group"][partition].note == b"right"
    await inspector.close()
    await first.close()


async def test_a_handler_that_blocks_the_event_loop_costs_no_membership(queue: Queue) -> None:
    blocked, other = Follower(), Follower()
    consumers = [queue.consumer(STREAM, "group", session_s=0.6) for _ in range(2)]
    await consumers[0].start(blocked)
    await consumers[1].start(other)
    await blocked.owns(2)
    await other.owns(2)

    time.sleep(1.5)  # blocking the loop is what this is about
    await asyncio.sleep(0)

    assert "lost" not in blocked.told + other.told
    for consumer in consumers:
        await consumer.close()


async def test_a_closed_member_leaves_no_row(queue: Queue, tmp_path: Path) -> None:
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())
    await consumer.close()

    with closing(sqlite3.connect(tmp_path / "queue.db")) as direct:
        assert direct.execute("SELECT count(*) FROM forebay_member").fetchone() == (0,)
        assert direct.execute("SELECT count(*) FROM forebay_claim WHERE owner IS NOT NULL").fetchone() == (0,)


async def test_a_note_that_is_too_long_is_refused(queue: Queue) -> None:
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())

    with pytest.raises(Unsupported, match="65537 bytes"):
        await consumer.commit({0: Commit(offset=0, note=b"x" * 65_537)})

    await consumer.close()


# Retention


async def _start_of(queue: Queue, partition: int, until: Callable[[int], bool]) -> int:
    """The first offset of the partition, once it is so."""
    inspector = queue.inspector()
    try:
        while not until(start := (await inspector.bounds(STREAM))[partition].start):
            await asyncio.sleep(0.02)
        return start
    finally:
        await inspector.close()


async def test_what_every_group_finished_is_deleted_when_it_is_old(
    queue: Queue, producer: Producer, database: SqliteDatabase
) -> None:
    retention = Retention(stream=STREAM, keep_ms=1000, every_s=0.01)
    partition = await send_all(producer, 2500, timestamp_ms=wall_ms() - 5000)
    slower = SqlConsumer(database, STREAM, "slower", session_s=5, retention=retention)
    faster = SqlConsumer(database, STREAM, "faster", session_s=5, retention=retention)
    for consumer in (slower, faster):
        await consumer.start(follower := Follower())
        await follower.owns(PARTITIONS)

    await faster.commit({partition: Commit(offset=2500)})
    await slower.commit({partition: Commit(offset=2200)})
    start = await _start_of(queue, partition, lambda start: start >= 2200)

    assert start == 2200
    await faster.close()
    await slower.close()
    inspector = queue.inspector()
    assert [one.value for one in await inspector.read(STREAM, partition, 0, 1)] == [b"2200"]
    await inspector.close()


async def test_what_is_young_is_kept(queue: Queue, producer: Producer, database: SqliteDatabase) -> None:
    old, young = wall_ms() - 5000, wall_ms() + 3_600_000
    partition = await send_all(producer, 10, timestamp_ms=old)
    await send_all(producer, 10, timestamp_ms=young)
    await send_all(producer, 10, timestamp_ms=old)
    consumer = SqlConsumer(
        database, STREAM, "group", session_s=5, retention=Retention(stream=STREAM, keep_ms=1000, every_s=0.01)
    )
    await consumer.start(Follower())
    await consumer.commit({partition: Commit(offset=30)})

    start = await _start_of(queue, partition, lambda start: start > 0)

    assert start == 10
    await consumer.close()


async def test_a_stream_without_retention_keeps_everything(
    queue: Queue, producer: Producer, database: SqliteDatabase
) -> None:
    partition = await send_all(producer, 10)
    retention = Retention(stream=STREAM, keep_ms=1000, every_s=0.01)
    other = SqlConsumer(database, "another", "group", session_s=5, retention=retention)
    await other.start(Follower())
    position = await producer.send("another", record(1))
    await other.commit({position.partition: Commit(offset=1)})
    consumer = SqlConsumer(database, STREAM, "group", session_s=5, retention=retention)
    await consumer.start(Follower())
    await consumer.commit({partition: Commit(offset=10)})

    await _start_of(queue, partition, lambda start: start == 10)

    inspector = queue.inspector()
    assert (await inspector.bounds("another"))[position.partition].start == 0
    await inspector.close()
    await consumer.close()
    await other.close()


async def test_a_reader_passes_over_what_retention_took(
    queue: Queue, producer: Producer, database: SqliteDatabase
) -> None:
    partition = await send_all(producer, 10)
    with closing(sqlite3.connect(database.name)) as direct, direct:
        direct.execute("DELETE FROM forebay_record WHERE offset < 5 OR offset = 7")
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)

    found = await fetch(consumer, 4)
    await producer.send(STREAM, record(10))

    assert found == [b"5", b"6", b"8", b"9"]
    assert await fetch(consumer, 1) == [b"10"]
    assert follower.owned[partition].offset == 0
    await consumer.close()


# SQLite


async def test_commits_are_synced_and_files_are_private(
    queue: Queue, producer: Producer, database: SqliteDatabase, tmp_path: Path
) -> None:
    await producer.send(STREAM, record(1))

    with closing(database.connect()) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)}
    assert modes == dict.fromkeys(["queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock"], 0o600)


async def test_a_fresh_data_directory_is_private(tmp_path: Path) -> None:
    queue = open_queue(QueueSettings(data_dir=tmp_path / "deep" / "data"))

    await queue.ensure([STREAM], PARTITIONS)

    assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700


async def test_a_locked_file_refuses_the_batch_and_then_takes_the_next(queue: Queue, database: SqliteDatabase) -> None:
    producer = SqlProducer(database)
    await producer.send(STREAM, record(0))

    with closing(sqlite3.connect(database.name, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueueUnavailable, match="locked"):
            await producer.check()
        refused = await asyncio.gather(*(producer.send(STREAM, record(n)) for n in (1, 2)), return_exceptions=True)
    position = await producer.send(STREAM, record(3))
    await producer.close()

    assert [type(outcome) for outcome in refused] == [QueueUnavailable] * 2
    assert position.offset == 1


async def test_a_consumer_can_be_closed_while_the_file_is_locked(database: SqliteDatabase) -> None:
    consumer, follower = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    with closing(sqlite3.connect(database.name, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        await consumer.close()

    assert follower.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS


async def test_a_start_that_was_cancelled_leaves_nothing_behind(database: SqliteDatabase) -> None:
    given_up = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING)
    starting = asyncio.create_task(given_up.start(Follower()))
    while not starting.done() and not _has_member(database):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    await given_up.close()

    consumer, follower = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING), Follower()
    await consumer.start(follower)

    await follower.owns(PARTITIONS)
    await consumer.close()


def _has_member(database: SqliteDatabase) -> bool:
    with closing(sqlite3.connect(database.name)) as direct:
        return bool(direct.execute("SELECT 1 FROM forebay_member").fetchall())


async def test_a_queue_that_was_not_made_says_how_to_make_it(tmp_path: Path) -> None:
    queue = open_queue(QueueSettings(data_dir=tmp_path))
    producer, consumer, inspector = queue.producer(), queue.consumer(STREAM, "group"), queue.inspector()

    for call in (producer.send(STREAM, record(1)), consumer.start(Follower()), inspector.bounds(STREAM)):
        with pytest.raises(QueueUnavailable, match="forebay topics ensure"):
            await call
    (tmp_path / "queue.db").touch()
    with pytest.raises(QueueUnavailable, match="forebay topics ensure"):
        await producer.send(STREAM, record(1))

    assert len(await queue.missing([STREAM], PARTITIONS)) > 1
    for part in (producer, consumer, inspector, queue):
        await part.close()


async def test_what_is_missing_is_told_without_making_a_file(tmp_path: Path) -> None:
    queue = open_queue(QueueSettings(data_dir=tmp_path / "data"))

    missing = await queue.missing([STREAM], PARTITIONS)

    assert missing[0].endswith("queue.db")
    assert missing[-1] == "stream events with 4 partitions"
    assert not (tmp_path / "data").exists()


async def test_tables_of_a_newer_forebay_are_left_alone(queue: Queue, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "queue.db")) as direct, direct:
        direct.execute("UPDATE forebay_meta SET value = 99 WHERE name = 'version'")
    producer = queue.producer()

    with pytest.raises(QueueError, match="newer Forebay"):
        await producer.send(STREAM, record(1))
    with pytest.raises(QueueError, match="newer Forebay"):
        await queue.ensure(["more"], PARTITIONS)

    await producer.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"no database " * 100)
    queue = open_queue(QueueSettings(data_dir=tmp_path))

    with pytest.raises(QueueUnavailable, match=r"queue\.db.*not a database"):
        await queue.ensure([STREAM], PARTITIONS)


async def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    queue = open_queue(QueueSettings(data_dir=tmp_path / "file"))

    with pytest.raises(QueueUnavailable, match="data_dir"):
        await queue.ensure([STREAM], PARTITIONS)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(QueueError, match="names no file"):
        open_queue(QueueSettings(queue_url=url))


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (Record(key="portal", value=bytes(64 * 1024 * 1024 + 1), timestamp_ms=0), "bytes"),
        (Record(key="x" * 256, value=b"", timestamp_ms=0), "256 characters"),
        (Record(key="\ud800", value=b"", timestamp_ms=0), "no text"),
        (Record(key="portal", value=b"", timestamp_ms=2**63), "milliseconds"),
        (Record(key="portal", value=b"", timestamp_ms=0, headers=(("\ud800", b""),)), "no text"),
    ],
    ids=["value", "key", "surrogate", "time", "header"],
)
async def test_a_record_that_can_never_be_kept_is_refused_alone(producer: Producer, refused: Record, why: str) -> None:
    outcomes = await asyncio.gather(
        producer.send(STREAM, record(0)),
        producer.send(STREAM, refused),
        producer.send(STREAM, record(1)),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], RecordRefused)
    assert why in str(outcomes[1])
    assert not isinstance(outcomes[0], BaseException)
    assert not isinstance(outcomes[2], BaseException)


async def test_large_records_are_read_a_few_at_a_time(queue: Queue, producer: Producer) -> None:
    value = os.urandom(3 * 1024 * 1024)
    for number in range(5):
        await producer.send(STREAM, Record(key="portal", value=value, timestamp_ms=number))
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())

    first = await consumer.fetch(100, 30.0)
    rest = await fetch(consumer, 5 - len(first))

    assert 1 <= len(first) < 5
    assert [one.value for one in first] + rest == [value] * 5
    await consumer.close()


async def test_a_send_after_closing_is_not_kept(queue: Queue) -> None:
    producer = queue.producer()
    await producer.close()

    with pytest.raises(QueueUnavailable, match="closed"):
        await producer.send(STREAM, record(1))
