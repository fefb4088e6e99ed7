"""The connection breaks at a COMMIT: a record is told as kept or as not kept, and that is true."""

import asyncio

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Position, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.sql.producer import SqlProducer
from tests.integration.queue_faults.relay import relayed, sent_through
from tests.integration.queues.members import STREAM, record
from tests.integration.queues.stage import read_all
from tests.integration.sql_servers.systems import System


async def test_what_was_committed_is_told_as_kept_although_the_answer_was_lost(
    system: System, url: str, queue: Queue
) -> None:
    async with relayed(url, system.plain) as (relay, through):
        producer = SqlProducer(system.database(through))

        outcomes = await sent_through(relay, producer, "lose_answer")
        await producer.close()

    assert [one.offset for one in outcomes if isinstance(one, Position)] == list(range(6))
    assert [one.value for one in await read_all(queue)] == [b"0", b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("how", ["lose_commit", "leave_open"])
async def test_what_was_not_committed_is_told_as_not_kept(system: System, url: str, queue: Queue, how: str) -> None:
    async with relayed(url, system.plain) as (relay, through):
        producer = SqlProducer(system.database(through, idle_s=3))

        outcomes = await sent_through(relay, producer, how)
        await producer.close()

    assert [type(one) for one in outcomes] == [Position, *[QueueUnavailable] * 4, Position]
    assert [one.value for one in await read_all(queue)] == [b"0", b"5"]


async def test_a_batch_that_nobody_can_decide_is_given_up_with_the_producer(
    system: System, url: str, queue: Queue
) -> None:
    async with relayed(url, system.plain) as (relay, through):
        producer = SqlProducer(system.database(through))
        await producer.send(STREAM, record(0))
        # Nobody can be asked afterwards.
        relay.lose_answer = relay.shut = True
        sending = asyncio.create_task(producer.send(STREAM, record(1)))
        while relay.lose_answer:
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(producer.close())
        await asyncio.sleep(0)
        undecided = not sending.done()
        closing.cancel()

        with pytest.raises(QueueUnavailable):
            await sending

    assert undecided


async def test_why_a_batch_stays_undecided_is_told(system: System, url: str, queue: Queue) -> None:
    async with relayed(url, system.plain) as (relay, through):
        producer = SqlProducer(system.database(through, idle_s=3, lock_s=1))
        await producer.send(STREAM, record(0))
        # What the lost session holds is waited for, but not as long as it holds it.
        relay.leave_open = True

        with capture_logs() as logs, pytest.raises(QueueUnavailable):
            await producer.send(STREAM, record(1))

        await producer.close()

    lost, *reasons = [one["error"] for one in logs if one["event"] == "commit_undecided"]
    assert system.stuck not in lost
    assert any(system.stuck in reason for reason in reasons)
    assert len(reasons) == len(set(reasons))
