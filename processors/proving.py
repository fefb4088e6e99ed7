"""Events whose portal was not verified when they came, for handlers that want verified ones only.

Such an event waits until the token that it came with is proved, which is a matter of seconds when it ever is. What
can't be proved any more, or was not within a day, is not for that handler, and goes to quarantine.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from forebay.queues.contract import Queue, StoredRecord
from forebay.queues.portals.book import Book
from forebay.queues.portals.members import Pin, Proof
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.schemas import names
from forebay.schemas.errors import ForebayError
from forebay.schemas.event import PortalEvent

from .health import Health
from .outcome import Unprovable, Unproved

#: The part of the worker's health.
_PART = "portals"

#: What is not verified by then is none.
_LONGEST_S = 24 * 3600.0

#: Behind it wait the events of a portal that is proved: by then the OAuth server has answered, if it is there.
_BESIDE_S = 60.0

#: The ingest notes the token before it keeps the event; by then the note has come here, if there is one.
_NOTED_S = 2.0

#: An event waits as long again as it is old, between these.
_SOONEST_S = 0.25
_LATEST_S = 900.0

_MS_PER_S = 1000

Judged: TypeAlias = PortalEvent | Unproved | Unprovable


class NotVerified(ForebayError):
    """The event's portal is not verified, and the handler wants verified ones only."""


class Proving:
    """Follows the portals that the ingests know. Used on one event loop."""

    def __init__(self, queue: Queue, topic: str, health: Health, *, now: Callable[[], float] = time.time) -> None:
        self._registry = PortalRegistry(queue.portals(topic), TokenKeys({}))
        self._health, self._now = health, now

    def open(self) -> None:
        """Begin to read."""
        self._registry.open()

    async def close(self) -> None:
        """Let go of the store. Idempotent."""
        await self._registry.close()

    def judge(self, event: PortalEvent, record: StoredRecord) -> Judged:
        """The event if it is proved by now; else how long it may still wait, or why it need not."""
        following = self._registry.following
        if following.why_not:
            # An event that nothing can prove is not asked about again.
            self._health.degraded(_PART, following.why_not, lambda: bool(following.why_not))
        else:
            self._health.ok(_PART)
        mark = dict(record.headers).get(names.PIN, b"").decode("ascii", "replace")
        age_s = max(0.0, self._now() - event.received_at.timestamp())
        judged = judged_by(following.book, event, mark, age_s, is_known=not following.why_not)
        return judged if not isinstance(judged, Pin) else _verified(event, judged)


def judged_by(
    book: Book, event: PortalEvent, mark: str, age_s: float, *, is_known: bool
) -> Pin | Unproved | Unprovable:
    """What is known of the token that left this mark on the event."""
    if not mark:
        return Unprovable(event=event, error=NotVerified("nothing that came with the event can prove its portal"))
    pin = book.pins.get(_digest(mark))
    waits = Unproved(wait_s=min(max(age_s, _SOONEST_S), _LATEST_S), error=NotVerified("its portal is not verified yet"))
    if pin and pin.proof:
        is_told = pin.member.homes or _since_s(pin.proof, event, age_s) >= _BESIDE_S
        return _named(book, event, pin) if is_told else replace(waits, wait_s=_SOONEST_S)
    if age_s >= _LONGEST_S:
        return Unprovable(event=event, error=NotVerified("its portal was not verified within a day"))
    if not is_known:
        return waits
    if pin and pin.seen and pin.seen.refused:
        return Unprovable(
            event=event, error=NotVerified(f"its portal is not the one that it says it is: {pin.seen.refused}")
        )
    return (
        waits if _may_still_be_proved(book, event, pin, age_s) else Unprovable(event=event, error=NotVerified(_ANOTHER))
    )


_ANOTHER = "another token of its portal, or another portal of its name, is proved, and nothing proves this one"


def _since_s(proof: Proof, event: PortalEvent, age_s: float) -> float:
    """For how long it is proved. The portal's name is the next fact; if an ingest died before it, that never comes."""
    return event.received_at.timestamp() + age_s - proof.at_ms / _MS_PER_S


def _named(book: Book, event: PortalEvent, pin: Pin) -> Pin | Unprovable:
    """The pin, unless its portal has called itself by the name of another one, in whose place the event stands."""
    if event.portal in (_name_of(pin), event.member_id) or event.portal not in book.homes:
        return pin
    return Unprovable(event=event, error=NotVerified("it came under the name of another portal than the proved one"))


def _may_still_be_proved(book: Book, event: PortalEvent, pin: Pin | None, age_s: float) -> bool:
    member = book.members.get(event.member_id or "")
    is_proved = member is not None and any(one.proof for one in member.pins)
    if not is_proved and event.portal not in book.homes:
        return True
    # Whoever makes up calls of a portal that is verified, or under its name, must not hold up its own events.
    is_asked = age_s < _NOTED_S if pin is None else bool(pin.seen and pin.seen.trial)
    return is_asked and age_s < _BESIDE_S


def _name_of(pin: Pin) -> str:
    """The name that Bitrix24 has confirmed: of a portal whose first one was never told it stands in the proof."""
    return pin.member.portal or (pin.proof.domain if pin.proof else "")


def _digest(mark: str) -> bytes:
    try:
        return bytes.fromhex(mark)
    except ValueError:
        return b""


def _verified(event: PortalEvent, pin: Pin) -> PortalEvent:
    known = event.__dict__
    known["subscription"] = replace(event.subscription, verified=True)
    if event.portal != event.member_id and (name := _name_of(pin)):
        # It stands under the domain that it gave itself. Another one is proved.
        known["portal"] = name
    return event
