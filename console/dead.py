"""`forebay dead` and `forebay quarantine`: what was given up or could not be read, and what to do with it."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .asking import agreed
from .errors import FAILED, WrongUsage
from .invocation import invocation
from .options import AsJson, DryRun, Error, Event, Portal, Rate, Since, Until, Why, Yes

if TYPE_CHECKING:
    from forebay.console.letters import Filter
    from forebay.console.planning import Plan
    from forebay.console.requeueing import Reread
    from forebay.console.settings import Settings

Ids = Annotated[list[str] | None, typer.Argument(help="only these", metavar="[ID]...", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="without any filter")]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """The options that say how to go about it."""

    yes: bool
    dry_run: bool
    as_json: bool
    why: str
    rate: float | None = None


def commands(name: str) -> typer.Typer:
    """The commands over the box of that name."""
    group = typer.Typer(no_args_is_help=True)

    @group.command("list")
    def _list(
        context: typer.Context,
        portal: Portal = None,
        event: Event = None,
        error: Error = None,
        since: Since = None,
        until: Until = None,
        as_json: AsJson = False,
    ) -> None:
        """List what is open: neither replayed nor discarded."""
        from forebay.schemas.codec import new_codec

        from .output import show
        from .resolving import open_rows
        from .running import run

        wanted = _filter((), portal, event, error, since, until)
        show(run(open_rows(invocation(context).settings(), new_codec(), name, wanted)), as_json=as_json)

    @group.command("show")
    def _show(
        context: typer.Context, letter: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False
    ) -> None:
        """Show everything that is known of one: its error, its traceback, what was sent."""
        from forebay.schemas.codec import new_codec

        from .details import show_details
        from .portal_keys import keyring_of
        from .resolving import open_letters
        from .running import run

        wanted = _filter((letter,), None, None, None, None, None)
        settings, codec = invocation(context).settings(), new_codec()
        found = run(open_letters(settings, codec, name, wanted))
        if not found:
            raise WrongUsage(f"nothing open has the id {letter}; `forebay {name} list` shows what is")
        show_details(found, run(keyring_of(settings)), codec, as_json=as_json)

    if name == "dead":

        @group.command("replay")
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
            wanted = _filter(ids or (), portal, event, error, since, until)
            how = How(yes=yes, dry_run=dry_run, as_json=as_json, why=why, rate=rate)
            _replay_dead(context, _chosen("replay", wanted, everything), how)
    else:

        @group.command("replay")
        def _requeue(
            context: typer.Context,
            ids: Ids = None,
            portal: Portal = None,
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
            wanted = _filter(ids or (), portal, None, error, since, until)
            how = How(yes=yes, dry_run=dry_run, as_json=as_json, why=why)
            _replay_quarantine(context, _chosen("replay", wanted, everything), how)

    @group.command("discard")
    def _discard(
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
        """Write down that nothing is to become of them, and do nothing more."""
        wanted = _filter(ids or (), portal, event, error, since, until)
        how = How(yes=yes, dry_run=dry_run, as_json=as_json, why=why)
        _discard_letters(context, name, _chosen("discard", wanted, everything), how)

    return group


def _filter(
    ids: "list[str] | tuple[str, ...]",
    portal: str | None,
    event: str | None,
    error: str | None,
    since: str | None,
    until: str | None,
) -> "Filter":
    from .letters import Filter
    from .times import parse_span, utc_now

    first, last = parse_span(since, until, utc_now())
    return Filter(ids=tuple(ids), portal=portal, event=event, error=error, since=first, until=last)


def _chosen(doing: str, wanted: "Filter", everything: bool) -> "Filter":
    from .letters import Filter

    if (wanted == Filter()) is not everything:
        raise WrongUsage(f"say which to {doing}: ids or a filter (--portal, --error, …), or --all and none of them")
    return wanted


def _planned(settings: "Settings", name: str, wanted: "Filter", doing: str, how: How) -> "Plan":
    """The plan, shown; empty when nothing is to be done."""
    from forebay.schemas.codec import new_codec

    from .planning import show_plan
    from .resolving import plan_of
    from .running import run

    plan = run(plan_of(settings, new_codec(), name, wanted))
    # The replay of quarantined calls answers with those that stay.
    if not (how.as_json and (name, doing) == ("quarantine", "replay")):
        show_plan(plan, doing, how.rate, as_json=how.as_json)
    return plan


def _replay_dead(context: typer.Context, wanted: "Filter", how: How) -> None:
    from .resolving import replay_letters
    from .running import run

    settings = invocation(context).settings()
    plan = _planned(settings, "dead", wanted, "replay", how)
    if not plan or how.dry_run or not agreed("replay them?", yes=how.yes):
        return
    if not run(replay_letters(settings, plan, how.rate, how.why)):
        raise typer.Exit(FAILED)


def _replay_quarantine(context: typer.Context, wanted: "Filter", how: How) -> None:
    from .output import note
    from .planning import count_in, counted
    from .progress import progress
    from .requeueing import Reread, look_at, requeue
    from .running import run

    settings = invocation(context).settings()
    plan = _planned(settings, "quarantine", wanted, "replay", how)
    if not plan or (not how.dry_run and not agreed("send them to the end of the topic?", yes=how.yes)):
        return
    if how.dry_run:
        _tell_reread(run(look_at(settings, plan)), "would be sent", how)
        return
    result = Reread()
    try:
        with progress("replay", count_in(plan), sys.stderr) as told:
            run(requeue(settings, plan, how.why, result, told))
    finally:
        # Also after an error a person wants to know how far it came.
        if left := count_in(plan) - result.seen:
            note(f"stopped: {counted(result.sent, 'event')} sent, {counted(left, 'call')} left; run the same again")
    _tell_reread(result, "sent", how)
    note(f"{counted(result.sent, 'event')} stand at the end of the topic now, behind newer ones of their portals")
    if left:
        raise typer.Exit(FAILED)


def _tell_reread(result: "Reread", what: str, how: How) -> None:
    from .output import note, show
    from .planning import counted

    show(result.stay, as_json=how.as_json, nothing=f"{counted(result.sent, 'event')} {what}, none stays")
    if result.stay:
        note(f"{counted(result.sent, 'event')} {what}; {counted(len(result.stay), 'call')} can't be read and stay")
        raise typer.Exit(FAILED)


def _discard_letters(context: typer.Context, name: str, wanted: "Filter", how: How) -> None:
    from .letters import BOXES
    from .output import note
    from .planning import counted
    from .resolving import discard_letters
    from .running import run

    settings = invocation(context).settings()
    plan = _planned(settings, name, wanted, "discard", how)
    if not plan or how.dry_run or not agreed("discard them?", yes=how.yes):
        return
    done = run(discard_letters(settings, plan, how.why))
    if done.left:
        raise typer.Exit(FAILED)
    note(f"{counted(done.letters, BOXES[name].what)} discarded")
