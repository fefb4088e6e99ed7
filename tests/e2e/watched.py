"""A site whose processes are looked at as Prometheus does."""

import time
from collections.abc import Iterable
from contextlib import suppress

from forebay.console.settings import load_settings
from forebay.processors.testing import event
from forebay.queues.contract import Record
from forebay.queues.opening import open_queue
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.answers import called, metrics_of
from tests.ports import free_ports

from .site import Site

HANDLERS = """
from forebay import Handlers, Reject

handlers = Handlers()


for group in GROUPS:

    @handlers.on("*", group=group)
    async def handle(event):
        raise Reject("no stock")
"""

PARTITIONS = 4

#: Of an ingest that has no queue, and the smallest spool.
CUT_OFF = {"queue_url": "kafka://127.0.0.1:9", "spool_max_bytes": str(1 << 20), "auth": "none"}


def shown(port: int) -> str:
    """Nothing while nobody answers."""
    with suppress(OSError):
        return metrics_of(port)
    return ""


def value(text: str, series: str) -> float:
    """Of the one series; 0 while it is not there."""
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{series} ")), 0.0)


def worker(site: Site, name: str, groups: tuple[str, ...] = ("forebay",), *arguments: str) -> int:
    """Start it, and return where it shows its metrics."""
    [port] = free_ports(1)
    (site.folder / f"{name}.py").write_text(HANDLERS.replace("GROUPS", repr(groups)))
    begin(site, name, "process", f"{name}:handlers", *arguments, metrics_bind=f"127.0.0.1:{port}", session_s="1")
    return port


def begin(site: Site, name: str, *arguments: str, **settings: str) -> None:
    """Start it with settings that no other process has."""
    ours = site.settings
    site.settings = ours | {"partitions": str(PARTITIONS), **settings}
    site.start(name, *arguments)
    site.settings = ours


def has_all(port: int) -> bool:
    """Whether the worker has had every partition; and perhaps again, where the machine stood still for a session."""
    return value(shown(port), 'forebay_rebalances_total{change="assigned"}') >= PARTITIONS


def refused(port: int) -> bool:
    """Whether a call was kept nowhere."""
    body = f"event=ONCRMDEALADD&auth[domain]=a.example&data[TEXT]={'x' * 100_000}"
    return called(f"http://127.0.0.1:{port}/bitrix24", body.encode())[0] == 503


async def put(site: Site, ages_s: Iterable[float]) -> None:
    """Events that were received so long ago, in the queue."""
    settings = load_settings(options=site.settings | {"partitions": str(PARTITIONS)}, environ={}).settings
    queue = open_queue(settings)
    await queue.ensure(names.streams(settings.topic), settings.partitions)
    producer = queue.producer()
    for age_s in ages_s:
        made, at_ms = event("ONCRMDEALADD", portal="a.bitrix24.example"), round((time.time() - age_s) * 1000)
        await producer.send(settings.topic, Record(key=made.portal, value=codec().encode(made), timestamp_ms=at_ms))
    await producer.close()
    await queue.close()
