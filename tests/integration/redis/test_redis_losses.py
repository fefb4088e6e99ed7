"""What a Redis loses, of events, commits and leases: nobody takes one event for another, and nobody passes over one."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Assignments, Commit, Consumer, Position, Producer, Queue
from forebay.queues.errors import Fenced, QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.databases.server import PASSWORD
from tests.integration.queues.members import (
    PARTITIONS,
    STREAM,
    Follower,
    fetch,
    record,
    send_all,
)
from tests.redis.server import RedisServer, direct

#: A server needs its time to start again, which may be seconds on a busy machine: what is leased lasts for longer.
_SESSION_S = 6.0


class Owners:
    """Who owns what, over all members: never two at once."""

    def __init__(self) -> None:
        self.of: dict[int, Follower] = {}
        self.conflicts = 0

    def follower(self) -> "OneOfThem":
        return OneOfThem(self)


class OneOfThem(Follower):
    def __init__(self, owners: Owners) -> None:
        super().__init__()
        self._owners = owners

    def assigned(self, partition: int, committed: Commit) -> None:
        self._owners.conflicts += partition in self._owners.of
        self._owners.of[partition] = self
        super().assigned(partition, committed)

    async def revoked(self, partition: int) -> None:
        self._owners.of.pop(partition, None)
        await super().revoked(partition)

    def lost(self, partition: int) -> None:
        self._owners.of.pop(partition, None)
        super().lost(partition)


@pytest.fixture
def forgetful(redis_servers: Callable[..., RedisServer]) -> RedisServer:
    """A server that may lose its last second."""
    return redis_servers("appendfsync everysec")


def _written(server: RedisServer) -> Path:
    [found] = server.data.glob("appendonlydir/*.incr.aof")
    return found


async def _lose(server: RedisServer, length: int) -> None:
    """A power cut: what came to the file after so many bytes is gone."""
    await asyncio.to_thread(server.kill)
    with _written(server).open("r+b") as file:
        file.truncate(length)
    server.start()
    await asyncio.to_thread(server.wait_ready)


async def _joined(queue: Queue, follower: Assignments) -> Consumer:
    consumer = queue.consumer(STREAM, "group", session_s=_SESSION_S)
    await consumer.start(follower)
    return consumer


async def test_an_offset_that_a_server_has_lost_is_not_given_to_another_record(forgetful: RedisServer) -> None:
    queue = open_queue(QueueSettings(queue_url=forgetful.url("?fsync=everysec")))
    await queue.ensure([STREAM], PARTITIONS)
    producer, follower = queue.producer(), Follower()
    consumer = queue.consumer(STREAM, "group", session_s=_SESSION_S)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    partition = (await producer.send(STREAM, record(0))).partition
    assert await fetch(consumer, 1) == [b"0"]
    await consumer.commit({partition: Commit(offset=1)})
    length = _written(forgetful).stat().st_size
    await producer.send(STREAM, record(1))
    assert await fetch(consumer, 1) == [b"1"]

    await _lose(forgetful, length)
    await producer.check()
    position = await producer.send(STREAM, record(2))

    assert position.offset > 1_000_000
    while (found := await _fetched(consumer)) == []:
        pass
    assert found == [b"2"]
    # What it had read is gone, and so may be what it has written: where the group is, it begins anew.
    assert follower.told[PARTITIONS:] == ["lost", "assigned"]
    for part in (consumer, producer, queue):
        await part.close()


async def _with_a_lost_commit(server: RedisServer, session_s: float) -> tuple[Queue, Consumer, Follower, int]:
    """A member that has committed up to 4, of five that it has read, and a server that knows only of 2."""
    queue = open_queue(QueueSettings(queue_url=server.url("?fsync=everysec")))
    await queue.ensure([STREAM], PARTITIONS)
    producer, follower = queue.producer(), Follower()
    consumer = queue.consumer(STREAM, "group", session_s=session_s)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    partition = await send_all(producer, 5)
    await fetch(consumer, 5)
    await consumer.commit({partition: Commit(offset=2)})
    length = _written(server).stat().st_size
    await consumer.commit({partition: Commit(offset=4)})
    await producer.close()
    await _lose(server, length)
    return queue, consumer, follower, partition


async def test_a_member_whose_commit_a_server_has_lost_begins_where_the_group_is(forgetful: RedisServer) -> None:
    with capture_logs() as lines:
        queue, consumer, follower, partition = await _with_a_lost_commit(forgetful, _SESSION_S)
        found: list[bytes] = []
        while len(found) < 3:
            found += await _fetched(consumer)

    # What it had written elsewhere before it committed may be lost as well.
    assert found == [b"2", b"3", b"4"]
    assert follower.owned[partition].offset == 2
    assert [partition] in [line["partitions"] for line in lines if line["event"] == "set_back"]
    await consumer.close()
    await queue.close()


async def test_what_was_handled_before_a_server_lost_a_commit_is_not_committed_over_it(forgetful: RedisServer) -> None:
    # Its heartbeats are too far apart to see it first.
    queue, consumer, _, partition = await _with_a_lost_commit(forgetful, 3600)

    with pytest.raises(Fenced):
        await _committed(consumer, {partition: Commit(offset=5)})

    inspector = queue.inspector()
    assert (await inspector.groups(STREAM))["group"][partition].offset == 2
    for part in (inspector, consumer, queue):
        await part.close()


async def _committed(consumer: Consumer, commits: dict[int, Commit]) -> None:
    """The connection may be that of before, once."""
    with suppress(QueueUnavailable):
        return await consumer.commit(commits)
    await consumer.commit(commits)


async def test_what_a_server_gives_out_after_its_files_were_put_back_twice_is_passed_over_by_nobody(
    forgetful: RedisServer, tmp_path: Path
) -> None:
    queue = open_queue(QueueSettings(queue_url=forgetful.url("?fsync=everysec")))
    await queue.ensure([STREAM], PARTITIONS)
    producer, follower = queue.producer(), Follower()
    consumer = queue.consumer(STREAM, "group", session_s=_SESSION_S)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await asyncio.to_thread(forgetful.stop)
    subprocess.run(["cp", "-a", str(forgetful.data), str(tmp_path / "backup")], check=True)
    await _put_back(forgetful, tmp_path / "backup")
    for number in range(6):
        before = await _sent(producer, number)
    found = await _fetched(consumer)
    while found[-1:] != [b"5"]:
        found += await _fetched(consumer)

    await _put_back(forgetful, tmp_path / "backup")
    after = await _sent(producer, 6)
    while (found := await _fetched(consumer)) == []:
        pass

    assert after.offset > before.offset
    assert found == [b"6"]
    for part in (consumer, producer, queue):
        await part.close()


async def _put_back(server: RedisServer, backup: Path) -> None:
    await asyncio.to_thread(server.kill)
    shutil.rmtree(server.data)
    subprocess.run(["cp", "-a", str(backup), str(server.data)], check=True)
    server.start()
    await asyncio.to_thread(server.wait_ready)


async def _sent(producer: Producer, number: int) -> Position:
    """The connection may be that of before, once."""
    with suppress(QueueUnavailable):
        return await producer.send(STREAM, record(number))
    return await producer.send(STREAM, record(number))


async def test_a_life_leaps_from_where_the_one_before_was_also_when_the_clock_was_set_back(
    url: str, queue: Queue, producer: Producer
) -> None:
    partition, hours_ahead = (
        (await producer.send(STREAM, record(0))).partition,
        (time.time_ns() // 10**6 + 10**7) * 1000,
    )
    with direct(url) as admin:
        admin.hset(f"forebay:{{{STREAM}}}:ends", mapping={str(partition): hours_ahead, f"life:{partition}": "before"})

    position = await producer.send(STREAM, record(1))

    assert position.offset == hours_ahead + 1_000_000


async def test_urls_that_rely_on_different_things_count_on_from_one_another(url: str, queue: Queue) -> None:
    producers = [open_queue(QueueSettings(queue_url=url + rest)).producer() for rest in ("", "?fsync=everysec")]

    offsets = [(await producer.send(STREAM, record(0))).offset for producer in producers * 2]

    assert offsets == [0, 1, 2, 3]
    for producer in producers:
        await producer.close()


async def _replicated(primary: RedisServer, replica: RedisServer) -> None:
    with direct(replica.url()) as client:
        client.config_set("masterauth", PASSWORD)
        client.replicaof("127.0.0.1", primary.port)
        with direct(primary.url()) as writer:
            while client.info("replication")["master_link_status"] != "up" or not writer.wait(1, 100):
                await asyncio.sleep(0.02)
        # Until it has all of it in its own file it doesn't end when it is told to.
        while any(client.info("persistence")[f"aof_rewrite_{so}"] for so in ("scheduled", "in_progress")):
            await asyncio.sleep(0.02)


async def test_a_server_that_has_taken_over_and_ended_gives_no_offset_that_it_lacks_to_another_record(
    redis_servers: Callable[..., RedisServer],
) -> None:
    former, later = redis_servers("repl-diskless-sync-delay 0"), redis_servers()
    queues = [open_queue(QueueSettings(queue_url=server.url())) for server in (former, later)]
    await queues[0].ensure([STREAM], PARTITIONS)
    first, second = (queue.producer() for queue in queues)
    await first.send(STREAM, record(0))
    await _replicated(former, later)
    with direct(later.url()) as client:
        client.replicaof("NO", "ONE")
    await first.send(STREAM, record(1))

    await asyncio.to_thread(later.stop)
    later.start()
    await asyncio.to_thread(later.wait_ready)
    position = await second.send(STREAM, record(2))

    assert position.offset > 1_000_000
    parts: list[Any] = [first, second, *queues]
    for part in parts:
        await part.close()


async def test_a_life_that_begins_while_the_server_runs_is_the_same_for_every_connection(
    redis_servers: Callable[..., RedisServer],
) -> None:
    primary = redis_servers("repl-diskless-sync-delay 0")
    queue = open_queue(QueueSettings(queue_url=primary.url()))
    await queue.ensure([STREAM], PARTITIONS)
    older, younger = queue.producer(), queue.producer()
    await older.send(STREAM, record(0))

    await _replicated(primary, redis_servers())
    offsets = [(await producer.send(STREAM, record(1))).offset for producer in (older, younger) * 2]

    assert offsets == [offsets[0] + more for more in range(4)]
    for part in (older, younger, queue):
        await part.close()


async def _fetched(consumer: Consumer) -> list[bytes]:
    try:
        return [one.value for one in await consumer.fetch(10, 5.0)]
    except Exception:  # the connection of before, once
        return []


async def test_a_partition_whose_lease_a_server_has_lost_is_nobodys_for_a_session(forgetful: RedisServer) -> None:
    queue = open_queue(QueueSettings(queue_url=forgetful.url("?fsync=everysec")))
    await queue.ensure([STREAM], PARTITIONS)
    length, owners = _written(forgetful).stat().st_size, Owners()
    first, second = owners.follower(), owners.follower()
    consumers = [await _joined(queue, first)]
    await first.owns(PARTITIONS)

    await _lose(forgetful, length)
    consumers.append(await _joined(queue, second))
    await second.owns(2)
    await first.owns(2)

    assert owners.conflicts == 0
    assert "lost" in first.told
    for consumer in consumers:
        await consumer.close()
    await queue.close()
