"""A move from its plan to its end: what waits is read, and sent in the order of each portal; nothing is deleted."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from forebay.console.orders.lost import make_up_for_lost
from forebay.console.orders.operators import who
from forebay.console.orders.writer import OrderWriter
from forebay.console.reading import producing
from forebay.console.stillness import Sleep, watch, withheld, written
from forebay.console.stopping import Stop
from forebay.console.times import to_ms, utc_now
from forebay.processors.parking.orders import What as Ordered
from forebay.queues.contract import Producer
from forebay.queues.moves.marker import Ends, Marker, Return, first_since
from forebay.schemas import names
from forebay.schemas.portal import partition_of

from .arrived import Arrived, arrived
from .carrying import Carrier, Sending
from .choosing import ALL, chosen
from .errors import CantMove, NotNow
from .facts import Learned, carry_facts, kept_there, known_by, lacking_facts, learned_since
from .going_back import moved_away
from .lacking import Waits
from .plan import Plan, counted, parts_of, stream_of
from .retention import too_old
from .sides import Side, is_there, unfinished


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """From one queue to the other, of the events that the group has not finished (None: of the settings'; or `ALL`)."""

    source: Side
    target: Side
    group: str | None = None
    #: Also what was moved before.
    again: bool = False
    #: Between two looks whether all is still; None: as long as nobody wants it to end.
    sleep: Sleep | None = None
    now_ms: Callable[[], int] = lambda: to_ms(utc_now())

    @property
    def topic(self) -> str:
        """The topic's name, which is the same on both sides."""
        return self.source.topic

    async def plan(self) -> Plan:
        """What is to be moved. Writes nothing. Raises `CantMove`, `NotNow` or `QueueError`."""
        self._check_can()
        if reasons := [reason async for reason in withheld(self.source.inspector, self.topic)]:
            raise NotNow(reasons)
        ends, places = await self.source.ends(), await self.source.places()
        marker = None if self.again else await self.source.last_move()
        begun, since = self._earlier(marker)
        found = await chosen(self.source, self.group or (marker.group if marker else None), since)
        # Before it is read what the target has: what comes there later is then seen by the watch.
        target_ends = await self.target.ends() if begun else {}
        came = await self._arrived(begun)
        base = begun.source_ends if begun else ends
        amounts, strange = await counted(self.source, parts_of(self.source, found, base, since, ends), came)
        if len(strange):
            raise CantMove(_strange(len(strange), self.source, self.target))
        return Plan(
            chosen=found,
            ends=ends,
            places=places,
            begun=begun,
            target_ends=target_ends,
            since=since,
            amounts=amounts,
            learned=await self._learned(since),
            held=sorted({held for part in found.every for held in part.held}) if not since else [],
            arrived=came,
            takes_back=not since and await self._is_taken_back(),
        )

    def _check_can(self) -> None:
        if self.source.name == self.target.name:
            raise CantMove(f"{self.source.name} is the source and the target")
        if not self.source.queue.promises.replay:
            raise CantMove(f"{self.source.name} can't be read but by its workers: let them finish what waits there")

    def _earlier(self, marker: Marker | None) -> tuple[Marker | None, Ends]:
        """The move that is to be gone on with, and what was moved by one before."""
        if marker is None:
            return None, {}
        if self.group not in (None, marker.group) or marker.target != self.target.name:
            did = "was moved" if marker.is_done else "is being moved"
            whose = "all groups" if marker.group == ALL else f"group {marker.group}"
            raise CantMove(
                f"what waits in {self.source.name} {did} to {marker.target}, for {whose} (by "
                f"{marker.who}): say --again if it is to be moved a second time"
            )
        return (None, marker.source_ends) if marker.is_done else (marker, marker.since)

    async def _arrived(self, begun: Marker | None) -> Arrived:
        if begun is None:
            return Arrived()
        if not self.target.queue.promises.replay:
            raise CantMove(f"{self.target.name} can't show what it has of the move: empty it, and say --again")
        streams = (self.topic, names.dead(self.topic), names.quarantine(self.topic))
        return await arrived(self.target.inspector, begun.target_ends, streams)

    async def _learned(self, since: Ends) -> Learned:
        source, target = [await known_by(side.queue, self.topic) for side in (self.source, self.target)]
        if since:
            # What was known then is there, and the target has learned more since.
            found = learned_since(source, target, since.get(names.portals(self.topic), {}).get(0, 0))
        else:
            found = lacking_facts(source, target)
        return await kept_there(self.target, found) if found.facts else found

    async def reasons(self, plan: Plan) -> list[str]:
        """Why it can't begin just now."""
        found = [reason async for reason in self.source.at_work()]
        found += [_ordered(portals, group, self.source.name) for group, portals in plan.ordered.items()]
        if await is_there(self.target):
            found += [reason async for reason in self.target.at_work()]
            found += [reason async for reason in too_old(self.target, plan, self.now_ms())]
            if plan.begun is None:
                gone = [reason async for reason in moved_away(self.target)]
                found += gone or [reason async for reason in unfinished(self.target, plan.chosen.names)]
        return found

    async def carry_out(self, plan: Plan, stop: Stop, sent: Callable[[int], None]) -> None:
        """Do it, and tell of each record that was sent; end earlier when it is to stop.

        Raises `NotNow`, `CantMove` or `QueueError`; run again, it goes on where that was.
        """
        if plan.is_empty:
            return
        if reasons := await self.reasons(plan):
            raise NotNow(reasons)
        await self.target.queue.ensure(names.streams(self.topic), self.target.settings.partitions)
        # Of what was just made it was not known.
        if reasons := [reason async for reason in too_old(self.target, plan, self.now_ms())]:
            raise NotNow(reasons)
        target_ends = await self._watched(plan, self.sleep or stop.within)
        if stop.is_asked:
            return
        begun = await self._begin(plan, target_ends)
        moved = await self._carry(plan, begun, stop, sent)
        if not stop.is_asked:
            await self._check_all_is_there(plan, begun, moved)
            await self._end(plan, begun)

    async def _watched(self, plan: Plan, sleep: Sleep) -> Ends:
        """Where the target ends, once both sides were still for a while."""
        ends, places = plan.target_ends or await self.target.ends(), await self.target.places()

        async def look() -> None:
            await self.source.check(plan.ends, plan.places)
            await self.target.check(ends, places)

        await look()
        await watch(look, sleep)
        return ends

    async def _begin(self, plan: Plan, target_ends: Ends) -> Marker:
        """Leave the marker. Raises `CantMove` when another move has left one since the plan was made."""
        marker = self._marker(plan, target_ends)
        if await self._put(marker) != await first_since(self.source.inspector, self.topic, plan.ends):
            raise CantMove(f"another move from {self.source.name} has begun in this moment: let it come to its end")
        return marker

    def _marker(self, plan: Plan, target_ends: Ends) -> Marker:
        if plan.begun is not None:
            return replace(plan.begun, who=who(), at_ms=self.now_ms())
        return Marker(
            group=plan.chosen.group,
            target=self.target.name,
            target_ends=target_ends,
            source_ends=plan.all_ends(self.topic),
            since=plan.since,
            who=who(),
            at_ms=self.now_ms(),
        )

    async def _put(self, marker: Marker) -> int:
        async with producing(self.source.queue, self.topic) as producer:
            return (await producer.send(names.audit(self.topic), marker.record())).offset

    async def _carry(self, plan: Plan, begun: Marker, stop: Stop, sent: Callable[[int], None]) -> int:
        # Who may call is known before an event of theirs is, and who is held before one could be handled.
        if plan.learned.facts:
            await carry_facts(self.target.queue, self.topic, plan.learned.facts)
        async with producing(self.target.queue, self.topic) as producer:
            await self._take_back(producer)
            await self._hold(producer, plan)
            left = plan.arrived.copy()
            parts = parts_of(self.source, plan.chosen, begun.source_ends, plan.since, plan.ends)
            return await Carrier(producer, stop, sent).carry([self._left(part, left) for part in parts])

    async def _left(self, part: AsyncIterator[Waits], there: Arrived) -> AsyncIterator[Sending]:
        async for one in part:
            stream = stream_of(one.what, self.topic)
            if not there.take(stream, one.record):
                yield stream, one.record

    async def _take_back(self, producer: Producer) -> None:
        """Where the target was moved away from once, leave there that it counts again."""
        if await self._is_taken_back():
            back = Return(source=self.source.name, who=who(), at_ms=self.now_ms())
            await producer.send(names.audit(self.topic), back.record())

    async def _is_taken_back(self) -> bool:
        can_tell = self.target.queue.promises.replay and await is_there(self.target)
        return can_tell and await self.target.last_move() is not None

    async def _hold(self, producer: Producer, plan: Plan) -> None:
        why = f"was held in {self.source.name}, from which it was moved"
        writer = OrderWriter(producer=producer, topic=self.topic, who=who(), why=why, now_ms=self.now_ms)
        partitions = self.target.settings.partitions
        if plan.held:
            await make_up_for_lost(self.target.inspector, producer, self.topic, self.now_ms())
        for group, portal in plan.held:
            await writer.put(portal, Ordered.HOLD, group, partition_of(portal, partitions))

    async def _check_all_is_there(self, plan: Plan, begun: Marker, moved: int) -> None:
        """Raise `CantMove` when the target has not what was planned: less, or more."""
        there = plan.there + moved
        if self.target.queue.promises.replay:
            there = len(await self._arrived(begun))
        if there != plan.records:
            raise CantMove(_differs(there, plan.records, self.target))

    async def _end(self, plan: Plan, begun: Marker) -> None:
        """Write down that it is done. Raises `CantMove` when the source was not still meanwhile."""
        if finished := [reason async for reason in self.source.went_on(plan.places)]:
            raise CantMove("\n".join([*finished, _TWICE]))
        audit = names.audit(self.topic)
        before = {stream: ends for stream, ends in plan.ends.items() if stream != audit}
        reasons = [reason async for reason in self.source.at_work()]
        if where := written(before, await self.source.ends()):
            reasons.append(f"{self.source.name} was written to meanwhile ({where})")
        if reasons:
            raise CantMove(
                "\n".join(["all that was planned is moved, but:", *(f"  - {one}" for one in reasons), _RUN_AGAIN])
            )
        await self._put(replace(begun, is_done=True, source_ends=plan.all_ends(self.topic), at_ms=self.now_ms()))


_RUN_AGAIN = "stop what runs there, and run the same again: it moves what came in"

_TWICE = "what they finished was moved too, and would come twice: make the target's streams anew, and say --again"


def _strange(count: int, source: Side, target: Side) -> str:
    return (
        f"{target.name} has {count:,} records since the move began that don't wait in {source.name}: something else "
        "wrote there, or workers went on with the source meanwhile. Stop both, make the target's streams anew, and say "
        "--again"
    )


def _differs(there: int, planned: int, target: Side) -> str:
    return (
        f"{target.name} has {there:,} records of this move, and {planned:,} were planned: something else wrote there, "
        "another move ran, somebody dealt with letters of the source, or retention took records of it meanwhile. Make "
        "the target's streams anew, and say --again"
    )


def _ordered(portals: list[str], group: str, name: str) -> str:
    some = ", ".join(portals[:_LISTED]) + (" …" if len(portals) > _LISTED else "")
    return (
        f"replays or discards of {len(portals)} portals wait for a worker of group {group} ({some}): with the ingest "
        f"stopped, let one run on {name} until they are obeyed (forebay process MODULE:OBJECT --group {group}; forebay "
        f"parked list --group {group} shows none as ordered), stop it, and run the same again"
    )


#: Portals that are named in a sentence.
_LISTED = 3
