"""How orders about many partitions are looked for, and how about those of which the queue tells nothing."""

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from forebay.processors.notes import Note
from forebay.processors.parking.following import Following, Parked
from forebay.processors.parking.orders import Order, What
from forebay.processors.parking.parking import Parking
from forebay.processors.parking.stream import ParkedStream
from forebay.processors.partitions import Partition
from forebay.queues.errors import QueueUnavailable

ORDER = Order(portal="a.example", what=What.HOLD, stream="", group="", who="", why="", at_ms=0, offset=3)


class Owned:
    """The parking of a partition whose orders before that offset are obeyed."""

    is_ready = True

    def __init__(self, orders: int = 0) -> None:
        self.orders, self.obeyed = orders, list[Order]()

    def obey(self, order: Order) -> None:
        self.obeyed.append(order)


class Audit:
    """An audit stream, parts of which are away, or can be made to take their time. It writes down what it is asked."""

    audit = "audit"

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.away: set[int] = set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked: list[list[int]] = []
        self.read: list[tuple[int, int, int]] = []

    async def ends(self, stream: str, only: Collection[int]) -> dict[int, int]:
        self.asked.append(list(only))
        await self.answers.wait()
        if self.away & set(only):
            raise QueueUnavailable("away")
        return {number: end for number, end in self.known.items() if number in only}

    async def orders(self, partition: int, start: int, end: int) -> list[Order]:
        self.read.append((partition, start, end))
        await self.answers.wait()
        return [ORDER]


@pytest.fixture
async def audit() -> Audit:
    return Audit()


@pytest.fixture
def following(audit: Audit) -> Following:
    return Following(cast(ParkedStream, audit))


def owned(number: int, orders: int = 0) -> tuple[Parked, Owned]:
    parking = Owned(orders)
    return (Partition(number, 0, Note()), cast(Parking, parking)), parking


def ours(*numbers: int) -> list[Parked]:
    return [owned(number)[0] for number in numbers]


async def done(looks: Iterable[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*looks)


async def test_those_of_which_nothing_is_told_are_asked_about_one_by_one_until_something_is(
    following: Following, audit: Audit
) -> None:
    troubles: list[str] = []
    with capture_logs() as logs:
        for audit.away in ({2, 8}, {2, 8}, {2, 8}, {2}, set(), set()):
            await done(following.looks(ours(1, 2, 8)))
            troubles.append(following.trouble.partition("partitions ")[2].partition(" can't")[0])

    assert audit.asked == [[1, 2, 8], [1], [2], [8], [1], [2], [8], [1], [2], [8], [1, 8], [2], [1, 2, 8]]
    assert troubles == ["1, 2, 8", "2, 8", "2, 8", "2", "", ""]
    assert [one["error"] for one in logs] == ["away"]


async def test_nothing_is_asked_about_those_about_which_a_question_is_under_way(
    following: Following, audit: Audit
) -> None:
    audit.answers.clear()
    under_way = asyncio.ensure_future(done(following.looks(ours(1, 2))))
    await asyncio.sleep(0)
    meanwhile = list(following.looks(ours(1, 2)))
    [about_another] = following.looks(ours(1, 2, 3))
    audit.answers.set()
    await asyncio.gather(about_another, under_way)
    await done(following.looks(ours(1, 2)))

    assert meanwhile == []
    assert audit.asked == [[1, 2], [3], [1, 2]]


async def test_of_a_partition_that_is_no_longer_ours_no_trouble_is_told(following: Following, audit: Audit) -> None:
    audit.away = {1, 2}
    await done(following.looks(ours(1, 2)))
    await done(following.looks(ours(2)))
    trouble = following.trouble
    await done(following.looks([]))

    assert "partitions 2 can't" in trouble
    assert following.trouble == ""
    assert audit.asked == [[1, 2], [2]]


async def test_where_nothing_new_was_ordered_nothing_is_read_nor_to_be_committed(
    following: Following, audit: Audit
) -> None:
    # Also where the end is seen too early, and where the audit stream has no such partition.
    audit.known = {1: 7, 2: 6}
    partitions = [owned(1, 7)[0], owned(2, 7)[0], owned(3)[0]]

    await done(following.looks(partitions))

    assert audit.read == []
    assert not any(partition.has_news for partition, _ in partitions)


@pytest.mark.parametrize("is_open", [True, False])
async def test_what_was_ordered_is_obeyed_once_and_not_by_who_gives_the_partition_back(
    following: Following, audit: Audit, is_open: bool
) -> None:
    audit.known = {1: 7}
    one, parking = owned(1, 3)
    partition, _ = one
    partition.is_open = is_open

    for _ in range(2):
        await done(following.looks([one]))

    assert parking.obeyed == [ORDER] * is_open
    assert partition.has_news is is_open
    assert parking.orders == (7 if is_open else 3)
    assert audit.read[0] == (1, 3, 7)
