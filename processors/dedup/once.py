"""Calls a handler unless its event was handled already, and remembers that it was."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from forebay.processors.calls import Begun, at_once, ended
from forebay.processors.cancelling import current_task, take_back
from forebay.processors.handlers import Handler
from forebay.processors.health import Health
from forebay.processors.outcome import DUPLICATE, Done, Outcome, Unsure, faulty
from forebay.queues.errors import QueueError
from forebay.schemas.event import PortalEvent
from forebay.schemas.logger import get_logger

from .keys import Key, key_of
from .marks import Marks

_log = get_logger(__name__)

#: Between two attempts to reach what keeps the marks.
_AGAIN_S = 1.0

#: What waits asks again sooner than that, as soon as it has a slot. Without it, its partition is another's by now.
_WAITS_S = 60.0

#: Makes the call itself.
Begin = Callable[[Handler, PortalEvent], Begun]


class Once:
    """In between the handling of events and the calls of handlers."""

    def __init__(
        self,
        marks: Marks,
        topic: str,
        group: str,
        health: Health,
        *,
        may_begin: Callable[[], Awaitable[None]] = at_once,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._marks, self._topic, self._group, self._health = marks, topic, group, health
        self._may_begin, self._clock = may_begin, clock
        self._told, self._told_at = "", 0.0

    def key(self, handler: Handler, event: PortalEvent) -> Key | None:
        """As what the event is marked, if it is. Raises what the handler's function raises."""
        return key_of(handler, event, self._topic, self._group)

    async def call(
        self,
        handler: Handler,
        event: PortalEvent,
        begin: Begin,
        *,
        ordered: bool,
        folded: Sequence[Key | None] = (),
        waits: Callable[[], bool] = lambda: True,
    ) -> Outcome:
        """One try, unless the event is marked, and all that were `folded` into it.

        What an operator `ordered` to be handled again is, whatever was before. The event counts as done only when that
        is marked, of the folded ones too: after a crash they may come again without it. While marks can't be read or
        kept, it waits. But what was done is not marked where nobody `waits` for that any more: called again it would do
        its work twice, and the last commit of its partition may still tell that it did.
        """
        try:
            keys = [*folded, self.key(handler, event)]
        # The function is the user's.
        except Exception as error:
            return faulty(error)
        known = [key for key in keys if key is not None]
        if len(known) == len(keys) and not ordered:
            seen = await self._seen(known)
            if seen is not False:
                return Unsure(wait_s=_AGAIN_S) if seen is None else DUPLICATE
            # The process may have stood still since it asked.
            await self._may_begin()
        outcome = await ended(begin(handler, event))
        if known and isinstance(outcome, Done):
            await self._mark(known, waits)
        return outcome

    async def _seen(self, keys: Sequence[Key]) -> bool | None:
        """Whether all are marked; None when nobody can say just now."""
        try:
            seen = await self._marks.seen(*keys)
        except QueueError as error:
            self._tell(error)
            return None
        self._is_well()
        return seen

    async def _mark(self, keys: Sequence[Key], waits: Callable[[], bool]) -> None:
        # The handler has done its work: it is not to be called again because we could not write that down.
        while True:
            try:
                if await self._marked(keys):
                    return
                if waits():
                    await asyncio.sleep(_AGAIN_S)
            except asyncio.CancelledError:
                # For its partition's sake, or what a handler has left here.
                take_back(current_task())
            if not waits():
                return

    async def _marked(self, keys: Sequence[Key]) -> bool:
        """One attempt; whether it did."""
        try:
            await self._marks.mark(*keys)
        except QueueError as error:
            self._tell(error)
            return False
        self._is_well()
        return True

    def _is_well(self) -> None:
        self._health.ok("dedup")
        self._told = ""

    def _tell(self, error: QueueError) -> None:
        """Once, and not for each event that waits, once a second, for as long as it lasts."""
        self._told_at = self._clock()
        self._health.degraded("dedup", f"events of handlers with dedup wait: {error}", self._any_waits)
        if str(error) != self._told:
            self._told = str(error)
            _log.warning("what was handled can't be looked up or written down; trying again", error=self._told)

    def _any_waits(self) -> bool:
        return self._clock() - self._told_at < _WAITS_S
