"""`forebay web`: the operators' page."""

from typing import Annotated

import typer

from .errors import WrongUsage
from .invocation import invocation


def web(
    context: typer.Context,
    bind: Annotated[str | None, typer.Option(help="address, host:port")] = None,
) -> None:
    """Show in a browser what lag, parked, dead, quarantine, portals and audit show. Runs until SIGTERM or Ctrl-C.

    It changes nothing: beside each thing stands the command that does.
    """
    import asyncio

    from .processes.binding import wait_until_ours
    from .terminal.output import note

    settings = invocation(context).settings(web_bind=bind)
    if settings.queue_url.startswith("memory:"):
        raise WrongUsage("memory:// is seen by one process alone; the page has to see the queue of the ingest")
    asyncio.run(wait_until_ours({"web_bind": settings.web_bind}))
    from .pages.server import serve

    note(f"the operators' page is at http://{settings.web_bind}/ — Ctrl-C stops")
    serve(settings)
