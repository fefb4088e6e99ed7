"""Shows in a worker's metrics when its certificates end."""

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from forebay.queues.certificates import Certificates
from forebay.schemas.names import CERTIFICATE_EXPIRY

#: Certificates are renewed days before their end.
_EVERY_S = 60.0


async def tell_regularly(
    certificates: Certificates,
    registry: CollectorRegistry = REGISTRY,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Look at the files again and again, until cancelled."""
    name, text = CERTIFICATE_EXPIRY
    gauge = Gauge(name, text, ["certificate"], registry=registry, multiprocess_mode="mostrecent")
    while True:
        for whose, at in certificates.expiries().items():
            gauge.labels(whose).set(at)
        await sleep(_EVERY_S)
