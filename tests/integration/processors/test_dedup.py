"""Handlers with dedup: what was handled is not handled again, as far as that can be known."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent
from forebay.processors.calls import Calls
from forebay.processors.cancelling import current_task
from forebay.processors.dedup.database import MarksInDatabase
from forebay.processors.dedup.keys import Key
from forebay.processors.dedup.marks import MarksInMemory
from forebay.processors.dedup.once import Once
from forebay.processors.health import Health
from forebay.processors.outcome import DONE, DUPLICATE
from forebay.processors.testing import event
from forebay.queues.errors import QueueUnavailable
from forebay.queues.sql.opening import open_database
from forebay.schemas.codec import codec
from tests.waiting import until

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Moody(MarksInMemory):
    """Marks that can't be reached while `down` says so."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.asked = 0

    async def seen(self, *keys: Key) -> bool:
        self.asked += 1
        if "seen" in self.down:
            raise QueueUnavailable("the database is away")
        return await super().seen(*keys)

    async def mark(self, *keys: Key) -> None:
        self.asked += 1
        if "mark" in self.down:
            raise QueueUnavailable("the database is away")
        await super().mark(*keys)


async def send(
    station: Any, portal: str, id: str = "one", order: int = 7, after_s: float = 0, name: str = "ONCRMDEALADD"
) -> None:
    made = event(
        name,
        data={"FIELDS": {"ID": order}},
        portal=portal,
        id=id,
        received_at=AT + timedelta(seconds=after_s),
    )
    await station.send(portal, value=codec().encode(made))


def order_of(event: PortalEvent) -> str | None:
    data: Any = event.data
    number = data["FIELDS"]["ID"]
    return None if number == "0" else str(number)


async def test_an_event_that_comes_twice_is_handled_once_and_counted(station: Any, handlers: Handlers) -> None:
    handled: list[tuple[str, str]] = []

    @handlers.on("*", dedup="id")
    async def handle(event: PortalEvent) -> None:
        handled.append((event.portal, event.id))

    for id in ("one", "two", "one", "one"):
        await send(station, "p", id)
    await send(station, "q", "one")
    worker = station.start()
    await until(lambda: station.committed() == 5)

    assert sorted(handled) == [("p", "one"), ("p", "two"), ("q", "one")]
    handler = next(iter(handlers)).name
    assert worker.metrics.events_handled.labels(handler, "duplicate")._value.get() == 2


async def test_a_key_of_one_s_own_counts_within_its_window_and_none_counts_never(
    station: Any, handlers: Handlers
) -> None:
    handled: list[str] = []

    @handlers.on("*", dedup=order_of, dedup_s=60)
    async def handle(event: PortalEvent) -> None:
        handled.append(event.id)

    await send(station, "p", "first", 7)
    await send(station, "p", "within", 7, 60)
    await send(station, "p", "after", 7, 61)
    await send(station, "p", "within the second", 7, 120)
    await send(station, "p", "another", 8, 1)
    await send(station, "p", "none", 0)
    await send(station, "p", "none again", 0)
    station.start()
    await until(lambda: station.committed() == 7)

    assert handled == ["first", "after", "another", "none", "none again"]


async def test_what_was_not_done_is_no_duplicate(station: Any, handlers: Handlers) -> None:
    tries: list[str] = []

    @handlers.on("*", dedup="id")
    async def handle(event: PortalEvent) -> None:
        tries.append(event.id)
        if len(tries) < 3:
            raise ConnectionError("not now")

    await send(station, "p")
    await send(station, "p")
    station.start()
    await until(lambda: station.committed() == 2)

    assert tries == ["one"] * 3
    assert station.dead() == []


async def test_a_function_that_fails_is_the_handler_s_failure(station: Any, handlers: Handlers) -> None:
    @handlers.on("*", dedup=lambda event: 7, tries=1)  # type: ignore[arg-type, return-value]
    async def handle(event: PortalEvent) -> None: ...

    await send(station, "p")
    station.start()
    await until(lambda: station.committed() == 1)

    (letter,) = station.dead()
    assert b"must give a text, or None" in dict(letter.headers)["forebay_dead_error"]


async def test_who_dies_before_its_commit_repeats_nothing_that_is_marked(
    station: Any, handlers: Handlers, tmp_path: Path
) -> None:
    handled: list[str] = []
    url = f"sqlite:///{tmp_path}/dedup.db"

    @handlers.on("*", dedup="id")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.id)
        if event.id == "4" and handled.count("4") == 1:
            # Its process dies while it works: that is what comes again.
            await asyncio.Event().wait()

    for number in range(8):
        await send(station, "p", str(number))
    first = station.start(marks=MarksInDatabase(open_database(url)), commit_interval_s=3600)
    await until(lambda: "4" in handled)
    for partition in list(first.ownership):
        first.ownership.lost(partition.number)
    assert station.committed() == 0
    await station.stop(first)
    station.start(marks=MarksInDatabase(open_database(url)))
    await until(lambda: station.committed() == 8)

    assert handled == [*map(str, range(5)), *map(str, range(4, 8))]


