"""Dealing with letters: which are open, what is to become of them, and the orders that say so."""

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from forebay.console.decoding import decodable
from forebay.console.orders.replaying import carry_out
from forebay.console.orders.writer import Meanwhile, Pace, order_all, order_writer
from forebay.console.planning import Plan, Planned, count_in, counted
from forebay.console.reading import inspected, opened
from forebay.console.stopping import Stop, ended_by_ctrl_c
from forebay.console.terminal.output import Row, note
from forebay.console.terminal.progress import progress
from forebay.processors.dead_letters import place_of
from forebay.processors.parking.orders import Order, What
from forebay.queues.errors import QueueError
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.portal import partition_of

from .letters import BOXES, Filter, Letter, headers_of, letters


async def open_letters(settings: QueueSettings, codec: Codec, name: str, wanted: Filter) -> list[Letter]:
    """The open letters of the box of that name, the oldest first; the codec can decode them afterwards."""
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        found = [letter async for letter in letters(inspector, codec, BOXES[name], settings.topic, wanted)]
    return sorted(found, key=lambda letter: letter.at)


async def open_rows(settings: QueueSettings, codec: Codec, name: str, wanted: Filter) -> list[Row]:
    """The same as rows: a letter may have a megabyte, and there may be many."""
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        found = letters(inspector, codec, BOXES[name], settings.topic, wanted)
        dated = [(letter.at, letter.row()) async for letter in found]
    return [row for _, row in sorted(dated, key=lambda one: one[0])]


async def plan_of(settings: QueueSettings, codec: Codec, name: str, wanted: Filter) -> Plan:
    """The open letters of the box that are meant, by portal; told is which ids are none of theirs.

    Raises `QueueError` where no order can name them.
    """
    absent = set(wanted.ids)
    async with opened(settings) as queue, decodable(settings, queue, codec) as inspector:
        found = _without(absent, letters(inspector, codec, BOXES[name], settings.topic, wanted))
        plan = await planned(found, settings.group if name == "dead" else "")
        check_places(plan, await inspector.partitions(names.audit(settings.topic)))
    if absent:
        note(f"none that is open and meant has the id {', '.join(sorted(absent))}: forebay {name} list")
    return plan


async def _without(absent: set[str], found: AsyncIterator[Letter]) -> AsyncIterator[Letter]:
    """The same letters, whose ids are taken from those that are absent."""
    async for letter in found:
        absent.discard(letter.id)
        yield letter


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
            f"orders would not (the same for {len(strays) - 1} other portals): they were written before the partitions "
            "became more, or by another program. Leave them out, by a later --from or --since, or by --portal"
        )


async def replay_letters(settings: QueueSettings, plan: Plan, rate: float | None, why: str) -> bool:
    """Replay the dead letters of the plan. Whether all is well."""
    async with opened(settings) as queue, inspected(queue) as inspector:
        return await carry_out(queue, inspector, settings.topic, plan, rate, why)


async def discard_letters(settings: QueueSettings, plan: Plan, why: str) -> "Discarded":
    """Say that nothing is to become of the letters of the plan; retention takes them in time.

    Ctrl-C ends it between two portals. How many are left then, or after an error, is told.
    """
    stop, done = Stop(), Discarded(plan=plan)
    try:
        with ended_by_ctrl_c(stop), progress("discard", count_in(plan), sys.stderr) as told:

            def taken(planned: Planned, orders: list[Order]) -> None:
                done.portals += 1
                done.letters += len(planned.offsets)
                told(done.letters)

            async with (
                opened(settings) as queue,
                inspected(queue) as inspector,
                order_writer(queue, settings.topic, why) as writer,
            ):
                meanwhile = Meanwhile(inspector=inspector, topic=settings.topic, since={})
                await order_all(plan, What.DISCARD, writer, Pace(rate=None, stop=stop), meanwhile, taken)
    finally:
        if done.left:
            of = f"{counted(count_in(done.left), 'record')} of {counted(len(done.left), 'portal')}"
            note(f"stopped: {done.letters:,} discarded, {of} left; run the same again")
    return done


@dataclass(slots=True, kw_only=True)
class Discarded:
    """How far it came with the plan, and how many letters that were, without those of other operators."""

    plan: Plan
    portals: int = 0
    letters: int = 0

    @property
    def left(self) -> Plan:
        """What is not discarded."""
        return self.plan[self.portals :]
