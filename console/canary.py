"""`forebay canary`: an event of its own through the whole way, again and again."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .errors import FAILED, WrongUsage
from .invocation import invocation
from .options import AsJson

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.console.traffic.canary_metrics import CanaryMetrics
    from forebay.console.traffic.canary_probe import Passage, Probe
    from forebay.queues.contract import Inspector


def canary(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="where to; by default the ingest of the settings")] = None,
    every: Annotated[float, typer.Option(help="seconds from one event to the next", min=0.1)] = 30.0,
    timeout: Annotated[float, typer.Option(help="an event that needs more seconds is missed", min=0.1)] = 30.0,
    until: Annotated[Literal["queued", "finished"], typer.Option(help="how far it is followed")] = "finished",
    group: Annotated[list[str] | None, typer.Option(help="a group that has to finish it; may be repeated")] = None,
    once: Annotated[bool, typer.Option("--once", help="one event; exit status 1 when it is missed")] = False,
    token: Annotated[str | None, typer.Option(help="application_token; by default that of the settings")] = None,
    metrics_bind: Annotated[str | None, typer.Option(help="serve /metrics and /live at host:port")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a marked event as a portal does, and see it answered, in the queue, and finished. No handler gets it.

    Without --once the queue is also looked at every ten minutes, as `forebay doctor` does.
    Its portal is canary.forebay.invalid: with tokens, list one for it or for `*`.
    """
    from forebay.schemas.names import CANARY_DOMAIN

    from .running import run
    from .send import address, token_of
    from .traffic.canary_probe import Probe

    settings = invocation(context).settings(metrics_bind=metrics_bind)
    if settings.queue_url.startswith("memory:"):
        raise WrongUsage("memory:// is seen by one process alone; the canary has to see the queue of the ingest")
    probe = Probe(
        url=url or address(settings),
        token=token or token_of(settings, CANARY_DOMAIN),
        topic=settings.topic,
        groups=tuple(group or (settings.group,)),
        until=until,
        patience_s=timeout,
    )
    if once:
        raise typer.Exit(0 if run(_once(settings, probe, as_json)) else FAILED)
    run(_until_stopped(settings, probe, every, as_json))


async def _once(settings: "Settings", probe: "Probe", as_json: bool) -> bool:
    from .reading import inspected, opened

    async with opened(settings) as queue, inspected(queue) as inspector:
        passage = await probe.go(inspector)
    _tell(passage, as_json)
    return passage.came_through


async def _until_stopped(settings: "Settings", probe: "Probe", every_s: float, as_json: bool) -> None:
    import asyncio
    import signal
    import sys
    from contextlib import AsyncExitStack

    from prometheus_client import CollectorRegistry

    from forebay.processors.printing import lossy

    from .checks.queue import queue_findings
    from .checks.watch import watch_queue
    from .processes.health_server import metrics_routes, served
    from .reading import inspected, opened
    from .traffic.canary_metrics import CanaryMetrics

    # What nobody reads keeps neither the next event waiting, nor a scrape, nor a stop.
    sys.stdout = lossy(sys.stdout)
    metrics = CanaryMetrics(registry := CollectorRegistry())
    async with AsyncExitStack() as stack:
        inspector = await stack.enter_async_context(inspected(await stack.enter_async_context(opened(settings))))
        if settings.metrics_bind:
            await stack.enter_async_context(served(settings.metrics_bind, metrics_routes(registry)))
        watching = asyncio.create_task(watch_queue(lambda: queue_findings(settings, "canary"), metrics.looked))
        stack.callback(watching.cancel)
        flying = asyncio.create_task(_fly(probe, inspector, every_s, metrics, as_json))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, flying.cancel)
        await asyncio.wait([flying])
        if not flying.cancelled():
            flying.result()


async def _fly(probe: "Probe", inspector: "Inspector", every_s: float, metrics: "CanaryMetrics", as_json: bool) -> None:
    import asyncio
    from time import monotonic, time

    while True:
        due = monotonic() + every_s
        metrics.sent()
        passage = await probe.go(inspector)
        metrics.passed(passage, time())
        _tell(passage, as_json)
        await asyncio.sleep(due - monotonic())


def _tell(passage: "Passage", as_json: bool) -> None:
    from .terminal.output import clean, line, show_json

    if as_json:
        show_json([passage.row()])
    else:
        line(clean(passage.line()))
