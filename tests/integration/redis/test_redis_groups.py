"""Groups in Redis: leases that run out, handlers that block, and what is deleted."""

import asyncio
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from forebay.queues.contract import Commit, Producer, Queue
from forebay.queues.errors import Fenced
from forebay.queues.groups.contract import Stretch, Wanted
from forebay.queues.groups.leaps import Leaps
from forebay.queues.groups.retention import Retention
from forebay.queues.redis import scripts
from forebay.queues.redis.connection import RedisConnection, RedisStore
from forebay.queues.redis.consumer import RedisConsumer
from forebay.queues.redis.group import RedisGroup
from forebay.queues.redis.reading import RedisLog
from forebay.queues.redis.streams import find
from tests.integration.queues.members import (
    PARTITIONS,
    STREAM,
    Clock,
    Follower,
    fetch,
    hears_of_its_stream,
    keeps_nothing_when_let_go,
    send_all,
    start_of,
)
from tests.redis.server import empty

KEEP_EVERYTHING = Retention(stream=STREAM, keep_ms=10**12)


async def test_a_lease_that_ran_out_is_lost_before_anything_is_given_out(store: RedisStore, producer: Producer) -> None:
    clock, follower = Clock(), Follower()
    consumer = RedisConsumer(store, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING, clock=clock)
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


async def test_a_commit_that_is_stored_while_a_heartbeat_is_answered_shows_no_server_that_was_set_back(
    store: RedisStore, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating, committing = store.connect(), store.connect()
    stream, leaps = find(beating, STREAM), Leaps(3_600_000)
    group = RedisGroup(name="group", of=stream, me="me", session_s=3600, retention=KEEP_EVERYTHING, leaps=leaps)
    epochs = {one.partition: one.epoch for one in group.beat(beating, {}, is_leaving=False).claimed}
    run = beating.run

    def late(script: str, *arguments: Any) -> Any:
        answer = run(script, *arguments)
        if script == scripts.BEAT:
            # In the thread of commits, before that of the heartbeats has come to look at the answer.
            assert group.commit(committing, epochs, {number: Commit(offset=5) for number in epochs}) == set(epochs)
        return answer

    monkeypatch.setattr(beating, "run", late)
    beat = group.beat(beating, epochs, is_leaving=False)

    assert (set(beat.still), list(beat.claimed)) == (set(range(PARTITIONS)), [])


async def test_a_commit_under_an_epoch_of_before_is_not_stored(store: RedisStore, queue: Queue) -> None:
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)
    await consumer.commit({1: Commit(offset=0, note=b"ours")})
    connection = store.connect()
    lease = connection.ask("HGET", "forebay:{events}:leases:group", 1)
    epoch, until, owner = lease.split(b" ")

    connection.ask("HSET", "forebay:{events}:leases:group", 1, b"%d %s %s" % (int(epoch) + 1, until, owner))
    with pytest.raises(Fenced) as fenced:
        await consumer.commit({1: Commit(offset=0, note=b"late"), 2: Commit(offset=0, note=b"ours")})

    assert fenced.value.partitions == {1}
    assert connection.ask("HGET", "forebay:{events}:notes", "1:group") == b"ours"
    assert connection.ask("HGET", "forebay:{events}:notes", "2:group") == b"ours"
    connection.close()
    await consumer.close()


async def test_what_was_said_before_the_servers_clock_was_set_back_holds_for_a_session(
    store: RedisStore, queue: Queue
) -> None:
    connection, hours_ahead = store.connect(), (int(time.time()) + 10_800) * 1000
    leases: dict[int | str, str | int] = {partition: f"1 {hours_ahead} dead" for partition in range(PARTITIONS)}
    for field, value in {**leases, "quiet": hours_ahead}.items():
        connection.ask("HSET", "forebay:{events}:leases:group", field, value)
    connection.ask("ZADD", "forebay:{events}:members:group", hours_ahead, "dead")
    consumer = queue.consumer(STREAM, "group", session_s=1.0)

    await consumer.start(follower := Follower())
    early = len(follower.owned)
    await asyncio.wait_for(follower.owns(PARTITIONS), 30.0)

    assert early == 0
    connection.close()
    await consumer.close()


