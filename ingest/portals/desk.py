"""What all endpoints of a worker share that know portals: tokens that are learned from calls, keys for secrets."""

import asyncio
from pathlib import Path

from forebay.ingest.authenticate import Gate
from forebay.ingest.endpoint_settings import EndpointSettings
from forebay.ingest.metrics import IngestMetrics, PortalCounts
from forebay.ingest.outlet import Outlet
from forebay.ingest.settings import IngestSettings
from forebay.queues.contract import Queue
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.schemas.codec import Codec

from .doorway import Doorway
from .homes import Homes
from .keys import PortalKeys
from .naming import Naming
from .shreddings import Shreddings
from .verification import Verification
from .verifier import AppInfo, Verifier
from .waits import Waits

#: A start waits so long until the portals are read: of some 50,000. Calls that come meanwhile wait too, and a portal
#: does not do so for long.
_PATIENCE_S = 3.0

#: However short the calls' patience with the queue.
_LEAST_S = 0.2


class Desk:
    """The registry, who verifies where tokens are learned, and the keys. Opened and closed with the queue."""

    def __init__(
        self,
        settings: IngestSettings,
        queue: Queue,
        metrics: IngestMetrics,
        verifier: Verifier | None = None,
        folder: Path | None = None,
    ) -> None:
        self._key_is_member_id = settings.key == "member_id"
        self._counts = PortalCounts(metrics)
        self.registry = PortalRegistry(queue.portals(settings.topic), TokenKeys(settings.seal_key_bytes()))
        self._homes = Homes(folder, self.registry.following)
        verifier = verifier or AppInfo(settings.oauth_urls)
        self.verification = Verification(self.registry, verifier, self._counts)
        # As long as for the queue itself; but so that a store which is well can say that a token is a stranger's.
        self._waits = Waits(max(settings.ack_deadline_ms / 1000, _LEAST_S))
        self.portal_keys = PortalKeys(
            self.registry, settings.seal_key_bytes(), self._waits, shreddings=Shreddings(folder)
        )
        self._doorways: list[Doorway] = []
        self._learns = any("registry" in endpoint.auth for endpoint in settings.served)

    async def open(self) -> None:
        """Begin to read what is known, and to verify what is not.

        Where tokens are learned, wait a moment for what is known: by it a call is proved, and has its key.
        """
        self.registry.open()
        await self.portal_keys.open()
        if self._learns:
            self._homes.open()
            self.verification.open()
            await self.registry.following.tried(_PATIENCE_S)

    async def close(self) -> None:
        """Let go of both. Idempotent."""
        await asyncio.gather(*(doorway.close() for doorway in self._doorways))
        await self.verification.close()
        await self.portal_keys.close()
        await self._homes.close()
        await self.registry.close()

    @property
    def state(self) -> str:
        """`ok`, or why calls are taken unverified, and secrets of new portals have no key of their own."""
        return self.registry.following.why_not or "ok"

    def doorway(self, endpoint: EndpointSettings, gate: Gate, outlet: Outlet, codec: Codec) -> Doorway | None:
        """The doorway of an endpoint; None where it learns no tokens."""
        if "registry" not in endpoint.auth:
            return None
        doorway = Doorway(
            endpoint.client_id,
            gate,
            self.registry,
            self._homes,
            self.verification,
            Naming(endpoint.path, outlet, self.registry, codec, self._counts),
            self._counts,
            self._waits,
            key_is_member_id=self._key_is_member_id,
        )
        self._doorways.append(doorway)
        return doorway
