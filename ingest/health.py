"""Is the ingest alive, and may calls be sent to it?"""

import asyncio
from collections.abc import Mapping

import orjson
from falcon.asgi import Response

from forebay.queues.errors import QueueError

from .callers.allow_list import AllowList
from .outlet import Outlet
from .portals.desk import Desk
from .registration import Registration
from .request import PortalRequest

#: The parts without which events are taken all the same.
_REGISTRY, _ALLOW_LIST = "schema_registry", "allow_list"

#: The same: while it can't be asked, calls are taken unverified.
_PORTALS = "portals"

#: Of these two, one that takes events is enough.
_QUEUE, _SPOOL = "queue", "spool"

#: A queue that needs longer to say that it is there, is not. With a spool nothing hangs on it, and a probe that waits
#: for a second, as Kubernetes' do, gets its answer.
_CHECK_S = 2.0
_CHECK_WITH_SPOOL_S = 0.5


class Health:
    """Whether this worker is on its way out, and whether its queue or its spool would take an event."""

    def __init__(
        self,
        outlet: Outlet,
        registration: Registration | None = None,
        allow_list: AllowList | None = None,
        desk: Desk | None = None,
    ) -> None:
        self._outlet, self._registration, self._allow_list, self._desk = outlet, registration, allow_list, desk
        self._stopping = False
        self._check_s = _CHECK_WITH_SPOOL_S if outlet.spool else _CHECK_S

    def stop(self) -> None:
        """From now on nobody should send new calls; those that come are still taken."""
        self._stopping = True

    async def queue_state(self) -> str:
        """`ok`, or why the queue takes nothing."""
        try:
            async with asyncio.timeout(self._check_s):
                await self._outlet.check()
        except QueueError as error:
            return str(error) or type(error).__name__
        except TimeoutError:
            return f"the queue did not answer within {self._check_s:g} s"
        return "ok"

    def takes_events(self, parts: Mapping[str, str]) -> bool:
        """Whether a call that comes now would be kept."""
        return parts["process"] == "ok" and (parts[_QUEUE] == "ok" or bool(self._outlet.spool_state))

    async def readiness(self) -> dict[str, str]:
        """The state of each part."""
        parts = {"process": "stopping" if self._stopping else "ok", _QUEUE: await self.queue_state()}
        if self._outlet.spool:
            parts[_SPOOL] = self._outlet.spool_state or self._outlet.spool_why_not
        if self._registration:
            parts[_REGISTRY] = self._registration.state
        if self._allow_list:
            parts[_ALLOW_LIST] = self._allow_list.state
        if self._desk:
            parts[_PORTALS] = self._desk.state
        return parts


class Live:
    """GET /live: the process answers. Never asks the queue: a restart would not mend it."""

    async def on_get(self, request: PortalRequest, response: Response) -> None:
        """200 as long as the event loop turns."""
        response.data = b'{"status":"ok","parts":{"process":"ok"}}'

    on_head = on_get


class Ready:
    """GET /ready: calls may be sent here."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def on_get(self, request: PortalRequest, response: Response) -> None:
        """200 when queue or spool would take an event now and the process is not stopping; 503 otherwise."""
        parts = await self._health.readiness()
        is_well = all(state == "ok" for state in parts.values())
        status = "ok" if is_well else "degraded" if self._health.takes_events(parts) else "failing"
        response.status = 503 if status == "failing" else 200
        response.data = orjson.dumps({"status": status, "parts": parts})

    on_head = on_get