async def test_while_nobody_can_say_what_was_handled_events_wait_and_lose_no_try(
    station: Any, handlers: Handlers
) -> None:
    marks, handled = Moody(), []

    @handlers.on("*", dedup="id", tries=2)
    async def handle(event: PortalEvent) -> None:
        handled.append(event.id)
        if len(handled) == 1:
            raise ConnectionError("not now")

    marks.down = {"seen"}
    await send(station, "p")
    worker = station.start(marks=marks)
    await until(lambda: marks.asked >= 2)
    assert handled == []
    assert worker.health.report()["parts"]["dedup"]["state"] == "degraded"
    marks.down = set()
    await until(lambda: station.committed() == 1)

    assert handled == ["one", "one"]
    assert station.dead() == []
    assert worker.health.report()["parts"]["dedup"]["state"] == "ok"


async def test_what_is_done_but_not_marked_waits_and_is_not_called_again(station: Any, handlers: Handlers) -> None:
    marks, handled = Moody(), []

    @handlers.on("*", dedup="id")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.id)

    marks.down = {"mark"}
    await send(station, "p")
    station.start(marks=marks)
    await until(lambda: marks.asked >= 3)
    assert station.committed() == 0
    marks.down = set()
    await until(lambda: station.committed() == 1)

    assert handled == ["one"]


async def test_what_a_handler_has_left_behind_does_not_keep_it_from_being_marked(
    station: Any, handlers: Handlers
) -> None:
    marks, handled, tasks = Moody(), [], []

    @handlers.on("*", dedup="id")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.id)
        tasks.append(current_task())

    marks.down = {"mark"}
    await send(station, "p")
    station.start(marks=marks)
    await until(lambda: marks.asked >= 2)
    tasks[0].cancel()
    await until(lambda: marks.asked >= 3)
    marks.down = set()
    await until(lambda: station.committed() == 1)
    await send(station, "p")
    await until(lambda: station.committed() == 2)

    assert handled == ["one"]


async def next_is_handled(station: Any, marks: Moody) -> None:
    """By another worker, whose marks can be reached."""
    marks.down = set()
    await send(station, "p", "two")
    station.start(marks=marks)
    await until(lambda: station.committed() == 2)


async def test_what_is_done_but_not_marked_by_the_time_a_worker_stops_is_committed_and_not_called_again(
    station: Any, handlers: Handlers
) -> None:
    marks, handled = Moody(), []

    @handlers.on("*", dedup="id")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.id)

    marks.down = {"mark"}
    await send(station, "p")
    first = station.start(marks=marks, drain_s=0)
    await until(lambda: marks.asked >= 2)
    await station.stop(first)
    await next_is_handled(station, marks)

    assert handled == ["one", "two"]


async def test_what_ends_after_it_was_given_back_is_committed_though_it_can_not_be_marked(
    station: Any, handlers: Handlers
) -> None:
    marks, handled, goes_on = Moody(), [], threading.Event()

    @handlers.on("*", dedup="id")
    def handle(event: PortalEvent) -> None:
        handled.append(event.id)
        goes_on.wait(5)

    marks.down = {"mark"}
    await send(station, "p")
    first = station.start(marks=marks, drain_s=0)
    await until(lambda: handled)
    ours = list(first.ownership)
    first.stop()
    await until(lambda: all(one.is_cancelled for one in ours))
    goes_on.set()
    await station.stop(first)
    await next_is_handled(station, marks)

    assert handled == ["one", "two"]


