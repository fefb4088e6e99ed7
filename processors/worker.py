"""The worker: records of a group's partitions become calls of handlers, and then commits.

One process has one worker: one consumer, one event loop, and a fixed number of slots that handle portals.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueError
from forebay.queues.registry.contract import Registry
from forebay.queues.registry.teacher import Teacher
from forebay.queues.tracing.contract import Tracer
from forebay.schemas.codec import new_codec
from forebay.schemas.data_keys import WrappedKeys
from forebay.schemas.logger import get_logger

from .calls import Calls
from .commits import Commits
from .consequences import Consequences
from .cpu.cores import cores
from .cpu.pool import Pool, Processes
from .crashes.caution import Caution, whose
from .dead_letters import DeadLetters
from .dedup.marks import Marks
from .dedup.once import Once
from .dedup.opening import open_marks
from .errors import BadHandler
from .handlers import Handlers
from .handling import Handling
from .health import Health
from .held import Held
from .intake import Intake
from .lag import Lag
from .lanes import Lanes
from .learning import Learning
from .metrics import Tally, WorkerMetrics, build_metrics
from .ownership import Ownership, end
from .parking.attendant import Attendant, can_park
from .presence import Presence, since_boot
from .proving import Proving
from .reading import Reading
from .retry import Draw
from .settings import WorkerSettings
from .slots import Slots
from .together import Together
from .tries import Tries

_log = get_logger(__name__)

#: Asking the queue how long its logs are costs it a query.
_LAG_EVERY_S = 5.0

#: At a stop the queue may be gone: letting go of a part of it takes no longer than this.
_CLOSE_S = 5.0


class Worker:
    """Use once: `await worker.run()`, until somebody calls `worker.stop()` on the same loop."""

    def __init__(
        self,
        settings: WorkerSettings,
        handlers: Handlers,
        queue: Queue,
        *,
        registry: Registry | None = None,
        data_keys: WrappedKeys | None = None,
        metrics: WorkerMetrics | None = None,
        processes: Processes | None = None,
        marks: Marks | None = None,
        tracer: Tracer | None = None,
        caution: Caution | None = None,
        looks_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        present: Callable[[], float] = since_boot,
        now: Callable[[], float] = time.time,
        draw: Draw = random.uniform,
    ) -> None:
        self._settings = settings
        self._measures_every_s = max(_LAG_EVERY_S, looks_every_s)
        handlers = handlers.of(None, settings.group)
        if not can_park(queue):
            _tell_no_parking(settings, handlers)
        self.health = Health()
        self.metrics = metrics or build_metrics(CollectorRegistry(), settings.group)
        self._tally = Tally(self.metrics, now=now)
        codec = new_codec()
        teacher = Teacher(codec, registry, settings.topic) if registry else None
        self._learning = Learning(teacher, self.health, clock=clock, draw=draw) if teacher else None
        self._proving = (
            Proving(queue, settings.topic, self.health, now=now)
            if any(one.options.verified for one in handlers)
            else None
        )
        self._producer = queue.producer()
        self._consumer = queue.consumer(settings.topic, settings.group, session_s=settings.session_s)
        self._held = Held(settings.max_held_records, settings.max_held_bytes)
        lanes = Lanes()
        self._attendant = Attendant(
            settings,
            queue,
            self._producer,
            lanes,
            self._held,
            self.health,
            self.metrics,
            every_s=looks_every_s,
            now=now,
        )
        commits = Commits(self._consumer, queue.promises.note_bytes, self.health)
        self.ownership = Ownership(
            commits,
            self._held,
            self.metrics,
            grace_s=settings.drain_s,
            parking=self._attendant.parking,
            clock=clock,
            now=now,
        )
        self._presence = Presence(settings.session_s, self.ownership.confirm, clock=present)
        in_processes = [handler for handler in handlers if handler.options.cpu]
        self._processes = processes
        if in_processes and processes is None:
            self._processes = Pool(
                in_processes,
                processes=settings.cpu_processes or cores(),
                may_begin=self._presence.certain,
                clock=clock,
                health=self.health,
            )
        self._calls = Calls(
            threads=settings.threads,
            deadline_s=settings.deadline_s,
            processes=self._processes,
            took=self._tally.took,
            may_begin=self._presence.certain,
            is_still_certain=self._presence.is_still_certain,
            clock=clock,
            health=self.health,
        )
        self._marks = marks
        if marks is None and any(handler.options.dedup is not None for handler in handlers):
            self._marks = open_marks(settings)
        once = (
            Once(
                self._marks, settings.topic, settings.group, self.health, may_begin=self._presence.certain, clock=clock
            )
            if self._marks
            else None
        )
        dead_letters = DeadLetters(self._producer, settings.topic, self.health, tracer)
        then = Consequences(settings, dead_letters, self._held, self._tally, now=now, draw=draw, tracer=tracer)
        reading = Reading(handlers, codec, self._learning, data_keys=data_keys, proving=self._proving)
        tries = Tries(self._calls, once, tracer, settings.group)
        together = Together(reading, tries, then, self._held, self._tally, clock=clock)
        handling = Handling(reading, tries, then, together, self._tally)
        self._slots = Slots(
            lanes,
            handling.process,
            self._presence,
            clock=present,
            caution=caution,
            whose=whose(settings.topic, settings.group),
        )
        self._intake = Intake(
            settings,
            queue,
            self._consumer,
            self.ownership,
            lanes,
            self._held,
            self.health,
            fetch_s=looks_every_s,
            clock=clock,
        )
        self._lag = Lag(
            queue, settings.topic, self.ownership, self._held, self.metrics, self.health, now=now, clock=clock
        )
        self._stopping = asyncio.Event()
        #: The handlers that would not end, as soon as `run` has ended, however it did.
        self.left = 0

    def stop(self) -> None:
        """Ask `run` to come to its end: nothing is fetched any more, running handlers get `drain_s`."""
        self._stopping.set()

    async def run(self) -> int:
        """Handle events until `stop`. Gives the number of handlers that would not end.

        Ends within `drain_s` and a second; with a queue that is gone in one more, with one that hangs in about ten.
        Handlers that would not end keep the process from exiting: with a number above 0 leave it by `os._exit`. Raises
        what a part of the worker raised, which is a fault of Forebay or of the queue, never of a handler; the number is
        in `left` then.
        """
        # In every line from here on, also in those of handlers: one process may have several groups.
        structlog.contextvars.bind_contextvars(group=self._settings.group)
        reading = asyncio.create_task(self._read())
        parts = [self._commit_regularly(), self._tell_regularly(), self._measure_regularly(), self._presence.run()]
        parts += [self._attendant.run(self.ownership)]
        parts += [self._learning.run()] if self._learning else []
        parts += [self._slots.run_one() for _ in range(self._settings.concurrency)]
        tasks = [reading, asyncio.create_task(self._stopping.wait()), *map(asyncio.create_task, parts)]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel([reading])
            try:
                await self._leave()
            finally:
                self.left = await _cancel(tasks) + self._calls.close()
                self._tally.flush()
                if self._processes:
                    await self._processes.close()
        for task in ended:
            task.result()
        return self.left

    async def _read(self) -> None:
        # The first process may take a minute to import the user's modules: done here, it keeps no stop waiting.
        if self._processes:
            await self._processes.start()
        if self._proving:
            self._proving.open()
        await self._intake.run()

    async def _leave(self) -> None:
        self.health.failing("group", "stopping")
        self._slots.close()
        await end(self.ownership.close(), self._settings.drain_s)
        self.ownership.leave()
        # Closing gives the partitions back, and with each goes what its parking has to say, and its last commit.
        await _let_go(self._consumer.close)
        self.ownership.left()
        parts = [self._producer.close, self._attendant.close, self._lag.close]
        parts += [self._marks.close] if self._marks else []
        parts += [self._proving.close] if self._proving else []
        await asyncio.gather(*map(_let_go, parts))

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval_s)
            self._tally.flush()
            await self.ownership.commit()

    async def _tell_regularly(self) -> None:
        # Not between commits: a queue that hangs takes none, and that is when somebody wants to know.
        while True:
            await asyncio.sleep(self._settings.commit_interval_s)
            self._lag.measure_age()
            self.metrics.held_records.set(self._held.records)
            # Who reads by Kafka's client asks nobody but that, also where no broker can be reached.
            self.metrics.poll_age.set(max(self._intake.poll_age_s, self._lag.silence_s))
            self._intake.look()

    async def _measure_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._measures_every_s)
            await self._lag.measure_records()


async def _cancel(tasks: list[asyncio.Task[Any]]) -> int:
    """Cancel them; gives the number of those that don't hear it."""
    for task in tasks:
        task.cancel()
    ended, deaf = await asyncio.wait(tasks, timeout=_CLOSE_S)
    for task in ended:
        if not task.cancelled() and task.exception() is not None:
            _log.error("a part of the worker failed", error=repr(task.exception()))
    return len(deaf)


async def _let_go(close: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await close()
    except (TimeoutError, QueueError) as error:
        _log.warning("the queue was left without a goodbye", error=str(error) or "it doesn't answer")


def _tell_no_parking(settings: WorkerSettings, handlers: Handlers) -> None:
    """Refuse what nothing would come of on this queue, and say what comes of the rest."""
    if holding := [one.name for one in handlers if (one.options.give_up or settings.give_up) == "hold"]:
        raise BadHandler(
            f"give_up: hold, of {', '.join(holding)}, lets a portal wait in its parked stream, and the queue of "
            "queue_url can't read one again; take dead, or another queue"
        )
    _log.warning(
        "portals are not parked: the queue can't read what they would leave there; what fails goes to the dead letters",
        after_tries=min(settings.tries, settings.memory_tries),
    )
