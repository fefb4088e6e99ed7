"""Whether what a group has not handled yet is there, and stays there for long enough."""

import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping

from forebay.queues.errors import QueueError
from forebay.queues.findings import Finding, Needs
from forebay.queues.kafka.admin import Admin

from .questions import Known

#: Somebody has to be found who mends it, before the other half is over.
_TOO_LATE = 0.5
_MS = 1000


async def places(
    admin: Admin, topic: Known, needs: Needs, servers: str, now: Callable[[], float] = time.time
) -> AsyncIterator[Finding]:
    """Where the group stands in the topic, if that is a danger; nothing where the brokers don't tell us."""
    if needs.group is None:
        return
    numbers = range(topic.partitions)
    try:
        commits = await admin.commits(needs.group, needs.events, numbers)
        starts, tops = await admin.starts(needs.events, numbers), await admin.tops(needs.events, numbers)
        stands = {at.partition: at.offset for at in commits if at.offset >= 0}
        # What was taken before it was handled waits for nobody any more.
        waits = {number: max(start, stands.get(number, start)) for number, start in starts.items()}
        late = await _late(admin, topic, needs.events, waits, tops, round(now() * _MS))
    except QueueError:
        # Who may do what, and which broker is away, is told elsewhere.
        return
    taken = {number: starts[number] - at for number, at in stands.items() if at < starts[number]}
    for finding in _gone(needs, taken, [number for number, at in stands.items() if at > tops[number]], servers):
        yield finding
    if late:
        yield _older(needs.events, late, topic)


async def _late(
    admin: Admin, topic: Known, stream: str, stands: Mapping[int, int], tops: Mapping[int, int], now_ms: int
) -> list[int]:
    """The partitions with events that nobody has handled, and that will be taken soon."""
    kept_ms = int((topic.config or {}).get("retention.ms", -1))
    if kept_ms < 0:
        return []
    since_ms = now_ms - round(kept_ms * _TOO_LATE)
    waits = [number for number, at in stands.items() if at < tops[number]]
    # What is older stands before that; where nothing is younger it says so by a negative number.
    younger = {number: await admin.at(stream, number, since_ms) for number in waits}
    return [number for number, at in younger.items() if at < 0 or stands[number] < at]


def _gone(needs: Needs, taken: Mapping[int, int], beyond: Collection[int], servers: str) -> Iterator[Finding]:
    which = ",".join(map(str, sorted({*taken, *beyond})))
    remedy = (
        f"end its workers, and move it there: kafka-consumer-groups --bootstrap-server {servers} --group {needs.group} "
        f"--topic {needs.events}:{which} --reset-offsets --to-earliest --execute; what is gone: docs/reconcile.md"
    )
    if taken:
        detail = (
            f"in partitions {', '.join(map(str, taken))} of {needs.events} {sum(taken.values()):,} records were taken "
            "before it had handled them, by retention or by hand, and no worker goes on there"
        )
        yield Finding(check=f"group {needs.group}", state="fail", detail=detail, remedy=remedy)
    if beyond:
        detail = (
            f"in partitions {', '.join(map(str, beyond))} of {needs.events} it stands behind the end, and no worker "
            "goes on there: the topic was made anew, or the cluster has lost its end"
        )
        yield Finding(check=f"group {needs.group}", state="fail", detail=detail, remedy=remedy)


def _older(stream: str, late: Collection[int], topic: Known) -> Finding:
    kept = (topic.config or {})["retention.ms"]
    detail = (
        f"in partitions {', '.join(map(str, late))} events wait for workers that are older than half of retention.ms "
        f"({kept}): what is older than that is gone, handled or not"
    )
    remedy = "raise retention.ms until the workers have caught up (forebay lag)"
    return Finding(check=f"topic {stream}", state="warn", detail=detail, remedy=remedy)
