"""A look at the queue: opened for it, and closed behind it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

from forebay.console.decoding import decodable
from forebay.console.reading import opened
from forebay.console.settings import Settings
from forebay.queues.contract import Inspector
from forebay.queues.errors import QueueUnavailable
from forebay.schemas.codec import Codec, new_codec

from .page import Page

#: Nobody waits longer for a page.
_PATIENCE_S = 20.0

#: A page is shown again without another look for at least so long, and for so many times as long as the look took:
#: whoever asks again and again leaves the queue most of its time.
_FRESH_S, _FRESH_LOOKS = 2.0, 5.0


#: What an address says: parts of its path, and of its query what is not empty.
Asked: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What views read from."""

    settings: Settings
    inspector: Inspector
    codec: Codec

    async def groups(self) -> list[str]:
        """Those that have read the topic."""
        return sorted(await self.inspector.groups(self.settings.topic))

    def of_group(self, group: str) -> Settings:
        """The settings, as that group's."""
        return self.settings.model_copy(update={"group": group})


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Look]:
    """A queue of its own for each look: none that has failed, or whose password has changed, is looked at again."""
    codec = new_codec()
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        yield Look(settings=settings, inspector=inspector, codec=codec)


class Looks:
    """Pages that were looked up a moment ago, one at a time: many browsers cost the queue no more than one."""

    def __init__(self, clock: Callable[[], float] = monotonic, patience_s: float = _PATIENCE_S) -> None:
        self._clock, self._patience_s = clock, patience_s
        self._one_at_a_time = asyncio.Lock()
        #: What was asked for → until when the page is as good as a new one.
        self._fresh: dict[Hashable, tuple[float, Page]] = {}

    async def page(self, asked: Hashable, look_up: Callable[[], Awaitable[Page]]) -> Page:
        """What was asked for. Raises what looking it up raises; `QueueUnavailable` when that takes too long."""
        async with self._one_at_a_time:
            began = self._clock()
            self._fresh = {one: kept for one, kept in self._fresh.items() if kept[0] > began}
            if asked not in self._fresh:
                page = await self._within_patience(look_up)
                now = self._clock()
                self._fresh[asked] = now + max(_FRESH_S, (now - began) * _FRESH_LOOKS), page
            return self._fresh[asked][1]

    async def _within_patience(self, look_up: Callable[[], Awaitable[Page]]) -> Page:
        try:
            async with asyncio.timeout(self._patience_s):
                return await look_up()
        except TimeoutError as error:
            raise QueueUnavailable(
                f"the queue did not show all of this within {self._patience_s:g} s: ask for one portal, or use the "
                "command, which waits for it"
            ) from error
