"""Whether a call may wait for the store of portals: never for long, and not behind others who have waited in vain."""

import asyncio
import time
from collections.abc import Awaitable, Callable

#: A store that has not answered in time keeps no call for so long. Then one waits, and finds out for all.
_REST_S = 5.0


class Waits:
    """All of a process. Used on one event loop."""

    def __init__(self, longest_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_s, self._clock = longest_s, clock
        #: Since the store was late: no call waits before, and then one, until it has answered.
        self._not_before = float("-inf")
        self._is_tried = False

    @property
    def is_resting(self) -> bool:
        """Whether the store has not answered in time, a moment ago."""
        return self._clock() < self._not_before

    @property
    def are_allowed(self) -> bool:
        """Whether a call may wait just now."""
        was_late = self._not_before > float("-inf")
        return not self.is_resting and not (was_late and self._is_tried)

    async def within(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Wait for this. Raises what it raises, and `TimeoutError` where it takes longer than a call may wait."""
        self._is_tried = True
        try:
            async with asyncio.timeout(self._longest_s):
                await ask()
        except TimeoutError:
            self._not_before = self._clock() + _REST_S
            raise
        finally:
            self._is_tried = False
        # Who was let go because another was late has had no answer.
        if not self.is_resting:
            self._not_before = float("-inf")
