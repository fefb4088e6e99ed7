"""What is the memory queue's own."""

import asyncio

from forebay.queues.contract import Commit, Record
from forebay.queues.memory import MemoryQueue


class _Member:
    """Gives a partition back when it may."""

    def __init__(self) -> None:
        self.owned: set[int] = set()
        self.is_asked, self.may_leave = asyncio.Event(), asyncio.Event()

    def assigned(self, partition: int, committed: Commit) -> None:
        self.owned.add(partition)

    async def revoked(self, partition: int) -> None:
        self.is_asked.set()
        await self.may_leave.wait()
        self.owned.discard(partition)

    def lost(self, partition: int) -> None:
        raise AssertionError

    def rewritten(self, partition: int, offset: int) -> None:
        raise AssertionError

    def gap(self, partition: int, start: int, end: int) -> None:
        raise AssertionError


async def test_a_member_that_dies_while_it_joins_leaves_no_partition_half_asked_back() -> None:
    queue, first, second = MemoryQueue(), _Member(), _Member()
    await queue.ensure(["events"], 2)
    one, other = queue.consumer("events", "shop"), queue.consumer("events", "shop")
    await one.start(first)
    joining = asyncio.create_task(other.start(second))
    await first.is_asked.wait()
    second.may_leave.set()

    joining.cancel()
    leaving = asyncio.create_task(other.close())
    first.may_leave.set()
    await asyncio.wait_for(leaving, 10)
    for number in range(8):
        await queue.producer().send("events", Record(key=f"{number}.example", value=b"", timestamp_ms=0))

    assert (first.owned, second.owned) == ({0, 1}, set())
    assert {record.partition for record in await one.fetch(8, 10)} == {0, 1}
