"""One fetch is handed what waits in all its partitions in one step, for which the server waits for its disk once."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from forebay.queues.contract import Consumer, Producer, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.groups.bell import Bell
from forebay.queues.redis import delivery, reading, scripts
from forebay.queues.redis.connection import RedisConnection, RedisStore
from forebay.queues.redis.reading import RedisLog
from forebay.queues.redis.streams import find
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, bytes_of, fill, send_all
from tests.redis.server import direct

ALL = range(PARTITIONS)


@pytest.fixture
async def consumer(queue: Queue) -> AsyncIterator[Consumer]:
    consumer = queue.consumer(STREAM, "group", session_s=60.0)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)
    yield consumer
    await consumer.close()


def _log(partition: int) -> str:
    return f"forebay:{{{STREAM}}}:log:{partition}"


async def test_a_fetch_is_one_step_of_the_server(
    producer: Producer, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, run = Counter[str](), RedisConnection.run

    def counted(connection: RedisConnection, script: str, *arguments: Any) -> Any:
        steps[script] += 1
        return run(connection, script, *arguments)

    monkeypatch.setattr(RedisConnection, "run", counted)
    await fill(producer, {partition: [10] * 5 for partition in ALL})
    steps.clear()

    found = await consumer.fetch(100, 30.0)

    assert bytes_of(found) == dict.fromkeys(ALL, 50)
    assert steps[delivery.DELIVER] == 1


async def test_the_bytes_of_a_fetch_are_limited_in_all_and_a_full_partition_starves_none(
    producer: Producer, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_READ_BYTES", 8000)
    await fill(producer, {0: [1000] * 20, 1: [1000] * 20, 2: [10], 3: [10]})

    first, second = [bytes_of(await consumer.fetch(100, 30.0)) for _ in range(2)]

    assert (first[2], first[3]) == (10, 10)
    assert sum(first.values()) <= 8000
    assert min(first[0], first[1]) >= 2000
    assert second == {0: 4000, 1: 4000}


async def test_what_is_too_large_for_the_room_that_is_left_comes_in_its_turn(
    producer: Producer, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_READ_BYTES", 1000)
    await fill(producer, {partition: [5000, 5000] for partition in ALL})

    found = [bytes_of(await consumer.fetch(100, 30.0)) for _ in range(2 * PARTITIONS)]

    assert [[*one.values()] for one in found] == [[5000]] * (2 * PARTITIONS)
    assert Counter(partition for one in found for partition in one) == dict.fromkeys(ALL, 2)


async def test_a_fetch_that_fails_in_the_middle_has_skipped_nothing(
    url: str, producer: Producer, consumer: Consumer
) -> None:
    await fill(producer, dict.fromkeys(ALL, range(1, 6)))
    with direct(url) as admin:
        handed_out = []
        for broken in ALL:
            admin.rename(_log(broken), "aside")
            admin.set(_log(broken), "no stream")
            with pytest.raises(QueueUnavailable, match="WRONGTYPE"):
                await consumer.fetch(100, 30.0)
            handed_out += [admin.xpending(_log(one), "group")["pending"] for one in ALL if one != broken]
            admin.rename("aside", _log(broken))

        found = await consumer.fetch(100, 30.0)

    assert any(handed_out), "it failed at the first each time"
    assert {one: [record.offset for record in found if record.partition == one] for one in ALL} == {
        one: [*range(5)] for one in ALL
    }


async def test_a_partition_whose_lease_is_lost_gives_nothing_and_the_others_what_they_have(
    url: str, producer: Producer, consumer: Consumer
) -> None:
    await fill(producer, dict.fromkeys(ALL, [10] * 5))
    with direct(url) as admin:
        leases = f"forebay:{{{STREAM}}}:leases:group"
        lease = admin.hget(leases, 1)
        admin.hset(leases, 1, b" ".join([*lease.split(b" ")[:2], b"another"]))
        before = bytes_of(await consumer.fetch(100, 30.0))
        admin.hset(leases, 1, lease)
        after = bytes_of(await consumer.fetch(100, 30.0))

    assert before == {0: 50, 2: 50, 3: 50}
    assert after == {1: 50}


async def test_what_was_read_and_is_gone_shows_a_server_that_was_set_back_unless_all_had_finished_it(
    store: RedisStore, producer: Producer
) -> None:
    partition, connection = await send_all(producer, 2), store.connect()
    stream = find(connection, STREAM)
    log, [first, _] = RedisLog(stream, "group", "me"), reading.read(connection, stream, partition, 0, 2)

    there = log.still_has(connection, first)
    connection.ask("XTRIM", _log(partition), "MINID", "1-0")
    gone = log.still_has(connection, first)
    connection.ask("HSET", stream.keys.starts, partition, 1)
    finished = log.still_has(connection, first)
    connection.ask("DEL", _log(partition))
    connection.ask("XADD", _log(partition), "0-1", "key", first.key, "time", 0, "headers", b"", "value", b"another")
    is_another = log.still_has(connection, first)

    assert (there, gone, finished, is_another) == (True, False, True, False)
    connection.close()


async def test_a_record_of_which_no_announcement_came_is_found_a_second_later(
    store: RedisStore, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_waiting, wait, looks, ends = threading.Event(), reading.News.wait, list[int](), RedisLog.ends

    def noted(news: reading.News, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        is_waiting.set()
        wait(news, partitions, bell, timeout_s)

    def counted(log: RedisLog, connection: RedisConnection, partitions: Collection[int]) -> dict[int, int]:
        looks.append(len(partitions))
        return ends(log, connection, partitions)

    monkeypatch.setattr(reading.News, "wait", noted)
    monkeypatch.setattr(RedisLog, "ends", counted)
    fetching = asyncio.create_task(consumer.fetch(1, 90.0))
    await asyncio.to_thread(is_waiting.wait)
    connection = store.connect()
    keys = find(connection, STREAM).keys
    names = [keys.about, keys.ends, keys.producer("p"), keys.log(0)]
    batch = (0, 60_000, "elsewhere", b"[[0,1]]", 0, "portal", 1, b"", b"value")
    connection.run(scripts.APPEND, names, find(connection, STREAM).id, *batch)

    async with asyncio.timeout(45.0):
        found = await fetching

    assert [one.value for one in found] == [b"value"]
    # At most once a second, and when something is said.
    assert len(looks) < 60
    connection.close()
