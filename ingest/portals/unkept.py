"""Proofs that the store of portals did not take when they were found: they are repeated until it does."""

import asyncio
from dataclasses import dataclass

from forebay.queues.portals.registry import PortalRegistry
from forebay.schemas.logger import get_logger

log = get_logger(__name__)

#: Between two looks for a store that is back.
_AGAIN_S = 1.0

#: Nobody can make up a proof: so many portals install while the store is away.
_ROOM = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """That a token is the portal's, as the OAuth server says."""

    application: str
    member_id: str
    digest: bytes
    domain: str


class Unkept:
    """Used on one event loop. Its tokens are those of their portals, though no host knows it yet."""

    def __init__(self, registry: PortalRegistry) -> None:
        self._registry = registry
        self._found: dict[bytes, Found] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._found

    async def keep(self, found: Found) -> None:
        """Keep it now, or hold it if there is room. Raises `QueueError` when it is not kept yet."""
        if len(self._found) < _ROOM:
            self._found[found.digest] = found
        await self._registry.prove(found.application, found.member_id, found.digest, found.domain, "app.info")
        self._found.pop(found.digest, None)

    async def repeat(self) -> None:
        """Keep again and again what is held, as soon as the store is back. Never ends."""
        while True:
            await asyncio.sleep(_AGAIN_S)
            try:
                await self.keep_all()
            except Exception as error:  # whatever it is: what is held would never be kept
                log.warning("what was found of portals can't be kept yet", error=str(error))

    async def keep_all(self) -> None:
        """Keep what is held. Raises `QueueError`."""
        for found in list(self._found.values()):
            if not self._registry.is_current:
                return
            await self.keep(found)
            log.info("a portal is verified", domain=found.domain, member_id=found.member_id)
