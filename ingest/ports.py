"""Which application answers at which of the two addresses."""

from collections.abc import Awaitable, Callable
from typing import Any

from .app import Ingest

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def by_port(ingest: Ingest, metrics_bind: str | None) -> Application:
    """The ingest; where `metrics_bind` is set, only /metrics and health at its port, and no event."""
    metrics_app = ingest.metrics_app
    if metrics_app is None or metrics_bind is None:
        return ingest.app
    port = int(metrics_bind.rpartition(":")[2])

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        at_metrics = scope["type"] != "lifespan" and scope["server"][1] == port
        await (metrics_app if at_metrics else ingest.app)(scope, receive, send)

    return application
