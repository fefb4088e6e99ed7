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
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas.codec import Codec, new_codec

from .page import Page

#: Nobody waits longer for the turn of a page, nor for the page when it has its turn.
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
        #: What was asked for → until when the page, or why there is none, is as good as a new one.
        self._fresh: dict[Hashable, tuple[float, Page | QueueError]] = {}

    async def page(self, asked: Hashable, look_up: Callable[[], Awaitable[Page]]) -> Page:
        """What was asked for. Raises what looking it up raises; `QueueUnavailable` when that takes too long, or when
        it has no turn for as long.
        """
        if (found := self._known(asked)) is None:
            async with self._turn():
                # Who waited for a turn may have waited for this very page.
                found = self._known(asked) or await self._looked_up(asked, look_up)
        if isinstance(found, QueueError):
            raise found
        return found

    def _known(self, asked: Hashable) -> Page | QueueError | None:
        now = self._clock()
        self._fresh = {one: kept for one, kept in self._fresh.items() if kept[0] > now}
        _, found = self._fresh.get(asked, (now, None))
        return found

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._one_at_a_time.acquire()
        except TimeoutError as error:
            raise QueueUnavailable(
                f"other pages have kept the queue busy for {self._patience_s:g} s: ask again in a moment"
            ) from error
        try:
            yield
        finally:
            self._one_at_a_time.release()

    async def _looked_up(self, asked: Hashable, look_up: Callable[[], Awaitable[Page]]) -> Page | QueueError:
        began = self._clock()
        try:
            found: Page | QueueError = await self._within_patience(look_up)
        except QueueError as error:
            # Whoever waits for the same is told the same; after that it may be well again.
            found = error
        now = self._clock()
        looks = 0.0 if isinstance(found, QueueError) else _FRESH_LOOKS
        self._fresh[asked] = now + max(_FRESH_S, (now - began) * looks), found
        return found

    async def _within_patience(self, look_up: Callable[[], Awaitable[Page]]) -> Page:
        try:
            async with asyncio.timeout(self._patience_s):
                return await look_up()
        except TimeoutError as error:
            raise QueueUnavailable(
                f"the queue did not show all of this within {self._patience_s:g} s: ask for one portal, or use the "
                "command, which waits for it"
            ) from error
