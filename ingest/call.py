"""What a call is: an event, one of the calls without `event` that can wait in a queue, or one that can't wait.

Source of the shapes: bitrix24/b24restdocs, pages of the call in question; PHP's SDK for the older ones.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from forebay.schemas.quick_value import quick_value

from .errors import AwaitsAnswer

Fields = Mapping[str, str]

#: Codes have letters, digits, dots and underscores; whatever else stands there is no code.
_CODE = re.compile(r"[\w.:-]{1,255}", re.ASCII)

#: Bitrix24 has a few hundred events, none with a longer code.
_REMEMBERED = 1024
_REMEMBERED_CHARS = 64

#: DEAL_7405, DYNAMIC_147_12: the document's type, then its id.
_DOCUMENT = re.compile(r"(?P<type>[\w.\\-]{1,255}?)_?\d*", re.ASCII)

#: What is longer names no document, and matching it would take seconds: each length of the type is tried in turn.
_DOCUMENT_CHARS = 300

#: By this event a portal says that it has uninstalled the application.
_UNINSTALL = "ONAPPUNINSTALL"

#: The sender's ts is believed between 2000 and 2100.
_TS = range(946_684_800, 4_102_444_800)
_TS_DIGITS = 10
_MS_PER_S = 1000

#: Where calls name the thing they are about; the first that is there is the CloudEvents subject.
_SUBJECTS = ("data[FIELDS][ID]", "document_id[2]", "data[FIELDS_AFTER][ID]", "data[ID]", "data[id]", "data[CALL_ID]")

#: A subject is a label, no place for a text.
_SUBJECT_CHARS = 255

#: Many calls come from the same second.
_MOMENTS_REMEMBERED = 64

#: A name that only a call of that sort has → what to tell its sender. None of them has `event`.
_SYNCHRONOUS = {
    "PLACEMENT": "this is the call of a placement or a user field type: its frame waits for a page of your application",
    "PLACEMENT_OPTIONS": "this is the call of a placement: its frame waits for a page of your application",
    "AUTH_ID": "this is the call of an application's page: its frame waits for HTML of your application",
    "BX_PAYSYSTEM_CODE": "this is the call of a payment system: the shop waits for its answer",
    "BX_PAYSYSTEM_ID": "this is the call of a payment system: the shop waits for its answer",
}
_SYNCHRONOUS_MAPS = {
    "BX_SYSTEM_PARAMS": "this is the call of a payment system: the buyer's page waits for its answer",
    "SHIPMENT": "this is the call of a delivery service: the shop waits for a price or a status",
}
_SYNCHRONOUS_PREFIXES = tuple(f"{name}[" for name in _SYNCHRONOUS_MAPS)


@quick_value
class Call:
    """What the fields say of themselves."""

    kind: str
    name: str
    subscription_id: str | None
    #: Milliseconds since the epoch, when there was a sensible `ts`.
    occurred_at_ms: int | None
    #: What it is about; empty where it names nothing.
    subject: str = ""


def refuse_synchronous(fields: Fields) -> None:
    """Raise `AwaitsAnswer` for a call whose sender waits for an answer that a queue can't give."""
    if "event" in fields:
        return
    for name, why in _SYNCHRONOUS.items():
        if name in fields:
            raise _awaits(why)
    for path in fields:
        if path.startswith(_SYNCHRONOUS_PREFIXES):
            raise _awaits(_SYNCHRONOUS_MAPS[path.partition("[")[0]])


def _awaits(why: str) -> AwaitsAnswer:
    return AwaitsAnswer(f"{why}. Give Bitrix24 the address of your application for it, not this queue's")


def recognise(fields: Fields) -> Call:
    """The kind of the call, and its name as the Avro schema has it. Never fails: what is unknown is `other`."""
    kind, name = _kind(fields)
    subscription_id = fields.get("event_handler_id") or fields.get("eventId")
    ts = fields.get("ts", "")
    occurred_at_ms = _moment_ms(ts) if len(ts) <= _TS_DIGITS else None
    return Call(kind, name, subscription_id, occurred_at_ms, _subject(fields))


def _subject(fields: Fields) -> str:
    for path in _SUBJECTS:
        if path in fields:
            return fields[path][:_SUBJECT_CHARS]
    return ""


def leaves_nothing(fields: Fields) -> bool:
    """Whether a portal says that it has uninstalled the application, and wants its data gone."""
    return fields.get("event", "").upper() == _UNINSTALL and fields.get("data[CLEAN]") == "1"


def _kind(fields: Fields) -> tuple[str, str]:
    if "event" in fields:
        code = fields["event"]
        return _remembered_event(code) if len(code) <= _REMEMBERED_CHARS else _event(code)
    if "event_token" in fields or "workflow_id" in fields:
        return "robot", _code(fields.get("code", ""))
    if "message_to" in fields or "properties[phone_number]" in fields:
        return "sms", _code(fields.get("code", ""))
    if "document_id[2]" in fields:
        return "automation", _document_type(fields)
    return "other", ""


def _event(code: str) -> tuple[str, str]:
    return ("event", code.upper()) if _CODE.fullmatch(code) else ("other", "")


_remembered_event = lru_cache(maxsize=_REMEMBERED)(_event)


def _code(code: str) -> str:
    return code if _CODE.fullmatch(code) else ""


def _document_type(fields: Fields) -> str:
    document = fields["document_id[2]"]
    found = _DOCUMENT.fullmatch(document) if len(document) <= _DOCUMENT_CHARS else None
    if found and not found["type"].isdigit():
        return found["type"]
    # Lists and the like number their documents without a type; then the class says what it is.
    return _code(fields.get("document_id[1]", "").rpartition("\\")[2])


@lru_cache(_MOMENTS_REMEMBERED)
def _moment_ms(ts: str) -> int | None:
    if not (ts.isascii() and ts.isdigit()) or int(ts) not in _TS:
        return None
    return int(ts) * _MS_PER_S
