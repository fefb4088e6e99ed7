"""What records are, and who handles them."""

from forebay.queues.contract import StoredRecord
from forebay.schemas.alike import Alike
from forebay.schemas.codec import Codec
from forebay.schemas.data_keys import PREFIX, WrappedKeys, named
from forebay.schemas.errors import UndecodableEvent, UnknownSchemaId
from forebay.schemas.event import PortalEvent
from forebay.schemas.names import CANARY_KEYS

from .errors import Discarded
from .handlers import Handler, Handlers
from .learning import Learning
from .outcome import GivenUp, Undecodable, Unlearned, Unread
from .parking.restored import Restored
from .proving import Proving

#: How the name of a portal's own key begins, as it stands in a record; and how soon it is asked for again.
_KEY_NAME = PREFIX.encode()
_KEY_COMES_S = 0.1


class Bulk(Alike):
    """Records of one portal that come behind each other: those that are alike have the same handler, too."""

    __slots__ = ("handler",)

    def __init__(self) -> None:
        super().__init__()
        #: Of the last one.
        self.handler: Handler | None = None


class Reading:
    """Of one worker."""

    def __init__(
        self,
        handlers: Handlers,
        codec: Codec,
        learning: Learning | None,
        *,
        data_keys: WrappedKeys | None = None,
        proving: Proving | None = None,
    ) -> None:
        self._handlers, self._codec, self._learning = handlers, codec, learning
        self._data_keys, self._proving = data_keys, proving

    def read(self, record: StoredRecord, bulk: Bulk | None = None) -> tuple[PortalEvent | Unread, Handler | None]:
        """The event, or why it is not shown to a handler; and the handler, if there is one. In `bulk` it takes less."""
        if isinstance(record, Restored) and record.discarded:
            return GivenUp(error=Discarded(record.discarded)), None
        try:
            if bulk is not None and (like := bulk.event(record.value)) is not None:
                event, handler = like, bulk.handler
            else:
                event = self._codec.decode(record.value, bulk)
                handler = self._handler(event)
                if bulk is not None:
                    bulk.handler = handler
            if self._data_keys is not None and not _with_keys(event, record, self._data_keys):
                return Unlearned(wait_s=_KEY_COMES_S), None
        except UnknownSchemaId as error:
            return self._learning.outcome(error) if self._learning else Undecodable(error=error), None
        except UndecodableEvent as error:
            return Undecodable(error=error), None
        if self._proving is None or handler is None or not handler.options.verified:
            return event, handler
        return self._judged(self._proving, event, record), handler

    def _handler(self, event: PortalEvent) -> Handler | None:
        # A canary measures the way, and is nobody's event.
        return None if event.portal in CANARY_KEYS else self._handlers.find(event.kind, event.name)

    def _judged(self, proving: Proving, event: PortalEvent, record: StoredRecord) -> PortalEvent | Unread:
        try:
            return event if event.subscription.verified else proving.judge(event, record)
        except UndecodableEvent as error:
            # What it is judged by was not read before.
            return Undecodable(error=error)


def _with_keys(event: PortalEvent, record: StoredRecord, keys: WrappedKeys) -> bool:
    """Let the event find its portal's key there, if it needs one; False while that may still come."""
    # A new portal's first event is often here before its key is; it waits without a try. The name of the key stands in
    # the record as it is, so that not every event has to be read for it.
    whose = named(event.sealed.key_id) if _KEY_NAME in record.value and event.sealed else None
    if whose is None:
        return True
    if keys.may_come(whose, event.received_at):
        return False
    event.with_keys_of(keys)
    return True
