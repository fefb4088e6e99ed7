"""What a consumer reads while the group changes."""

import asyncio
from typing import Any

from forebay.queues.contract import Producer, Record
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.inbox import Inbox
from tests.integration.queues.members import STREAM, key_of

#: Turns of the loop in which a partition's reading begins, and some.
TURNS = 12


async def test_a_partition_that_is_let_go_of_while_its_reading_begins_costs_the_others_nothing(
    producer: Producer, url: str
) -> None:
    sent = await producer.send(STREAM, Record(key=key_of(0), value=b"0", timestamp_ms=0))
    # Its reading begins with a look for the place.
    for number in range(3):
        await producer.send(STREAM, Record(key=key_of(1), value=b"%d" % number, timestamp_ms=0))
    inbox = Inbox(
        address(url), STREAM, 30.0, gap=_unexpected, shorter=_unexpected, set_back=_unexpected, put=_unexpected
    )
    for turns in range(TURNS):
        inbox.assign(1, 2)
        while inbox._partitions[1].channel is None:
            await asyncio.sleep(0.0001)
        for _ in range(turns):
            await asyncio.sleep(0)
        inbox.drop(1)
        inbox.assign(0, 0)
        assert [one.offset for one in await inbox.fetch(1, 30.0, lambda: None)] == [sent.offset]
        inbox.drop(0)
    await inbox.close()


def _unexpected(*told: object) -> Any:
    raise AssertionError(told)
