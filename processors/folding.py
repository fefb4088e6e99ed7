"""Of a lane's records about the same object, which the last of them stands for.

The first of them keeps its place, and the newest is handled there; so an object that changes all the time has its turn
as often as any other. Those in between are let go of at once, and are finished with the newest, never before.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TypeAlias

from forebay.queues.contract import StoredRecord
from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import PortalEvent
from forebay.schemas.logger import get_logger

from .dedup.keys import Key
from .entities import Role, subject
from .error_texts import error_text
from .errors import BadReturn
from .handlers import Handler
from .held import Held
from .parking.entries import folded_into
from .parking.restored import Restored, is_ordered
from .reading import Reading

_log = get_logger(__name__)

#: As what an event is marked when its handler has `dedup`; raises what the author's function raises.
KeyOf: TypeAlias = Callable[[Handler, PortalEvent], Key | None]

#: Lets a record be finished with another of its lane, and not be kept until then; False when it can't be.
Fold: TypeAlias = Callable[[StoredRecord, StoredRecord], bool]

#: Records that left the lane are forgotten when they are so many more than those in it.
_FORGET_FROM = 64


@dataclass(slots=True, kw_only=True)
class Chain:
    """Records of one lane about the same: the first keeps the place, the last is the one to be handled."""

    handler: Handler
    role: Role
    key: Hashable
    #: Of the last record. Who wants to know what it is about has read most of it.
    event: PortalEvent
    #: How many are finished with the last one, also those that are no longer kept.
    folded: int = 0
    #: How many of those were folded into one of them when that was parked, and are known by their number only.
    carried: int = 0
    records: list[StoredRecord] = field(default_factory=list)
    #: Offset of each but the last → as what it is marked when that is handled, where the handler has `dedup`.
    keys: dict[int, Key | None] = field(default_factory=dict)

    def takes(self, handler: Handler, role: Role) -> bool:
        """Whether the next about the same can stand for them."""
        return self.handler.is_as(handler) and self.role.may_fold_into(role)

    def marked_with_it(self) -> tuple[Key | None, ...]:
        """As what those are marked that the last one stands for; None stands for any of which that isn't known."""
        unknown = (None,) if self.carried else ()
        return *self.keys.values(), *unknown

    def leave(self, record: StoredRecord) -> None:
        """One of them is finished: with the others, or alone when it was given up before its turn."""
        self.records = [one for one in self.records if one is not record]
        self.carried -= _carried(record)
        self.folded -= _carried(record) + bool(self.records)
        self.keys.pop(record.offset, None)


class Folding:
    """Of one lane."""

    def __init__(self, fold: Fold, reading: Reading, held: Held, key: KeyOf | None) -> None:
        self._fold, self._reading, self._held, self._key = fold, reading, held, key
        #: What was looked at, by identity: to compare records costs more, and the same may be there twice.
        self._seen: dict[int, tuple[StoredRecord, Chain | None]] = {}
        #: What it is about → the chain that may still grow.
        self._open: dict[Hashable, Chain] = {}
        #: Some handler of the portal's events folds by what they are about.
        self._has_entities = False

    def stay(self, records: deque[StoredRecord]) -> deque[StoredRecord]:
        """The lane's records, after a look at what came since the last time, without those that another stands for."""
        fresh = list(takewhile(lambda record: id(record) not in self._seen, reversed(records)))
        dropped: set[int] = set()
        for record in reversed(fresh):
            self._take(record, dropped)
        if dropped:
            records = deque(record for record in records if id(record) not in dropped)
        if len(self._seen) > 2 * len(records) + _FORGET_FROM:
            self._seen = {id(record): self._seen[id(record)] for record in records}
        return records

    def chain(self, record: StoredRecord) -> Chain | None:
        """The records that are finished with this one, if it is about anything."""
        _, chain = self._seen.get(id(record), (record, None))
        return chain

    def begin(self, record: StoredRecord) -> None:
        """Its group is being handled: what comes now waits for another turn."""
        _, chain = self._seen.get(id(record), (record, None))
        if chain is not None and self._open.get(chain.key) is chain:
            del self._open[chain.key]

    def forget(self, records: Sequence[StoredRecord]) -> None:
        """They are finished."""
        for record in records:
            _, chain = self._seen.pop(id(record), (record, None))
            if chain is not None:
                chain.leave(record)

    def _take(self, record: StoredRecord, dropped: set[int]) -> None:
        self._seen[id(record)] = record, None
        event, handler = self._reading.read(record)
        if not isinstance(event, PortalEvent):
            # Nobody knows what it is about, and it may be read when its turn comes: nothing passes it.
            self._open.clear()
            return
        if handler is None:
            return
        about = self._about(event, handler, record)
        if about is None:
            return
        key, role = about
        chain = self._open.get(key)
        if chain is None or not chain.takes(handler, role):
            chain = self._open[key] = Chain(handler=handler, role=role, key=key, event=event)
        self._keep_key(chain)
        chain.carried += _carried(record)
        chain.folded += _carried(record) + bool(chain.records)
        chain.records.append(record)
        chain.role, chain.event = role, event
        self._seen[id(record)] = record, chain
        if len(chain.records) > 2:
            self._let_go(chain, dropped)

    def _keep_key(self, chain: Chain) -> None:
        """Of its last event, which the next one stands for."""
        if self._key is None or chain.handler.options.dedup is None or not chain.records:
            return
        try:
            key = self._key(chain.handler, chain.event)
        except Exception:
            # An author's function may raise anything: then it is not marked.
            key = None
        chain.keys[chain.records[-1].offset] = key

    def _let_go(self, chain: Chain, dropped: set[int]) -> None:
        record, newest = chain.records[-2:]
        if not self._fold(record, newest):
            return
        if not isinstance(record, Restored):
            self._held.remove(record)
        del chain.records[-2], self._seen[id(record)]
        dropped.add(id(record))

    def _about(self, event: PortalEvent, handler: Handler, record: StoredRecord) -> tuple[Hashable, Role] | None:
        """What it is about, if it may fold. Where not, and it is about an object all the same, nothing passes it."""
        coalesce = handler.options.coalesce
        is_replayed = is_ordered(record)
        self._has_entities = self._has_entities or coalesce == "entity"
        try:
            entity = subject(event) if self._has_entities else None
            if coalesce == "entity" and not is_replayed:
                return (entity.key, entity.role) if entity is not None else None
            if entity is not None:
                self._open.pop(entity.key, None)
            key = coalesce(event) if callable(coalesce) and not is_replayed else None
            if key is not None and not isinstance(key, str):
                raise BadReturn(f"coalesce of {handler.name} gave {key!r} for a key; it must give a text, or None")
            return ((id(handler.options), key), Role.CHANGED) if key is not None else None
        except UndecodableEvent:
            # Its handler will come upon it.
            return None
        except Exception as error:
            # An author's function may raise anything.
            _log.warning("not coalesced", portal=event.portal, name=event.name, id=event.id, error=error_text(error))
            return None


def _carried(record: StoredRecord) -> int:
    """How many were finished with it when it was parked."""
    return folded_into(record) if isinstance(record, Restored) else 0
