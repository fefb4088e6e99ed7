"""`forebay tail`: the events as they stand in the queue."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from .invocation import invocation
from .options import AsJson, Event, Portal

if TYPE_CHECKING:
    from forebay.console.event_rows import Wanted
    from forebay.queues.settings import QueueSettings

#: The ends of the log, as places to start from.
_ENDS = ("earliest", "latest")


def tail(
    context: typer.Context,
    start: Annotated[str, typer.Option("--from", help="earliest, latest, or a time (ISO 8601, or -15m)")] = "latest",
    portal: Portal = None,
    event: Event = None,
    count: Annotated[int | None, typer.Option(help="stop after so many; of fewer it waits for more", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Show events as they stand in the queue, and follow it until Ctrl-C."""
    from .event_rows import Wanted
    from .running import run
    from .times import parse_time, to_ms, utc_now

    since_ms = None if start in _ENDS else to_ms(parse_time(start, utc_now()))
    wanted = Wanted(portal=portal, event=event, count=count)
    with suppress(KeyboardInterrupt):
        run(_tail(invocation(context).settings(), start if since_ms is None else since_ms, wanted, as_json))


async def _tail(settings: "QueueSettings", start: str | int, wanted: "Wanted", as_json: bool) -> None:
    from forebay.schemas.codec import new_codec

    from .decoding import decodable
    from .event_rows import follow, readable
    from .reading import opened
    from .terminal.output import line, show_json

    codec = new_codec()
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        async for row in follow(inspector, codec, settings.topic, start, wanted):
            if as_json:
                show_json([row])
            else:
                line(readable(row))
