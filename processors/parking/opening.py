"""How a partition's new owner begins: it claims the group's part of the parked stream, and then reads who is parked.

The claim's generation is committed first, which only the partition's owner can do. So of two that think they are, the
entries of one count.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from forebay.processors.notes import Place
from forebay.schemas.logger import get_logger

from .entries import Claimed
from .ledger import Ledger
from .orders import Order
from .stream import ParkedStream

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a new owner knows."""

    generation: int
    #: Where its claim stands.
    claimed_at: int
    #: From where on it had to read.
    place: Place
    ledger: Ledger
    #: Orders that no owner has seen, and by their offsets those of replays that are under way.
    orders: list[Order]
    replays: dict[int, Order]
    #: The next offset of the audit stream.
    next_order: int


async def opened(stream: ParkedStream, number: int, place: Place, commit: Callable[[int], Awaitable[None]]) -> Opened:
    """Have a generation of our own, in the commit and in the stream, and read what stands there before it.

    Raises `QueueError`; trying again is right.
    """
    generation = place.generation
    while True:
        generation += 1
        await commit(generation)
        claimed_at = await stream.claim(number, generation, place.orders)
        claim = Claimed(position=claimed_at, generation=generation, orders=place.orders)
        read_from, ledger = await _read(stream, number, place, claim)
        if ledger.generation == generation:
            return await _with_orders(stream, number, claimed_at, ledger, read_from)
        # The note was lost, and the stream knows more.
        generation = ledger.generation


async def _read(stream: ParkedStream, number: int, place: Place, claim: Claimed) -> tuple[Place, Ledger]:
    """From where on it had to be read, and what is known then."""
    end = claim.position + 1
    if place.position >= end:
        _log.error("the parked stream was made anew: who was parked is not known", partition=number)
        place = Place()
    start = (await stream.bounds([number]))[number].start
    if not place.begins_anew and place.position < start:
        # Nobody wrote them off: who waited, and has said nothing since, is only told here.
        _log.error(
            "the parked stream has lost its beginning, by retention or by hand: portals that waited may be forgotten. "
            "What they missed is in the topic as long as that keeps it: forebay replay",
            partition=number,
            lost=start - place.position,
        )
    ledger = await _read_from(stream, number, place, claim)
    is_cut = place.end >= end or (place.position < place.end and not ledger.has_last)
    if place.begins_anew or place.position < start or not is_cut:
        return place, ledger
    # Our claim stands where there was something already, or what was said last is gone. The topic may be whole, and its
    # commit says it is parked.
    _log.error(
        "the parked stream has lost its end, as by a power cut: portals that were parked last may be forgotten. "
        "What they missed is in the topic as long as that keeps it: forebay replay",
        partition=number,
        known=place.end,
        claimed=claim.position,
    )
    # Of those that waited before, it may only be what was said again that is gone.
    place = replace(place, position=start, in_force=1, needed=start)
    return place, await _read_all(stream, number, place, end)


async def _read_from(stream: ParkedStream, number: int, place: Place, claim: Claimed) -> Ledger:
    if place.begins_anew and claim.position:
        return await _read_all(stream, number, place, claim.position + 1)
    ledger = Ledger.at(place)
    if place.position == claim.position:
        # Nothing stands before it, as nearly always: who gets hundreds of partitions needs not read each.
        ledger.read(claim)
    else:
        # With the claim itself: so it is known that nothing before it was missed.
        await stream.read_into(ledger, number, place.position, claim.position + 1)
    return ledger


async def _read_all(stream: ParkedStream, number: int, place: Place, end: int) -> Ledger:
    """All that is there, also what the group has needed no more, and somebody may still be deleting.

    A beginning without what followed would tell of portals that wait, or are held, and are not any more.
    """
    start = (await stream.bounds([number]))[number].start
    while True:
        ledger = Ledger.at(place)
        await stream.read_into(ledger, number, start, end)
        before, start = start, (await stream.bounds([number]))[number].start
        if start == before:
            return ledger


async def _with_orders(stream: ParkedStream, number: int, claimed_at: int, ledger: Ledger, read_from: Place) -> Opened:
    end = (await stream.ends(stream.audit, [number]))[number]
    ledger.know_orders(end)
    # Not before those that the commit knows of: our own claim says so.
    start = ledger.orders
    told = {one.order for known in ledger.portals.values() for one in known.state.replays}
    replays = [order for offset in sorted(told) if (order := await stream.order(number, offset)) is not None]
    found = await stream.orders(number, start, end)
    return Opened(
        generation=ledger.generation,
        claimed_at=claimed_at,
        place=read_from,
        ledger=ledger,
        # Also what was obeyed and is done, so that nothing of it is left but the word that it was obeyed.
        orders=[order for order in found if order.offset >= ledger.obeyed.get(order.portal, 0)],
        replays={order.offset: order for order in replays},
        next_order=max(start, end),
    )
