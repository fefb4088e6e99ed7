"""`forebay handlers`: which function handles what."""

from typing import Annotated

import typer


def handlers(
    target: Annotated[str, typer.Argument(metavar="MODULE:OBJECT")],
    as_json: Annotated[bool, typer.Option("--json", help="one object a line")] = False,
) -> None:
    """List the handlers of MODULE:OBJECT with their events."""
    from .loading import load_handlers
    from .output import show

    rows = [
        {
            "pattern": handler.pattern,
            "kind": handler.options.kind,
            "handler": handler.name,
            "place": handler.place,
            "async": handler.is_async,
            "deadline_s": handler.options.deadline_s,
            "tries": handler.options.tries,
        }
        for handler in load_handlers(target)
    ]
    show(rows, as_json=as_json, nothing=f"{target} has no handler yet")
