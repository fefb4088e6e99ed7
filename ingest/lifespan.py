"""What a worker of the ingest opens when it starts, and closes when it ends."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from forebay.queues.moves.watch import MoveWatch
from forebay.queues.tracing.contract import Tracer

from .callers.allow_list import AllowList
from .gaps.gaps import Gaps
from .health import Health
from .metrics import IngestMetrics
from .outlet import Outlet
from .portals.desk import Desk
from .registration import Registration


class Lifespan:
    """Opens queue and spool when the worker starts, after the fork; closes them when the last call is answered."""

    def __init__(
        self,
        outlet: Outlet,
        gaps: Gaps,
        health: Health,
        registration: Registration | None,
        allow_list: AllowList | None,
        desk: Desk | None,
        moves: MoveWatch,
        metrics: IngestMetrics,
        tracer: Tracer | None,
    ) -> None:
        self._outlet, self._gaps, self._health, self._desk = outlet, gaps, health, desk
        self._registration, self._allow_list, self._metrics = registration, allow_list, metrics
        self._moves, self._tracer = moves, tracer

    async def process_startup(self, scope: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Open them; readiness tells when they are there."""
        self._metrics.open()
        if self._allow_list:
            self._allow_list.open()
        await self._outlet.open()
        if self._desk:
            # Before the first call: a portal that was renamed has another key than its name.
            await self._desk.open()
        if self._registration:
            # Before the first event is written, be it a gap's marker.
            await self._registration.open()
        self._gaps.open()
        self._moves.open()

    async def process_shutdown(self, scope: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Flush what is on its way."""
        self._health.stop()
        self._gaps.stop()
        # From the last to the first, whatever becomes of one of them: what is kept is written down in the others, too.
        async with AsyncExitStack() as closing:
            if self._tracer:
                closing.push_async_callback(self._tracer.close)
            closing.callback(self._metrics.flush)
            closing.push_async_callback(self._gaps.close)
            for part in (self._allow_list, self._registration, self._desk):
                if part:
                    closing.push_async_callback(part.close)
            # Before them the events: what is known of the portals stands in its store already.
            closing.push_async_callback(self._outlet.close)
            closing.push_async_callback(self._moves.close)
