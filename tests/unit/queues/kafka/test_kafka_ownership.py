"""Partitions that come, go and come again, as the event loop knows them."""

import asyncio
from dataclasses import replace

from forebay.queues.contract import Commit, PlacedRecord, StoredRecord
from forebay.queues.kafka.inbox import Inbox
from forebay.queues.kafka.ownership import Holding, Ownership


class Slow:
    """Takes its time to give a partition back."""

    def __init__(self) -> None:
        self.asked, self.may_end = asyncio.Event(), asyncio.Event()
        self.gaps: list[tuple[int, int, int]] = []

    def assigned(self, partition: int, committed: Commit) -> None:
        """It is content."""

    def lost(self, partition: int) -> None:
        """The same."""

    def rewritten(self, partition: int, offset: int) -> None:
        """Nor here."""

    def gap(self, partition: int, start: int, end: int) -> None:
        self.gaps.append((partition, start, end))

    async def revoked(self, partition: int) -> None:
        self.asked.set()
        await self.may_end.wait()


async def test_who_gives_back_what_was_lost_meanwhile_keeps_it_when_it_is_its_own_again() -> None:
    user = Slow()
    ownership = Ownership(user, Inbox(lambda: None), asyncio.Lock())
    ownership.take_over({0: Holding(epoch=1, committed=Commit(offset=0))})
    giving = asyncio.create_task(ownership.give_back([0]))
    await user.asked.wait()

    ownership.lose([0])
    ownership.take_over({0: Holding(epoch=2, committed=Commit(offset=0))})
    user.may_end.set()
    await giving

    assert ownership.epochs_of([0]) == {0: 2}


async def test_what_is_known_to_be_rewritten_is_so_for_one_assignment() -> None:
    ownership = Ownership(Slow(), Inbox(lambda: None), asyncio.Lock())
    ownership.take_over({number: Holding(epoch=1, committed=Commit(offset=5)) for number in (0, 1)})
    ownership.rewritten(0, 1, 5)
    ownership.rewritten(1, 0, 5)

    assert ownership.rewritten_of({0: 1, 1: 1}) == {0}
    ownership.lose([0])
    ownership.take_over({0: Holding(epoch=2, committed=Commit(offset=5))})
    assert ownership.rewritten_of({0: 2, 1: 1}) == frozenset()


async def test_of_what_was_lost_nothing_is_given_and_no_gap_is_told_though_it_is_its_own_again() -> None:
    user, inbox = Slow(), Inbox(lambda: None)
    ownership = Ownership(user, inbox, asyncio.Lock())
    ownership.take_over({number: Holding(epoch=1, committed=Commit(offset=0)) for number in (0, 1)})
    record = PlacedRecord(key="a.ru", value=b"", timestamp_ms=1, stream="events", partition=0, offset=0)
    batches: dict[int, list[StoredRecord]] = {0: [record], 1: [replace(record, partition=1)]}
    inbox.put(batches)

    ownership.lose([0, 2])
    ownership.take_over({0: Holding(epoch=2, committed=Commit(offset=0))})
    ownership.gap(0, 1, 1, 5)
    ownership.gap(0, 2, 2, 5)
    ownership.gap(1, 1, 3, 5)

    assert [one.partition for one in await inbox.take(10, 0)] == [1]
    assert user.gaps == [(0, 2, 5), (1, 3, 5)]
