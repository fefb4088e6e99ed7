"""What the operators' pages read for what they show: no more than that, however much there is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from forebay.console.pages import views
from forebay.console.pages.layout import html_of
from forebay.console.pages.look import Look
from forebay.console.pages.page import MOST_ROWS
from forebay.console.settings import Settings
from forebay.processors.testing import event
from forebay.queues.contract import Commit, Record, StoredRecord
from forebay.queues.memory import MemoryInspector, MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import new_codec
from tests.pages import shown

PARTITIONS, GROUPS, EVENTS = 4, 7, 1200
PORTAL = "one.bitrix24.example"
TOPIC = Settings().topic


class Counting(MemoryInspector):
    """Counts what is read of the topic."""

    read_records = 0

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        found = await super().read(stream, partition, offset, max_records)
        self.read_records += len(found) if stream == TOPIC else 0
        return found


class Member:
    """Takes every partition that it is given."""

    def assigned(self, partition: int, committed: Commit) -> None: ...

    async def revoked(self, partition: int) -> None: ...

    def lost(self, partition: int) -> None: ...

    def rewritten(self, partition: int, offset: int) -> None: ...

    def gap(self, partition: int, start: int, end: int) -> None: ...


@pytest.fixture
async def queue() -> MemoryQueue:
    made = MemoryQueue()
    await made.ensure(names.streams(TOPIC), PARTITIONS)
    return made


def look_at(queue: MemoryQueue) -> Look:
    return Look(settings=Settings(), inspector=Counting(queue), codec=new_codec())


async def put(queue: MemoryQueue, stream: str, count: int) -> None:
    value, producer = new_codec().encode(event("ONCRMDEALADD", portal=PORTAL)), queue.producer()
    for number in range(count):
        await producer.send(stream, Record(key=PORTAL, value=value, timestamp_ms=1_796_000_000_000 + number))


async def test_what_waits_of_a_portal_is_read_once_for_all_groups(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, EVENTS)
    for number in range(GROUPS):
        consumer = queue.consumer(TOPIC, f"group-{number}")
        await consumer.start(Member())
        await consumer.commit({at: Commit(offset=100 * number) for at in range(PARTITIONS)})
    look = look_at(queue)

    page = await views.portal(look, {"portal": PORTAL})

    assert [row["records"] for row in page.sheets[0].rows] == [EVENTS - 100 * number for number in range(GROUPS)]
    # Once for all groups, and once for the newest events.
    assert isinstance(look.inspector, Counting)
    assert look.inspector.read_records == 2 * EVENTS


async def test_of_letters_no_more_is_kept_than_is_shown(queue: MemoryQueue) -> None:
    await put(queue, names.dead(TOPIC), MOST_ROWS + 1200)

    page = await views.dead(look_at(queue), {})
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
    for name, replaced in (("lags_of", never), ("letters", endless), ("_BACKLOG_S", 0.01), ("_LETTERS_S", 0.01)):
        monkeypatch.setattr(views, name, replaced)

    unfinished, _, letters, events, *_ = (await views.portal(look_at(queue), {"portal": PORTAL})).sheets

    assert "no time" in unfinished.nothing and "no time" in letters.note
    assert len(events.rows) == 3
