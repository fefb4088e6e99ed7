"""The `forebay` command. What a command needs is imported when it runs, so that `--help` is there at once."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import dead, keys, parked, portals, quarantine, spool, topics
from .audit import audit
from .canary import canary
from .doctor import doctor
from .failures import told
from .handlers import handlers
from .ingest import ingest
from .invocation import Invocation
from .lag import lag
from .move import move
from .process import process
from .replay import replay
from .send import send
from .tail import tail
from .terminal.printing import printed
from .up import up
from .web import web


def _version(asked: bool) -> None:
    if asked:
        from .versions import version_of

        typer.echo(f"forebay {version_of('forebay') or 'from its source'}")
        raise typer.Exit


def _forebay(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="settings; by default forebay.toml, if it is there")] = None,
    queue_url: Annotated[str | None, typer.Option(help="which queue")] = None,
    topic: Annotated[str | None, typer.Option(help="which stream")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="where the embedded queue is")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="show it")] = False,
) -> None:
    """The incoming queue for Bitrix24 events: answers at once, keeps every event in the order of its portal."""
    options = {"queue_url": queue_url, "topic": topic, "data_dir": data_dir and str(data_dir)}
    context.obj = Invocation(config=config, options=options)


def build() -> typer.Typer:
    """The command with all its groups."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_forebay)
    for command in (up, ingest, process, send, canary, tail, lag, replay, move, audit, handlers, doctor, web):
        app.command()(command)
    app.add_typer(dead.commands(), name="dead", help="What was given up: list, show, replay, discard.")
    app.add_typer(quarantine.commands(), name="quarantine", help="Calls that could not be read.")
    app.add_typer(parked.commands(), name="parked", help="Portals that wait: list, resume, hold, discard.")
    app.add_typer(portals.commands(), name="portals", help="Who may call: list, show, add, forget, verify.")
    app.add_typer(topics.commands(), name="topics", help="What the queue needs: plan, ensure, grow.")
    app.add_typer(spool.commands(), name="spool", help="What waits on this host for the queue: status, drain, verify.")
    app.add_typer(keys.commands(), name="keys", help="The keys that seal secrets: new, rotate, status.")
    return app


def _run() -> int:
    build()(prog_name="forebay", standalone_mode=True)
    return 0


def main() -> None:
    """Run the command of this process's arguments, and exit with its status."""
    sys.exit(printed(lambda: told(_run)))


if __name__ == "__main__":
    main()
