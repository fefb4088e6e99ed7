"""`forebay process`: the side that calls handlers."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from .invocation import invocation

if TYPE_CHECKING:
    from forebay.console.settings import Loaded


def process(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="MODULE:OBJECT", help="your Handlers, as in shop:handlers")],
    processes: Annotated[int | None, typer.Option(help="worker processes", min=1)] = None,
    group: Annotated[
        str | None, typer.Option(help="this group alone; without it every group that the handlers name")
    ] = None,
) -> None:
    """Call the handlers with the events of the queue. Runs until SIGTERM or Ctrl-C."""
    from .processes.worker import run_worker

    called = invocation(context)
    # A name that can't be a group's is refused as the setting is; but the setting goes on saying whose the handlers
    # are that name none, some of which may be in the group that was asked for.
    called.settings(processes=processes, group=group)
    loaded = called.load(processes=processes)
    if loaded.settings.processes == 1:
        raise typer.Exit(run_worker(loaded.settings, target, only=group))
    import asyncio

    from forebay.queues.opening import open_checked

    # A file may be missing yet: who is started again later tries again, but the start tells it once, and ends.
    open_checked(loaded.settings)
    raise typer.Exit(asyncio.run(_supervise(loaded, target, only=group)))


async def _supervise(loaded: "Loaded", target: str, *, only: str | None) -> int:
    from forebay.ingest.metric_files import metrics_folder

    from .processes.child import workers
    from .processes.health_server import served, supervised_routes
    from .processes.supervisor import Supervisor, stop_on_signals

    settings, children = loaded.settings, workers(loaded, target, only=only)
    with metrics_folder() as folder:
        supervisor = Supervisor([children], grace_s=settings.drain_s, say=_warn, folder=folder)
        # There is no moment at which workers are known to be well; a wrong target ends them with a status of its own.
        supervisor.settled = True
        stop_on_signals(supervisor)
        async with AsyncExitStack() as stack:
            if settings.metrics_bind:
                routes = supervised_routes(folder, [child.name for child in children], supervisor.running)
                await stack.enter_async_context(served(settings.metrics_bind, routes))
            return await supervisor.run()


def _warn(text: str) -> None:
    """What becomes of the workers stands among their own lines."""
    from forebay.schemas.logger import get_logger

    get_logger("forebay.console.processes.supervisor").warning(text)
