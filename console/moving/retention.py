"""Whether the target would keep what is moved: some queues take records by their age, handled or not."""

from collections.abc import AsyncIterator
from datetime import timedelta

from forebay.console.times import from_ms, iso
from forebay.queues.contract import TakesByAge

from .plan import Plan, stream_of
from .sides import Side

#: So much longer it must be kept, or half of what the queue keeps where that is less: it has to be moved and handled.
_ROOM_MS = 24 * 3_600_000


async def too_old(side: Side, plan: Plan, now_ms: int) -> AsyncIterator[str]:
    """What would be gone before anybody could handle it, in words. The target has its streams."""
    if not isinstance(side.queue, TakesByAge):
        return
    oldest: dict[str, int] = {}
    for what, amount in plan.amounts.items():
        stream = stream_of(what, side.topic)
        if amount.oldest_ms is not None:
            oldest[stream] = min(amount.oldest_ms, oldest.get(stream, amount.oldest_ms))
    for stream, at_ms in oldest.items():
        kept_ms = await side.queue.keeps_ms(stream)
        if kept_ms is not None and at_ms + kept_ms - min(_ROOM_MS, kept_ms // 2) < now_ms:
            yield (
                f"{stream} of {side.name} keeps records for {_days(kept_ms)} from their own time "
                f"(retention.ms={kept_ms}), and the oldest to be moved is of {iso(from_ms(at_ms))}: it would be "
                "gone before it could be handled. Let it keep them for longer until the workers are through: "
                f"kafka-configs --alter --entity-type topics --entity-name {stream} --add-config retention.ms=-1"
            )


def _days(kept_ms: int) -> str:
    return str(timedelta(milliseconds=kept_ms)).removesuffix(", 0:00:00")
