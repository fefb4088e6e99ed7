"""`forebay quarantine`: calls that could not be read, and what to do with them."""

import sys
from typing import TYPE_CHECKING

import typer

from .errors import FAILED
from .invocation import invocation
from .letters.commands import All, Ids, chosen, letter_filter, planned
from .letters.commands import commands as letter_commands
from .options import AsJson, DryRun, Error, Event, Portal, Since, Until, Why, Yes
from .terminal.asking import agreed

if TYPE_CHECKING:
    from forebay.console.letters.requeueing import Reread
    from forebay.console.planning import Plan
    from forebay.console.settings import Settings


def commands() -> typer.Typer:
    """The four commands."""
    return letter_commands("quarantine", _replay)


def _replay(
    context: typer.Context,
    ids: Ids = None,
    portal: Portal = None,
    event: Event = None,
    error: Error = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    why: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Read the calls again, by the present parser and settings, and send them to the end of the topic.

    They keep their ids, and are handled behind the newer events of their portals. What still can't be read
    stays and is listed; then the exit status is 1.
    """
    from .letters.requeueing import look_at
    from .planning import show_plan
    from .running import run

    wanted = chosen("replay", letter_filter(ids or (), portal, event, error, since, until), everything)
    settings = invocation(context).settings()
    plan = planned(settings, "quarantine", wanted)
    if not as_json:
        # Programs are answered with the calls that stay.
        show_plan(plan, "replay", None, as_json=False)
    if not plan:
        return
    if dry_run:
        _tell(run(look_at(settings, plan)), "would be sent", as_json=as_json)
    elif agreed("send them to the end of the topic?", yes=yes):
        _send(settings, plan, why, as_json=as_json)


def _send(settings: "Settings", plan: "Plan", why: str, *, as_json: bool) -> None:
    from .letters.requeueing import Reread, requeue
    from .planning import count_in, counted
    from .running import run
    from .terminal.output import note
    from .terminal.progress import progress

    result = Reread()
    try:
        with progress("replay", count_in(plan), sys.stderr) as told:
            run(requeue(settings, plan, why, result, told))
    finally:
        # Also after an error a person wants to know how far it came.
        if left := count_in(plan) - result.seen:
            note(f"stopped: {counted(result.sent, 'event')} sent, {counted(left, 'call')} left; run the same again")
    _tell(result, "sent", as_json=as_json)
    note(f"{counted(result.sent, 'event')} stand at the end of the topic now, behind newer ones of their portals")
    if left:
        raise typer.Exit(FAILED)


def _tell(result: "Reread", what: str, *, as_json: bool) -> None:
    from .planning import counted
    from .terminal.output import note, show

    show(result.stay, as_json=as_json, nothing=f"{counted(result.sent, 'event')} {what}, none stays")
    if result.stay:
        note(f"{counted(result.sent, 'event')} {what}; {counted(len(result.stay), 'call')} can't be read and stay")
        raise typer.Exit(FAILED)