def _group(connection: RedisConnection, name: str, session_s: float, steady: Clock) -> RedisGroup:
    return RedisGroup(
        name="group",
        of=find(connection, STREAM),
        me=name,
        session_s=session_s,
        retention=KEEP_EVERYTHING,
        leaps=Leaps(round(session_s * 1000), steady),
    )


def test_what_a_member_holds_is_its_own_by_name_and_epoch(store: RedisStore, queue: Queue) -> None:
    connection = store.connect()
    one, other = (_group(connection, name, 30.0, Clock()) for name in ("a", "b"))
    held = {claimed.partition: claimed.epoch for claimed in one.beat(connection, {}, is_leaving=False).claimed}

    earlier = one.beat(connection, {partition: epoch - 1 for partition, epoch in held.items()}, is_leaving=True)
    anothers = other.beat(connection, held, is_leaving=True)

    assert set(earlier.still) == set(anothers.still) == set()
    assert set(other.view(connection, held).taken) == held.keys()
    assert set(one.beat(connection, held, is_leaving=True).still) == held.keys()
    connection.close()


def test_no_epoch_comes_again_where_a_server_has_lost_it(store: RedisStore, queue: Queue) -> None:
    connection = store.connect()
    one = _group(connection, "a", 30.0, Clock())
    before = {claimed.partition: claimed.epoch for claimed in one.beat(connection, {}, is_leaving=False).claimed}
    connection.ask("DEL", "forebay:{events}:leases:group")

    beat = one.beat(connection, before, is_leaving=False)

    assert set(beat.still) == set()
    assert {claimed.partition: claimed.epoch for claimed in beat.claimed} == {at: was + 1 for at, was in before.items()}
    connection.close()


def test_who_is_silent_for_a_session_counts_no_more_and_is_forgotten(store: RedisStore, queue: Queue) -> None:
    connection, members = store.connect(), "forebay:{events}:members:group"
    one = _group(connection, "a", 30.0, Clock())
    connection.ask("ZADD", members, 1000, "dead")

    seen = one.view(connection, ()).members
    one.beat(connection, {}, is_leaving=False)
    there = connection.ask("ZRANGE", members, 0, -1)
    one.leave(connection)

    assert seen == set()
    assert there == [b"a"]
    assert connection.ask("ZRANGE", members, 0, -1) == []
    connection.close()


async def test_who_has_let_a_lease_run_out_is_given_nothing_also_when_nobody_has_taken_it(
    store: RedisStore, producer: Producer
) -> None:
    partition, connection = await send_all(producer, 1), store.connect()
    one = _group(connection, "a", 30.0, Clock())
    held = {claimed.partition: claimed.epoch for claimed in one.beat(connection, {}, is_leaving=False).claimed}
    log, wanted = RedisLog(one.of, "group", "a"), [Wanted(partition=partition, offset=0, end=1, most=1)]
    connection.ask("HSET", "forebay:{events}:leases:group", partition, f"{held[partition]} 1000 a")

    over = log.read(connection, wanted)
    one.beat(connection, held, is_leaving=False)
    renewed = log.read(connection, wanted)

    assert over == [Stretch([], 0)]
    assert [record.offset for record in renewed[0].records] == [0]
    connection.close()


def test_a_member_with_a_short_session_leaves_what_others_have_for_a_longer_one(
    store: RedisStore, queue: Queue
) -> None:
    connection = store.connect()
    one, other = (_group(connection, name, session_s, Clock()) for name, session_s in (("a", 300.0), ("b", 1.0)))
    one.beat(connection, {}, is_leaving=False)
    before = connection.ask("HGETALL", "forebay:{events}:leases:group")

    other.beat(connection, {}, is_leaving=False)

    assert connection.ask("HGETALL", "forebay:{events}:leases:group") == before
    connection.close()


