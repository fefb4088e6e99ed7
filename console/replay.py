"""`forebay replay`: the events of a span of time again, to one group."""

from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED
from .invocation import invocation
from .options import AsJson, DryRun, Event, Portal, Rate, Why, Yes
from .terminal.asking import agreed

if TYPE_CHECKING:
    from forebay.console.orders.replay_search import Found, Span
    from forebay.console.settings import Settings


def replay(
    context: typer.Context,
    since: Annotated[str, typer.Option("--from", help="received from this time on (ISO 8601, or -2h)")],
    until: Annotated[str, typer.Option(help="and before this time")],
    portal: Portal = None,
    event: Event = None,
    group: Annotated[
        str | None, typer.Option(help="to this consumer group; by default the one in the settings")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="also what an earlier replay named")] = False,
    rate: Rate = None,
    why: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have the events of a span handled again by one group, which has finished them; other groups see nothing of it.

    A portal's events come again in their order, ahead of its newer ones. Ctrl-C ends it between two portals; run
    again, it goes on with the rest, since what a replay has named is left out. Exit status 1 when events were not
    ordered, or failed again.
    """
    from .planning import show_plan
    from .running import run

    settings = invocation(context).settings(group=group)
    found = run(_found(settings, _span(since, until, portal, event), again))
    show_plan(found.plan, "replay", rate, as_json=as_json)
    _tell_left_out(found)
    if not found.plan or dry_run or not agreed(f"have group {settings.group} handle them again?", yes=yes):
        return
    if not run(_carried_out(settings, found, rate, why)):
        raise typer.Exit(FAILED)


def _span(since: str, until: str, portal: str | None, event: str | None) -> "Span":
    from .orders.replay_search import Span
    from .times import parse_span, utc_now

    first, last = parse_span(since, until, utc_now(), begin="--from")
    return Span(since=first, until=last, portal=portal, event=event)


async def _found(settings: "Settings", span: "Span", again: bool) -> "Found":
    from forebay.schemas.codec import new_codec

    from .decoding import decodable
    from .letters.resolving import check_places
    from .orders.replay_search import Search
    from .reading import opened

    codec = new_codec()
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        search = Search(
            inspector=inspector, codec=codec, topic=settings.topic, group=settings.group, span=span, again=again
        )
        found = await search.run()
        check_places(found.plan, await inspector.partitions(settings.topic))
    return found


def _tell_left_out(found: "Found") -> None:
    from .planning import counted
    from .terminal.output import clean, note
    from .times import from_ms, iso

    if found.to_come:
        note(f"{counted(found.to_come, 'event')} left out, which the group has not finished: they come anyway")
    last = found.earlier.latest
    if found.ordered_before and last is not None:
        why = f", {last.why!r}" if last.why else ""
        told = f"{counted(found.ordered_before, 'event')} left out, named by earlier replays"
        note(clean(f"{told} (the last by {last.who}, {iso(from_ms(last.at_ms))}{why}); --again takes them too"))


async def _carried_out(settings: "Settings", found: "Found", rate: float | None, why: str) -> bool:
    from .orders.replaying import carry_out
    from .reading import inspected, opened

    async with opened(settings) as queue, inspected(queue) as inspector:
        return await carry_out(queue, inspector, settings.topic, found.plan, rate, why, found.since)
