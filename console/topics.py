"""`forebay topics`: what the queue needs before anything can run."""

from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED
from .invocation import invocation

if TYPE_CHECKING:
    from forebay.queues.settings import QueueSettings

AsJson = Annotated[bool, typer.Option("--json", help="one object a line")]


def commands() -> typer.Typer:
    """The two commands."""
    group = typer.Typer(no_args_is_help=True)

    @group.command("plan")
    def _plan(context: typer.Context, as_json: AsJson = False) -> None:
        """Show what is missing, and change nothing. Exit status 1 when something is."""
        from .output import show
        from .running import run

        missing = run(_missing(invocation(context).settings()))
        show([{"missing": what} for what in missing], as_json=as_json, nothing="all is there")
        if missing:
            raise typer.Exit(FAILED)

    @group.command("ensure")
    def _ensure(context: typer.Context, as_json: AsJson = False) -> None:
        """Make what is missing. Safe to run again, and at once from many machines."""
        from .output import show
        from .running import run

        made = run(_made(invocation(context).settings()))
        show([{"made": what} for what in made], as_json=as_json, nothing="all was there")

    return group


async def _missing(settings: "QueueSettings") -> list[str]:
    from forebay.schemas.names import streams

    from .reading import opened

    async with opened(settings) as queue:
        return await queue.missing(streams(settings.topic), settings.partitions)


async def _made(settings: "QueueSettings") -> list[str]:
    from forebay.schemas.names import streams

    from .reading import opened

    async with opened(settings) as queue:
        return await queue.ensure(streams(settings.topic), settings.partitions)