async def test_a_database_that_hangs_keeps_no_other_event_from_being_handled(
    station: Any, handlers: Handlers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, goes_on = open_database(f"sqlite:///{tmp_path}/dedup.db"), threading.Event()
    usual = database.connect
    monkeypatch.setattr(database, "connect", lambda: goes_on.wait() and usual())
    handled: list[str] = []

    @handlers.on("ONCRMDEALADD", dedup="id")
    async def once(event: PortalEvent) -> None:
        handled.append(event.portal)

    @handlers.on("ONCRMLEADADD")
    async def always(event: PortalEvent) -> None:
        handled.append(event.portal)

    portals = [f"p{number}" for number in range(8)]
    for portal in portals:
        await send(station, portal)
    worker = station.start(marks=MarksInDatabase(database, patience_s=0.2), concurrency=2)
    await send(station, "other", name="ONCRMLEADADD")
    await until(lambda: handled == ["other"])
    assert "does not answer" in worker.health.report()["parts"]["dedup"]["why"]
    goes_on.set()
    await until(lambda: station.committed() == 9)

    assert sorted(handled) == ["other", *portals]


async def test_marks_that_can_not_be_reached_are_told_once_however_many_events_wait(handlers: Handlers) -> None:
    calls, marks = Calls(threads=1, deadline_s=30), Moody()
    handlers.on("*", dedup="id")(lambda event: None)
    handler, once = next(iter(handlers)), Once(marks, "topic", "group", Health())

    with capture_logs() as logs:
        for down in ({"seen"}, set[str](), {"seen"}):
            marks.down = down
            for _ in range(20):
                await once.call(handler, event("ONCRMDEALADD"), calls.begin, ordered=False)

    assert [one["error"] for one in logs] == ["the database is away"] * 2
    calls.close()


async def test_where_nobody_asks_any_more_it_is_not_told_for_ever_that_marks_can_not_be_reached(
    handlers: Handlers,
) -> None:
    calls, marks, health, now = Calls(threads=1, deadline_s=30), Moody(), Health(), [100.0]
    handlers.on("*", dedup="id")(lambda event: None)
    once = Once(marks, "topic", "group", health, clock=lambda: now[0])
    marks.down = {"seen"}
    states = []

    for at in (100.0, 150.0):
        now[0] = at
        await once.call(next(iter(handlers)), event("ONCRMDEALADD"), calls.begin, ordered=False)
    for at in (209.0, 211.0):
        now[0] = at
        states.append(health.report()["parts"]["dedup"]["state"])  # type: ignore[index]

    assert states == ["degraded", "ok"]
    calls.close()


async def test_what_an_operator_orders_is_handled_again(handlers: Handlers) -> None:
    calls, one, handled = Calls(threads=1, deadline_s=30), event("ONCRMDEALADD"), []

    @handlers.on("*", dedup="id")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.id)

    handler, once = next(iter(handlers)), Once(MarksInMemory(), "topic", "group", Health())

    outcomes = [await once.call(handler, one, calls.begin, ordered=ordered) for ordered in (False, False, True)]

    assert outcomes == [DONE, DUPLICATE, DONE]
    assert len(handled) == 2
    calls.close()


async def test_groups_and_handlers_have_marks_of_their_own(handlers: Handlers, tmp_path: Path) -> None:
    calls, one = Calls(threads=1, deadline_s=30), event("ONCRMDEALADD", data={"FIELDS": {"ID": 7}})
    marks = MarksInDatabase(open_database(f"sqlite:///{tmp_path}/dedup.db"))
    by_id, by_order, by_order_too = (
        handler_with(dedup, name) for dedup, name in (("id", "a"), (order_of, "b"), (order_of, "c"))
    )

    shop, audit = (Once(marks, "topic", group, Health()) for group in ("shop", "audit"))
    outcomes = [
        await once.call(handler, one, calls.begin, ordered=False)
        for once, handler in ((shop, by_id), (audit, by_id), (shop, by_order), (shop, by_order_too), (shop, by_order))
    ]

    assert outcomes == [DONE, DONE, DONE, DONE, DUPLICATE]
    await marks.close()
    calls.close()


async def test_a_group_that_goes_on_leaves_the_marks_of_another_alone(tmp_path: Path) -> None:
    calls, handler = Calls(threads=1, deadline_s=30), handler_with("id", "a")
    marks = MarksInDatabase(open_database(f"sqlite:///{tmp_path}/dedup.db"), now=AT.timestamp)
    shop, audit = (Once(marks, "topic", group, Health()) for group in ("shop", "audit"))
    first = event("ONCRMDEALADD", id="one", received_at=AT)
    later = event("ONCRMDEALADD", id="two", received_at=AT + timedelta(hours=2))

    outcomes = [
        await once.call(handler, one, calls.begin, ordered=False)
        for once, one in ((audit, first), (shop, first), (shop, later), (shop, first), (audit, first))
    ]

    assert outcomes == [DONE, DONE, DONE, DONE, DUPLICATE]
    await marks.close()
    calls.close()


def handler_with(dedup: Any, name: str) -> Any:
    async def handle(event: PortalEvent) -> None: ...

    handle.__qualname__ = name
    handlers = Handlers()
    handlers.on("*", dedup=dedup)(handle)
    return next(iter(handlers))


async def test_dedup_goes_together_with_a_limit_and_with_coalescing(station: Any, handlers: Handlers) -> None:
    handled: list[tuple[str, str]] = []

    @handlers.on("ONCRMDEALADD", dedup="id", rate="1000/s", coalesce="entity")
    async def handle(event: PortalEvent) -> None:
        handled.append((event.portal, event.id))

    for portal in ("p", "q"):
        for id in ("one", "one", "two", "two"):
            await send(station, portal, id, order=1 if id == "one" else 2)
    worker = station.start()
    await until(lambda: station.committed() == 8)
    await send(station, "p", "two", order=2)
    await until(lambda: station.committed() == 9)

    assert sorted(handled) == [("p", "one"), ("p", "two"), ("q", "one"), ("q", "two")]
    handler = next(iter(handlers)).name
    assert worker.metrics.events_handled.labels(handler, "duplicate")._value.get() >= 1
