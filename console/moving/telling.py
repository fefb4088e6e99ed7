"""What a person is told of a move: what will be done, and at its end what was, what was left, and what comes next."""

from collections.abc import Iterator

from forebay.console.planning import counted
from forebay.schemas import names

from .choosing import ALL, Lack
from .lacking import EVENTS
from .move import Move
from .plan import Plan


def told_before(move: Move, plan: Plan) -> Iterator[str]:
    """What the rows don't say."""
    yield f"from {move.source.name} to {move.target.name}: what {plan.chosen.told} lack{_s(plan)}"
    if plan.takes_back:
        yield f"everything was moved from {move.target.name} once: from now on it counts as in use again"
    if plan.begun is not None:
        yield f"goes on with the move that {plan.begun.who} began; {counted(plan.there, 'record')} of it moved already"
    for lack in plan.chosen.differing:
        yield _differing(plan, lack)
    if lost := sum(part.lost for part in plan.chosen.parts):
        yield f"up to {counted(lost, 'event')} were gone before they were finished: retention took them"
    if others := plan.learned.others:
        yield (
            f"{counted(others, 'fact')} about portals that {move.source.name} has learned since it was moved stay "
            f"there: {move.target.name} goes by its own (forebay portals list shows them)"
        )
    if not move.target.queue.promises.durable:
        yield f"{move.target.name} keeps nothing when it ends: what is moved there may be lost"


def told_after(move: Move, plan: Plan, moved: int, *, is_done: bool, goes_on: bool) -> Iterator[str]:
    """How it ended, and whether it can be gone on with: if not, the error has said what is to be done."""
    left = plan.records - plan.there - moved
    yield f"{counted(moved, 'record')} moved" + (f", {plan.there:,} before" if plan.there else "")
    if left > 0:
        advice = "; run the same again, and it goes on with these" if goes_on else ""
        yield f"{counted(left, 'record')} not moved{advice}"
    elif goes_on and not is_done:
        yield "it is not written down that the move is done: run the same again"
    if not is_done:
        return
    yield (
        f"left in {move.source.name}, where nothing was deleted: what is finished, letters that were dealt with, and "
        f"{names.audit(move.topic)} (forebay --queue-url … audit)"
    )
    yield (
        "next: set queue_url to the new queue on every host"
        + (f", and partitions to {move.target.settings.partitions}" if _differ(move, plan) else "")
        + ", start the workers of every group, then the ingest"
    )


def _s(plan: Plan) -> str:
    return "s" if len(plan.chosen.names) == 1 else ""


def _differing(plan: Plan, lack: Lack) -> str:
    if plan.chosen.group == ALL:
        events = sum(plan.amounts[what].records for what in EVENTS if what in plan.amounts)
        return f"group {lack.group} gets {counted(events - lack.records, 'event')} again, which it has finished"
    return (
        f"group {lack.group} has {counted(lack.records, 'event')} that it has not finished, and not the same: it will "
        f"lack what {plan.chosen.group} has finished, and get again what {plan.chosen.group} has not"
    )


def _differ(move: Move, plan: Plan) -> bool:
    return len(plan.chosen.parts) != move.target.settings.partitions
