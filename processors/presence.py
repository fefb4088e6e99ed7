"""Whether this process has run all the time.

One that was frozen for longer than its session (SIGSTOP, a suspended machine) may have lost its partitions and be the
last to learn of it. So after a gap no event is begun before a commit has shown what is still ours.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from forebay.schemas.logger import get_logger

_log = get_logger(__name__)

#: A gap of a third of the session is one: what the queue heard of us last may be as old as the rest of it.
_GAPS_A_SESSION = 3

#: Somebody looks so often within the longest time that is no gap, also when there is nothing to do.
_LOOKS_A_GAP = 4

#: Counts on while the machine sleeps, where the system has such a clock.
since_boot: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


class Presence:
    """`confirm` asks the queue what is still ours, lets go of the rest, and says whether it got an answer."""

    def __init__(
        self, session_s: float, confirm: Callable[[], Awaitable[bool]], *, clock: Callable[[], float] = since_boot
    ) -> None:
        self._longest_s = session_s / _GAPS_A_SESSION
        self._confirm, self._clock = confirm, clock
        self._seen_at = clock()
        self._gaps = 0
        self._certainty = asyncio.Event()
        self._certainty.set()

    def is_certain(self) -> bool:
        """Look at the clock. False from a gap on until the queue has answered: begin nothing then."""
        now = self._clock()
        if now - self._seen_at > self._longest_s:
            self._gaps += 1
            self._certainty.clear()
            _log.warning(
                "this process stood still; it asks what is still its own", seconds=round(now - self._seen_at, 3)
            )
        self._seen_at = now
        return self._certainty.is_set()

    def is_still_certain(self) -> bool:
        """Whether it was when the loop last looked, and no gap came since. Changes nothing: for any thread."""
        return self._certainty.is_set() and self._clock() - self._seen_at <= self._longest_s

    async def certain(self) -> None:
        """Return when it is."""
        while not self.is_certain():
            await self._certainty.wait()

    async def run(self) -> None:
        """Look regularly, and ask after each gap."""
        await asyncio.gather(self._look_regularly(), self._ask_regularly())

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._longest_s / _LOOKS_A_GAP)
            self.is_certain()

    async def _ask_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._longest_s / _LOOKS_A_GAP)
            if not self.is_certain():
                await self._ask()

    async def _ask(self) -> None:
        gaps = self._gaps
        answered = await self._confirm()
        # What was asked before the last gap says nothing, and that may have been a moment ago.
        self.is_certain()
        if answered and gaps == self._gaps:
            self._certainty.set()
