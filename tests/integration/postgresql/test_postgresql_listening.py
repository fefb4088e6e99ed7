"""A reader is told of new records, and finds those too that nobody told it of."""

import asyncio
from collections.abc import Iterable, Sequence

import psycopg
import pytest
from sqlalchemy import Connection

from forebay.queues.contract import Producer, Queue
from forebay.queues.sql.database import Place
from forebay.queues.sql.postgresql import listening
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record

#: Longer than a test may take: what comes before it did not wait for a look.
_NEVER_S = 3600.0

#: Readers that have looked, found nothing, and wait.
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE state = 'idle' AND query LIKE '%p.first_offset)%' AND datname = current_database()
"""


async def _waits(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as watching:
        while await (await watching.execute(WAITING)).fetchone() == (0,):
            await asyncio.sleep(0.01)


async def test_a_record_does_not_wait_for_a_look(
    queue: Queue, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_LOOK_EVERY_S", _NEVER_S)
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    for number in range(20):
        waiting = asyncio.create_task(consumer.fetch(10, _NEVER_S))
        # Both orders come up: sent before the reader waits, and while it does.
        await asyncio.sleep(0 if number % 2 else 0.02)
        await producer.send(STREAM, record(number))
        assert [one.value for one in await waiting] == [str(number).encode()]

    await consumer.close()


async def test_a_record_that_was_not_announced_is_found(
    queue: Queue, producer: Producer, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(self: PostgresqlDatabase, connection: Connection, places: Iterable[Place]) -> None:
        """As of a producer that was killed after its commit."""

    monkeypatch.setattr(listening, "_LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(PostgresqlDatabase, "announce", silent)
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())

    waiting = asyncio.create_task(consumer.fetch(10, _NEVER_S))
    await _waits(postgresql_url)
    await producer.send(STREAM, record(1))

    assert [one.value for one in await waiting] == [b"1"]
    await consumer.close()


async def test_a_waiting_consumer_is_closed_at_once(
    queue: Queue, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_LOOK_EVERY_S", _NEVER_S)
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    waiting = asyncio.create_task(consumer.fetch(10, _NEVER_S))
    await _waits(postgresql_url)

    await consumer.close()

    assert await waiting == []


async def test_a_reader_whose_session_was_ended_listens_again(
    queue: Queue, producer: Producer, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, ends = list[int](), PostgresqlDatabase.ends

    def counted(self: PostgresqlDatabase, connection: Connection, places: Sequence[Place]) -> dict[Place, int]:
        looks.append(len(places))
        return ends(self, connection, places)

    monkeypatch.setattr(listening, "_LOOK_EVERY_S", _NEVER_S)
    monkeypatch.setattr(PostgresqlDatabase, "ends", counted)
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await producer.send(STREAM, record(0))
    await fetch(consumer, 1)

    waiting = asyncio.create_task(consumer.fetch(10, _NEVER_S))
    await _waits(postgresql_url)
    async with await psycopg.AsyncConnection.connect(postgresql_url, autocommit=True) as admin:
        ended = await admin.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert (await ended.fetchone() or (0,))[0] > 0
    outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
    again = asyncio.create_task(consumer.fetch(10, _NEVER_S))
    await _waits(postgresql_url)
    await asyncio.wait([again], timeout=0.3)
    await producer.check()
    await producer.send(STREAM, record(1))

    assert "connect again by ourselves" in str(outcome)
    assert [one.value for one in await again] == [b"1"]
    # Who is told of news does not look for it all the time.
    assert len(looks) < 20
    await consumer.close()


def test_partitions_are_announced_to_those_who_read_them() -> None:
    told = listening.announcements([Place(2, 11), Place(1, 7), Place(2, 3)])

    assert told == {"forebay_1": "7", "forebay_2": "3 11"}


def test_more_partitions_than_a_notification_takes_are_announced_as_any() -> None:
    told = listening.announcements(Place(1, number) for number in range(5_000))

    assert told == {"forebay_1": ""}
