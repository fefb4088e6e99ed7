"""`forebay audit`: what operators did."""

from typing import TYPE_CHECKING, Annotated

import typer

from .invocation import invocation
from .options import AsJson, Since, Until, of_portal

if TYPE_CHECKING:
    from forebay.console.terminal.output import Row


def audit(
    context: typer.Context,
    portal: Annotated[str | None, of_portal("only about this portal")] = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """What operators did with parked portals, dead letters, quarantined calls and whole queues: who, when and why."""
    from .orders.trail import trail
    from .reading import inspected, opened
    from .running import run
    from .terminal.output import show
    from .times import parse_span, utc_now

    settings, span = invocation(context).settings(), parse_span(since, until, utc_now())

    async def _rows() -> "list[Row]":
        async with opened(settings) as queue, inspected(queue) as inspector:
            return await trail(inspector, settings.topic, portal, *span)

    show(run(_rows()), as_json=as_json, nothing="nobody did anything")
