"""`forebay move`: what waits in one queue goes to another."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import Invocation, invocation
from .options import AsJson, DryRun, Yes
from .terminal.asking import agreed

if TYPE_CHECKING:
    from forebay.console.moving.move import Move
    from forebay.console.moving.plan import Plan
    from forebay.console.moving.sides import Side

_URL = "a queue_url, or @FILE that has it: a password on a command line is seen by everybody"


def move(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"from where: {_URL}")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="to where, in the same way")],
    group: Annotated[
        str | None, typer.Option(help="what this consumer group has not finished; by default the one in the settings")
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="what any group has not finished: the others get it a second time")
    ] = False,
    partitions: Annotated[
        int | None, typer.Option(help="of the target's streams; by default as in the settings", min=1)
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="also what was moved before")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move what waits in one queue to another, each portal's events in their order: from SQLite to PostgreSQL or Kafka,
    or back.

    Nothing may run on either side meanwhile, and nothing is deleted. Events that are not finished, also those of parked
    portals, go to the topic; open dead letters, quarantined calls and what is known of the portals to their places.
    Ctrl-C or a crash ends it; run again, it goes on with the rest. Exit status 1 when something was not moved.
    """
    from .moving.choosing import ALL
    from .running import run

    if everyone and group:
        raise WrongUsage("--group and --all: one of them must go")
    whose = ALL if everyone else group
    run(_moved(invocation(context), (source, target), whose, partitions, again, yes, dry_run, as_json))


async def _moved(
    called: Invocation,
    urls: tuple[str, str],
    group: str | None,
    partitions: int | None,
    again: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from .moving.move import Move

    async with AsyncExitStack() as opened:
        source = await opened.enter_async_context(_side(called, "SOURCE", urls[0]))
        target = await opened.enter_async_context(_side(called, "TARGET", urls[1], partitions=partitions))
        given = Move(source=source, target=target, group=group, again=again)
        plan = await given.plan()
        _show(given, plan, as_json=as_json)
        if plan.is_empty:
            return
        if dry_run:
            await _tell_reasons(given, plan)
        elif agreed("move it?", yes=yes):
            await _carry_out(given, plan, as_json=as_json)


@asynccontextmanager
async def _side(called: Invocation, what: str, given: str, **options: object) -> "AsyncIterator[Side]":
    from forebay.queues.bad_settings import BadSettings

    from .moving.address import name_of, url_of
    from .moving.sides import Side
    from .reading import inspected, opened

    if not given:
        raise WrongUsage(f"{what} is empty")
    try:
        settings = called.settings(queue_url=url_of(given), **options)
    except BadSettings as error:
        raise WrongUsage(f"{what}: {error}") from error
    async with opened(settings) as queue, inspected(queue) as inspector:
        yield Side(name=name_of(settings.queue_url), settings=settings, queue=queue, inspector=inspector)


def _show(given: "Move", plan: "Plan", *, as_json: bool) -> None:
    from .moving.telling import told_before
    from .terminal.output import clean, note, show

    nothing = "nothing new since it was moved" if plan.since else "nothing waits"
    show(plan.rows(given.topic), as_json=as_json, nothing=nothing)
    for sentence in () if plan.is_empty else told_before(given, plan):
        note(clean(sentence))


async def _tell_reasons(given: "Move", plan: "Plan") -> None:
    from .terminal.output import clean, note

    for reason in await given.reasons(plan):
        note(clean(f"not yet: {reason}"))


async def _carry_out(given: "Move", plan: "Plan", *, as_json: bool) -> None:
    import sys

    from .moving.errors import CantMove
    from .moving.telling import told_after
    from .stillness import QUIET_S
    from .stopping import Stop, ended_by_ctrl_c
    from .terminal.output import note, show_json
    from .terminal.progress import progress

    note(f"watching for {QUIET_S} s that nothing is written on either side, and nobody works …")
    stop, moved, is_done, goes_on = Stop(), 0, False, True
    try:
        with ended_by_ctrl_c(stop), progress("move", plan.records, sys.stderr) as told:

            def sent(count: int) -> None:
                nonlocal moved
                moved += count
                told(plan.there + moved)

            await given.carry_out(plan, stop, sent)
            is_done = not stop.is_asked
    except CantMove:
        goes_on = False
        raise
    finally:
        # Also after an error a person wants to know how far it came.
        if as_json:
            show_json([{"moved": moved, "before": plan.there, "left": max(0, plan.records - plan.there - moved)}])
        for sentence in told_after(given, plan, moved, is_done=is_done, goes_on=goes_on):
            note(sentence)
    if not is_done:
        raise typer.Exit(FAILED)
