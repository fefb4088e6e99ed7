"""`forebay dead` and `forebay quarantine`: what was given up or could not be read, and what to do with it."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import invocation

if TYPE_CHECKING:
    from forebay.console.letters import Filter

Ids = Annotated[list[str] | None, typer.Argument(help="only these", metavar="[ID]...", show_default=False)]
Portal = Annotated[str | None, typer.Option(help="only this portal's")]
Event = Annotated[str | None, typer.Option(help="only this event code; ONCRM* takes many")]
Error = Annotated[str | None, typer.Option(help="only where the error or its class holds this text")]
Since = Annotated[str | None, typer.Option(help="only from this time on (ISO 8601, or -2h)")]
Until = Annotated[str | None, typer.Option(help="only from before this time")]
All = Annotated[bool, typer.Option("--all", help="without any filter")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="don't ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show what is meant")]
AsJson = Annotated[bool, typer.Option("--json", help="one object a line")]


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
        from .resolving import open_letters
        from .running import run

        wanted = _filter((), portal, event, error, since, until)
        found = run(open_letters(invocation(context).settings(), new_codec(), name, wanted))
        show([letter.row() for letter in found], as_json=as_json)

    @group.command("show")
    def _show(
        context: typer.Context, letter: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False
    ) -> None:
        """Show everything that is known of one: its error, its traceback, what was sent."""
        from forebay.schemas.codec import new_codec

        from .details import show_details
        from .resolving import open_letters
        from .running import run

        wanted = _filter((letter,), None, None, None, None, None)
        settings, codec = invocation(context).settings(), new_codec()
        found = run(open_letters(settings, codec, name, wanted))
        if not found:
            raise WrongUsage(f"nothing open has the id {letter}; `forebay {name} list` shows what is")
        show_details(found, settings.seal_key_bytes(), codec, as_json=as_json)

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
            yes: Yes = False,
            dry_run: DryRun = False,
            as_json: AsJson = False,
        ) -> None:
            """Send the events again, to the group that gave them up. At least once: a crash on the way repeats some."""
            wanted = _filter(ids or (), portal, event, error, since, until)
            _resolve(context, name, "replay", wanted, everything, (yes, dry_run, as_json))

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
        yes: Yes = False,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        """Mark as dealt with, and do nothing more."""
        wanted = _filter(ids or (), portal, event, error, since, until)
        _resolve(context, name, "discard", wanted, everything, (yes, dry_run, as_json))

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
    from .reading import portal_key
    from .times import parse_time, utc_now

    return Filter(
        ids=tuple(ids),
        portal=portal_key(portal) if portal else None,
        event=event and event.upper(),
        error=error,
        since=parse_time(since, utc_now()) if since else None,
        until=parse_time(until, utc_now()) if until else None,
    )


def _resolve(
    context: typer.Context, name: str, how: str, wanted: "Filter", everything: bool, flags: tuple[bool, bool, bool]
) -> None:
    from forebay.schemas.codec import new_codec

    from .letters import BOXES, Filter
    from .output import note, on_terminal, show
    from .progress import progress
    from .resolving import open_letters, resolve
    from .running import run

    yes, dry_run, as_json = flags
    if (wanted == Filter()) is not everything:
        raise WrongUsage(f"say which to {how}: ids or a filter (--portal, --error, …), or --all and none of them")
    settings = invocation(context).settings()
    found = run(open_letters(settings, new_codec(), name, wanted))
    rows = [letter.row() for letter in found]
    show(rows, as_json=as_json)
    if dry_run or not rows:
        return
    asks = not yes and on_terminal(sys.stdin)
    if asks and not typer.confirm(f"{how} {_counted(len(rows), BOXES[name].what)}?"):
        raise typer.Exit(FAILED)
    with progress(how, len(rows), sys.stderr) as told:
        done = run(resolve(settings, name, how, wanted.exactly(found), told))
    note(f"{_counted(done, BOXES[name].what)}: {how} done")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
