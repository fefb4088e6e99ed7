"""For tests of handlers over time: the real worker, on a queue in memory, in a time that only the test moves on."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from forebay.queues.bad_settings import BadSettings, faults_in
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent

from .cpu.in_place import InPlace
from .dedup.marks import MarksInMemory
from .handlers import Handlers
from .settings import WorkerSettings
from .virtual_time import VirtualLoop
from .worker import Worker

#: Few of everything; and what looks again and again does so seldom, or a day would take minutes.
_SETTINGS = {"partitions": 2, "concurrency": 16, "commit_interval_s": 10.0, "session_s": 300.0}
_LOOKS_EVERY_S = 60.0

#: What a worker that has nothing to do takes to join or to leave, and more.
_SOON_S = 5.0

#: When every rehearsal begins, by the wall clock: 2026-11-25, noon in UTC.
_BEGINNING_S = 1_795_608_000.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """A dead letter: the event, and what the worker said of its last try."""

    event: PortalEvent
    error: str
    error_class: str
    attempts: int


class Rehearsal:
    """Sends events to handlers, and lets hours pass in a moment.

    Use it with `with`, in a test that is not `async`. Handlers run as in a worker, in the same order, with all their
    options and the settings that are given here (commits come every ten seconds); `def` and `cpu=True` run in place.
    They must wait for nothing but `asyncio.sleep` and what is in this process: no time passes while a socket is read.
    Between two tries as much time passes as may.
    """

    def __init__(self, handlers: Handlers, *, group: str | None = None, **settings: Any) -> None:
        """`group` chooses those handlers that name it; without it those that name none. Raises `BadSettings`."""
        self._handlers = handlers.of(group)
        self._settings = _made({**_SETTINGS, "group": group or "forebay", **settings})
        self._loop, self._queue, self._marks = VirtualLoop(), MemoryQueue(), MarksInMemory()
        self._began = self._loop.time()
        self._worker: Worker | None = None
        self._running: asyncio.Task[int] | None = None

    def __enter__(self) -> Self:
        if asyncio._get_running_loop() is not None:
            self._loop.close()
            raise RuntimeError("a Rehearsal has a time of its own: use it in a test that is not `async`")
        self._run(self._queue.ensure(names.streams(self._settings.topic), self._settings.partitions))
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    @property
    def now(self) -> datetime:
        """What the clock says."""
        return datetime.fromtimestamp(self._wall_clock(), UTC)

    @property
    def dead(self) -> list[Dead]:
        """The dead letters, in the order of each portal."""
        stream = names.dead(self._settings.topic)
        return [_dead(record) for log in self._queue.partitions(stream) for record in log]

    @property
    def waiting(self) -> int:
        """How many events are not finished: in work, before their next try, or parked."""
        assert self._worker is not None, "only within `with`"  # noqa: S101 - how it is used
        return sum(one.waiting for one in self._worker.ownership)

    def send(self, *events: PortalEvent) -> None:
        """Events come in, now. None of them is handled before time passes."""
        self._run(self._send(events))

    def let(self, seconds: float) -> None:
        """Let so much time pass."""
        self._run(asyncio.sleep(seconds))

    def restart(self) -> None:
        """The worker is stopped as a deployment does it, and another takes over."""
        self._stop()
        self._start()

    def crash(self) -> None:
        """The worker dies where it stands, and another takes over: what it had not committed comes again."""
        assert self._worker is not None, "only within `with`"  # noqa: S101 - how it is used
        for partition in list(self._worker.ownership):
            self._worker.ownership.lost(partition.number)
        self.restart()

    def _wall_clock(self) -> float:
        return _BEGINNING_S + self._loop.time() - self._began

    def _start(self) -> None:
        self._run(self._begin())
        self.let(_SOON_S)

    async def _begin(self) -> None:
        clock = self._loop.time
        self._worker = Worker(
            self._settings,
            self._handlers,
            self._queue,
            processes=InPlace(),
            marks=self._marks,
            looks_every_s=_LOOKS_EVERY_S,
            clock=clock,
            present=clock,
            now=self._wall_clock,
            draw=lambda low, high: high,
        )
        self._running = asyncio.create_task(self._worker.run())

    def _stop(self) -> None:
        assert self._worker is not None, "only within `with`"  # noqa: S101 - how it is used
        assert self._running is not None, "as above"  # noqa: S101 - how it is used
        self._worker.stop()
        self._run(self._running)

    async def _send(self, events: tuple[PortalEvent, ...]) -> None:
        producer = self._queue.producer()
        for event in events:
            record = Record(key=event.portal, value=codec().encode(event), timestamp_ms=int(self._wall_clock() * 1000))
            await producer.send(self._settings.topic, record)

    def _run(self, work: "Coroutine[Any, Any, _Result] | asyncio.Task[_Result]") -> _Result:
        return self._loop.run_until_complete(work)


def _made(settings: Mapping[str, object]) -> WorkerSettings:
    try:
        return WorkerSettings.model_validate(settings)
    except ValidationError as error:
        raise BadSettings(faults_in(error, WorkerSettings.model_fields)) from None


def _dead(record: Any) -> Dead:
    said = {name: value.decode(errors="replace") for name, value in record.headers}
    return Dead(
        event=codec().decode(record.value),
        error=said[names.DEAD_ERROR],
        error_class=said[names.DEAD_ERROR_CLASS],
        attempts=int(said[names.DEAD_ATTEMPTS]),
    )
