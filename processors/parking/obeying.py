"""What an owner of a partition does when an operator orders something."""

from typing import TYPE_CHECKING

import structlog

from .orders import Order, What
from .portal import ParkedPortal
from .restored import Replay
from .state import Reason

if TYPE_CHECKING:
    from .parking import Parking

_log = structlog.get_logger(__name__)


def obey(parking: "Parking", order: Order, parked_stream: str) -> None:
    """Do it, unless it was done; an order about another stream than the parked one can only be a replay."""
    portal = parking.portals.get(order.portal)
    if portal is not None and order.offset < portal.state.orders:
        return
    obeyed = _parked(parking, portal, order) if order.stream == parked_stream else _replayed(parking, order)
    if obeyed is None:
        return
    _log.info("an order is obeyed", what=order.what, portal=order.portal, who=order.who, why=order.why)
    obeyed.state.orders = order.offset + 1
    obeyed.order = order.offset if obeyed.order is None else obeyed.order
    parking.changed(obeyed)


def _parked(parking: "Parking", portal: ParkedPortal | None, order: Order) -> ParkedPortal | None:
    if order.what is What.HOLD:
        return _hold(parking, order)
    if portal is None:
        return None
    if order.what is What.DISCARD:
        _discard(parking, portal, order)
    # Somebody looked after it: it begins with all its tries, and now.
    portal.state.is_held = False
    portal.state.start_anew()
    return portal


def _hold(parking: "Parking", order: Order) -> ParkedPortal:
    portal = parking.parked(order.portal, Reason.HELD)
    portal.state.is_held = True
    parking.clear(portal)
    return portal


def _discard(parking: "Parking", portal: ParkedPortal, order: Order) -> None:
    parking.clear(portal)
    state = portal.state
    state.discard_to, state.discard_orders = max(portal.handed_over, state.last), order.offset
    state.discarded = f"discarded by {order.who}: {order.why}"


def _replayed(parking: "Parking", order: Order) -> ParkedPortal | None:
    if order.what is not What.REPLAY or not order.spans:
        return None
    portal = parking.parked(order.portal, Reason.REPLAY)
    parking.clear(portal)
    portal.replays.append(Replay(order=order.offset, stream=order.stream, offsets=order.offsets()))
    portal.tell_replays()
    portal.state.start_anew()
    return portal
