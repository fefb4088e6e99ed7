"""A queue in memory with events in it, ways to put more there, and a file of settings."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import Body, PortalEvent, Subscription
from tests.moving.sides import BreakingQueue

from .by_hand import Worker
from .written import Write

TOPIC = "bitrix24.events"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def an_event(
    number: int, portal: str = "one.bitrix24.example", name: str = "ONCRMDEALADD", member_id: str | None = "m1"
) -> PortalEvent:
    """An event with the id `id-<number>`, received so many seconds after the start."""
    return PortalEvent(
        id=f"id-{number}",
        portal=portal,
        member_id=member_id,
        kind="event",
        name=name,
        occurred_at=None,
        received_at=START + timedelta(seconds=number),
        subscription=Subscription(id=None, endpoint="/bitrix24"),
        body=lambda: Body(fields={"event": name, "data[FIELDS][ID]": str(number)}),
    )


def a_record(event: PortalEvent, *headers: tuple[str, str]) -> Record:
    """The event as a record."""
    encoded = tuple((name, value.encode()) for name, value in headers)
    at_ms = round(event.received_at.timestamp() * 1000)
    return Record(key=event.portal, value=codec().encode(event), timestamp_ms=at_ms, headers=encoded)


def a_dead_record(event: PortalEvent, error: str = "no stock", error_class: str = "shop.NoStock") -> Record:
    """The event as the dead letter that a worker makes of it."""
    return a_record(
        event,
        (names.CE_ID, event.id),
        (names.DEAD_TOPIC, TOPIC),
        (names.DEAD_GROUP, "forebay"),
        (names.DEAD_HANDLER, "shop:deal"),
        (names.DEAD_ATTEMPTS, "5"),
        (names.DEAD_ERROR, error),
        (names.DEAD_ERROR_CLASS, error_class),
        (names.DEAD_TRACEBACK, "Traceback:\n  line 3"),
        (names.DEAD_AT, (event.received_at + timedelta(hours=1)).isoformat(timespec="milliseconds")),
    )


@pytest.fixture
def event() -> Callable[..., PortalEvent]:
    return an_event


@pytest.fixture
def record() -> Callable[..., Record]:
    return a_record


@pytest.fixture
def dead_record() -> Callable[..., Record]:
    return a_dead_record


@pytest.fixture
async def queue() -> MemoryQueue:
    queue = MemoryQueue()
    await queue.ensure(names.streams(TOPIC), 4)
    return queue


@pytest.fixture
def worker(queue: MemoryQueue) -> Worker:
    return Worker(queue=queue)


@pytest.fixture
def target() -> BreakingQueue:
    """Another queue, in which nothing is made yet."""
    return BreakingQueue()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file of settings with this text."""

    def written(text: str) -> Path:
        path = tmp_path / "forebay.toml"
        path.write_text(text)
        return path

    return written
