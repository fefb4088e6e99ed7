"""The portal registry: what a process knows of the portals, and how it adds to it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from secrets import token_hex

from . import facts
from .contract import Fact, PortalStore
from .data_keys import DataKeys
from .following import Following
from .members import Member

#: To write and read back what was written.
_PATIENCE_S = 5.0

#: No two eras or names of one portal may meet.
_ID_BYTES = 6


class PortalRegistry:
    """One for a process, used on one event loop. Each of its writes raises `QueueUnavailable` when it can't be done."""

    def __init__(
        self,
        store: PortalStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw_id: Callable[[int], str] = token_hex,
    ) -> None:
        self._store, self._draw_id = store, draw_id
        self.following = Following(store, clock=clock, sleep=sleep)
        self.data_keys = DataKeys(self.following)

    def open(self) -> None:
        """Begin to read; the store need not be there yet."""
        self.following.open()

    async def close(self) -> None:
        """Let go of the store. Idempotent."""
        await self.following.close()
        await self._store.close()

    async def forget(self, member_id: str) -> Member | None:
        """Take back everything that was said of the portal, its data keys too; what was known of it, if anything was.

        What other hosts say of it meanwhile, without knowing, is void. It may come again as a new one.
        """
        book = await self.following.refresh(_PATIENCE_S)
        known = book.members.get(member_id)
        keys = [key.text() for key in known.fact_keys()] if known else []
        era = facts.new_era(member_id, self._draw_id(_ID_BYTES))
        book = await self.following.put([era, *(Fact(key, None) for key in keys)], _PATIENCE_S)
        late = [key for key in book.void if key.startswith(f"{member_id}/")]
        if late:
            await self.following.put([Fact(key, None) for key in late], _PATIENCE_S)
        return known
