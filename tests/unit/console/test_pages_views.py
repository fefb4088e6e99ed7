"""What the operators' pages read for what they show: no more than that, however much there is."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from forebay.console.pages import overview, views
from forebay.console.pages.layout import html_of
from forebay.console.pages.look import Look
from forebay.console.pages.page import MOST_ROWS
from forebay.console.settings import Settings
from forebay.console.times import to_ms, utc_now
from forebay.processors.parking.orders import Order, What, written
from forebay.processors.testing import event
from forebay.queues.contract import Commit, Record, StoredRecord
from forebay.queues.memory import MemoryInspector, MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import new_codec
from forebay.schemas.portal import partition_of
from tests.pages import shown

from .by_hand import Owner

PARTITIONS, GROUPS, EVENTS = 4, 7, 1200
PORTAL = "one.bitrix24.example"
TOPIC = Settings().topic


class Counting(MemoryInspector):
    """Counts the records that are read of each stream."""

    def __init__(self, queue: MemoryQueue) -> None:
        super().__init__(queue)
        self.records: Counter[str] = Counter()

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        found = await super().read(stream, partition, offset, max_records)
        self.records[stream] += len(found)
        return found


@pytest.fixture
async def queue() -> MemoryQueue:
    made = MemoryQueue()
    await made.ensure(names.streams(TOPIC), PARTITIONS)
    return made


def look_at(queue: MemoryQueue) -> tuple[Look, Counting]:
    inspector = Counting(queue)
    return Look(settings=Settings(), inspector=inspector, codec=new_codec()), inspector


async def read_as(queue: MemoryQueue, group: str, offset: int) -> None:
    consumer = queue.consumer(TOPIC, group)
    await consumer.start(Owner())
    await consumer.commit({at: Commit(offset=offset) for at in range(PARTITIONS)})


async def put(queue: MemoryQueue, stream: str, count: int) -> None:
    value, producer = new_codec().encode(event("ONCRMDEALADD", portal=PORTAL)), queue.producer()
    for number in range(count):
        await producer.send(stream, Record(key=PORTAL, value=value, timestamp_ms=1_796_000_000_000 + number))


async def test_what_waits_of_a_portal_is_read_once_for_all_groups(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, EVENTS)
    for number in range(GROUPS):
        await read_as(queue, f"group-{number}", 100 * number)
    look, inspector = look_at(queue)

    page = await views.portal(look, {"portal": PORTAL})

    assert [row["records"] for row in page.sheets[0].rows] == [EVENTS - 100 * number for number in range(GROUPS)]
    # Once for all groups, and once for the newest events.
    assert inspector.records[TOPIC] == 2 * EVENTS


async def test_what_is_parked_of_a_group_is_read_once(queue: MemoryQueue) -> None:
    await put(queue, names.parked(TOPIC), EVENTS)
    await read_as(queue, "forebay", 0)
    look, inspector = look_at(queue)

    page = await views.group(look, {"group": "forebay"})

    assert [row["parked"] for row in page.sheets[0].rows] == [0] * PARTITIONS
    assert inspector.records[names.parked(TOPIC)] == EVENTS


async def test_of_letters_no_more_is_kept_than_is_shown(queue: MemoryQueue) -> None:
    await put(queue, names.dead(TOPIC), MOST_ROWS + 1200)

    page = await views.dead(look_at(queue)[0], {})
    html = shown(html_of(page, TOPIC))

    newest = range(MOST_ROWS + 1200 - 1, 1200 - 1, -1)
    assert [row["offset"] for row in page.sheets[0].rows] == list(newest)
    assert html.texts["h2"] == ["Open dead letters (1,400)"]
    assert "and 1,200 more, which the command shows" in html.texts["p"]


async def test_a_portal_of_which_not_all_can_be_read_in_time_is_shown_with_all_else(
    queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(*_: object) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    await put(queue, TOPIC, 3)
    for name, replaced in (("unfinished", never), ("letters", endless), ("_BACKLOG_S", 0.01), ("_LETTERS_S", 0.01)):
        monkeypatch.setattr(views, name, replaced)

    unfinished, _, letters, events, *_ = (await views.portal(look_at(queue)[0], {"portal": PORTAL})).sheets

    assert "no time" in unfinished.nothing and "no time" in letters.note
    assert len(events.rows) == 3


class Endless(MemoryInspector):
    """The last partition of the stream comes to no end."""

    def __init__(self, queue: MemoryQueue, stream: str) -> None:
        super().__init__(queue)
        self._endless = stream

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        if (stream, partition) == (self._endless, PARTITIONS - 1):
            await asyncio.Event().wait()
        return await super().read(stream, partition, offset, max_records)


async def test_of_a_list_that_is_too_long_is_shown_what_there_was_time_for(
    queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {partition_of(key, PARTITIONS): key for key in (f"{number}.example" for number in range(99))}
    value, producer = new_codec().encode(event("ONCRMDEALADD")), queue.producer()
    for at in range(PARTITIONS):
        now_ms = to_ms(utc_now())
        await producer.send(names.dead(TOPIC), Record(key=keys[at], value=value, timestamp_ms=now_ms))
        hold = Order(
            portal=keys[at], what=What.HOLD, stream=names.parked(TOPIC), group="", who="a", why="", at_ms=now_ms
        )
        await producer.send(names.audit(TOPIC), written(hold))
    for module, name in ((views, "_LIST_S"), (overview, "_ORDERS_S")):
        monkeypatch.setattr(module, name, 0.2)

    def of(stream: str) -> Look:
        return Look(settings=Settings(), inspector=Endless(queue, stream), codec=new_codec())

    dead = (await views.dead(of(names.dead(TOPIC)), {})).sheets[0]
    audit = (await views.audit(of(names.audit(TOPIC)), {})).sheets[0]
    today = await overview._orders(of(names.audit(TOPIC)))

    for sheet in (dead, audit, today):
        assert len(sheet.rows) == PARTITIONS - 1
        assert "no time to read all" in sheet.note
        assert not sheet.nothing
