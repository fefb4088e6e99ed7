"""Is the ingest alive, and may calls be sent to it?"""

import asyncio

import orjson
from falcon.asgi import Response

from forebay.queues.errors import QueueError

from .outlet import Outlet
from .registration import Registration
from .request import PortalRequest

#: The part without which events are taken all the same.
_REGISTRY = "schema_registry"

#: A queue that needs longer to say that it is there, is not.
_CHECK_S = 2.0


class Health:
    """Whether this worker is on its way out, and whether its queue would take an event."""

    def __init__(self, outlet: Outlet, registration: Registration | None = None) -> None:
        self._outlet, self._registration = outlet, registration
        self._stopping = False

    def stop(self) -> None:
        """From now on nobody should send new calls; those that come are still taken."""
        self._stopping = True

    async def queue_state(self) -> str:
        """`ok`, or why the queue takes nothing."""
        try:
            async with asyncio.timeout(_CHECK_S):
                await self._outlet.check()
        except QueueError as error:
            return str(error) or type(error).__name__
        except TimeoutError:
            return f"the queue did not answer within {_CHECK_S:g} s"
        return "ok"

    async def readiness(self) -> dict[str, str]:
        """The state of each part."""
        parts = {"process": "stopping" if self._stopping else "ok", "queue": await self.queue_state()}
        if self._registration:
            parts[_REGISTRY] = self._registration.state
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
        """200 when the queue would take an event now and the process is not stopping; 503 otherwise."""
        parts = await self._health.readiness()
        ill = {part for part, state in parts.items() if state != "ok"}
        status = "ok" if not ill else "degraded" if ill == {_REGISTRY} else "failing"
        response.status = 503 if status == "failing" else 200
        response.data = orjson.dumps({"status": status, "parts": parts})

    on_head = on_get
