"""`forebay topics`: what the queue needs before anything can run."""

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import FAILED, WrongUsage
from .invocation import invocation
from .options import AsJson, Yes
from .terminal.asking import confirmed

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.queues.contract import Queue
    from forebay.queues.findings import Finding


def commands() -> typer.Typer:
    """The three commands."""
    group = typer.Typer(no_args_is_help=True)

    @group.command("plan")
    def _plan(context: typer.Context, as_json: AsJson = False) -> None:
        """Show what is missing, and change nothing. Exit status 1 when something is.

        What is there and keeps events worse than it could is told on standard error, with the command that mends it.
        """
        from .processes.provisioning import missing
        from .running import run
        from .terminal.output import show

        lacking, weak = run(_seen(invocation(context).settings(), missing))
        show([{"missing": what} for what in lacking], as_json=as_json, nothing="all is there")
        _tell(weak)
        if lacking:
            raise typer.Exit(FAILED)

    @group.command("ensure")
    def _ensure(context: typer.Context, as_json: AsJson = False) -> None:
        """Make what is missing. Safe to run again, and at once from many machines. What is there is not changed."""
        from .processes.provisioning import ensured
        from .running import run
        from .terminal.output import show

        made, weak = run(_seen(invocation(context).settings(), ensured))
        show([{"made": what} for what in made], as_json=as_json, nothing="all was there")
        _tell(weak)

    @group.command("grow")
    def _grow(
        context: typer.Context,
        partitions: Annotated[int, typer.Option(help="how many there shall be", min=1)],
        yes: Yes = False,
        as_json: AsJson = False,
    ) -> None:
        """Give the streams more partitions: only while nothing runs and everything is finished."""
        from .running import run
        from .terminal.output import on_terminal

        if not yes and not on_terminal(sys.stdin):
            raise WrongUsage("it can't be undone: say --yes, or run it on a terminal")
        run(_grown(invocation(context).settings(), partitions, yes=yes, as_json=as_json))

    return group


def _tell(weak: "list[Finding]") -> None:
    from .terminal.output import clean, note

    for finding in weak:
        note(clean(finding.text()))


async def _grown(settings: "Settings", partitions: int, *, yes: bool, as_json: bool) -> None:
    from .growing import Growth
    from .reading import inspected, opened
    from .stillness import QUIET_S
    from .terminal.output import note, show

    async with opened(settings) as queue, inspected(queue) as inspector:
        growth = Growth(queue=queue, inspector=inspector, settings=settings, partitions=partitions)
        plan = await growth.plan()
        if plan:
            note(f"watching for {QUIET_S} s that nothing is written, nobody reads, and everything is finished …")
            ends = await growth.watched()
        show([{"grow": what} for what in plan], as_json=as_json, nothing=f"there are {partitions} already")
        if not plan:
            return
        note("an ingest that still runs, even without a call, would go on by the old number: all must be stopped")
        if not yes and not confirmed(f"{partitions} partitions, for ever?"):
            raise typer.Exit(FAILED)
        await growth.check(ends)
        await growth.carry_out(ends)
        note(f"done; set partitions to {partitions} on every host (FOREBAY_PARTITIONS) before anything starts again")


async def _seen(
    settings: "Settings", step: "Callable[[Queue, Settings], Awaitable[list[str]]]"
) -> "tuple[list[str], list[Finding]]":
    """What the step tells, and then what is wrong with the streams that are there."""
    from .checks.needs import needs
    from .reading import opened

    async with opened(settings) as queue:
        told = await step(queue, settings)
        found = [finding async for finding in queue.diagnose(needs(settings))]
    return told, [one for one in found if one.check.startswith(("brokers", "topic ")) and one.state != "ok"]
