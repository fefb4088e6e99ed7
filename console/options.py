"""Options that several commands have, with one meaning."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from .errors import WrongUsage


def _read_by(reader: Callable[[str], str]) -> Callable[[typer.CallbackParam, str | None], str | None]:
    """What a filter says. A script makes an empty one of a variable that isn't set, and does not mean everything."""

    def read(param: typer.CallbackParam, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise WrongUsage(f"{param.opts[0]}: is empty; leave it out to take all")
        return reader(text) if text is not None else None

    return read


def _key(portal: str) -> str:
    from .reading import portal_key

    return portal_key(portal)


def of_portal(help: str) -> Any:
    """An option that names a portal; the command gets the key of its records."""
    return typer.Option(help=help, callback=_read_by(_key))


Portal = Annotated[str | None, of_portal("only this portal's")]
Event = Annotated[
    str | None, typer.Option(help="only this code, in any letter case; ONCRM* takes many", callback=_read_by(str))
]
Error = Annotated[
    str | None, typer.Option(help="only where the error or its class holds this text", callback=_read_by(str))
]
Since = Annotated[str | None, typer.Option(help="only from this time on (ISO 8601, or -2h)")]
Until = Annotated[str | None, typer.Option(help="only from before this time")]
Rate = Annotated[float | None, typer.Option(help="order no more events a second than so many", min=0.001)]
Why = Annotated[str, typer.Option(help="the reason, for `forebay audit`")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="don't ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show what is meant")]
AsJson = Annotated[bool, typer.Option("--json", help="one object a line")]
