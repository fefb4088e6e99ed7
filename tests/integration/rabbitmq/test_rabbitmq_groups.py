"""Groups whose stream is cut behind their members."""

from itertools import count

import pytest

from forebay.queues.contract import Commit, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import logs, states
from forebay.queues.rabbitmq import member as members
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.connection import Connection
from forebay.queues.rabbitmq.looking import end_of, look
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM, Follower
from tests.integration.rabbitmq.relay import relayed


def _shorten(monkeypatch: pytest.MonkeyPatch, state_every: int) -> None:
    """Have groups' streams cut to 20 kB."""
    monkeypatch.setattr(logs, "_GROUP_BYTES", 20_000)
    monkeypatch.setattr(logs, "_PARTITION_BYTES", 0)
    monkeypatch.setattr(logs, "_SEGMENT_BYTES", 2_000)
    monkeypatch.setattr(states, "STATE_EVERY_BYTES", state_every)


async def _start(connection: Connection) -> int:
    """The offset of the first entry of the group's stream."""
    return (await look(connection, logs.group_log(STREAM, "group"), "first", 1))[0][0]


async def test_a_group_whose_beginning_was_cut_off_does_not_begin_anew_in_silence(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shorten(monkeypatch, state_every=10**9)
    consumer, follower = queue.consumer(STREAM, "group", session_s=30.0), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    connection = await Connection(address(url), "test").open()
    while await _start(connection) == 0:
        for number in range(50):
            await consumer.commit({1: Commit(offset=0, note=b"%d" % number)})
    late, inspector = queue.consumer(STREAM, "group", session_s=1.0), queue.inspector()

    with monkeypatch.context() as patched:
        # As a member of an older version, or one that is away.
        patched.setattr(states.States, "tell", lambda self, me, position: None)
        with pytest.raises(QueueUnavailable, match="lacks its beginning"):
            await late.start(Follower())
        with pytest.raises(QueueUnavailable, match="lacks its beginning"):
            await inspector.groups(STREAM)
    # A state that somebody writes is all that was missing.
    after, joined = queue.consumer(STREAM, "group", session_s=30.0), Follower()
    await after.start(joined)
    await joined.owns(PARTITIONS // 2)

    assert len(follower.owned) == PARTITIONS // 2
    assert len((await inspector.groups(STREAM))["group"]) == PARTITIONS
    for part in (late, after, consumer, inspector, connection):
        await part.close()


def _name(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """Have members that start from now on called so."""
    monkeypatch.setattr(members, "member_name", map(f"{prefix}{{}}".format, count()).__next__)


@pytest.mark.parametrize("state_every", [4_000, 10**9])
async def test_a_member_that_was_cut_off_for_long_agrees_with_the_others(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch, state_every: int
) -> None:
    _shorten(monkeypatch, state_every)
    async with relayed(url) as (relay, through):
        away, left = open_queue(QueueSettings(queue_url=through)).consumer(STREAM, "group", session_s=3.0), Follower()
        there, follower = queue.consumer(STREAM, "group", session_s=3.0), Follower()
        # The first by name, which is not to be the one that speaks for all while it knows nothing.
        _name(monkeypatch, "a")
        await away.start(left)
        await left.owns(PARTITIONS)
        relay.is_open = False
        relay.cut()
        _name(monkeypatch, "b")
        await there.start(follower)
        await follower.owns(PARTITIONS)
        connection, number = await Connection(address(url), "test").open(), 0
        before = await end_of(connection, logs.group_log(STREAM, "group"))
        while await _start(connection) <= before:
            for _ in range(50):
                number += 1
                await there.commit({partition: Commit(offset=number) for partition in follower.owned})
        relay.is_open = True
        await left.owns(PARTITIONS // 2)

    assert left.owned.keys().isdisjoint(follower.owned)
    assert {one.offset for one in left.owned.values()} == {number}
    for part in (away, there, connection):
        await part.close()


async def test_a_member_knows_the_group_although_the_beginning_of_its_stream_was_cut_off(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shorten(monkeypatch, state_every=4_000)
    consumer, follower = queue.consumer(STREAM, "group", session_s=30.0), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await consumer.commit({0: Commit(offset=0, note=b"early")})
    connection = await Connection(address(url), "test").open()

    number = 0
    while await _start(connection) == 0:
        for _ in range(50):
            number += 1
            await consumer.commit({1: Commit(offset=0, note=b"%d" % number)})
    await consumer.close()

    other, again = queue.consumer(STREAM, "group", session_s=30.0), Follower()
    await other.start(again)
    await again.owns(PARTITIONS)
    assert (again.owned[0].note, again.owned[1].note) == (b"early", b"%d" % number)
    await other.close()
    await connection.close()
