"""`forebay ingest`: the side that portals call."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from .invocation import invocation

if TYPE_CHECKING:
    from forebay.console.settings import Settings


def ingest(
    context: typer.Context,
    bind: Annotated[str | None, typer.Option(help="address, host:port")] = None,
    ingest_processes: Annotated[int | None, typer.Option("--processes", help="gunicorn workers", min=1)] = None,
) -> None:
    """Take calls, keep them in the queue, and answer. Runs until SIGTERM or Ctrl-C.

    At SIGHUP it reads forebay.toml and the files that settings name again, and goes on by them without losing a call.
    """

    def written() -> "Settings":
        return invocation(context).settings(bind=bind, ingest_processes=ingest_processes)

    settings = written()
    from .processes.binding import wait_until_all_free

    # gunicorn would try for five seconds, and name no setting.
    asyncio.run(wait_until_all_free(settings))
    from forebay.ingest.server import serve

    serve(settings, reread=written)
