"""Calls in processes: a few of them, each with one call in work and, where calls are short, some behind it."""

import asyncio
import pickle
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from forebay.processors.cancelling import current_task, take_back
from forebay.processors.errors import BadHandler, DeadlineExceeded, HandlerCancelled, NoProcess, ProcessDied
from forebay.processors.handlers import Handler
from forebay.processors.health import Health
from forebay.schemas.logger import get_logger

from .answers import Ended, unpacked
from .functions import packed_functions
from .process import Gone, Process

_log = get_logger(__name__)

#: The part of the worker's health.
_PART = "cpu"

#: What is given to a process at once should take about so long: it costs a wait of this length where nobody shares it,
#: and far less than that to hand it over.
_BATCH_S = 0.005
_BATCH_CALLS = 32

#: How much the last call counts in what a handler usually takes.
_NEWEST = 0.2

#: Between two attempts to start a process that can't be started now.
_AGAIN_S = 1.0

#: Of so many events it is remembered that a process died of them; each is forgotten when it ends otherwise.
_REMEMBERED = 4096


class Processes(Protocol):
    """Makes calls of handlers with `cpu=True`."""

    async def start(self) -> None:
        """Be ready for calls. Raises `BadHandler` when a handler's module can't be imported there, `NoProcess`."""

    async def call(self, handler: Handler, argument: object, key: str, deadline_s: float) -> Ended:
        """What the handler returned or raised. Not before it runs no more, cancelled or not. Raises nothing else.

        `key` names what is handled, the same at each try.
        """

    async def close(self) -> None:
        """End every process at once."""


