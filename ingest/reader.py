"""A form → the record of its event, or the reason why it is none."""

from dataclasses import dataclass

from forebay.queues.contract import Record
from forebay.schemas.codec import Codec

from .authenticate import Sender
from .call import recognise
from .errors import Unreadable
from .form import Form, is_deeper
from .record import Receipt, record_of
from .seal import Sealer, divide


@dataclass(frozen=True, slots=True, kw_only=True)
class FormLimits:
    """How much of a form is read as an event; what is beyond goes to quarantine."""

    max_fields: int
    max_depth: int


class Reader:
    """Makes records of authentic calls. Holds no state."""

    def __init__(self, limits: FormLimits, sealer: Sealer, codec: Codec) -> None:
        self.limits, self._sealer, self._codec = limits, sealer, codec

    def record(self, form: Form, sender: Sender, receipt: Receipt) -> Record:
        """The record of the event, its secrets sealed. Raises `Unreadable`."""
        self._check_readable(form)
        if sender.portal is None:
            raise Unreadable("no_portal", "auth has neither a domain nor a member_id that can be a portal's")
        body, secrets = divide(form)
        sealed = self._sealer.seal(secrets, receipt.id, sender.proved_member)
        return record_of(receipt, sender, sender.portal, recognise(form.fields), body, sealed, self._codec)

    def _check_readable(self, form: Form) -> None:
        limits = self.limits
        if not form.whole:
            raise Unreadable("max_fields", f"the form has more than {limits.max_fields} fields (setting max_fields)")
        if is_deeper(form, limits.max_depth):
            raise Unreadable("max_depth", f"a field is nested more than {limits.max_depth} levels (setting max_depth)")
