"""Offsets of concurrent producers: none becomes visible before a smaller one, and nobody waits for ever."""

import asyncio
import re
import threading
from contextlib import closing

import pytest
from sqlalchemy import Connection

from forebay.queues.contract import Bounds, Commit, Producer, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.sql.database import Database, Place, Row
from forebay.queues.sql.producer import SqlProducer
from forebay.queues.sql.retention import sweep
from forebay.queues.sql.schema import find
from tests.integration.queues.members import STREAM, Follower, fetch, record, send_all
from tests.integration.queues.stage import read_all
from tests.integration.sql_servers.systems import System

#: Later than any record.
_ALL_MS = 10**15


def _put(database: Database, connection: Connection, place: Place, value: bytes) -> int:
    offset = database.take_offsets(connection, {place: 1})[place]
    database.append(connection, [Row(*place, offset, 0, "portal", b"", value)])
    return offset


async def _one_waits(system: System, url: str) -> None:
    with system.client(url) as watching:
        while not system.waiting(watching):
            # MariaDB answers with what it saw last, unless it is left alone for a tenth of a second.
            await asyncio.sleep(0.15)


async def test_a_reader_never_passes_an_offset_that_commits_later(
    queue: Queue, database: Database, producer: Producer, system: System, url: str
) -> None:
    partition = await send_all(producer, 1)
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())
    await fetch(consumer, 1)

    with closing(database.connect()) as slow:
        place = Place(find(slow, STREAM).id, partition)
        with database.writing(slow):
            _put(database, slow, place, b"slow")
            later = asyncio.create_task(producer.send(STREAM, record(99)))
            await _one_waits(system, url)
            meanwhile = await consumer.fetch(10, 0.2)
        position = await later
    found = await fetch(consumer, 2)

    assert meanwhile == []
    assert position.offset == 2
    assert found == [b"slow", b"99"]
    await consumer.close()


async def test_what_a_failed_transaction_took_is_a_gap_that_nobody_waits_at(
    queue: Queue, database: Database, producer: Producer
) -> None:
    partition = await send_all(producer, 1)
    with closing(database.connect()) as failing, pytest.raises(ZeroDivisionError), database.writing(failing):
        _put(database, failing, Place(find(failing, STREAM).id, partition), b"undone")
        raise ZeroDivisionError
    inspector = queue.inspector()
    before = (await inspector.bounds(STREAM))[partition]

    position = await producer.send(STREAM, record(1))

    assert before.end == 1
    # Where a counter is undone together with its transaction, there is not even a gap.
    assert position.offset >= before.end
    assert [one.value for one in await inspector.read(STREAM, partition, 0, 10)] == [b"0", b"1"]
    await inspector.close()


async def test_who_deletes_late_sets_no_beginning_back(
    queue: Queue, database: Database, producer: Producer, system: System, url: str
) -> None:
    """Where all is deleted, the beginning is the end, which must never sink."""
    partition = await send_all(producer, 10)
    with closing(database.connect()) as one, closing(database.connect()) as late:
        stream = find(one, STREAM)

        def delete_late() -> None:
            with database.writing(late):
                sweep(late, stream, partition, 5, _ALL_MS)

        with database.writing(one):
            sweep(one, stream, partition, 10, _ALL_MS)
            later = asyncio.create_task(asyncio.to_thread(delete_late))
            await _one_waits(system, url)
        await later
    inspector = queue.inspector()

    assert (await inspector.bounds(STREAM))[partition] == Bounds(start=10, end=10)
    await inspector.close()


def test_producers_that_name_partitions_in_opposite_orders_do_not_wait_for_each_other(
    queue: Queue, database: Database
) -> None:
    with closing(database.connect()) as connection:
        places = find(connection, STREAM).places()
    failures: list[Exception] = []

    def produce(places: list[Place]) -> None:
        try:
            with closing(database.connect()) as connection:
                for _ in range(300):
                    with database.writing(connection):
                        database.take_offsets(connection, dict.fromkeys(places, 1))
        except database.errors as error:
            failures.append(error)

    threads = [threading.Thread(target=produce, args=(order,)) for order in (places, places[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with closing(database.connect()) as connection, database.writing(connection):
        assert set(database.take_offsets(connection, dict.fromkeys(places, 1)).values()) == {600}


async def test_a_producer_that_stands_still_within_a_transaction_is_thrown_out_of_it(
    queue: Queue, producer: Producer, system: System, url: str
) -> None:
    database = system.database(url, idle_s=3)
    partition = await send_all(producer, 1)

    with (
        closing(database.connect()) as frozen,
        pytest.raises(database.errors) as thrown_out,
        database.writing(frozen),
    ):
        place = Place(find(frozen, STREAM).id, partition)
        _put(database, frozen, place, b"frozen")
        await producer.send(STREAM, record(1))
        try:
            _put(database, frozen, place, b"too late")
        finally:
            frozen.invalidate()

    assert [one.value for one in await read_all(queue)] == [b"0", b"1"]
    assert re.search("by itself|by ourselves", database.remedy(thrown_out.value))


async def test_a_lock_that_nobody_lets_go_is_told(queue: Queue, system: System, url: str) -> None:
    producer = SqlProducer(system.database(url, lock_s=1))
    with system.client(url) as other:
        other.ask("BEGIN")
        other.ask(system.lock_records)

        with pytest.raises(QueueUnavailable, match=system.stuck):
            await producer.send(STREAM, record(0))

    await producer.send(STREAM, record(1))
    await producer.close()
    assert [one.value for one in await read_all(queue)] == [b"1"]


@pytest.mark.parametrize("emptied", ["DELETE FROM forebay_record", "TRUNCATE forebay_record"])
async def test_what_comes_after_the_table_was_emptied_by_hand_is_read(
    queue: Queue, producer: Producer, system: System, url: str, emptied: str
) -> None:
    partition = await send_all(producer, 10)
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)
    await fetch(consumer, 10)
    await consumer.commit({partition: Commit(offset=10)})
    await consumer.close()

    with system.client(url) as direct:
        direct.ask(emptied)
    position = await producer.send(STREAM, record(10))
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())

    assert position.offset == 10
    assert await fetch(consumer, 1) == [b"10"]
    await consumer.close()
