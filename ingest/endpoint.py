"""One address that portals call: the whole flow of an event, from the request to the answer."""

import time
from collections.abc import Callable

import structlog
from falcon.asgi import Response

from forebay.queues.contract import Record
from forebay.queues.errors import RecordRefused
from forebay.schemas.codec import Codec
from forebay.schemas.trace_context import trace_words

from .address import address_of
from .authenticate import Gate, Sender
from .body import BodyLimits, read
from .call import leaves_nothing, refuse_synchronous
from .callers.door import Door
from .errors import NotOurPortal, Unreadable
from .form import Form, auth_of, only_auth, parse
from .gaps.gaps import Gaps
from .metrics import Counters
from .outlet import Outlet
from .portal_keys import PortalKeys
from .portals.doorway import Doorway
from .quarantine import quarantine_record
from .reader import FormLimits, Reader
from .record import Receipt, received
from .request import PortalRequest
from .seal import Sealer

log = structlog.get_logger(__name__)

#: How it ended → what its sender is told.
_STATUSES = {"accepted": b"accepted", "spooled": b"accepted", "quarantined": b"quarantined"}

_HELLO = b'{"status":"ok","detail":"Forebay takes the events of Bitrix24 here, by POST"}'


class Endpoint:
    """A Falcon resource. Its path may go on behind it, with a secret or with the words of a rule's author."""

    def __init__(
        self,
        path: str,
        *,
        door: Door,
        gate: Gate,
        sealer: Sealer,
        outlet: Outlet,
        gaps: Gaps,
        codec: Codec,
        counters: Counters,
        body_limits: BodyLimits,
        form_limits: FormLimits,
        doorway: Doorway | None,
        portal_keys: PortalKeys | None,
        application: str,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        self._counters = counters
        self._door, self._gate, self._sealer, self._outlet, self._gaps = door, gate, sealer, outlet, gaps
        self._doorway, self._application = doorway, application
        self._body_limits, self._max_fields = body_limits, form_limits.max_fields
        self._reader = Reader(form_limits, sealer, codec)
        self._portal_keys, self._clock_ns = portal_keys, clock_ns

    async def on_post(self, request: PortalRequest, response: Response, rest: str = "") -> None:
        """Answer only when the event is kept. What goes wrong is answered by the table in refusals.py."""
        request.fail()
        response.data = await self.take(request, rest)

    async def take(self, request: PortalRequest, rest: str = "") -> bytes:
        """Keep the event; then this is the answer."""
        request.counters = self._counters
        if self._door.is_watched:
            self._door.admit(request.scope)
        body = await read(request, self._body_limits)
        if self._door.failures and self._doorway is None and self._door.fails_again(request.scope):
            # A form may be large: of a bad one of theirs no more is read than who they say they are.
            await self._admit(only_auth(body, self._max_fields), request, rest)
        form = parse(body, self._max_fields)
        refuse_synchronous(form.fields)
        sender = await self._admit(form, request, rest)
        receipt = self._receive(request)
        if self._portal_keys is not None and (member_id := sender.proved_member) is not None:
            await self._see_to_key(self._portal_keys, member_id, form)
        outcome = await self._keep(form, sender, receipt)
        if self._portal_keys is not None and leaves_nothing(form.fields):
            self._portal_keys.shred(sender, self._application)
        self._counters.answered(outcome, request.seconds)
        if request.trace is not None:
            request.trace.kept(id=receipt.id, portal=sender.portal or "", outcome=outcome)
        return b'{"status":"%b","id":"%b"}' % (_STATUSES[outcome], receipt.id.encode())

    async def _admit(self, form: Form, request: PortalRequest, rest: str) -> Sender:
        auth, address = auth_of(form), address_of(rest, request.query_sent)
        try:
            if self._doorway is None:
                return self._gate.admit(auth, address)
            return await self._doorway.admit(form, auth, address)
        except NotOurPortal as error:
            raise self._door.failed(request.scope, error) from None

    async def on_get(self, request: PortalRequest, response: Response, rest: str = "") -> None:
        """Bitrix24 and people look whether somebody is there. Queues nothing."""
        response.data = _HELLO

    on_head = on_get

    def _receive(self, request: PortalRequest) -> Receipt:
        traceparent = request.traceparent if request.trace is None else request.trace.sends()
        return received(self._clock_ns(), self.path, traceparent)

    async def _see_to_key(self, portal_keys: PortalKeys, member_id: str, form: Form) -> None:
        """Let a portal that brings its first secret have a key for it."""
        if not portal_keys.has(member_id) and form.shape.sealable:
            await portal_keys.make(member_id)

    async def _keep(self, form: Form, sender: Sender, receipt: Receipt) -> str:
        if self._gaps:
            # Before this event, so that its handler knows; if that can't be, the event goes first.
            await self._gaps.mark(sender.portal)
        try:
            try:
                spooled = await self._send(self._outlet.topic, self._reader.record(form, sender, receipt))
            except (Unreadable, RecordRefused) as error:
                return await self._quarantine(form, sender, receipt, error)
        except Exception:
            # Answered 503, or 500 for a fault of our own: either way it is kept nowhere.
            self._gaps.note(sender, receipt)
            raise
        return "spooled" if spooled else "accepted"

    async def _quarantine(self, form: Form, sender: Sender, receipt: Receipt, error: Unreadable | RecordRefused) -> str:
        reason, detail = error.reason if isinstance(error, Unreadable) else "refused_by_queue", str(error)
        record = quarantine_record(receipt, sender, form.body, reason, detail, self._sealer)
        await self._send(self._outlet.quarantine, record)
        about = {"portal": sender.portal, "id": receipt.id, **trace_words(receipt.traceparent)}
        log.warning("a call went to quarantine", reason=reason, detail=detail, **about)
        return "quarantined"

    async def _send(self, stream: str, record: Record) -> bool:
        """Whether it is the spool that has the record."""
        started = time.perf_counter()
        spooled = False
        try:
            spooled = await self._outlet.send(stream, record)
            return spooled
        finally:
            if not spooled:
                self._counters.acknowledged(time.perf_counter() - started)
