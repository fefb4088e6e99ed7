"""What a person is told of a move: what will be done, and at its end what was, what was left, and what comes next."""

from collections.abc import Iterator

from forebay.console.planning import counted
from forebay.schemas import names

from .move import Move
from .plan import Plan


def told_before(move: Move, plan: Plan) -> Iterator[str]:
    """What the rows don't say."""
    group = plan.chosen.group
    yield f"from {move.source.name} to {move.target.name}: what group {group} has not finished"
    if plan.begun is not None:
        yield f"goes on with the move that {plan.begun.who} began; {counted(plan.there, 'record')} of it moved already"
    for lack in plan.chosen.others:
        yield (
            f"group {lack.group} has {counted(lack.records, 'event')} that it has not finished, and not the same: it "
            f"will lack what {group} has finished, and get again what {group} has not"
        )
    if lost := sum(part.lost for part in plan.chosen.parts):
        yield f"up to {counted(lost, 'event')} were gone before group {group} had finished them: retention took them"
    if not move.target.queue.promises.durable:
        yield f"{move.target.name} keeps nothing when it ends: what is moved there may be lost"


def told_after(move: Move, plan: Plan, moved: int, *, is_done: bool) -> Iterator[str]:
    """How it ended."""
    left = plan.records - plan.there - moved
    yield f"{counted(moved, 'record')} moved" + (f", {plan.there:,} before" if plan.there else "")
    if left:
        yield f"{counted(left, 'record')} not moved; run the same again, and it goes on with these"
    if not is_done:
        return
    yield (
        f"left in {move.source.name}, where nothing was deleted: what is finished, letters that were dealt with, and "
        f"{names.audit(move.topic)} (forebay --queue-url … audit)"
    )
    yield (
        "next: set queue_url to the new queue on every host"
        + (f", and partitions to {move.target.settings.partitions}" if _differ(move, plan) else "")
        + f", start the workers of group {plan.chosen.group} (and of every other group), then the ingest"
    )


def _differ(move: Move, plan: Plan) -> bool:
    return len(plan.chosen.parts) != move.target.settings.partitions
