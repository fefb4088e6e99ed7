"""The workers of one process, from the first record to the last commit."""

import asyncio
import gc
import os
import sys
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from prometheus_client import Gauge

from forebay.console.errors import FAILED
from forebay.console.failures import tell, told
from forebay.console.portal_keys import stored_keys
from forebay.console.running import run, stops
from forebay.console.settings import Settings
from forebay.console.versions import version_of
from forebay.processors.crashes.caution import Caution, open_caution
from forebay.processors.forks import leave_forks_to_themselves
from forebay.processors.handlers import Handlers
from forebay.processors.health import health_of
from forebay.processors.metrics import metrics_of
from forebay.processors.printing import let_handlers_print
from forebay.processors.worker import Worker
from forebay.queues.certificates import Certificates
from forebay.queues.contract import Queue
from forebay.queues.moves.watch import MoveWatch
from forebay.queues.opening import open_checked
from forebay.queues.registry.contract import Registry
from forebay.queues.registry.opening import open_registry
from forebay.queues.tracing.contract import Tracer
from forebay.queues.tracing.opening import open_tracer
from forebay.schemas.logger import get_logger
from forebay.schemas.names import METRICS_PREFIX

from . import certificate_metrics
from .forced_exit import leave_within
from .groups import groups_of
from .health_server import held_up_routes, served_aside, worker_routes
from .loading import load_handlers
from .shared_folder import tell_regularly

_log = get_logger(__name__)

#: What is alive in a worker are mostly records that wait; looking through them often costs a fifth of its time.
_GC_THRESHOLDS = (20_000, 50, 50)


def run_worker(settings: Settings, target: str, *, only: str | None = None, folder: str | None = None) -> int:
    """Handle events until SIGTERM or Ctrl-C. A handler that never ends is left behind, and the process with it.

    A worker for each group of the handlers, or for `only` one. With a supervisor's folder it tells there how it is;
    without one it serves `metrics_bind` itself.
    """
    let_handlers_print()
    leave_forks_to_themselves(stops())
    # The user's modules come last: one that is called as one of the standard library's then hides it from nobody.
    queue, registry = open_checked(settings), open_registry(settings)
    status = FAILED

    def handle() -> int:
        groups = groups_of(load_handlers(target), settings.group, only)
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        # After the handlers' module, which may have set up OpenTelemetry in its own way.
        tracer = open_tracer(settings, "forebay-process")
        work = _Work(settings=settings, groups=groups, queue=queue, registry=registry, tracer=tracer, folder=folder)
        run(work.to_the_end())
        return 0

    try:
        # Here, and not by who has called us: the process may be left before.
        status = told(handle)
    finally:
        leave_within(settings.drain_s, status)
    return status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The workers of this process, one for each group of the handlers, and what they share."""

    settings: Settings
    groups: Mapping[str, Handlers]
    queue: Queue
    registry: Registry | None
    tracer: Tracer | None
    folder: str | None
    workers: dict[str, Worker] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def to_the_end(self) -> None:
        """Work, and leave the process from here when a handler never ends, for whom the loop and Python would wait."""
        status = 0
        try:
            await self._run()
        # Whatever it is: unless we leave with it, who raised it is gone and the process stays.
        except BaseException as fault:
            if not self._left():
                raise
            status = tell(fault)
        if left := self._left():
            within = f"{self.settings.drain_s:g} s (drain_s)"
            _log.warning(f"{left} handlers did not end within {within}; their events come again")
            sys.stdout.flush()
            os._exit(status)

    def _left(self) -> int:
        return sum(worker.left for worker in self.workers.values())

    async def _run(self) -> None:
        for number in stops():
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        async with AsyncExitStack() as stack:
            if self.tracer:
                stack.push_async_callback(self.tracer.close)
            stack.push_async_callback(self.queue.close)
            if self.registry:
                stack.push_async_callback(self.registry.close)
            await self._make_workers(stack)
            _tell_version()
            _tell_handlers(self.settings.topic, self.groups)
            await self._tell_regularly(stack)
            moves = MoveWatch(self.queue, self.settings.topic)
            stack.push_async_callback(moves.close)
            moves.open()
            await self._until_stopped()

    async def _make_workers(self, stack: AsyncExitStack) -> None:
        data_keys = await stack.enter_async_context(stored_keys(self.settings, self.queue))
        metrics, caution = metrics_of(self.groups), self._careful(stack)
        for group, handlers in self.groups.items():
            self.workers[group] = Worker(
                self.settings.model_copy(update={"group": group}),
                handlers,
                self.queue,
                registry=self.registry,
                data_keys=data_keys,
                metrics=metrics[group],
                tracer=self.tracer,
                caution=caution,
            )

    def _careful(self, stack: AsyncExitStack) -> Caution | None:
        """Where what is at work is noted once workers were ended; None where that can't be done."""
        caution = open_caution(self.settings.data_dir)
        if caution is not None:
            stack.callback(lambda: caution.close(asked=self.stopping.is_set()))
            _beside(stack, caution.run())
        return caution

    async def _tell_regularly(self, stack: AsyncExitStack) -> None:
        """How the process is: to a supervisor, or to whoever asks; and when its certificates end."""
        _beside(stack, certificate_metrics.tell_regularly(Certificates(self.settings)))
        health = health_of({group: worker.health for group, worker in self.workers.items()})
        if self.folder:
            _beside(stack, tell_regularly(self.folder, health, list(self.groups)))
        elif self.settings.metrics_bind:
            serving = served_aside(self.settings.metrics_bind, worker_routes(health), held_up_routes)
            await stack.enter_async_context(serving)

    async def _until_stopped(self) -> None:
        """Run them until they are to stop, or one of them ends by itself: by a fault, which is raised."""
        running = [asyncio.create_task(worker.run()) for worker in self.workers.values()]
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait([*running, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for worker in self.workers.values():
            worker.stop()
        await asyncio.wait(running)
        for one in running:
            one.result()


def _beside(stack: AsyncExitStack, work: Coroutine[object, object, None]) -> None:
    """Do it meanwhile, until the stack is left."""
    stack.callback(asyncio.create_task(work).cancel)


def _tell_version() -> None:
    name, text = f"{METRICS_PREFIX}_build_info", "1, by version"
    build = Gauge(name, text, ["version"], multiprocess_mode="mostrecent")
    build.labels(version_of("forebay") or "unknown").set(1)


def _tell_handlers(topic: str, groups: Mapping[str, Handlers]) -> None:
    """Say that events are taken from here on, also while the queue doesn't answer yet."""
    for group, handlers in groups.items():
        if len(handlers):
            _log.info("events are taken", topic=topic, group=group, handlers=len(handlers))
        else:
            _log.warning("there is no handler: every event is finished unhandled", topic=topic, group=group)
