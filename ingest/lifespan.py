"""What a worker of the ingest opens when it starts, and closes when it ends."""

import asyncio
from collections.abc import Mapping
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
        await self._moves.close()
        # First the events: what is known of the portals stands in its store already.
        await self._outlet.close()
        if self._desk:
            await self._desk.close()
        if self._registration:
            await self._registration.close()
        if self._allow_list:
            await self._allow_list.close()
        # Calls that ended with the queue are answered, and noted, in the loop's next turns.
        await asyncio.sleep(0)
        self._gaps.close()
        self._metrics.flush()
        if self._tracer:
            await self._tracer.close()
