"""`forebay up`: the whole of Forebay on this machine, from one command."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import Invocation, invocation

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.console.status import StatusLine
    from forebay.console.supervisor import Supervisor
    from forebay.queues.contract import Inspector

EXAMPLE = "forebay.console.example:handlers"

_LOOK_EVERY_S = 0.05


def up(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="[MODULE:OBJECT]", help="your Handlers", show_default=False)
    ] = EXAMPLE,
    bind: Annotated[str | None, typer.Option(help="address of the ingest, host:port")] = None,
    processes: Annotated[int | None, typer.Option(help="worker processes", min=1)] = None,
) -> None:
    """Run ingest and workers here, supervised. Without MODULE:OBJECT each event is printed."""
    options: dict[str, object] = {"bind": bind, "processes": processes}
    called = invocation(context)
    settings = called.settings(**options)
    if settings.queue_url.startswith("memory:"):
        raise WrongUsage("up runs several processes, and memory:// is seen by one alone; leave queue_url out")
    raise typer.Exit(asyncio.run(_up(settings, target, called, options)))


async def _up(settings: "Settings", target: str, called: Invocation, options: dict[str, object]) -> int:
    from .child import ingest, workers
    from .relay import Relay
    from .status import StatusLine
    from .supervisor import Supervisor, stop_on_signals

    line = StatusLine()
    stages = [
        [ingest(called, options, readable=line.live)],
        workers(settings, called, options, target, readable=line.live),
    ]
    relay = Relay(line.say) if line.live else None
    supervisor = Supervisor(stages, grace_s=settings.drain_s, say=line.say, relay=relay)
    stop_on_signals(supervisor)
    watching = asyncio.create_task(_watch(settings, supervisor, line))
    # What keeps us from watching (a queue_url that names no queue) is told at the end; until then nothing would be.
    watching.add_done_callback(lambda done: supervisor.stop(FAILED) if not done.cancelled() else None)
    status = await supervisor.run()
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    line.clear()
    line.say("stopped" if status == 0 else "stopped; not everything ended well")
    return status


async def _watch(settings: "Settings", supervisor: "Supervisor", line: "StatusLine") -> None:
    """Tell when everything is ready, and from then on what happens. The queue is opened while the children start."""
    from .reading import inspected, opened
    from .status import report

    began = monotonic()
    async with opened(settings) as queue, inspected(queue) as inspector:
        await _ready(settings, inspector)
        supervisor.settled = True
        line.say(_welcome(settings, monotonic() - began))
        await report(inspector, settings, line)


async def _ready(settings: "Settings", inspector: "Inspector") -> None:
    """Return when the ingest takes calls and every partition has a worker."""
    from forebay.queues.errors import QueueError

    from .status import all_owned

    while True:
        with suppress(QueueError, OSError):
            if await _takes_calls(settings.bind) and await all_owned(inspector, settings):
                return
        await asyncio.sleep(_LOOK_EVERY_S)


async def _takes_calls(bind: str) -> bool:
    """Whether /ready answers with 200."""
    from .send import reachable

    host, port = reachable(bind)
    reader, writer = await asyncio.open_connection(host.strip("[]"), port)
    try:
        writer.write(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return (await reader.readline()).split()[1:2] == [b"200"]
    finally:
        writer.close()


def _welcome(settings: "Settings", seconds: float) -> str:
    from .send import address

    url = address(settings, shows_secret=False)
    token = "&auth[application_token]=<token>" if settings.served[0].tokens else ""
    body = f"event=ONCRMDEALADD&data[FIELDS][ID]=7&auth[domain]=example.bitrix24.com{token}"
    return f"ready after {seconds:.1f} s on {url} — try:\n  curl -g -d '{body}' '{url}'\nCtrl-C stops"
