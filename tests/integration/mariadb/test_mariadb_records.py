"""What stands in a MariaDB: names byte by byte, records up to its packets, and nothing that a crash takes back."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from forebay.queues.contract import Commit, Producer, Queue, Record
from forebay.queues.errors import RecordRefused
from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import Fact
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.database import Place
from forebay.queues.sql.mariadb import server as looks
from forebay.queues.sql.mariadb.database import MariadbDatabase
from forebay.queues.sql.schema import find
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record, send_all
from tests.integration.queues.stage import read_all
from tests.mariadb.server import Server, asked, direct

CHECKS = "SELECT value FROM forebay_meta WHERE name = 'checks'"

#: What a server takes for the same, unless it is told otherwise.
ALIKE = ["portal", "Portal", "portál", "portal ", "portal\0", "портал", "\U0001f600"]


@pytest.fixture
def plain(mariadb_url: str, queue: Queue) -> Iterator[Any]:
    with closing(direct(mariadb_url)) as connection:
        yield connection


async def test_keys_that_are_alike_stay_what_they_are(queue: Queue, producer: Producer) -> None:
    for key in ALIKE:
        await producer.send(STREAM, Record(key=key, value=key.encode(), timestamp_ms=0))

    found = await read_all(queue)

    assert sorted(one.key for one in found) == sorted(ALIKE)
    assert all(one.key.encode() == one.value for one in found)


async def test_the_longest_key_of_the_longest_characters_is_taken(queue: Queue, producer: Producer) -> None:
    await producer.send(STREAM, Record(key="\U0001f600" * 255, value=b"", timestamp_ms=0))

    assert [one.key for one in await read_all(queue)] == ["\U0001f600" * 255]


async def test_a_commit_of_what_is_committed_already_counts(queue: Queue) -> None:
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    for _ in range(2):
        await consumer.commit({0: Commit(offset=0)})

    await consumer.close()


async def test_streams_and_groups_that_are_alike_are_different_ones(queue: Queue) -> None:
    names = ["night", "Night", "night "]
    await queue.ensure(names, 1)
    for number, name in enumerate(names):
        consumer = queue.consumer(STREAM, name)
        await consumer.start(follower := Follower())
        await follower.owns(PARTITIONS)
        await consumer.commit({0: Commit(offset=number)})
        await consumer.close()

    inspector = queue.inspector()
    groups = await inspector.groups(STREAM)
    await inspector.close()

    assert await queue.missing(names, 1) == []
    assert {name: groups[name][0].offset for name in names} == {name: number for number, name in enumerate(names)}


async def test_a_record_that_no_packet_takes_is_refused_alone(mariadb_servers: Callable[..., Server]) -> None:
    queue = open_queue(QueueSettings(queue_url=mariadb_servers("max-allowed-packet=1M").url()))
    await queue.ensure([STREAM], PARTITIONS)
    producer = queue.producer()
    fits = (1 << 19) - 8 * 1024

    outcomes = await asyncio.gather(
        producer.send(STREAM, record(0)),
        producer.send(STREAM, Record(key="portal", value=b"\0" * fits, timestamp_ms=0)),
        producer.send(STREAM, Record(key="portal", value=b"\0" * (fits + 1), timestamp_ms=0)),
        producer.send(STREAM, Record(key="portal", value=b"'" * (fits - 9), timestamp_ms=0, headers=(("\\", b""),))),
        return_exceptions=True,
    )
    await producer.close()

    assert isinstance(outcomes[2], RecordRefused)
    assert "max_allowed_packet" in str(outcomes[2])
    assert [len(one.value) for one in await read_all(queue)] == [1, fits, fits - 9]
    await queue.close()


@pytest.mark.parametrize(
    "more", [(), ("log-bin", "server-id=1", "sync-binlog=1", "binlog-ignore-db=forebay")], ids=["no binlog", "left out"]
)
async def test_what_a_reader_got_is_there_after_a_crash_of_the_server(
    mariadb_servers: Callable[..., Server], more: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """InnoDB shows a record before its log is on the disk, and a crash takes it back: its offset is then another's."""
    server = mariadb_servers("innodb-flush-log-at-timeout=1000", *more)
    queue = open_queue(QueueSettings(queue_url=server.url()))
    await queue.ensure([STREAM], PARTITIONS)
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group", session_s=3600)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)
    await producer.send(STREAM, record(0))
    # Once it has waited for the disk, it has waited for what was there by then, and for no more.
    got = await fetch(consumer, 1)
    with closing(direct(server.url())) as admin:
        # As in the moment between the two: shown, and in the server's memory only.
        monkeypatch.setattr(looks.Server, "check", lambda *_: None)
        asked(admin, "SET GLOBAL innodb_flush_log_at_trx_commit = 0")
        await send_all(producer, 20)
        asked(admin, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    got += await fetch(consumer, 20)

    server.kill()
    server.start()
    await asyncio.to_thread(server.wait_ready)

    assert [one.value for one in await read_all(queue)] == got
    for part in (consumer, producer, queue):
        await part.close()


async def test_tables_whose_making_was_cut_off_are_made_whole(
    mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making a table commits by itself: who dies then leaves tables without what must stand in them."""
    queue = open_queue(QueueSettings(queue_url=mariadb_url))
    with monkeypatch.context() as dying:
        dying.setattr(MariadbDatabase, "tune", _die)
        with pytest.raises(ZeroDivisionError):
            await queue.ensure([STREAM], PARTITIONS)

    await queue.ensure([STREAM], PARTITIONS)

    with closing(direct(mariadb_url)) as plain:
        written = asked(plain, "SELECT name FROM forebay_meta WHERE name IN ('version', 'checks')")
    assert sorted(name for (name,) in written) == ["checks", "version"]
    await queue.close()


def _die(*_: object) -> None:
    raise ZeroDivisionError


async def test_the_disk_is_waited_for_once_for_all_that_was_there(
    queue: Queue, database: MariadbDatabase, producer: Producer, plain: Any
) -> None:
    partition = await send_all(producer, 100)

    with closing(database.connect()) as connection:
        [place] = [place for place in find(connection, STREAM).places() if place.partition == partition]
        before = asked(plain, CHECKS)[0][0]
        database.ends(connection, [place])
        for offset in range(0, 100, 10):
            assert len(database.read(connection, place, offset, 10, 1 << 20)) == 10
        after = asked(plain, CHECKS)[0][0]

    assert after == before + 1


async def test_the_disk_is_waited_for_where_nothing_stands_any_more(
    queue: Queue, database: MariadbDatabase, producer: Producer, plain: Any
) -> None:
    """Who passes over a gap relies on its end as much as on a record."""
    partition = await send_all(producer, 1)
    asked(plain, "DELETE FROM forebay_record")

    with closing(database.connect()) as connection:
        [place] = [place for place in find(connection, STREAM).places() if place.partition == partition]
        before = asked(plain, CHECKS)[0][0]
        assert database.ends(connection, [place]) == {place: 1}
        assert database.read(connection, place, 0, 10, 1 << 20) == []
        after = asked(plain, CHECKS)[0][0]

    assert after == before + 1


async def test_the_disk_is_waited_for_before_a_batch_is_told_as_kept_and_a_fact_as_said(
    queue: Queue, database: MariadbDatabase, producer: Producer, plain: Any
) -> None:
    partition = await send_all(producer, 1)
    store = queue.portals("events")
    await store.ensure()
    await store.put([Fact("portal", b"said")])
    await store.close()

    with closing(database.connect()) as connection:
        rows = database.read(connection, Place(find(connection, STREAM).id, partition), 0, 1, 1)
        portals = find(connection, "events.portals").id
        before = asked(plain, CHECKS)[0][0]
        assert database.kept(connection, rows)
        between = asked(plain, CHECKS)[0][0]
        assert len(database.facts(connection, portals, 0, 10)) == 1
        after = asked(plain, CHECKS)[0][0]

    assert (between, after) == (before + 1, before + 2)


async def test_tables_are_innodb_whatever_the_server_makes_by_itself(mariadb_servers: Callable[..., Server]) -> None:
    url = mariadb_servers("default-storage-engine=Aria").url()
    await open_queue(QueueSettings(queue_url=url)).ensure([STREAM], PARTITIONS)

    with closing(direct(url)) as admin:
        kinds = asked(admin, "SELECT DISTINCT engine FROM information_schema.tables WHERE table_name LIKE 'forebay%'")

    assert kinds == [("InnoDB",)]
