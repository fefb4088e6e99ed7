"""Errors that break whoever looks at them end no worker: they cost one record its tries, and the others nothing."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent, Retry
from forebay.queues.contract import Delivery, Record
from forebay.queues.memory import MemoryProducer
from forebay.schemas import names
from tests.waiting import until


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("a bug of its own")


class NoTime(Retry):
    """What it says of its time and its events fails."""

    def __init__(self) -> None: ...

    @property
    def after_s(self) -> float:  # type: ignore[override]
        raise AttributeError("there is no clock")

    @property
    def done(self) -> int:  # type: ignore[override]
        raise AttributeError("there is no count")


class Masked(Exception):
    """Breaks `isinstance`, as a proxy of an object does that is gone."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("the object is gone")


@pytest.mark.parametrize("error", [Speechless, NoTime, Masked, GeneratorExit])
@pytest.mark.parametrize("kind", ["async", "thread", "batch"])
async def test_whatever_a_handler_raises_its_record_dies_and_the_rest_goes_on(
    station: Any, handlers: Handlers, error: type[BaseException], kind: str
) -> None:
    handled: list[str] = []

    def handle(event: PortalEvent) -> None:
        if event.name == "ONBAD":
            raise error()
        handled.append(event.portal)

    async def on_loop(event: PortalEvent) -> None:
        handle(event)

    async def together(events: list[PortalEvent]) -> None:
        for one in events:
            handle(one)

    functions: dict[str, Any] = {"async": on_loop, "thread": handle, "batch": together}
    handlers.on("*", tries=2, batch=1 if kind == "batch" else None)(functions[kind])
    await station.send("p", "ONBAD")
    await station.send("p", "ONGOOD")
    worker = station.start(concurrency=1)
    await until(lambda: station.committed() == 2 or station.running[worker].done())

    (letter,) = station.dead()
    assert handled == ["p"]
    assert dict(letter.headers)[names.DEAD_ATTEMPTS] == b"2"


async def test_a_fault_after_a_try_is_told_with_its_traceback(station: Any, handlers: Handlers) -> None:
    @handlers.on("*", tries=1)
    async def handle(event: PortalEvent) -> None:
        raise NoTime

    await station.send("p")
    with capture_logs() as logs:
        station.start()
        await until(lambda: station.committed() == 1)

    (fault,) = (log for log in logs if log["event"].startswith("a fault after a try"))
    assert fault["log_level"] == "error"
    assert "AttributeError: there is no clock" in fault["traceback"]


async def test_a_letter_that_breaks_the_queue_s_client_waits_degraded_and_holds_only_its_portal(
    station: Any, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[str] = []
    submit = MemoryProducer.submit

    def broken(self: MemoryProducer, stream: str, record: Record, delivery: Delivery) -> None:
        if stream.endswith(".dead"):
            raise TypeError("a bug of the client")
        submit(self, stream, record, delivery)

    @handlers.on("*", tries=1)
    async def handle(event: PortalEvent) -> None:
        handled.append(event.portal)
        if event.portal == "ill":
            raise LookupError("no such deal")

    await station.send("ill")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryProducer, "submit", broken)
        worker = station.start(concurrency=1)
        await until(lambda: worker.health.status == "degraded" or station.running[worker].done())
        await station.send("well")
        await until(lambda: "well" in handled or station.running[worker].done())
    await until(lambda: station.committed() == 2 or station.running[worker].done())

    assert handled == ["ill", "well"]
    assert len(station.dead()) == 1
    assert worker.health.status == "ok"
