"""`forebay up`: the whole of Forebay on this machine, from one command."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import invocation

if TYPE_CHECKING:
    from forebay.console.processes.status import StatusLine
    from forebay.console.processes.supervisor import Supervisor
    from forebay.console.settings import Loaded, Settings
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
    loaded = invocation(context).load(bind=bind, processes=processes)
    if loaded.settings.queue_url.startswith("memory:"):
        raise WrongUsage("up runs several processes, and memory:// is seen by one alone; leave queue_url out")
    raise typer.Exit(asyncio.run(_up(loaded, target)))


async def _up(loaded: "Loaded", target: str) -> int:
    """Refuse what can't come to work before anything is started, which would try it for ever; then run everything."""
    from forebay.ingest.metric_files import metrics_folder

    from .processes.binding import wait_until_all_free

    settings = loaded.settings
    sockets = await wait_until_all_free(settings)
    # A broker may come up while the children wait for it; a folder that can't be written to stays as it is.
    if settings.queue_url.startswith("sqlite"):
        await _made(settings)
    with metrics_folder() as folder:
        return await _run(loaded, target, sockets, folder)


async def _made(settings: "Settings") -> None:
    from .processes.provisioning import ensured
    from .reading import opened

    async with opened(settings) as queue:
        await ensured(queue, settings)


async def _run(loaded: "Loaded", target: str, sockets: Sequence[int], folder: str) -> int:
    from forebay.processors.printing import lossy

    from .processes.child import ingest, workers
    from .processes.relay import Relay
    from .processes.status import StatusLine
    from .processes.supervisor import Supervisor, stop_on_signals

    # What nobody reads keeps neither the children waiting nor a stop.
    settings, line = loaded.settings, StatusLine(lossy(sys.stdout))
    stages = [[ingest(loaded, sockets, readable=line.live)], workers(loaded, target, readable=line.live)]
    relay = Relay(line.say) if line.live else None
    supervisor = Supervisor(stages, grace_s=settings.drain_s, say=line.say, relay=relay, folder=folder)
    stop_on_signals(supervisor)
    watching = asyncio.create_task(_Watch(settings=settings, supervisor=supervisor, line=line, folder=folder).run())
    # What keeps us from watching (a queue's library that is missing) is told at the end; until then nothing would be.
    watching.add_done_callback(lambda done: supervisor.stop(FAILED) if not done.cancelled() else None)
    status = await supervisor.run()
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    line.clear()
    line.say("stopped" if status == 0 else "stopped; not everything ended well")
    return status


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """Tells when everything is ready, and from then on what happens."""

    settings: "Settings"
    supervisor: "Supervisor"
    line: "StatusLine"
    folder: str

    async def run(self) -> None:
        """The queue is opened while the children start."""
        from .processes.status import report
        from .reading import inspected, opened

        settings, began = self.settings, monotonic()
        async with opened(settings) as queue, inspected(queue) as inspector:
            await self._ready(inspector)
            self.supervisor.settled = True
            self.line.say(_welcome(settings, monotonic() - began))
            await report(inspector, settings.topic, self._groups() or [settings.group], self.line)

    async def _ready(self, inspector: "Inspector") -> None:
        """Return when our ingest takes calls, and each group of the handlers has a living worker for every partition.

        Who owned a partition before our workers came may have been killed. He keeps it for a session, and then is gone.
        """
        from forebay.queues.errors import QueueError

        from .processes.status import owners

        settings, began = self.settings, monotonic()
        before: set[str] | None = None
        while True:
            with suppress(QueueError, OSError):
                groups = self._groups()
                owned = set(await owners(inspector, settings.topic, groups or [settings.group]))
                before = {owner for owner in owned if owner} if before is None else before
                doubtful = before if monotonic() - began < settings.session_s else set()
                are_at_work = groups and None not in owned and not owned & doubtful
                if are_at_work and self._listens() and await _takes_calls(settings.bind):
                    return
            await asyncio.sleep(_LOOK_EVERY_S)

    def _listens(self) -> bool:
        from .processes.shared_folder import has_told

        ingest = self.supervisor.running.get("ingest")
        return ingest is not None and has_told(self.folder, ingest.pid)

    def _groups(self) -> list[str]:
        """The handlers say which, and only the workers know them. Each worker has all of them."""
        from .processes.shared_folder import groups_of

        workers = (process for name, process in self.supervisor.running.items() if name != "ingest")
        told = (groups_of(self.folder, process.pid) for process in workers)
        return next((found for found in told if found), [])


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
