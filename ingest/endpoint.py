"""One address that portals call: the whole flow of an event, from the request to the answer."""

import asyncio
import time

from falcon.asgi import Response

from forebay.queues.contract import Record
from forebay.queues.errors import RecordRefused
from forebay.schemas.logger import get_logger
from forebay.schemas.trace_context import trace_words

from .address import address_of
from .authenticate import Gate, Sender
from .begun import Begun, BegunCall
from .body import BodyLimits, check_media, read
from .call import leaves_nothing, refuse_synchronous
from .callers.door import Door
from .errors import NotOurPortal, Unreadable
from .form import Form, auth_of, only_auth, parse
from .gaps.gaps import Gaps
from .metrics import Counters
from .outlet import Outlet
from .portals.doorway import Doorway
from .portals.keys import PortalKeys
from .quarantine import quarantine_record
from .reader import Reader
from .record import Receipt, received
from .refusals import refusal_of
from .request import PortalRequest, Told
from .seal import Sealer

log = get_logger(__name__)

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
        reader: Reader,
        sealer: Sealer,
        outlet: Outlet,
        gaps: Gaps,
        counters: Counters,
        body_limits: BodyLimits,
        doorway: Doorway | None,
        portal_keys: PortalKeys | None,
        application: str,
    ) -> None:
        self.path = path
        self._counters = counters
        self._door, self._gate, self._sealer, self._outlet, self._gaps = door, gate, sealer, outlet, gaps
        self._doorway, self._application = doorway, application
        self._body_limits, self._reader, self._max_fields = body_limits, reader, reader.limits.max_fields
        self._portal_keys = portal_keys
        #: What the queue refuses of calls that were begun.
        self._quarantining: set[asyncio.Task[None]] = set()

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
            await self._portal_keys.shred(sender, self._application)
        if request.trace is not None:
            request.trace.kept(id=receipt.id, portal=sender.portal or "", outcome=outcome)
        return self._answer(request, receipt, outcome)

    def _answer(self, request: PortalRequest, receipt: Receipt, outcome: str) -> bytes:
        """That to a call whose event is kept."""
        self._counters.answered(outcome, request.seconds)
        return b'{"status":"%b","id":"%b"}' % (_STATUSES[outcome], receipt.id.encode())

    def begin(self, request: PortalRequest, rest: str, body: bytes, told: Told) -> bool:
        """`take` of a call whose event the queue may have here and now, as nearly every one's: no task waits, and
        `told` hears what became of it.

        False for a call that is refused, and where something else has to be awaited first. Then nothing was done, and
        `take` is to be called.
        """
        if self._gaps or not self._outlet.is_straight:
            return False
        request.counters = self._counters
        try:
            if self._door.is_watched:
                self._door.admit(request.scope)
            if self._door.failures and self._doorway is None and self._door.fails_again(request.scope):
                return False
            check_media(request)
            if not 0 < len(body) <= self._body_limits.max_bytes:
                return False
            form = parse(body, self._max_fields)
            refuse_synchronous(form.fields)
            auth, address = auth_of(form), address_of(rest, request.query_sent)
            if self._doorway is None:
                sender: Sender | None = self._gate.admit(auth, address)
            else:
                sender = self._doorway.known(form, auth, address)
            if sender is None or (self._portal_keys is not None and self._keys_change(self._portal_keys, form, sender)):
                return False
            receipt = self._receive(request)
            record = self._reader.record(form, sender, receipt)
        except Exception:  # whatever it is, `take` meets it too, and there it is answered
            return False
        call = BegunCall(request, form, sender, receipt, told, time.perf_counter())
        return self._outlet.begin(self._outlet.topic, record, Begun(call, self._then))

    def _then(self, call: BegunCall, outcome: bool | Exception) -> None:
        """As `_send` and `_keep` go on."""
        if outcome is not True:
            self._counters.acknowledged(time.perf_counter() - call.started)
        if isinstance(outcome, bool):
            self._tell_kept(call, "spooled" if outcome else "accepted")
        elif isinstance(outcome, RecordRefused):
            task = asyncio.create_task(self._quarantine_begun(call, outcome))
            self._quarantining.add(task)
            task.add_done_callback(self._quarantining.discard)
        else:
            self._tell_failed(call, outcome)

    async def _quarantine_begun(self, call: BegunCall, error: RecordRefused) -> None:
        try:
            outcome = await self._quarantine(call.form, call.sender, call.receipt, error)
        except Exception as failure:  # whatever it is, the call is kept nowhere
            self._tell_failed(call, failure)
        else:
            self._tell_kept(call, outcome)

    def _tell_kept(self, call: BegunCall, outcome: str) -> None:
        call.told((call.request.request_id_sent, self._answer(call.request, call.receipt, outcome)))

    def _tell_failed(self, call: BegunCall, error: Exception) -> None:
        self._gaps.note(call.sender, call.receipt)
        call.request.error = error
        if not call.told(call.request):
            # Nobody is there whose answer would be counted.
            self._counters.answered(refusal_of(error).outcome, call.request.seconds)

    def _keys_change(self, portal_keys: PortalKeys, form: Form, sender: Sender) -> bool:
        """Whether the portal is to have a key first, or loses those that it has."""
        member_id = sender.proved_member
        wants_one = member_id is not None and form.shape.sealable and not portal_keys.has(member_id)
        return wants_one or leaves_nothing(form.fields)

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
        return received(time.time_ns(), self.path, traceparent)

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
        record = quarantine_record(receipt, sender, form, reason, detail, self._sealer)
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
