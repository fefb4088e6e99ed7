"""One worker in this process, from the first record to the last commit."""

import asyncio
import gc
import os
import signal
import sys
from contextlib import AsyncExitStack
from io import TextIOWrapper
from typing import cast

from prometheus_client import Gauge

from forebay.processors.handlers import Handlers
from forebay.processors.metrics import build_metrics
from forebay.processors.worker import Worker
from forebay.queues.contract import Queue
from forebay.queues.opening import open_queue
from forebay.queues.registry.contract import Registry
from forebay.queues.registry.opening import open_registry
from forebay.schemas.names import METRICS_PREFIX

from .folder import tell_regularly
from .loading import load_handlers
from .operations import served, worker_routes
from .output import note
from .portal_keys import stored_keys
from .running import run
from .settings import Settings
from .versions import version_of

#: What is alive in a worker are mostly records that wait; looking through them often costs a fifth of its time.
_GC_THRESHOLDS = (20_000, 50, 50)


def work(settings: Settings, target: str, *, folder: str | None = None) -> int:
    """Handle events until SIGTERM or Ctrl-C. A handler that never ends is left behind, and the process with it.

    With a supervisor's folder it tells there how it is; without one it serves `metrics_bind` itself.
    """
    # What handlers print is for a person or a log, and has to be there when it happens.
    cast(TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)
    # The user's modules come last: one that is called as one of the standard library's then hides it from nobody.
    queue, registry = open_queue(settings), open_registry(settings)
    handlers = load_handlers(target)
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    left = run(_work(settings, handlers, queue, registry, folder))
    if left:
        note(f"{left} handlers did not end within {settings.drain_s:g} s (drain_s); their events come again")
        sys.stdout.flush()
        os._exit(0)
    return 0


async def _work(
    settings: Settings, handlers: Handlers, queue: Queue, registry: Registry | None, folder: str | None
) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(queue.close)
        if registry:
            stack.push_async_callback(registry.close)
        data_keys = await stack.enter_async_context(stored_keys(settings, queue))
        worker = Worker(settings, handlers, queue, registry=registry, data_keys=data_keys, metrics=build_metrics())
        _tell_version()
        if folder:
            telling = asyncio.create_task(tell_regularly(folder, worker.health))
            stack.callback(telling.cancel)
        elif settings.metrics_bind:
            await stack.enter_async_context(served(settings.metrics_bind, worker_routes(worker.health)))
        return await _until(stopping, worker)


def _tell_version() -> None:
    name, text = f"{METRICS_PREFIX}_build_info", "1, by version"
    build = Gauge(name, text, ["version"], multiprocess_mode="mostrecent")
    build.labels(version_of("forebay") or "unknown").set(1)


async def _until(stopping: asyncio.Event, worker: Worker) -> int:
    running = asyncio.create_task(worker.run())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([running, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    worker.stop()
    return await running
