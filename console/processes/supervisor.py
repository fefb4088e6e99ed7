"""Keeps child processes running, and stops them in order."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from forebay.console.errors import FAILED, WRONG
from forebay.console.running import stops
from forebay.processors.cpu.ending import how_ended

from .relay import Relay
from .shared_folder import METRICS_FOLDER, forget

#: Waits before the first, second, … restart in a row; the last one goes on.
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

#: A child that a signal has ended so often in a row is ended by something that comes again with it.
_KILLED = 3

#: A child that ran for so long was well, and its next end counts as a first one.
_WELL_S = 30.0

#: What a child gets beside its own grace before it is killed.
_MORE_GRACE_S = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process to keep running. It is told something by its standard input, each time it is started."""

    name: str
    command: Sequence[str]
    told: bytes = b""
    #: Numbers of sockets that it gets from us, under the same numbers.
    sockets: Sequence[int] = ()
    #: What to say when signals end it again and again.
    if_killed: str = ""


class Supervisor:
    """Starts every child at once, starts one that ends again, and stops them a stage after the other.

    Until `settled` an ending child stops everything: what can't start would not start the next time either. So does
    one whose first life ends by wrong usage or settings. Later that is an end like any other: handlers that are being
    replaced can't be imported for a moment, and the others go on. With `relay` the children's output goes through it;
    otherwise they write where this process does. With `folder` they leave their metrics there, and how they are.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[Child]],
        *,
        grace_s: float,
        say: Say,
        relay: Relay | None = None,
        folder: str | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.settled = False
        self.running: dict[str, Process] = {}
        self._stages, self._grace_s, self._say, self._relay = stages, grace_s, say, relay
        self._folder = folder
        self._environ = None if folder is None else os.environ | {METRICS_FOLDER: folder}
        self._sleep = sleep
        self._stopping = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Keep the children until `stop`, and return the exit status: 0 when all ended in their grace."""
        keepers = [asyncio.create_task(self._keep(child)) for stage in self._stages for child in stage]
        await self._stopping.wait()
        for stage in self._stages:
            await self._end(stage)
        await asyncio.gather(*keepers)
        if self._relay:
            await self._relay.close()
        return self._status

    def stop(self, status: int = 0) -> None:
        """Begin to stop; a second call kills what still runs."""
        if self._stopping.is_set():
            for process in list(self.running.values()):
                _signal(process, signal.SIGKILL)
            return
        self._status = status
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    async def _keep(self, child: Child) -> None:
        ends, is_first = 0, True
        while not self._stopping.is_set():
            started = monotonic()
            status, how = await self._one_life(child)
            if self._stopping.is_set():
                return
            if not self.settled or (status == WRONG and is_first):
                self._say(f"{child.name} {how}; nothing is started again before this is mended")
                return self.stop(status if status == WRONG else FAILED)
            is_first = False
            ends = 0 if monotonic() - started > _WELL_S else ends
            delay_s = _BACKOFF_S[min(ends, len(_BACKOFF_S) - 1)]
            ends += 1
            hint = f"; {child.if_killed}" if child.if_killed and status < 0 and ends >= _KILLED else ""
            self._say(f"{child.name} {how}; it is started again in {delay_s:g} s{hint}")
            await self._pause(delay_s)

    async def _one_life(self, child: Child) -> tuple[int, str]:
        """Its exit status, and how it ended."""
        try:
            status = await self._live(child)
        except OSError as error:
            # The system has no room for a process, or its pipe, just now: that ends no more than this life.
            return FAILED, f"can't be started: {error}"
        return status, how_ended(status)

    async def _live(self, child: Child) -> int:
        """One life of the child, up to its exit status."""
        output = self._relay.open() if self._relay else None
        try:
            # A session of its own: a terminal's Ctrl-C is for this process alone, which stops the others in order.
            process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=self._environ,
                pass_fds=child.sockets,
            )
        finally:
            if output is not None:
                os.close(output)
        self.running[child.name] = process
        _tell(process, child.told)
        if self._stopping.is_set():
            _signal(process, signal.SIGTERM)
        status = await process.wait()
        del self.running[child.name]
        if self._folder is not None:
            forget(self._folder, process.pid)
        return status

    async def _pause(self, delay_s: float) -> None:
        waits = [asyncio.ensure_future(self._sleep(delay_s)), asyncio.ensure_future(self._stopping.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _end(self, stage: Sequence[Child]) -> None:
        ending = {child.name: self.running[child.name] for child in stage if child.name in self.running}
        for process in ending.values():
            _signal(process, signal.SIGTERM)
        if not ending:
            return
        waits = [asyncio.ensure_future(process.wait()) for process in ending.values()]
        _, late = await asyncio.wait(waits, timeout=self._grace_s + _MORE_GRACE_S)
        if late:
            self._status = self._status or FAILED
            for name, process in ending.items():
                if process.returncode is None:
                    self._say(f"{name} did not end within its grace, and is killed")
                    _signal(process, signal.SIGKILL)
            await asyncio.wait(late)


def _tell(process: Process, told: bytes) -> None:
    assert process.stdin is not None, "it was asked for"  # noqa: S101 - for mypy
    process.stdin.write(told)
    process.stdin.close()


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def stop_on_signals(supervisor: Supervisor) -> None:
    """SIGTERM, Ctrl-C and the end of the terminal stop; the second one kills."""

    def hang_up() -> None:
        # It comes from the shell, and once more from the kernel when the shell has ended: that is no second one.
        if not supervisor.is_stopping:
            supervisor.stop()

    loop = asyncio.get_running_loop()
    for number in stops():
        loop.add_signal_handler(number, hang_up if number is signal.SIGHUP else supervisor.stop)
