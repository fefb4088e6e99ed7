"""What makes two events the same for a handler."""

from dataclasses import dataclass
from hashlib import blake2b

from forebay.processors.errors import BadReturn
from forebay.processors.handlers import Handler
from forebay.schemas.event import PortalEvent

#: For how long it is remembered that an event was handled, unless `dedup_s` says otherwise.
USUAL_S = 3600.0

#: 128 bits: two different keys that look the same would lose an event, and never do.
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An event as it is remembered: in its portal, for its handler."""

    portal: str
    #: The topic and the group in which it was handled.
    reader: bytes
    #: Of the portal and the reader, too: no two keys have the same.
    digest: bytes
    #: When the event was received, and the window, both in milliseconds.
    received_ms: int
    window_ms: int


def key_of(handler: Handler, event: PortalEvent, topic: str, group: str) -> Key | None:
    """The event's key, or None when it is to be handled in any case. Raises what the handler's function raises."""
    dedup = handler.options.dedup or "id"
    said = event.id if dedup == "id" else dedup(event)
    if said is None:
        return None
    if not isinstance(said, str) or not said:
        raise BadReturn(f"dedup of {handler.name} gave {said!r} for a key; it must give a text, or None")
    # An id is the same whoever handles it; what a function says means something to its own handler only.
    whose = "" if dedup == "id" else handler.name
    window_s = handler.options.dedup_s or USUAL_S
    return Key(
        portal=event.portal,
        reader=_digest(topic, group),
        digest=_digest(topic, group, event.portal, whose, said),
        received_ms=int(event.received_at.timestamp() * 1000),
        window_ms=int(window_s * 1000),
    )


def _digest(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode(), digest_size=_DIGEST_BYTES).digest()
