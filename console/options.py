"""Options that several commands have, with one meaning."""

from typing import Annotated

import typer

Portal = Annotated[str | None, typer.Option(help="only this portal's")]
Event = Annotated[str | None, typer.Option(help="only this event code; ONCRM* takes many")]
Since = Annotated[str | None, typer.Option(help="only from this time on (ISO 8601, or -2h)")]
Until = Annotated[str | None, typer.Option(help="only from before this time")]
Rate = Annotated[float | None, typer.Option(help="order no more events a second than so many", min=0.001)]
Why = Annotated[str, typer.Option(help="the reason, for `forebay audit`")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="don't ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show what is meant")]
AsJson = Annotated[bool, typer.Option("--json", help="one object a line")]