def test_a_servers_clock_that_leaps_forwards_takes_nothing_from_a_member_that_lives(
    store: RedisStore, queue: Queue
) -> None:
    connection, steady, session_s, everything = store.connect(), Clock(), 30.0, set(range(PARTITIONS))
    one, other = (_group(connection, name, session_s, steady) for name in ("a", "b"))
    held = {claimed.partition: claimed.epoch for claimed in one.beat(connection, {}, is_leaving=False).claimed}
    assert held.keys() == everything
    assert other.beat(connection, {}, is_leaving=False).claimed == []

    # To whoever looks, the server's clock is so much further, and each lease as much over.
    steady.now -= 3600
    for partition, epoch in held.items():
        connection.ask("HSET", "forebay:{events}:leases:group", partition, f"{epoch} 1000 a")
    assert other.beat(connection, {}, is_leaving=False).claimed == []
    assert set(one.beat(connection, held, is_leaving=False).still) == everything
    assert other.view(connection, ()).free == set()

    # Then it counts as before: who has said nothing for a session owns nothing.
    steady.now += session_s
    for partition, epoch in held.items():
        connection.ask("HSET", "forebay:{events}:leases:group", partition, f"{epoch} 1000 a")
    assert other.view(connection, ()).free == everything
    connection.close()


async def test_only_what_every_group_has_finished_is_deleted_when_it_is_old(
    store: RedisStore, queue: Queue, producer: Producer
) -> None:
    retention = Retention(stream=STREAM, keep_ms=1000, every_s=0.01)
    old = time.time_ns() // 1_000_000 - 5000
    partition = await send_all(producer, 1500, timestamp_ms=old)
    await send_all(producer, 10, timestamp_ms=old + 3_600_000)
    await send_all(producer, 10, timestamp_ms=old)
    slower, faster = (
        RedisConsumer(store, STREAM, name, session_s=5, retention=retention) for name in ("slower", "faster")
    )
    for consumer in (slower, faster):
        await consumer.start(follower := Follower())
        await follower.owns(PARTITIONS)

    await faster.commit({partition: Commit(offset=1520)})
    await slower.commit({partition: Commit(offset=1200)})
    unread = await start_of(queue, partition, lambda start: start >= 1200)
    await slower.commit({partition: Commit(offset=1520)})
    young = await start_of(queue, partition, lambda start: start > 1200 and start >= 1500)

    assert (unread, young) == (1200, 1500)
    inspector = queue.inspector()
    assert len(await inspector.read(STREAM, partition, 0, 100)) == 20
    for part in (slower, faster, inspector):
        await part.close()


async def test_a_group_that_is_let_go_as_documented_keeps_nothing(
    store: RedisStore, queue: Queue, producer: Producer
) -> None:
    retention = Retention(stream=STREAM, keep_ms=1000, every_s=0.01)
    documented = (Path(__file__).parents[3] / "docs" / "redis.md").read_text("utf-8")
    command = documented[documented.index("redis-cli EVAL") :].partition("```")[0]
    words = shlex.split(command.replace("{bitrix24.events}", f"{{{STREAM}}}"))[1:]

    await keeps_nothing_when_let_go(
        queue,
        producer,
        lambda group: RedisConsumer(store, STREAM, group, session_s=5, retention=retention),
        lambda: store.connect().ask(*words),
    )


async def test_who_reads_a_stream_that_somebody_has_taken_away_is_told_so_and_ends_when_there_is_another(
    queue: Queue, url: str
) -> None:
    await hears_of_its_stream(queue, lambda: empty(url))


async def test_a_note_is_seen_with_the_offset_that_it_was_committed_with(queue: Queue) -> None:
    follower, consumer, inspector = Follower(), queue.consumer(STREAM, "group"), queue.inspector()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    async def commit() -> None:
        for number in range(1, 1_000_000):
            await consumer.commit({at: Commit(offset=number, note=b"%d" % number) for at in range(PARTITIONS)})

    await consumer.commit({at: Commit(offset=0, note=b"0") for at in range(PARTITIONS)})
    committing = asyncio.create_task(commit())
    seen = [state for _ in range(300) for state in (await inspector.groups(STREAM))["group"].values()]
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)

    assert len({state.offset for state in seen}) > 10
    assert [state for state in seen if state.note != b"%d" % state.offset] == []
    for part in (consumer, inspector):
        await part.close()
