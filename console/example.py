"""Handlers that print each event: what `forebay up` runs when it is given none."""

from datetime import UTC, datetime

from forebay import Handlers, PortalEvent

from .terminal.output import clean

handlers = Handlers()

#: Of what an event holds, so much stands on its line.
_SHOWN_CHARS = 100


@handlers.on("*")
@handlers.on("*", kind="robot")
@handlers.on("*", kind="automation")
@handlers.on("*", kind="sms")
@handlers.on("*", kind="other")
async def show(event: PortalEvent) -> None:
    """Print one line."""
    waited_ms = (datetime.now(UTC) - event.received_at).total_seconds() * 1000
    print(clean(f"{event.portal}  {event.name or event.kind}  {str(event.data)[:_SHOWN_CHARS]}  ({waited_ms:.0f} ms)"))
