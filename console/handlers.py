"""`forebay handlers`: which function handles what."""

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from .options import AsJson


def handlers(
    target: Annotated[str, typer.Argument(metavar="MODULE:OBJECT")],
    as_json: AsJson = False,
) -> None:
    """List the handlers of MODULE:OBJECT with their events and options, and say what looks odd."""
    from .processes.loading import load_handlers
    from .registered_handlers import full_rows, short_rows, warnings
    from .terminal.output import note, show

    # What the module prints is no row.
    with redirect_stdout(sys.stderr):
        found = load_handlers(target)
    rows = full_rows(found) if as_json else short_rows(found)
    show(rows, as_json=as_json, nothing=f"{target} has no handler yet")
    for warning in warnings(found):
        note(f"warning: {warning}")
