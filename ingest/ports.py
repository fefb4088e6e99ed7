"""Which application answers at which of the two addresses."""

from typing import Any

from .app import Ingest
from .asgi import IngestApp
from .request import Events, Kept, Told


class Ports:
    """The ingest at one address; at the port of the other only /metrics and health, and no event."""

    def __init__(self, app: IngestApp, metrics_app: IngestApp, metrics_port: int) -> None:
        self._app, self._metrics_app, self._metrics_port = app, metrics_app, metrics_port

    async def __call__(self, scope: dict[str, Any], receive: Events, send: Any) -> None:
        """As the application at that port."""
        await self._at(scope)(scope, receive, send)

    def begin(self, scope: dict[str, Any], body: bytes, told: Told) -> bool:
        """As the application at that port."""
        return self._at(scope).begin(scope, body, told)

    async def taken(self, scope: dict[str, Any], receive: Events) -> Kept | None:
        """As the application at that port."""
        return await self._at(scope).taken(scope, receive)

    def _at(self, scope: dict[str, Any]) -> IngestApp:
        at_metrics = scope["type"] != "lifespan" and scope["server"][1] == self._metrics_port
        return self._metrics_app if at_metrics else self._app


def by_port(ingest: Ingest, metrics_bind: str | None) -> IngestApp | Ports:
    """The ingest, with the metrics where `metrics_bind` says; without it at the same address."""
    if ingest.metrics_app is None or metrics_bind is None:
        return ingest.app
    return Ports(ingest.app, ingest.metrics_app, int(metrics_bind.rpartition(":")[2]))
