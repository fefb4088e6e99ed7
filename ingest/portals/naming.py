"""Portals that come under another domain: their handlers are told, in the portal's order, and then it is noted."""

import asyncio
import time
from dataclasses import replace

from forebay.ingest.address import NOTHING
from forebay.ingest.authenticate import Sender
from forebay.ingest.metrics import PortalCounts
from forebay.ingest.outlet import Outlet
from forebay.ingest.own_event import own_record
from forebay.ingest.record import received
from forebay.queues.errors import QueueError
from forebay.queues.portals.members import Member
from forebay.queues.portals.registry import PortalRegistry
from forebay.schemas.codec import Codec
from forebay.schemas.logger import get_logger
from forebay.schemas.names import RENAMED

log = get_logger(__name__)

_MS = 1000

#: A portal is renamed a few times; a box has a few names. One that goes on has another reason.
_DOMAINS = 16

#: Renames that this process has told and could not note, so that it doesn't tell them with each call.
_TOLD = 1000


class Naming:
    """One for each endpoint. What can't be told now is told with the portal's next call."""

    def __init__(
        self,
        endpoint: str,
        outlet: Outlet,
        registry: PortalRegistry,
        codec: Codec,
        counts: PortalCounts,
    ) -> None:
        self._endpoint, self._outlet, self._registry = endpoint, outlet, registry
        self._codec, self._counts = codec, counts
        #: Until it is noted too; with each, whether the event is kept by now, or can't be.
        self._telling: dict[tuple[str, str], tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._told: set[tuple[str, str]] = set()

    @property
    def noting(self) -> list[asyncio.Task[None]]:
        """Those that are not noted yet."""
        return [task for task, _ in self._telling.values()]

    async def learn(self, sender: Sender, member: Member, domain: str) -> None:
        """Return when the portal's handlers will know before they get the call, or can't be told now."""
        key = member.id, domain
        if key not in self._telling:
            if self._has_enough(member):
                return
            sent = asyncio.Event()
            telling = asyncio.create_task(self._tell(sender, member, domain, sent))
            self._telling[key] = telling, sent
            telling.add_done_callback(lambda done: self._telling.pop(key, None))
        # Not for the note: the store of portals may hang, and the event is in its place.
        await self._telling[key][1].wait()

    def _has_enough(self, member: Member) -> bool:
        told = {domain for member_id, domain in self._telling if member_id == member.id}
        return len(told.union(member.domains)) >= _DOMAINS

    async def _tell(self, sender: Sender, member: Member, domain: str, sent: asyncio.Event) -> None:
        try:
            try:
                if (member.id, domain) not in self._told:
                    await self._send(sender, member, domain)
            finally:
                sent.set()
            await self._registry.rename(member, domain)
        except QueueError as error:
            log.warning("a portal's new domain could not be noted", portal=sender.portal, error=str(error))
        else:
            self._told.discard((member.id, domain))

    async def _send(self, sender: Sender, member: Member, domain: str) -> None:
        old = member.domains[-1] if member.domains else member.portal or domain
        receipt, anywhere = received(time.time_ns(), self._endpoint), replace(sender, address=NOTHING)
        data = {"FROM": old, "TO": domain}
        record = own_record(RENAMED, data, receipt.at_ms // _MS, anywhere, domain, receipt, self._codec)
        await self._outlet.send(self._outlet.topic, record)
        log.info("a portal has another domain", portal=sender.portal, old=old, new=domain)
        self._counts.renamed()
        if len(self._told) >= _TOLD:
            self._told.clear()
        self._told.add((member.id, domain))
