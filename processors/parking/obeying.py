"""What an owner of a partition does when an operator orders something."""

from collections.abc import Mapping
from typing import Protocol

from forebay.schemas import names
from forebay.schemas.logger import get_logger

from .orders import Order, What
from .portal import ParkedPortal
from .restored import replay_of
from .state import Reason

_log = get_logger(__name__)


class Owner(Protocol):
    """Has the parked portals of a partition, and does with them what is to be done."""

    @property
    def portals(self) -> Mapping[str, ParkedPortal]:
        """By their names."""

    def parked(self, name: str, reason: Reason) -> ParkedPortal:
        """The portal, parked from now on unless it is already."""

    def clear(self, portal: ParkedPortal) -> None:
        """Let all that waits be loaded again; the portal's lane may be in any state."""

    def changed(self, portal: ParkedPortal) -> None:
        """What is known of it changed: tell it, and see what comes next."""


def obey(owner: Owner, order: Order, topic: str) -> None:
    """Do it; an order about another stream than the parked one can only be a replay.

    Where the topic is a copy under another name, an order that nobody has obeyed before may be about the first one's.
    """
    if order.stream not in names.streams(topic):
        about = {"what": order.what, "portal": order.portal, "who": order.who, "why": order.why, "stream": order.stream}
        _log.error("an order is about another topic, and is not obeyed; order it again", **about)
        return
    is_about_parked = order.stream == names.parked(topic)
    obeyed = _parked(owner, owner.portals.get(order.portal), order) if is_about_parked else _replayed(owner, order)
    if obeyed is None:
        return
    _log.info("an order is obeyed", what=order.what, portal=order.portal, who=order.who, why=order.why)
    obeyed.state.orders = order.offset + 1
    obeyed.order = order.offset if obeyed.order is None else obeyed.order
    owner.changed(obeyed)


def _parked(owner: Owner, portal: ParkedPortal | None, order: Order) -> ParkedPortal | None:
    if order.what is What.HOLD:
        return _hold(owner, order)
    if portal is None:
        return None
    if order.what is What.DISCARD:
        _discard(owner, portal, order)
    # Somebody looked after it: it begins with all its tries, and now.
    portal.state.is_held = False
    portal.state.start_anew()
    return portal


def _hold(owner: Owner, order: Order) -> ParkedPortal:
    portal = owner.parked(order.portal, Reason.HELD)
    portal.state.is_held = True
    owner.clear(portal)
    return portal


def _discard(owner: Owner, portal: ParkedPortal, order: Order) -> None:
    owner.clear(portal)
    state = portal.state
    # All that waits, and what comes again is a lap behind it.
    waits = (state.lap, portal.handed_over) if portal.to_spill else state.newest
    (state.discard_lap, state.discard_to), state.discard_orders = waits, order.offset
    state.discarded = f"discarded by {order.who}: {order.why}"


def _replayed(owner: Owner, order: Order) -> ParkedPortal | None:
    if order.what is not What.REPLAY or not order.spans:
        return None
    portal = owner.parked(order.portal, Reason.REPLAY)
    owner.clear(portal)
    portal.replays.append(replay_of(order))
    portal.tell_replays()
    portal.state.start_anew()
    return portal
