"""What `forebay dead` and `forebay quarantine` have in common: letters are listed, shown, chosen and discarded."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.console.errors import FAILED, WrongUsage
from forebay.console.invocation import invocation
from forebay.console.options import AsJson, DryRun, Error, Event, Portal, Since, Until, Why, Yes
from forebay.console.terminal.asking import agreed

if TYPE_CHECKING:
    from forebay.console.planning import Plan
    from forebay.console.settings import Settings

    from .letters import Filter

Ids = Annotated[list[str] | None, typer.Argument(help="only these", metavar="[ID]...", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="without any filter")]


def commands(name: str, replay: Callable[..., None]) -> typer.Typer:
    """The commands over the box of that name, with its own way to replay."""
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
        from forebay.console.running import run
        from forebay.console.terminal.output import show
        from forebay.schemas.codec import new_codec

        from .resolving import open_rows

        wanted = letter_filter((), portal, event, error, since, until)
        show(run(open_rows(invocation(context).settings(), new_codec(), name, wanted)), as_json=as_json)

    @group.command("show")
    def _show(
        context: typer.Context, letter: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False
    ) -> None:
        """Show everything that is known of one: its error, its traceback, what was sent."""
        from forebay.console.portal_keys import keyring_of
        from forebay.console.running import run
        from forebay.schemas.codec import new_codec

        from .details import show_details
        from .resolving import open_letters

        wanted = letter_filter((letter,))
        settings, codec = invocation(context).settings(), new_codec()
        found = run(open_letters(settings, codec, name, wanted))
        if not found:
            raise WrongUsage(f"nothing open has the id {letter}; `forebay {name} list` shows what is")
        show_details(found, run(keyring_of(settings)), codec, as_json=as_json)

    group.command("replay")(replay)

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
        from forebay.console.planning import counted, show_plan
        from forebay.console.running import run
        from forebay.console.terminal.output import note

        from .letters import BOXES
        from .resolving import discard_letters

        wanted = chosen("discard", letter_filter(ids or (), portal, event, error, since, until), everything)
        settings = invocation(context).settings()
        plan = planned(settings, name, wanted)
        show_plan(plan, "discard", None, as_json=as_json)
        if not plan or dry_run or not agreed("discard them?", yes=yes):
            return
        done = run(discard_letters(settings, plan, why))
        if done.left:
            raise typer.Exit(FAILED)
        note(f"{counted(done.letters, BOXES[name].what)} discarded")

    return group


def letter_filter(
    ids: Sequence[str],
    portal: str | None = None,
    event: str | None = None,
    error: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> "Filter":
    """The letters that the options mean."""
    from forebay.console.times import parse_span, utc_now

    from .letters import Filter

    first, last = parse_span(since, until, utc_now())
    return Filter(ids=tuple(ids), portal=portal, event=event, error=error, since=first, until=last)


def chosen(doing: str, wanted: "Filter", everything: bool) -> "Filter":
    """The filter, unless it takes all letters and nobody has said so. Raises `WrongUsage`."""
    from .letters import Filter

    if (wanted == Filter()) is not everything:
        raise WrongUsage(f"say which to {doing}: ids or a filter (--portal, --error, …), or --all and none of them")
    return wanted


def planned(settings: "Settings", name: str, wanted: "Filter") -> "Plan":
    """The records of the letters that are meant."""
    from forebay.console.running import run
    from forebay.schemas.codec import new_codec

    from .resolving import plan_of

    return run(plan_of(settings, new_codec(), name, wanted))
