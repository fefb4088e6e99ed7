"""More partitions for topics that are there."""

import asyncio
from collections.abc import Collection, Iterable

from confluent_kafka import KafkaException

from forebay.queues.errors import QueueError, QueueUnavailable

from .admin import Admin
from .faults import cause, of_change, unknown_stream

#: How often to look whether the brokers know of it, and how long to wait in between.
_TRIES = 100
_BETWEEN_S = 0.05


async def grow(admin: Admin, streams: Iterable[str], partitions: int, *, only_plan: bool) -> list[str]:
    """Let each topic have so many partitions; those that have them already are left alone, so it may be run again.

    All are checked by the brokers before the first is changed. Raises `QueueError`, and for fewer partitions always.
    """
    growing = await _growing(admin, list(streams), partitions)
    for name in growing:
        await _asked(admin, name, partitions, only_check=True)
    if not only_plan:
        for name in growing:
            await _asked(admin, name, partitions, only_check=False)
        await _appeared(admin, growing, partitions)
    return [f"stream {name} from {has} to {partitions} partitions" for name, has in growing.items()]


async def _growing(admin: Admin, streams: list[str], partitions: int) -> dict[str, int]:
    found = await admin.topics(streams)
    growing = {}
    for name, topic in found.items():
        if topic is None:
            raise unknown_stream(name)
        has = len(topic.partitions)
        if has > partitions:
            raise QueueError(
                f"topic {name} has {has} partitions, and Kafka can't take any away; for fewer set topic to a new name "
                f"and partitions to {partitions}, once the workers have finished what is in the old one"
            )
        if has < partitions:
            growing[name] = has
    return growing


async def _appeared(admin: Admin, streams: Collection[str], partitions: int) -> None:
    """Return when the brokers that we ask know of them, and each partition has a leader."""
    for _ in range(_TRIES):
        found = (await admin.topics(streams)).values()
        if all(one is not None and len(one.partitions) == partitions and not one.leaderless for one in found):
            return
        await asyncio.sleep(_BETWEEN_S)
    raise QueueUnavailable(f"topics {', '.join(streams)} were grown, but the brokers don't know it yet")


async def _asked(admin: Admin, name: str, partitions: int, *, only_check: bool) -> None:
    try:
        await admin.grow(name, partitions, only_check=only_check)
    except KafkaException as error:
        raise QueueError(f"topic {name} can't get {partitions} partitions. {of_change(cause(error))}") from error
