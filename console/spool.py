"""`forebay spool`: what waits on this host's disk for the queue."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED
from .invocation import invocation
from .options import AsJson

if TYPE_CHECKING:
    from forebay.console.settings import Settings

Of = Annotated[Path | None, typer.Option("--data-dir", help="of a former host, whose spool is left")]


def commands() -> typer.Typer:
    """The three commands."""
    group = typer.Typer(no_args_is_help=True)

    @group.command("status")
    def _status(context: typer.Context, data_dir: Of = None, as_json: AsJson = False) -> None:
        """Show how much waits, since when, and whether somebody drains it."""
        from dataclasses import asdict

        from .spooled import status
        from .terminal.output import show

        show([asdict(status(_settings(context, data_dir)))], as_json=as_json)

    @group.command("drain")
    def _drain(context: typer.Context, data_dir: Of = None, as_json: AsJson = False) -> None:
        """Send all of it to the queue, in order. Refused while an ingest drains it."""
        from .draining import drained
        from .running import run
        from .terminal.output import show

        account = run(drained(_settings(context, data_dir)))
        show([account], as_json=as_json)
        if account["left"]:
            raise typer.Exit(FAILED)

    @group.command("verify")
    def _verify(context: typer.Context, data_dir: Of = None, as_json: AsJson = False) -> None:
        """Read everything, and compare the checksums. Exit status 1 when something is damaged."""
        from .spooled import faults
        from .terminal.output import show

        found = list(faults(_settings(context, data_dir)))
        show([*found], as_json=as_json, nothing="every record is whole")
        if found:
            raise typer.Exit(FAILED)

    return group


def _settings(context: typer.Context, data_dir: Path | None) -> "Settings":
    called = invocation(context)
    if data_dir is None:
        return called.settings()
    # The former host's folder is only read from: a queue in a file stays where it is by our own settings.
    ours = called.settings()
    return ours.model_copy(update={"data_dir": data_dir})
