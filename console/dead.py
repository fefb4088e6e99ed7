"""`forebay dead`: what was given up, and what to do with it."""

import typer

from .errors import FAILED
from .invocation import invocation
from .letters.commands import All, Ids, chosen, letter_filter, planned
from .letters.commands import commands as letter_commands
from .options import AsJson, DryRun, Error, Event, Portal, Rate, Since, Until, Why, Yes
from .terminal.asking import agreed


def commands() -> typer.Typer:
    """The four commands."""
    return letter_commands("dead", _replay)


def _replay(
    context: typer.Context,
    ids: Ids = None,
    portal: Portal = None,
    event: Event = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    rate: Rate = None,
    why: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have the events handled again by the group that gave them up, ahead of their portals' newer events.

    Ctrl-C ends it between two portals; run again, it goes on with the rest. Exit status 1 when events were
    not ordered, or failed again.
    """
    from .letters.resolving import replay_letters
    from .planning import show_plan
    from .running import run

    wanted = chosen("replay", letter_filter(ids or (), portal, event, error, since, until), everything)
    settings = invocation(context).settings()
    plan = planned(settings, "dead", wanted)
    show_plan(plan, "replay", rate, as_json=as_json)
    if not plan or dry_run or not agreed("replay them?", yes=yes):
        return
    if not run(replay_letters(settings, plan, rate, why)):
        raise typer.Exit(FAILED)
