"""One worker in this process, from the first record to the last commit."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from io import TextIOWrapper
from typing import cast

from forebay.processors.handlers import Handlers
from forebay.processors.metrics import build_metrics
from forebay.processors.worker import Worker
from forebay.queues.contract import Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.schemas.names import streams

from .loading import load_handlers
from .operations import served, worker_routes
from .output import note
from .running import run
from .settings import Settings

#: Between two attempts to reach a queue that isn't there yet.
_AGAIN_S = 1.0


def work(settings: Settings, target: str, *, serves_metrics: bool) -> int:
    """Handle events until SIGTERM or Ctrl-C. A handler that never ends is left behind, and the process with it."""
    # What handlers print is for a person or a log, and has to be there when it happens.
    cast(TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)
    # The user's modules come last: one that is called as one of the standard library's then hides it from nobody.
    queue = open_queue(settings)
    handlers = load_handlers(target)
    left = run(_work(settings, handlers, queue, serves_metrics))
    if left:
        note(f"{left} handlers did not end within {settings.drain_s:g} s (drain_s); their events come again")
        sys.stdout.flush()
        os._exit(0)
    return 0


async def _work(settings: Settings, handlers: Handlers, queue: Queue, serves_metrics: bool) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(queue.close)
        if not await _streams_are_there(queue, settings, stopping):
            return 0
        worker = Worker(settings, handlers, queue, metrics=build_metrics())
        if serves_metrics and settings.metrics_bind:
            await stack.enter_async_context(served(settings.metrics_bind, worker_routes(worker.health)))
        return await _until(stopping, worker)


async def _until(stopping: asyncio.Event, worker: Worker) -> int:
    running = asyncio.create_task(worker.run())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([running, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    worker.stop()
    return await running


async def _streams_are_there(queue: Queue, settings: Settings, stopping: asyncio.Event) -> bool:
    """Make the streams, once the queue can be reached. False when we were asked to stop before."""
    told = False
    while not stopping.is_set():
        try:
            await queue.ensure(streams(settings.topic), settings.partitions)
            return True
        except QueueUnavailable as error:
            if not told:
                note(f"waiting for the queue: {error}")
            told = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_S):
                await stopping.wait()
    return False