@dataclass(eq=False, kw_only=True, slots=True)
class _Job:
    handler: Handler
    argument: bytes
    key: str
    deadline_s: float
    future: "asyncio.Future[Ended]"
    #: The process that has it in work.
    process: Process | None = None
    #: Nobody wants it any more.
    is_dropped: bool = False

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody knows how far it came."""
        return isinstance(self.future.result()[1], HandlerCancelled)

    def end(self, ended: Ended) -> None:
        if not self.future.done():
            self.future.set_result(ended)


class Pool:
    """Starts a process when a call finds none free, up to so many. All of it runs on the event loop."""

    def __init__(
        self,
        handlers: Iterable[Handler],
        *,
        processes: int,
        may_begin: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
        health: Health | None = None,
    ) -> None:
        """Raises `BadHandler` when a function can't be told to another process."""
        self._functions, self._numbers = packed_functions(handlers)
        self._most, self._may_begin, self._clock = processes, may_begin, clock
        self._health = health or Health()
        self._waiting: deque[_Job] = deque()
        self._news = asyncio.Event()
        self._runners: list[asyncio.Task[None]] = []
        self._idle = 0
        #: Started, and not taken by a runner yet.
        self._fresh: list[Process] = []
        #: Function → the seconds that a call of it usually takes.
        self._usual_s: dict[object, float] = {}
        #: Key → how many processes died of it.
        self._deaths: dict[str, int] = {}

    async def start(self) -> None:
        """As in `Processes`: one process is started, so that it is known now whether they can be."""
        try:
            self._fresh.append(await Process.started(self._functions))
        except (Gone, OSError, TimeoutError) as error:
            raise NoProcess(f"no process for handlers with cpu=True can be started: it {error or 'hangs'}") from error

    async def call(self, handler: Handler, argument: object, key: str, deadline_s: float) -> Ended:
        """As in `Processes`."""
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        job = _Job(handler=handler, argument=pickle.dumps(argument), key=key, deadline_s=deadline_s, future=future)
        self._waiting.append(job)
        self._wake()
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await self._drop(job)
            if job.is_cancelled:
                raise
            # It had come to its end all the same: made again it would do its work twice.
            take_back(current_task())
            return future.result()

    async def close(self) -> None:
        """As in `Processes`."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        await asyncio.gather(*(process.close() for process in self._fresh))
        self._runners, self._fresh = [], []
        for job in self._waiting:
            job.end(_cancelled())

    def _wake(self) -> None:
        if self._idle < len(self._waiting) and len(self._runners) < self._most:
            runner = asyncio.create_task(self._run())
            runner.add_done_callback(self._runner_ended)
            self._runners.append(runner)
        self._news.set()

    def _runner_ended(self, runner: "asyncio.Task[None]") -> None:
        """Only by our own hand; a fault must not leave calls waiting for ever."""
        if runner.cancelled():
            return
        _log.error("a fault in the processes for handlers with cpu=True", error=repr(runner.exception()))
        self._runners.remove(runner)
        if self._waiting:
            self._wake()

    async def _drop(self, job: _Job) -> None:
        """Until it runs no more: begun elsewhere it would run twice."""
        if job.future.done():
            # Its process may be at another one by now.
            return
        job.is_dropped = True
        if job in self._waiting:
            self._waiting.remove(job)
            job.end(_cancelled())
        elif job.process is not None:
            job.process.kill()
        await asyncio.shield(job.future)

    async def _run(self) -> None:
        """One process at a time, and what it has in work."""
        process: Process | None = None
        try:
            while True:
                await self._work_waits()
                if process is not None and process.is_gone:
                    await process.ended()
                    process = None
                process = process or await self._started()
                await self._may_begin()
                jobs = self._take()
                if jobs and not await self._work(process, jobs):
                    process = None
        finally:
            if process is not None:
                process.kill()
                await process.ended()

    async def _work_waits(self) -> None:
        while not self._waiting:
            self._news.clear()
            self._idle += 1
            try:
                await self._news.wait()
            finally:
                self._idle -= 1

    async def _started(self) -> Process:
        while True:
            if self._fresh:
                return self._fresh.pop()
            try:
                process = await Process.started(self._functions)
            # It could be done at the start: memory is short, say, or the user's files are being replaced.
            except (Gone, OSError, TimeoutError, BadHandler) as error:
                _log.error("no process for handlers with cpu=True can be started; trying again", error=str(error))
                self._health.degraded(
                    _PART, f"no process can be started: {error or 'it hangs'}", lambda: bool(self._waiting)
                )
                await asyncio.sleep(_AGAIN_S)
            else:
                self._health.ok(_PART)
                return process

    def _take(self) -> deque[_Job]:
        """The next calls for one process. Of which one died is called alone: what it does hits nobody else."""
        jobs: deque[_Job] = deque()
        share, long_s = -(-len(self._waiting) // self._most), 0.0
        while self._waiting and len(jobs) < min(share, _BATCH_CALLS):
            job = self._waiting[0]
            # What was never called may take long.
            long_s += self._usual_s.get(job.handler.function, _BATCH_S)
            is_alone = job.key in self._deaths
            if jobs and (is_alone or long_s > _BATCH_S):
                break
            jobs.append(self._waiting.popleft())
            if is_alone:
                break
        return jobs

    async def _work(self, process: Process, jobs: deque[_Job]) -> bool:
        """Have them called, one after the other; whether the process is still there."""
        process.give([(self._numbers[job.handler.function], job.argument) for job in jobs])
        try:
            while jobs:
                job = jobs[0]
                if job.is_dropped:
                    # It may have been begun a moment ago.
                    process.kill()
                    await process.ended()
                    return False
                job.process = process
                ended, lives_on = await self._one(process, job)
                goes_on = lives_on and not job.is_dropped
                if not goes_on:
                    await process.ended()
                jobs.popleft()
                job.end(ended)
                if not goes_on:
                    return False
            return True
        finally:
            unwanted = [job for job in jobs if job.is_dropped or job.process is not None]
            for job in unwanted:
                job.end(_cancelled())
            # The others were not begun, and are the next.
            self._waiting.extendleft(job for job in reversed(jobs) if job not in unwanted)
            self._news.set()

    async def _one(self, process: Process, job: _Job) -> tuple[Ended, bool]:
        began = self._clock()
        try:
            async with asyncio.timeout(job.deadline_s):
                answer = await process.answer()
        except TimeoutError:
            process.kill()
            late = DeadlineExceeded(f"the handler's process was ended at its deadline of {job.deadline_s:g} s")
            return (None, late), False
        except Gone as gone:
            return _cancelled() if job.is_dropped else (None, self._died(job, gone)), False
        self._deaths.pop(job.key, None)
        self._note(job.handler.function, self._clock() - began)
        return unpacked(answer), True

    def _note(self, function: object, seconds: float) -> None:
        usual_s = self._usual_s.get(function, seconds)
        self._usual_s[function] = usual_s + _NEWEST * (seconds - usual_s)

    def _died(self, job: _Job, gone: Gone) -> ProcessDied:
        deaths = self._deaths.pop(job.key, 0) + 1
        if len(self._deaths) >= _REMEMBERED:
            del self._deaths[next(iter(self._deaths))]
        self._deaths[job.key] = deaths
        _log.warning("a handler's process died", handler=job.handler.name, id=job.key, how=str(gone), deaths=deaths)
        return ProcessDied(f"the handler's process {gone}, for the {deaths}. time with this event", deaths=deaths)


def _cancelled() -> Ended:
    return None, HandlerCancelled("the handler's process was ended, since the work was given back")
