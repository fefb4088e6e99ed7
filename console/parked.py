"""`forebay parked`: portals that wait, and what to do with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import invocation
from .options import AsJson, Why, Yes, of_portal
from .terminal.asking import agreed

if TYPE_CHECKING:
    from forebay.console.orders.following import Following
    from forebay.console.orders.parking_view import Waiting
    from forebay.console.settings import Settings

Portals = Annotated[list[str] | None, typer.Option("--portal", help="this portal; may be said several times")]
Group = Annotated[str | None, typer.Option(help="of this consumer group; by default the one in the settings")]
All = Annotated[bool, typer.Option("--all", help="every portal that is parked in the group")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show which portals are meant")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="until a worker has obeyed")]

#: As `state.Reason` has them; that module is not imported for `--help`.
_REASONS = ("failing", "flooding", "held", "replay")


def commands() -> typer.Typer:
    """The four commands."""
    group = typer.Typer(no_args_is_help=True)

    @group.command("list")
    def _list(
        context: typer.Context,
        portal: Annotated[str | None, of_portal("only this portal")] = None,
        group: Annotated[str | None, typer.Option(help="only of this consumer group; by default of all")] = None,
        reason: Annotated[str | None, typer.Option(help="only those: failing, flooding, held or replay")] = None,
        as_json: AsJson = False,
    ) -> None:
        """List the portals that wait, the longest first: why, for how long, and when they are tried again."""
        from .orders.parked import list_waiting
        from .running import run
        from .terminal.output import show

        if reason is not None and reason not in _REASONS:
            raise WrongUsage(f"--reason: {reason!r} is none; there are {', '.join(_REASONS)}")
        found = run(list_waiting(invocation(context).settings(), group, portal, reason))
        show([one.row() for one in found], as_json=as_json, nothing="no portal waits")

    @group.command("resume")
    def _resume(
        context: typer.Context,
        portal: Portals = None,
        everything: All = False,
        group: Group = None,
        why: Why = "",
        wait: Wait = True,
        yes: Yes = False,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        """Try them again now, with all their tries, whether they are held or wait for their time."""
        how = _How(why=why, wait=wait, yes=yes, dry_run=dry_run, as_json=as_json)
        _order("resume", invocation(context).settings(group=group), portal or (), how, everything=everything)

    @group.command("hold")
    def _hold(
        context: typer.Context,
        portal: Portals = None,
        group: Group = None,
        why: Why = "",
        wait: Wait = True,
        yes: Yes = False,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        """Let their events wait until you say `resume`, whether or not they are parked now."""
        how = _How(why=why, wait=wait, yes=yes, dry_run=dry_run, as_json=as_json)
        _order("hold", invocation(context).settings(group=group), portal or (), how)

    @group.command("discard")
    def _discard(
        context: typer.Context,
        portal: Portals = None,
        everything: All = False,
        group: Group = None,
        why: Why = "",
        wait: Wait = True,
        yes: Yes = False,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        """Make dead letters of all that waits now, untried; they can be replayed. What comes later is handled."""
        how = _How(why=why, wait=wait, yes=yes, dry_run=dry_run, as_json=as_json)
        _order("discard", invocation(context).settings(group=group), portal or (), how, everything=everything)

    return group


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """The options that say how to go about it."""

    why: str
    wait: bool
    yes: bool
    dry_run: bool
    as_json: bool


def _order(what: str, settings: "Settings", portals: Sequence[str], how: _How, *, everything: bool = False) -> None:
    """Order it for the portals, or for every one that is parked, after they were shown and agreed to."""
    from forebay.processors.parking.orders import What

    from .group_lag import nobody_read
    from .orders.parked import order, read_by_others_alone
    from .running import run
    from .terminal.output import note

    if bool(portals) is everything:
        also = "" if what == "hold" else ", or --all"
        raise WrongUsage(f"say which portals to {what}: --portal, as often as you like{also}")
    keys = _meant(what, settings, portals, as_json=how.as_json)
    if others := run(read_by_others_alone(settings)):
        note(nobody_read(settings.group, others))
    if not keys or how.dry_run or not agreed(f"{what} {len(keys)} of group {settings.group}?", yes=how.yes):
        return
    ordered = run(order(settings, What(what), keys, how.why, wait=how.wait))
    _tell(what, ordered.written, ordered.following, wait=how.wait)
    if ordered.left or others:
        raise typer.Exit(FAILED)


def _meant(what: str, settings: "Settings", portals: Sequence[str], *, as_json: bool) -> list[str]:
    """The keys of the portals that are meant, none of them named: all that wait. Those that wait are shown."""
    from .orders.parked import list_waiting
    from .reading import portal_key
    from .running import run
    from .terminal.output import note, show

    found = run(list_waiting(settings, settings.group))
    keys = list(dict.fromkeys(map(portal_key, portals))) or [one.portal for one in found]
    meant = [one for one in found if one.portal in keys]
    show([one.row() for one in meant], as_json=as_json, nothing=f"none of them waits in group {settings.group}")
    if what != "hold":
        return _only_waiting(keys, meant, settings.group)
    if absent := [key for key in keys if key not in {one.portal for one in meant}]:
        note(f"not parked now, so what comes next will wait: {', '.join(absent)}")
    return keys


def _only_waiting(keys: list[str], meant: "list[Waiting]", group: str) -> list[str]:
    from .terminal.output import note

    waiting = [one.portal for one in meant]
    if absent := [key for key in keys if key not in waiting]:
        note(f"not parked in group {group}, and left alone: {', '.join(absent)}")
        if not waiting:
            raise typer.Exit(FAILED)
    return [key for key in keys if key in waiting]


def _tell(what: str, count: int, following: "Following", *, wait: bool) -> None:
    from .planning import counted
    from .terminal.output import note

    note(f"{what}: ordered for {counted(count, 'portal')}, obeyed for {count - following.open}")
    if nobody := following.without_worker:
        partitions = ", ".join(str(partition) for _, partition in nobody)
        note(f"no worker of group {nobody[0][0]} has partitions {partitions}: it is obeyed when one starts")
    elif following.open and wait:
        note("no worker has said yet that it obeyed; forebay parked list shows it: look at the workers' log")
        raise typer.Exit(FAILED)
