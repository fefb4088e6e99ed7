"""Dealing with letters: which are open, what is to become of them, and the orders that say so."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from forebay.processors.dead_letters import place_of
from forebay.processors.parking.orders import What
from forebay.queues.contract import Inspector
from forebay.queues.errors import QueueError
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.portal import partition_of

from .learning import decodable
from .letters import BOXES, Filter, Letter, headers_of, letters
from .orders import dealt_with
from .planning import Plan, Planned
from .reading import inspected, opened
from .replaying import carry_out, orderer


async def open_letters(settings: QueueSettings, codec: Codec, name: str, wanted: Filter) -> list[Letter]:
    """The open letters of the box of that name, the oldest first; the codec can decode them afterwards."""
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        found = [letter async for letter in letters(inspector, codec, BOXES[name], settings.topic, wanted)]
    return sorted(found, key=lambda letter: letter.at)


async def plan_of(settings: QueueSettings, codec: Codec, name: str, wanted: Filter) -> Plan:
    """The open letters of the box that are meant, by portal. Raises `QueueError` where no order can name them."""
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        found = letters(inspector, codec, BOXES[name], settings.topic, wanted)
        plan = await planned(found, settings.group if name == "dead" else "")
        check_places(plan, len(await inspector.bounds(names.audit(settings.topic))))
    return plan


async def planned(found: AsyncIterator[Letter], group: str) -> Plan:
    """The letters by portal and group, in the order in which their records stand in the topic."""
    by_portal: dict[tuple[int, str, str], Planned] = {}
    async for letter in found:
        record = letter.record
        # Whose letter doesn't say which group gave it up, is ours.
        of = headers_of(record).get(names.DEAD_GROUP) or group
        one = by_portal.setdefault(
            (record.partition, record.key, of),
            Planned(portal=record.key, partition=record.partition, group=of, stream=record.stream),
        )
        one.add(record.offset, place_of(record)[2])
    return [_in_order(one) for one in by_portal.values()]


def _in_order(given: Planned) -> Planned:
    ordered = replace(given, offsets=given.offsets[:0], places=given.places[:0])
    # An event that was replayed and died again has its letter behind those of later events.
    for place, offset in sorted(zip(given.places, given.offsets, strict=True)):
        ordered.add(offset, place)
    return ordered


def check_places(plan: Plan, partitions: int) -> None:
    """Raise `QueueError` for records that don't stand in the partition of their key, where the order will be."""
    strays = [one for one in plan if partition_of(one.portal, partitions) != one.partition]
    if strays:
        raise QueueError(
            f"records of {strays[0].portal} stand in partition {strays[0].partition} of {strays[0].stream}, and its "
            f"orders would not (the same for {len(strays) - 1} other portals): were they written before the "
            "partitions became more, or by another program?"
        )


async def still_open(inspector: Inspector, topic: str, plan: Plan) -> Plan:
    """The plan without what another operator has dealt with since it was made."""
    if not plan:
        return plan
    done = await dealt_with(inspector, topic, plan[0].stream, sorted({one.partition for one in plan}))
    left: Sequence[Planned] = [one.without(done) for one in plan]
    return [one for one in left if one.offsets]


async def replay_letters(settings: QueueSettings, plan: Plan, rate: float | None, why: str) -> bool:
    """Replay the dead letters of the plan. Whether all is well."""
    async with opened(settings) as queue, inspected(queue) as inspector:
        return await carry_out(queue, inspector, settings.topic, plan, rate, why)


async def discard_letters(settings: QueueSettings, plan: Plan, why: str) -> int:
    """Say that nothing is to become of the letters of the plan, and return how many; retention takes them in time."""
    async with (
        opened(settings) as queue,
        inspected(queue) as inspector,
        orderer(queue, settings.topic, why) as given,
    ):
        left = await still_open(inspector, settings.topic, plan)
        for one in left:
            await given.put_all(one, What.DISCARD)
    return sum(len(one.offsets) for one in left)
