"""What operators and their tools ask the ingest: Falcon resources, none of which touches an event."""

from typing import Any

import orjson
from falcon.asgi import Response

from .health import Health
from .metrics import IngestMetrics
from .request import PortalRequest


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


class Metrics:
    """GET /metrics."""

    def __init__(self, metrics: IngestMetrics) -> None:
        self._metrics = metrics

    async def on_get(self, request: PortalRequest, response: Response) -> None:
        """Prometheus' text format, of all workers."""
        response.content_type = "text/plain; version=0.0.4; charset=utf-8"
        response.data = self._metrics.exposition()

    on_head = on_get


class OpenApi:
    """GET /openapi.json."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = orjson.dumps(document)

    async def on_get(self, request: PortalRequest, response: Response) -> None:
        """The document."""
        response.data = self._document

    on_head = on_get
