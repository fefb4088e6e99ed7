"""`forebay lag`: how far a group is behind."""

from typing import Annotated

import typer

from .invocation import invocation
from .options import AsJson, of_portal


def lag(
    context: typer.Context,
    portal: Annotated[str | None, of_portal("only what waits of this portal")] = None,
    group: Annotated[str | None, typer.Option(help="the consumer group")] = None,
    as_json: AsJson = False,
) -> None:
    """A row a partition: records that are not finished, the age of the oldest, who owns it, and what is parked."""
    from .group_lag import told_lags
    from .running import run
    from .terminal.output import show

    show(run(told_lags(invocation(context).settings(group=group), portal)), as_json=as_json)
