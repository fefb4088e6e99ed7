"""One worker in this process, from the first record to the last commit."""

import asyncio
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import structlog
from prometheus_client import Gauge

from forebay.processors.crashes.caution import Caution, open_caution
from forebay.processors.handlers import Handlers
from forebay.processors.health import health_of
from forebay.processors.metrics import metrics_of
from forebay.processors.printing import let_handlers_print
from forebay.processors.worker import Worker
from forebay.queues.certificates import Certificates
from forebay.queues.contract import Queue
from forebay.queues.opening import open_queue
from forebay.queues.registry.contract import Registry
from forebay.queues.registry.opening import open_registry
from forebay.queues.tracing.contract import Tracer
from forebay.queues.tracing.opening import open_tracer
from forebay.schemas.names import METRICS_PREFIX

from . import expiry
from .errors import FAILED
from .failures import tell, told
from .folder import tell_regularly
from .groups import groups_of
from .leaving import leave_within
from .loading import load_handlers
from .operations import served, worker_routes
from .portal_keys import stored_keys
from .running import run, stops
from .settings import Settings
from .versions import version_of

_log = structlog.get_logger(__name__)

#: What is alive in a worker are mostly records that wait; looking through them often costs a fifth of its time.
_GC_THRESHOLDS = (20_000, 50, 50)


def work(settings: Settings, target: str, *, only: str | None = None, folder: str | None = None) -> int:
    """Handle events until SIGTERM or Ctrl-C. A handler that never ends is left behind, and the process with it.

    A worker for each group of the handlers, or for `only` one. With a supervisor's folder it tells there how it is;
    without one it serves `metrics_bind` itself.
    """
    let_handlers_print()
    # The user's modules come last: one that is called as one of the standard library's then hides it from nobody.
    queue, registry = open_queue(settings), open_registry(settings)
    status = FAILED

    def handle() -> int:
        groups = groups_of(load_handlers(target), settings.group, only)
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        # After the handlers' module, which may have set up OpenTelemetry in its own way.
        tracer = open_tracer(settings, "forebay-process")
        run(_to_the_end(settings, groups, queue, registry, folder, tracer))
        return 0

    try:
        # Here, and not by who has called us: the process may be left before.
        status = told(handle)
    finally:
        leave_within(settings.drain_s, status)
    return status


async def _to_the_end(
    settings: Settings,
    groups: Mapping[str, Handlers],
    queue: Queue,
    registry: Registry | None,
    folder: str | None,
    tracer: Tracer | None,
) -> None:
    """Work, and leave the process from here when a handler never ends: the loop's end, and Python's, wait for it."""
    workers: dict[str, Worker] = {}
    status = 0
    try:
        await _work(settings, groups, queue, registry, folder, tracer, workers)
    # Whatever it is: unless we leave with it, who raised it is gone and the process stays.
    except BaseException as fault:
        if not _left(workers):
            raise
        status = tell(fault)
    if left := _left(workers):
        _log.warning(f"{left} handlers did not end within {settings.drain_s:g} s (drain_s); their events come again")
        sys.stdout.flush()
        os._exit(status)


def _left(workers: Mapping[str, Worker]) -> int:
    return sum(worker.left for worker in workers.values())


async def _work(
    settings: Settings,
    groups: Mapping[str, Handlers],
    queue: Queue,
    registry: Registry | None,
    folder: str | None,
    tracer: Tracer | None,
    workers: dict[str, Worker],
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stops():
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        if tracer:
            stack.push_async_callback(tracer.close)
        stack.push_async_callback(queue.close)
        if registry:
            stack.push_async_callback(registry.close)
        data_keys = await stack.enter_async_context(stored_keys(settings, queue))
        metrics = metrics_of(groups)
        caution = _careful(settings, stack, stopping)
        for group, handlers in groups.items():
            workers[group] = Worker(
                settings.model_copy(update={"group": group}),
                handlers,
                queue,
                registry=registry,
                data_keys=data_keys,
                metrics=metrics[group],
                tracer=tracer,
                caution=caution,
            )
        _tell_version()
        _tell_handlers(settings.topic, groups)
        watching = asyncio.create_task(expiry.tell_regularly(Certificates(settings)))
        stack.callback(watching.cancel)
        health = health_of({group: worker.health for group, worker in workers.items()})
        if folder:
            telling = asyncio.create_task(tell_regularly(folder, health, list(groups)))
            stack.callback(telling.cancel)
        elif settings.metrics_bind:
            await stack.enter_async_context(served(settings.metrics_bind, worker_routes(health)))
        await _until(stopping, list(workers.values()))


def _careful(settings: Settings, stack: AsyncExitStack, stopping: asyncio.Event) -> Caution | None:
    """Where what is at work is noted once workers were ended; None where that can't be done."""
    caution = open_caution(settings.data_dir)
    if caution is not None:
        stack.callback(lambda: caution.close(asked=stopping.is_set()))
        looking = asyncio.create_task(caution.run())
        stack.callback(looking.cancel)
    return caution


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


async def _until(stopping: asyncio.Event, workers: Sequence[Worker]) -> None:
    """Run them until they are to stop, or one of them ends by itself: by a fault, which is raised."""
    running = [asyncio.create_task(worker.run()) for worker in workers]
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([*running, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    for worker in workers:
        worker.stop()
    await asyncio.wait(running)
    for one in running:
        one.result()
